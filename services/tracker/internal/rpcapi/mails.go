package rpcapi

import (
	"context"
	"strings"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

// GetMail shows a mail with its timeline.
func (s *Server) GetMail(ctx context.Context, req *trackerv1.GetMailRequest) (*trackerv1.GetMailResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	tenant, id := rpc.Tenant(ctx), strings.ToLower(req.GetMailId())
	m, events, err := s.deps.Store.Story(ctx, tenant, id)
	if unknown(err) {
		return nil, fault.Newf(fault.NotFound, faultv1.Reason_REASON_MAIL_UNKNOWN, "no mail of that id is known").
			WithMeta("mail_id", id)
	}
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	res := &trackerv1.GetMailResponse{Timeline: make([]*eventsv1.Event, len(events))}
	if res.Mail, err = answerMail(m); err != nil {
		return nil, err
	}
	for i, e := range events {
		if res.Timeline[i], err = wire.Answer(e); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// ListMails finds mails, the newest first.
func (s *Server) ListMails(ctx context.Context, req *trackerv1.ListMailsRequest) (*trackerv1.ListMailsResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	after, err := parseCursor(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	from, to, err := span(req.GetAcceptedFrom(), req.GetAcceptedTo(), "accepted_from", "accepted_to")
	if err != nil {
		return nil, err
	}
	if err := clean(map[string]string{
		"recipient": req.GetRecipient(), "invoice_id": req.GetInvoiceId(), "campaign": req.GetCampaign(), "lane": req.GetLane(),
	}); err != nil {
		return nil, err
	}
	if _, ok := mailv1.State_name[int32(req.GetState())]; !ok {
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "state", "is not known")
	}
	f := store.Filter{
		InvoiceID: req.GetInvoiceId(), Campaign: req.GetCampaign(), Lane: req.GetLane(), State: mail.State(req.GetState()),
		From: from, To: to, AfterTime: after.at, AfterID: after.id, Limit: limit(req.GetPageSize()) + 1,
	}
	if req.GetRecipient() != "" {
		f.Recipient = wire.Recipient(req.GetRecipient())
	}
	mails, err := s.deps.Store.Mails(ctx, rpc.Tenant(ctx), f)
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	res := &trackerv1.ListMailsResponse{}
	if len(mails) == f.Limit {
		mails = mails[:f.Limit-1]
		last := mails[len(mails)-1]
		res.NextPageToken = cursor{last.AcceptedAt, last.ID}.token()
	}
	res.Mails, err = answerMails(mails)
	return res, err
}

func answerMails(mails []mail.Mail) ([]*trackerv1.Mail, error) {
	out := make([]*trackerv1.Mail, len(mails))
	for i, m := range mails {
		var err error
		if out[i], err = answerMail(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func answerMail(m mail.Mail) (*trackerv1.Mail, error) {
	facts, err := wire.AnswerFacts(m.Facts)
	if err != nil {
		return nil, err
	}
	return &trackerv1.Mail{
		MailId: m.ID, Tenant: m.Tenant, Lane: m.Lane,
		State: mailv1.State(m.State), // numbered alike
		Facts: facts, AcceptedAt: wire.Timestamp(m.AcceptedAt), SettledAt: wire.Timestamp(m.SettledAt),
		Opens: m.Opens, Clicks: m.Clicks, MachineHits: m.MachineHits, TraceId: traceID(m.Traceparent),
	}, nil
}

// traceID is the trace id of a W3C traceparent; empty if it holds none.
func traceID(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 {
		return ""
	}
	return parts[1]
}
