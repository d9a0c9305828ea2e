package chaos_test

import (
	"strings"
	"testing"
	"time"

	"kurir.dev/e2e/chaos"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// taken is a copy from dispatcher1, read or not.
func taken(seconds, read float64) *chaos.Copy {
	c := &chaos.Copy{Data: at(seconds), At: at(seconds + 0.01), Sender: "dispatcher1.kurir.example", MessageID: "<a@b>"}
	if read > 0 {
		c.Read = at(read)
	}
	return c
}

// told is an event in its topic.
func told(id string, kind eventsv1.EventType, seconds float64, marked bool) chaos.Told {
	return chaos.Told{Written: at(seconds), Event: &eventsv1.Event{
		EventId: id, Type: kind,
		Detail: &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{PossibleDuplicate: marked}},
	}}
}

func stroke(act chaos.Act, target string, from, to float64) chaos.Stroke {
	return chaos.Stroke{Fault: chaos.Fault{Act: act, Target: target}, From: at(from), To: at(to)}
}

const (
	delivered = eventsv1.EventType_EVENT_TYPE_DELIVERED
	bounced   = eventsv1.EventType_EVENT_TYPE_BOUNCED
	expired   = eventsv1.EventType_EVENT_TYPE_EXPIRED
	cancelled = eventsv1.EventType_EVENT_TYPE_CANCELLED
)

