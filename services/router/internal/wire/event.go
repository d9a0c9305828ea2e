package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/record"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/waiting"
)

// event makes an event of a mail; its id is the same however often it is told.
func event(e *eventsv1.MailEnvelope, t eventsv1.EventType, attempt uint32, at time.Time) *eventsv1.Event {
	return &eventsv1.Event{
		EventId:     record.EventID(e.GetMailId(), attempt, 0, t),
		Type:        t,
		MailId:      e.GetMailId(),
		Tenant:      e.GetTenant(),
		Lane:        e.GetLane(),
		Attempt:     attempt,
		OccurredAt:  timestamppb.New(at),
		Facts:       e.GetFacts(),
		Traceparent: e.GetTraceparent(),
	}
}

// accepted is the event of a mail that came into custody and goes at once.
func accepted(e *eventsv1.MailEnvelope, r admission.Receipt) *eventsv1.Event {
	ev := event(e, eventsv1.EventType_EVENT_TYPE_ACCEPTED, 0, r.AcceptedAt)
	ev.Detail = &eventsv1.Event_Acceptance{Acceptance: &eventsv1.Acceptance{ExpiresAt: timestamppb.New(r.ExpiresAt)}}
	return ev
}

// scheduled is the event of a mail that came into custody and waits.
func scheduled(e *eventsv1.MailEnvelope, w waiting.Mail) *eventsv1.Event {
	ev := event(e, eventsv1.EventType_EVENT_TYPE_SCHEDULED, 0, e.GetAcceptedAt().AsTime())
	ev.Detail = &eventsv1.Event_Acceptance{Acceptance: &eventsv1.Acceptance{
		ExpiresAt: timestamppb.New(w.ExpiresAt), SendAt: timestamppb.New(w.DueAt),
	}}
	return ev
}

// held is the event of a mail that an operator holds. Like decided it belongs
// to the release before the one it waits for, and is named by the time its hold
// began: a mail may be held more than once.
func held(e *eventsv1.MailEnvelope, w waiting.Mail) *eventsv1.Event {
	ev := holding(e, w, eventsv1.EventType_EVENT_TYPE_HELD, w.HeldAt)
	ev.Detail = &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{
		Site: w.Site, Stage: eventsv1.Stage_STAGE_QUEUE, Text: w.Reason, PossibleDuplicate: w.InDoubt,
	}}
	return ev
}

// decided is the event of a hold that ended.
func decided(e *eventsv1.MailEnvelope, w waiting.Mail, at time.Time) *eventsv1.Event {
	ev := holding(e, w, eventsv1.EventType_EVENT_TYPE_DECIDED, at)
	ev.Detail = &eventsv1.Event_Note{Note: &eventsv1.Note{Reason: w.Reason}}
	return ev
}

func holding(e *eventsv1.MailEnvelope, w waiting.Mail, t eventsv1.EventType, at time.Time) *eventsv1.Event {
	ev := event(e, t, max(w.Attempt, 1)-1, at)
	ev.EventId = record.EventID(e.GetMailId(), ev.GetAttempt(), uint32(w.HeldAt.Unix()), t)
	return ev
}

// released is the event of a mail that left the room for its lane.
func released(e *eventsv1.MailEnvelope, w waiting.Mail, at time.Time) *eventsv1.Event {
	ev := event(e, eventsv1.EventType_EVENT_TYPE_RELEASED, w.Attempt, at)
	ev.Detail = &eventsv1.Event_Note{Note: &eventsv1.Note{Reason: w.Reason}}
	return ev
}

// settled is the final event of a mail that ends in the room. It belongs to
// the release before the one it waited for.
func settled(e *eventsv1.MailEnvelope, w waiting.Mail, at time.Time) *eventsv1.Event {
	attempt := max(w.Attempt, 1) - 1
	detail := &eventsv1.Attempt{Site: w.Site, Stage: eventsv1.Stage_STAGE_QUEUE, Text: w.Reason}
	if e.GetAcceptedAt() != nil {
		detail.Elapsed = durationpb.New(at.Sub(e.GetAcceptedAt().AsTime()))
	}
	switch w.Ending {
	case waiting.Expired:
		ev := event(e, eventsv1.EventType_EVENT_TYPE_EXPIRED, attempt, at)
		detail.Category, detail.Hard = eventsv1.Category_CATEGORY_EXPIRED, true
		ev.Detail = &eventsv1.Event_AttemptDetail{AttemptDetail: detail}
		return ev
	case waiting.Delivered: // nobody saw a server say so
		ev := event(e, eventsv1.EventType_EVENT_TYPE_DELIVERED, attempt, at)
		ev.Detail = &eventsv1.Event_AttemptDetail{AttemptDetail: detail}
		return ev
	case waiting.Cancelled, waiting.Suppressed:
	}
	t := eventsv1.EventType_EVENT_TYPE_CANCELLED
	if w.Ending == waiting.Suppressed {
		t = eventsv1.EventType_EVENT_TYPE_SUPPRESSED
	}
	ev := event(e, t, attempt, at)
	ev.Detail = &eventsv1.Event_Note{Note: &eventsv1.Note{Reason: w.Reason}}
	return ev
}
