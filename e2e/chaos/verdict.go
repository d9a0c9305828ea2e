package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kurir.dev/kit/lane"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// Stroke is a fault as it was carried out.
type Stroke struct {
	Fault
	From, To time.Time // To is zero while it lasts
}

// hits says whether the stroke was on one of the targets at some time between
// from and to.
func (s Stroke) hits(from, to time.Time, targets ...string) bool {
	if s.From.After(to) || !s.To.IsZero() && s.To.Before(from) {
		return false
	}
	for target := range strings.SplitSeq(s.Target, "+") {
		if slices.Contains(targets, target) {
			return true
		}
	}
	return false
}

// Case is all that is known of one mail.
type Case struct {
	// ID is the mail's id, Lane its lane; Accepted says that its sender was
	// told OK, and ExpiresAt when it expires; zero when nobody was told.
	ID, Lane  string
	Accepted  bool
	ExpiresAt time.Time
	// Cancelled is when a cancel was answered with OK; Tried says that one was
	// tried.
	Cancelled time.Time
	Tried     bool
	// Dest is where it goes, Story what was seen there.
	Dest  Dest
	Story Story
	// Told is what lies in the topics, Timeline what the tracker shows.
	Told     []Told
	Timeline []*eventsv1.Event
}

// Finding is what the judge says of a mail.
type Finding struct {
	// Final is how it ended; unspecified when it did not.
	Final eventsv1.EventType
	// Faults are broken promises, empty when all were kept.
	Faults []string
	// Window says of each copy but the last why another followed, where that
	// is allowed.
	Window []Window
	// Marked says that the final event tells of a possible duplicate.
	Marked bool
}

// Window is why nobody could know that a copy had been taken.
type Window string

// The windows. In each the final dot was on the wire.
const (
	HungUp    Window = "the host hung up instead of replying"
	Unread    Window = "its reply was not read"
	Unwritten Window = "its reply was read and its outcome not yet acknowledged"
)

// final says that nothing follows of a mail but what readers do.
func final(t eventsv1.EventType) bool {
	switch t {
	case eventsv1.EventType_EVENT_TYPE_DELIVERED, eventsv1.EventType_EVENT_TYPE_BOUNCED, eventsv1.EventType_EVENT_TYPE_EXPIRED,
		eventsv1.EventType_EVENT_TYPE_CANCELLED, eventsv1.EventType_EVENT_TYPE_SUPPRESSED:
		return true
	default:
		return false
	}
}

// Judge says what became of a mail, and which promises were broken.
func Judge(c Case, strokes []Stroke) Finding {
	f := Finding{}
	blame := func(format string, args ...any) { f.Faults = append(f.Faults, fmt.Sprintf(format, args...)) }

	finals := map[string]eventsv1.EventType{}
	for _, told := range c.Told {
		if final(told.Event.GetType()) {
			finals[told.Event.GetEventId()] = told.Event.GetType()
			f.Marked = f.Marked || told.Event.GetAttemptDetail().GetPossibleDuplicate()
		}
	}
	shown := 0
	for _, ev := range c.Timeline {
		if final(ev.GetType()) {
			shown++
			f.Final = ev.GetType()
		}
	}
	switch {
	case c.Accepted && len(finals) == 0:
		blame("LOST: it was accepted and the topics tell no end of it")
	case c.Accepted && shown == 0:
		blame("LOST: it was accepted and the tracker shows no end of it")
	case len(finals) > 1:
		blame("ended more than once: %v", finals)
	case shown > 1:
		blame("the tracker shows %d final events", shown)
	}
	copies := c.Story.Copies
	for i := 1; i < len(copies); i++ {
		window, why := explain(*copies[i-1], *copies[i], c.Told, strokes)
		if why != "" {
			blame("SENT TWICE: copy %d came %s, though %s", i+1, copies[i].At.Format(clock), why)
			continue
		}
		f.Window = append(f.Window, window)
	}
	for _, again := range copies[min(1, len(copies)):] {
		if again.MessageID != copies[0].MessageID {
			blame("its copies bear the Message-IDs %s and %s", copies[0].MessageID, again.MessageID)
		}
	}
	judgeEnd(c, f.Final, strokes, blame)
	if len(f.Window) > 0 && f.Final == eventsv1.EventType_EVENT_TYPE_DELIVERED && !f.Marked {
		decided := slices.ContainsFunc(c.Told, func(t Told) bool { return t.Event.GetType() == eventsv1.EventType_EVENT_TYPE_DECIDED })
		switch {
		case c.Lane == lane.Billing && !decided:
			blame("SENT TWICE: its lane holds what is in doubt, and nobody decided")
		case c.Lane == lane.Billing:
			blame("sent twice by a decision, its end does not say so")
		case slices.Contains(f.Window, HungUp) && !disturbed(c.Story, strokes):
			blame("sent twice as its host hung up, its end does not say so")
		}
	}
	if c.Lane == lane.OTP {
		judgeDeadline(c, strokes, blame)
	}
	return f
}