func TestJudge(t *testing.T) {
	t.Parallel()
	hungUp := taken(1, 0)
	hungUp.Dropped = true
	other := taken(5, 6)
	other.MessageID = "<c@d>"
	one := func(kind eventsv1.EventType) []chaos.Told { return []chaos.Told{told("1", kind, 6, false)} }
	marked := []chaos.Told{told("1", delivered, 6, true)}
	dead := []chaos.Stroke{stroke(chaos.Kill, "dispatcher1", 1.005, 2)}
	tests := []struct {
		name    string
		c       chaos.Case
		strokes []chaos.Stroke
		fault   string // a part of the only one; empty for none
		window  chaos.Window
	}{
		{name: "delivered", c: chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 2)}}, Told: one(delivered)}},
		{name: "told twice", c: chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 2)}}, Told: append(one(delivered), one(delivered)...)}},
		{name: "no end", c: chaos.Case{Accepted: true}, fault: "LOST: it was accepted"},
		{name: "never accepted, never seen", c: chaos.Case{}},
		{name: "delivered to nobody", c: chaos.Case{Accepted: true, Told: one(delivered)}, fault: "never took it"},
		{name: "bounced", c: chaos.Case{Accepted: true, Story: chaos.Story{Refused: 1}, Told: one(bounced)}},
		{name: "bounced by nobody", c: chaos.Case{Accepted: true, Told: one(bounced)}, fault: "never refused it"},
		{
			name:  "two ends",
			c:     chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 2)}}, Told: []chaos.Told{told("1", delivered, 2, false), told("2", delivered, 6, false)}},
			fault: "ended more than once",
		},
		{
			name:  "twice without a cause",
			c:     chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 2), taken(5, 6)}}, Told: one(delivered)},
			fault: "SENT TWICE",
		},
		{
			name:    "twice, another was killed",
			c:       chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 2), taken(5, 6)}}, Told: one(delivered)},
			strokes: []chaos.Stroke{stroke(chaos.Kill, "dispatcher2", 1.005, 2)}, fault: "SENT TWICE",
		},
		{
			name:    "killed with the reply unread",
			c:       chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 0), taken(5, 6)}}, Told: one(delivered)},
			strokes: dead, window: chaos.Unread,
		},
		{
			name:    "killed before the outcome was written",
			c:       chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 1.02), taken(5, 6)}}, Told: one(delivered)},
			strokes: dead, window: chaos.Unwritten,
		},
		{
			name: "killed after the outcome was written",
			c: chaos.Case{
				Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 1.02), taken(5, 6)}}, Told: []chaos.Told{told("1", delivered, 1.5, false)},
			},
			strokes: []chaos.Stroke{stroke(chaos.Kill, "dispatcher1", 1.6, 2)}, fault: "was written down as delivered",
		},
		{
			name:   "hung up, marked",
			c:      chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{hungUp, taken(5, 6)}}, Told: marked},
			window: chaos.HungUp,
		},
		{
			name:  "hung up, not marked",
			c:     chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{hungUp, taken(5, 6)}}, Told: one(delivered)},
			fault: "does not say so", window: chaos.HungUp,
		},
		{
			name:    "a bill sent again by a decision, not marked",
			c:       chaos.Case{Accepted: true, Lane: "billing", Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 0), taken(5, 6)}}, Told: append(one(delivered), told("0", eventsv1.EventType_EVENT_TYPE_DECIDED, 3, false))},
			strokes: dead, fault: "sent twice by a decision", window: chaos.Unread,
		},
		{
			name:    "a bill sent again without a decision",
			c:       chaos.Case{Accepted: true, Lane: "billing", Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 0), taken(5, 6)}}, Told: one(delivered)},
			strokes: dead, fault: "nobody decided", window: chaos.Unread,
		},
		{
			name:   "another Message-ID",
			c:      chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{hungUp, other}}, Told: marked},
			window: chaos.HungUp, fault: "Message-IDs",
		},
		{
			name:  "expired though taken",
			c:     chaos.Case{Accepted: true, Story: chaos.Story{Copies: []*chaos.Copy{taken(1, 2)}}, Told: one(expired)},
			fault: "though its host took it",
		},
		{name: "cancelled", c: chaos.Case{Accepted: true, Tried: true, Cancelled: at(1), Told: one(cancelled)}},
		{name: "cancelled by nobody", c: chaos.Case{Accepted: true, Told: one(cancelled)}, fault: "nobody asked"},
		{
			name:  "taken after its cancel",
			c:     chaos.Case{Accepted: true, Tried: true, Cancelled: at(1), Story: chaos.Story{Copies: []*chaos.Copy{hungUp, taken(2, 3)}}, Told: append(one(cancelled)[:0:0], told("1", cancelled, 9, true))},
			fault: "after its cancel", window: chaos.HungUp,
			strokes: []chaos.Stroke{stroke(chaos.Kill, "dispatcher1", 2.5, 3)},
		},
		{
			name:  "an OTP too late",
			c:     chaos.Case{Accepted: true, Lane: "otp", ExpiresAt: at(1), Story: chaos.Story{Copies: []*chaos.Copy{taken(3, 4)}, Last: at(3.01)}, Told: one(delivered)},
			fault: "TOO LATE",
		},
		{
			name:    "an OTP of a zombie",
			c:       chaos.Case{Accepted: true, Lane: "otp", ExpiresAt: at(1), Story: chaos.Story{Copies: []*chaos.Copy{taken(3, 4)}, Last: at(3.01)}, Told: one(delivered)},
			strokes: []chaos.Stroke{stroke(chaos.Freeze, "dispatcher1", 0.5, 3)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i, one := range tt.c.Told {
				if i == 0 || one.Event.GetEventId() != tt.c.Told[0].Event.GetEventId() {
					tt.c.Timeline = append(tt.c.Timeline, one.Event)
				}
			}
			if len(tt.c.Timeline) > 1 {
				tt.c.Timeline = tt.c.Timeline[:1] // the tracker keeps one
			}
			f := chaos.Judge(tt.c, tt.strokes)
			if got := strings.Join(f.Faults, "; "); (got == "") != (tt.fault == "") || !strings.Contains(got, tt.fault) || len(f.Faults) > 1 {
				t.Errorf("Judge() found %q, want %q\n%s", got, tt.fault, tt.c.Tale())
			}
			if (len(f.Window) > 0) != (tt.window != "") || len(f.Window) > 0 && f.Window[0] != tt.window {
				t.Errorf("Judge() saw the windows %q, want %q", f.Window, tt.window)
			}
		})
	}
}
