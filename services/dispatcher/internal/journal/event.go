package journal

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/dispatcher/internal/outcome"
)

// Kind is what an outcome says.
type Kind int

// The kinds. Delivered, Bounced and Expired are final; Deferred and Held end
// this release of the mail; Attempted and Committing end nothing.
const (
	Unknown Kind = iota
	Attempted
	Committing
	Deferred
	Held
	Delivered
	Bounced
	Expired
)

// String is the kind's name in logs and metrics.
func (k Kind) String() string {
	switch k {
	case Attempted:
		return "attempted"
	case Committing:
		return "committing"
	case Deferred:
		return "deferred"
	case Held:
		return "held"
	case Delivered:
		return "delivered"
	case Bounced:
		return "bounced"
	case Expired:
		return "expired"
	case Unknown:
	}
	return "unknown"
}

// Final says whether nothing follows.
func (k Kind) Final() bool { return k == Delivered || k == Bounced || k == Expired }

// Settles says whether the lane record is done with it.
func (k Kind) Settles() bool { return k >= Deferred }

// Outcome is what an attempt came to.
type Outcome struct {
	Kind Kind
	// Sequence counts the tries of this release, from 1; 0 when none was made.
	Sequence uint32
	// At is when, Took how long the attempt was.
	At   time.Time
	Took time.Duration
	// Site, Host, RemoteIP, Route and TLS say where it went.
	Site, Host, RemoteIP, Route, TLS string
	// Stage is how far it came, Reply the server's last word.
	Stage outcome.Stage
	Reply outcome.Reply
	// Verdict judges what was no success.
	Verdict outcome.Verdict
	// NextAt is when the next try is due; zero for none.
	NextAt time.Time
	// Selectors it was signed with.
	Selectors []string
	// PossibleDuplicate says that an earlier attempt may have delivered it.
	PossibleDuplicate bool
	// Traceparent of the delivery.
	Traceparent string
}

// Answered says that the outcome is the server's reply to the final dot. It
// stands whoever owns the mail by now; all else is for its owner to say.
func (o Outcome) Answered() bool {
	return o.Kind == Delivered || o.Kind == Bounced && o.Stage == outcome.StageDot
}

// Reason is the outcome in words, for the waiting room.
func (o Outcome) Reason() string {
	if o.Reply.Text != "" {
		return outcome.Sanitize(o.Reply.Text)
	}
	return o.Verdict.Category.String()
}

func kindType(k Kind) eventsv1.EventType {
	switch k {
	case Attempted:
		return eventsv1.EventType_EVENT_TYPE_ATTEMPTED
	case Committing:
		return eventsv1.EventType_EVENT_TYPE_COMMITTING
	case Deferred:
		return eventsv1.EventType_EVENT_TYPE_DEFERRED
	case Held:
		return eventsv1.EventType_EVENT_TYPE_HELD
	case Delivered:
		return eventsv1.EventType_EVENT_TYPE_DELIVERED
	case Bounced:
		return eventsv1.EventType_EVENT_TYPE_BOUNCED
	case Expired:
		return eventsv1.EventType_EVENT_TYPE_EXPIRED
	case Unknown:
	}
	return eventsv1.EventType_EVENT_TYPE_UNSPECIFIED
}

func typeKind(t eventsv1.EventType) Kind {
	for k := Attempted; k <= Expired; k++ {
		if kindType(k) == t {
			return k
		}
	}
	return Unknown
}