// disturbed says that a fault may have cost the knowledge of an earlier copy.
func disturbed(s Story, strokes []Stroke) bool {
	first, last := s.Copies[0], s.Copies[len(s.Copies)-1]
	return slices.ContainsFunc(strokes, func(k Stroke) bool {
		return k.hits(first.Data, last.At, dispatcher1, dispatcher2, brokerName, dispatcher1+">"+brokerName, dispatcher2+">"+brokerName)
	})
}

// judgeEnd checks the end of a mail against what its host saw.
func judgeEnd(c Case, end eventsv1.EventType, strokes []Stroke, blame func(string, ...any)) {
	copies := c.Story.Copies
	switch end {
	case eventsv1.EventType_EVENT_TYPE_DELIVERED:
		if len(copies) == 0 {
			blame("LOST: said to be delivered, its host never took it")
		}
	case eventsv1.EventType_EVENT_TYPE_BOUNCED:
		if c.Story.Refused == 0 {
			blame("LOST: said to be refused for good, its host never refused it")
		}
	case eventsv1.EventType_EVENT_TYPE_CANCELLED:
		if !c.Tried {
			blame("LOST: cancelled though nobody asked for it")
		}
	case eventsv1.EventType_EVENT_TYPE_SUPPRESSED:
		blame("LOST: suppressed though nobody suppressed it")
	default:
	}
	if end != eventsv1.EventType_EVENT_TYPE_UNSPECIFIED && end != eventsv1.EventType_EVENT_TYPE_DELIVERED && len(copies) > 0 {
		last := copies[len(copies)-1]
		next := Copy{Data: time.Now()}
		for _, told := range c.Told {
			if told.Event.GetType() == end {
				next.Data = told.Written
			}
		}
		if _, why := explain(*last, next, nil, strokes); why != "" {
			blame("its end is %v, though its host took it and %s", end, why)
		}
	}
	if !c.Cancelled.IsZero() {
		if end != eventsv1.EventType_EVENT_TYPE_CANCELLED {
			blame("its cancel was answered with OK and its end is %v", end)
		}
		for _, one := range copies {
			if one.Data.After(c.Cancelled) {
				blame("its host took it at %s, after its cancel was answered with OK at %s", one.At.Format(clock), c.Cancelled.Format(clock))
			}
		}
	}
}

// gap is how long the way from a look at the clock to the wire and on to the
// judge may take: two processes must be scheduled between them, on a machine
// with more to do than it can. What is measured is the same clock.
const gap = time.Second

// judgeDeadline checks that nothing of the mail was on the wire after its
// time. A process that stood still between its look at the clock and the wire
// could not know.
func judgeDeadline(c Case, strokes []Stroke, blame func(string, ...any)) {
	if c.ExpiresAt.IsZero() || !c.Story.Last.After(c.ExpiresAt.Add(gap)) {
		return
	}
	if slices.ContainsFunc(strokes, func(s Stroke) bool {
		return s.Act == Freeze && s.hits(c.ExpiresAt.Add(-gap), c.Story.Last, dispatcher1, dispatcher2)
	}) {
		return
	}
	blame("TOO LATE: on the wire at %s, its time was over at %s", c.Story.Last.Format(clock), c.ExpiresAt.Format(clock))
}

