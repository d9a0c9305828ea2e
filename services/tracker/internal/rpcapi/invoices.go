package rpcapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/text/currency"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

const (
	// invoiceMails bounds the mails shown with an invoice.
	invoiceMails = 1000
	// grace is how long the call that reports a payment has to cancel the
	// reminders itself, before the errand loop does.
	grace = 15 * time.Second
	// ahead is how far in the future a report may lie, for clocks that differ.
	ahead = time.Hour
)

// ReportBillingEvent tells the ledger what happened to an invoice.
func (s *Server) ReportBillingEvent(ctx context.Context, req *trackerv1.ReportBillingEventRequest) (*trackerv1.ReportBillingEventResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeSend); err != nil {
		return nil, err
	}
	now := s.deps.Now()
	report, err := s.report(ctx, req, now)
	if err != nil {
		return nil, err
	}
	out, err := s.deps.Store.Report(ctx, report, now)
	if errors.Is(err, store.ErrOtherReport) {
		return nil, fault.Newf(fault.Precondition, faultv1.Reason_REASON_IDEMPOTENCY_MISMATCH,
			"the idempotency key was used for another report")
	}
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	s.deps.Posted()
	cancelled := out.Cancelled
	if out.Errand != nil {
		// The payment stands; an errand that fails now is tried again later.
		if cancelled, err = s.deps.Errand(ctx, *out.Errand); err != nil {
			s.deps.Log.WarnContext(ctx, "reminders not cancelled yet, trying again", slog.Any("error", err))
		}
	}
	return &trackerv1.ReportBillingEventResponse{Invoice: answerInvoice(out.Invoice), RemindersCancelled: cancelled}, nil
}

// report checks and reads a request.
func (s *Server) report(ctx context.Context, req *trackerv1.ReportBillingEventRequest, now time.Time) (store.Report, error) {
	if err := checkAmount(req); err != nil {
		return store.Report{}, err
	}
	if err := clean(map[string]string{
		"idempotency_key": req.GetIdempotencyKey(), "invoice_id": req.GetInvoiceId(),
		"payment_reference": req.GetPaymentReference(), "click_id": req.GetClickId(),
	}); err != nil {
		return store.Report{}, err
	}
	at := now
	if ts := req.GetOccurredAt(); ts != nil {
		var err error
		if at, _, err = span(ts, nil, "occurred_at", ""); err != nil {
			return store.Report{}, err
		}
		if at.After(now.Add(ahead)) {
			return store.Report{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "occurred_at", "is in the future")
		}
	}
	body, ok := proto.Clone(req).(*trackerv1.ReportBillingEventRequest)
	if !ok {
		return store.Report{}, errors.New("a clone is of another type")
	}
	body.IdempotencyKey = ""
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return store.Report{}, err
	}
	fingerprint := sha256.Sum256(raw)
	tenant := rpc.Tenant(ctx)
	return store.Report{
		Entry: ledger.Entry{
			ID: ledger.ReportID(tenant, req.GetIdempotencyKey()), Type: ledger.Type(req.GetType()), Tenant: tenant,
			InvoiceID: req.GetInvoiceId(), At: at, Amount: wire.Money(req.GetAmount()), Reference: req.GetPaymentReference(),
		},
		ClickID: req.GetClickId(), Fingerprint: fingerprint[:], Window: s.cfg.Attribution, CancelAt: now.Add(grace),
	}, nil
}

// checkAmount refuses amounts that mean nothing.
func checkAmount(req *trackerv1.ReportBillingEventRequest) error {
	a := req.GetAmount()
	paid := req.GetType() == eventsv1.BillingType_BILLING_TYPE_PAID
	bad := func(why string) error {
		return fault.Invalidf(faultv1.Reason_REASON_AMOUNT_INVALID, "amount", "%s", why)
	}
	switch {
	case a == nil && paid:
		return bad("is required for PAID")
	case a == nil:
		return nil
	case a.GetUnits() < 0 || a.GetNanos() < 0:
		return bad("is negative")
	case paid && a.GetUnits() == 0 && a.GetNanos() == 0:
		return bad("is zero")
	}
	if _, err := currency.ParseISO(a.GetCurrencyCode()); err != nil {
		return fault.Invalidf(faultv1.Reason_REASON_CURRENCY_UNKNOWN, "amount.currency_code", "is no ISO 4217 code")
	}
	return nil
}