// event is the proto of an outcome. Categories, parties and stages have the
// same numbers on both sides, which a test pins.
func event(m *Mail, o Outcome) *eventsv1.Event {
	t := kindType(o.Kind)
	enhanced := o.Reply.Enhanced
	if enhanced == "" {
		enhanced = o.Verdict.Code
	}
	detail := &eventsv1.Attempt{
		Site: o.Site, Host: o.Host, RemoteIp: o.RemoteIP, Route: o.Route, Egress: "default", Tls: o.TLS,
		Stage: eventsv1.Stage(o.Stage), Code: uint32(o.Reply.Code), EnhancedCode: enhanced,
		Text: outcome.Sanitize(o.Reply.Text), Category: eventsv1.Category(o.Verdict.Category),
		Party: eventsv1.Party(o.Verdict.Party), Hard: o.Verdict.Hard, DkimSelectors: o.Selectors,
		PossibleDuplicate: o.PossibleDuplicate,
		Elapsed:           durationpb.New(max(o.At.Sub(m.AcceptedAt), 0)), Took: durationpb.New(max(o.Took, 0)),
	}
	if !o.NextAt.IsZero() {
		detail.NextAt = timestamppb.New(o.NextAt)
	}
	traceparent := o.Traceparent
	if traceparent == "" {
		traceparent = m.Traceparent
	}
	return &eventsv1.Event{
		EventId: record.EventID(m.MailID, m.Attempt, o.Sequence, t), Type: t,
		MailId: m.MailID, Tenant: m.Tenant, Lane: m.Lane, Attempt: m.Attempt, Sequence: o.Sequence,
		OccurredAt: timestamppb.New(o.At), Facts: m.envelope.GetFacts(), Traceparent: traceparent,
		Detail: &eventsv1.Event_AttemptDetail{AttemptDetail: detail},
	}
}

// Settled is what the journal knows of a lane record.
type Settled struct {
	Kind Kind
	// Offset of the outcome record in the journal.
	Offset int64
	// Sequence, NextAt, Site and Reason make a deferral again.
	Sequence uint32
	NextAt   time.Time
	// Site it waits for, and Reason why.
	Site, Reason string
	// Doubt says that the mail may have been delivered all the same.
	Doubt bool
	// Crowded says that it was sent away untried, until its turn.
	Crowded bool
	// Refused says that the server turned the mail down after its dot: the
	// note that it was being committed is answered.
	Refused bool
}

// Outweighs says whether what is known of a record stands against a later
// record of the journal. The last one counts; but nothing takes back what is
// final, and what a dispatcher wrote that had lost its lease does not hide
// that its successor was at the dot: not when it comes after the successor's
// note, nor when it came before.
func (s Settled) Outweighs(later Settled) bool {
	switch {
	case s.Kind.Final():
		return !later.Kind.Final()
	case s.Kind == Committing:
		return !later.Refused && (later.Kind == Attempted || later.Kind == Deferred)
	case later.Kind == Committing:
		return s.Kind == Held
	}
	return s.Kind.Settles() && !later.Kind.Settles()
}

// Read reads an outcome record written by any dispatcher; false when it tells
// nothing of a lane record.
func Read(codec *record.Codec, r custody.Record) (Key, Settled, bool) {
	ev, err := codec.OpenEvent(r)
	if err != nil {
		return Key{}, Settled{}, false
	}
	kind := typeKind(ev.GetType())
	detail := ev.GetAttemptDetail()
	s := Settled{
		Kind: kind, Offset: r.Offset, Sequence: ev.GetSequence(), Site: detail.GetSite(), Reason: detail.GetText(),
		Refused: detail.GetStage() == eventsv1.Stage_STAGE_DOT && detail.GetCode() != 0,
	}
	// What is in doubt itself does not say so: the mark is for a second copy.
	s.Doubt = detail.GetPossibleDuplicate() ||
		(kind == Attempted || kind == Deferred) && detail.GetStage() == eventsv1.Stage_STAGE_DOT && detail.GetCode() == 0
	s.Crowded = kind == Deferred && ev.GetSequence() == 0 && detail.GetStage() == eventsv1.Stage_STAGE_QUEUE
	if detail.GetNextAt() != nil {
		s.NextAt = detail.GetNextAt().AsTime()
	}
	if s.Reason == "" {
		s.Reason = outcome.Category(detail.GetCategory()).String()
	}
	return Key{ev.GetMailId(), ev.GetAttempt()}, s, kind != Unknown
}