// explain says which window a copy fell into, that another could follow it; or
// why there was none.
func explain(prev, next Copy, told []Told, strokes []Stroke) (window Window, why string) {
	name, _, _ := strings.Cut(prev.Sender, ".")
	struck := func(from time.Time, targets ...string) bool {
		return slices.ContainsFunc(strokes, func(s Stroke) bool { return s.hits(from, next.Data, targets...) })
	}
	// Away from the broker nobody can be told, and another takes over.
	away := struck(prev.Data.Add(-2*session), brokerName, name+">"+brokerName) ||
		slices.ContainsFunc(strokes, func(s Stroke) bool { return s.Act == Freeze && s.hits(prev.Data.Add(-2*session), next.Data, name) })
	for _, t := range told { // written in whole milliseconds
		if t.Event.GetType() == eventsv1.EventType_EVENT_TYPE_DELIVERED && t.Written.Before(next.Data.Truncate(time.Millisecond)) && t.Written.After(prev.Data) && !away {
			return "", fmt.Sprintf("copy 1 of %s was written down as delivered at %s", prev.At.Format(clock), t.Written.Format(clock))
		}
	}
	switch {
	case prev.Dropped:
		return HungUp, ""
	case !away && !struck(prev.Data, name):
		return "", fmt.Sprintf("nothing happened to %s since the copy of %s", name, prev.At.Format(clock))
	case prev.Read.IsZero() || prev.Read.After(next.Data):
		return Unread, ""
	default:
		return Unwritten, ""
	}
}

const clock = "15:04:05.000"

// Tale is what happened to a mail, as told by all who know, in the order of
// time, and the faults around its copies.
func (c Case) Tale(strokes ...Stroke) string {
	type entry struct {
		at   time.Time
		text string
	}
	var all []entry
	add := func(at time.Time, format string, args ...any) {
		all = append(all, entry{at, fmt.Sprintf(format, args...)})
	}
	for i, one := range c.Story.Copies {
		add(one.Data, "host: DATA of copy %d from %s", i+1, one.Sender)
		add(one.At, "host: copy %d taken, %s, dropped %t", i+1, one.MessageID, one.Dropped)
		if !one.Read.IsZero() {
			add(one.Read, "host: reply to copy %d was read", i+1)
		}
	}
	for _, t := range c.Told {
		d := t.Event.GetAttemptDetail()
		add(t.Written, "topic: %s %s, %s %d %s", t.Event.GetType(), t.Event.GetEventId(), d.GetStage(), d.GetCode(), d.GetText())
	}
	for _, ev := range c.Timeline {
		add(ev.GetOccurredAt().AsTime().Local(), "tracker: %s, attempt %d.%d", ev.GetType(), ev.GetAttempt(), ev.GetSequence())
	}
	if copies := c.Story.Copies; len(copies) > 0 {
		for _, s := range strokes {
			if d := s.From.Sub(copies[0].Data); d > -3*session && s.From.Before(copies[len(copies)-1].At) {
				add(s.From, "fault: %s %s until %s", s.Act, s.Target, s.To.Format(clock))
			}
		}
	}
	if !c.Cancelled.IsZero() {
		add(c.Cancelled, "router: cancel answered with OK")
	}
	if !c.ExpiresAt.IsZero() {
		add(c.ExpiresAt.Local(), "expires")
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
	var text strings.Builder
	fmt.Fprintf(&text, "  %d refusals, %d deferrals by the host\n", c.Story.Refused, c.Story.Deferred)
	for _, e := range all {
		fmt.Fprintf(&text, "  %s  %s\n", e.at.Format(clock), e.text)
	}
	return text.String()
}