// GetInvoice shows an invoice's life with its mails.
func (s *Server) GetInvoice(ctx context.Context, req *trackerv1.GetInvoiceRequest) (*trackerv1.GetInvoiceResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	tenant, id := rpc.Tenant(ctx), req.GetInvoiceId()
	if err := clean(map[string]string{"invoice_id": id}); err != nil {
		return nil, err
	}
	inv, err := s.deps.Store.Invoice(ctx, tenant, id)
	if unknown(err) {
		return nil, fault.Newf(fault.NotFound, faultv1.Reason_REASON_INVOICE_UNKNOWN, "no invoice of that id is known").
			WithMeta("invoice_id", id)
	}
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	mails, err := s.deps.Store.Mails(ctx, tenant, store.Filter{InvoiceID: id, Limit: invoiceMails})
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	slices.Reverse(mails)
	life, err := s.deps.Store.Life(ctx, tenant, id)
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	res := &trackerv1.GetInvoiceResponse{Invoice: answerInvoice(inv), Life: make([]*eventsv1.BillingEvent, len(life))}
	for i, e := range life {
		res.Life[i] = wire.Billing(e)
	}
	res.Mails, err = answerMails(mails)
	return res, err
}

// ListInvoices finds invoices, the newest first.
func (s *Server) ListInvoices(ctx context.Context, req *trackerv1.ListInvoicesRequest) (*trackerv1.ListInvoicesResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	after, err := parseCursor(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if _, ok := trackerv1.InvoiceState_name[int32(req.GetState())]; !ok {
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "state", "is not known")
	}
	f := store.InvoiceFilter{
		State: ledger.State(req.GetState()), AfterTime: after.at, AfterID: after.id, Limit: limit(req.GetPageSize()) + 1,
	}
	invoices, err := s.deps.Store.Invoices(ctx, rpc.Tenant(ctx), f)
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	res := &trackerv1.ListInvoicesResponse{}
	if len(invoices) == f.Limit {
		invoices = invoices[:f.Limit-1]
		last := invoices[len(invoices)-1]
		res.NextPageToken = cursor{last.FirstSeenAt, last.ID}.token()
	}
	for _, inv := range invoices {
		res.Invoices = append(res.Invoices, answerInvoice(inv))
	}
	return res, nil
}

// GetReport counts mails, opens, clicks and payments by group.
func (s *Server) GetReport(ctx context.Context, req *trackerv1.GetReportRequest) (*trackerv1.GetReportResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	from, to, err := span(req.GetFrom(), req.GetTo(), "from", "to")
	if err != nil {
		return nil, err
	}
	if _, ok := trackerv1.ReportGroup_name[int32(req.GetGroup())]; !ok {
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "group", "is not known")
	}
	by := map[trackerv1.ReportGroup]store.GroupBy{
		trackerv1.ReportGroup_REPORT_GROUP_UNSPECIFIED:   store.ByAll,
		trackerv1.ReportGroup_REPORT_GROUP_TEMPLATE:      store.ByTemplate,
		trackerv1.ReportGroup_REPORT_GROUP_CAMPAIGN:      store.ByCampaign,
		trackerv1.ReportGroup_REPORT_GROUP_REMINDER_STEP: store.ByStep,
		trackerv1.ReportGroup_REPORT_GROUP_DOMAIN:        store.ByDomain,
	}[req.GetGroup()]
	counts, err := s.deps.Store.Counts(ctx, rpc.Tenant(ctx), by, from, to)
	if err != nil {
		return nil, s.storeFault(ctx, err)
	}
	res := &trackerv1.GetReportResponse{}
	for _, c := range counts {
		row := &trackerv1.ReportRow{
			Key: c.Key, Accepted: c.Accepted, Delivered: c.Delivered, Bounced: c.Bounced, Opened: c.Opened, Clicked: c.Clicked, Paid: c.Paid,
		}
		if c.DeliveryP50 > 0 {
			row.DeliveryP50 = durationpb.New(c.DeliveryP50)
		}
		res.Rows = append(res.Rows, row)
	}
	return res, nil
}

func answerInvoice(inv ledger.Invoice) *trackerv1.Invoice {
	return &trackerv1.Invoice{
		Tenant: inv.Tenant, InvoiceId: inv.ID,
		State:  trackerv1.InvoiceState(inv.State), // numbered alike
		Amount: wire.AnswerMoney(inv.Amount), DueOn: wire.Date(inv.DueOn), FirstSeenAt: wire.Timestamp(inv.FirstSeenAt),
		PaidAt: wire.Timestamp(inv.PaidAt), PaidByMailId: inv.PaidBy, Attribution: inv.Attribution,
		PaidAmount: wire.AnswerMoney(inv.PaidAmount), Opens: inv.Opens, Clicks: inv.Clicks, Mails: inv.Mails,
	}
}
