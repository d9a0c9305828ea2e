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

// accepted is the event of a mail that came into custody.
func accepted(e *eventsv1.MailEnvelope, r admission.Receipt) *eventsv1.Event {
	t := eventsv1.EventType_EVENT_TYPE_ACCEPTED
	detail := &eventsv1.Acceptance{ExpiresAt: timestamppb.New(r.ExpiresAt)}
	if r.Scheduled() {
		t = eventsv1.EventType_EVENT_TYPE_SCHEDULED
		detail.SendAt = timestamppb.New(r.SendAt)
	}
	ev := event(e, t, 0, r.AcceptedAt)
	ev.Detail = &eventsv1.Event_Acceptance{Acceptance: detail}
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
	if w.Ending == waiting.Expired {
		ev := event(e, eventsv1.EventType_EVENT_TYPE_EXPIRED, attempt, at)
		ev.Detail = &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{
			Site:     w.Site,
			Stage:    eventsv1.Stage_STAGE_QUEUE,
			Text:     w.Reason,
			Category: eventsv1.Category_CATEGORY_EXPIRED,
			Hard:     true,
			Elapsed:  durationpb.New(at.Sub(e.GetAcceptedAt().AsTime())),
		}}
		return ev
	}
	t := eventsv1.EventType_EVENT_TYPE_CANCELLED
	if w.Ending == waiting.Suppressed {
		t = eventsv1.EventType_EVENT_TYPE_SUPPRESSED
	}
	ev := event(e, t, attempt, at)
	ev.Detail = &eventsv1.Event_Note{Note: &eventsv1.Note{Reason: w.Reason}}
	return ev
}
