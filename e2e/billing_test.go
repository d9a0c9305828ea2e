package e2e_test

import (
	"fmt"
	"testing"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// TestInvoice follows an invoice from its bill to its payment, which ends the
// reminder that was to follow.
func TestInvoice(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{})
	mx := m.Host(t, "mx.invoice.example", mxsim.HostConfig{})
	m.DNS.MX("invoice.example", "mx.invoice.example")

	bill := m.Bill(t, "sari@invoice.example", "INV-9")
	reminder := m.Reminder(t, "sari@invoice.example", "INV-9", later)
	m.Final(t, bill.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	wait(t, mx, 1)

	reader, err := mxsim.NewReader(mx.Messages()[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	target, err := reader.Click(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if target.Host != "bayar.example" || target.Path != "/INV-9" {
		t.Errorf("the pay link led to %v, want the bill's pay_url", target)
	}
	m.Event(t, bill.GetMailId(), eventsv1.EventType_EVENT_TYPE_OPENED)
	m.Event(t, bill.GetMailId(), eventsv1.EventType_EVENT_TYPE_CLICKED)

	payment := &trackerv1.ReportBillingEventRequest{
		IdempotencyKey: "pay-9", InvoiceId: "INV-9", Type: eventsv1.BillingType_BILLING_TYPE_PAID,
		Amount: harness.Invoice("INV-9").GetTotal(), ClickId: target.Query().Get("kurir_click"),
	}
	for range 2 { // told twice, it is one payment
		if _, err := m.Tracker.ReportBillingEvent(t.Context(), payment); err != nil {
			t.Fatal(err)
		}
	}
	m.Final(t, reminder.GetMailId(), eventsv1.EventType_EVENT_TYPE_CANCELLED)

	harness.Eventually(t, func() error {
		res, err := m.Tracker.GetInvoice(t.Context(), &trackerv1.GetInvoiceRequest{InvoiceId: "INV-9"})
		if err != nil {
			return err
		}
		inv := res.GetInvoice()
		if inv.GetState() != trackerv1.InvoiceState_INVOICE_STATE_PAID || inv.GetPaidByMailId() != bill.GetMailId() ||
			inv.GetAttribution() != "click_id" || inv.GetOpens() != 1 || inv.GetClicks() != 1 {
			return fmt.Errorf("invoice is %v, want it paid by mail %s with one open and one click", inv, bill.GetMailId())
		}
		payments := 0
		for _, ev := range res.GetLife() {
			if ev.GetType() == eventsv1.BillingType_BILLING_TYPE_PAID {
				payments++
			}
		}
		if payments != 1 {
			return fmt.Errorf("the invoice's life has %d payments, want 1", payments)
		}
		return nil
	})
	res, err := m.Tracker.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: reminder.GetMailId()})
	if err != nil || res.GetMail().GetState() != mailv1.State_STATE_CANCELLED {
		t.Errorf("the reminder is %v, %v, want it cancelled", res.GetMail().GetState(), err)
	}
}
