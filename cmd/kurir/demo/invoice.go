package demo

import (
	"context"
	"fmt"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

const invoiceID = "INV-2026-0042"

// bill is the invoice of the demonstration.
func bill() *mailv1.Bill {
	rupiah := func(n int64) *mailv1.Money { return &mailv1.Money{CurrencyCode: "IDR", Units: n} }
	return &mailv1.Bill{
		InvoiceId: invoiceID, BillerName: "PT Contoh Listrik", CustomerName: "Ibu Sari", Period: "November 2026",
		DueOn: &mailv1.Date{Year: 2026, Month: 12, Day: 5},
		LineItems: []*mailv1.LineItem{
			{Description: "Pemakaian listrik 214 kWh", Amount: rupiah(309_200)},
			{Description: "Biaya beban", Amount: rupiah(45_000)},
		},
		Total: rupiah(354_200), PayUrl: "https://bayar.example/" + invoiceID,
	}
}

// pay tells the ledger that the invoice was paid by whoever made the click.
func pay(ctx context.Context, tracker trackerv1.TrackerServiceClient, clickID string) error {
	_, err := tracker.ReportBillingEvent(ctx, &trackerv1.ReportBillingEventRequest{
		IdempotencyKey: "payment-0042", InvoiceId: invoiceID, Type: eventsv1.BillingType_BILLING_TYPE_PAID,
		Amount: bill().GetTotal(), PaymentReference: "VA-8801-0042", ClickId: clickID,
	})
	if err != nil {
		return fmt.Errorf("paying the invoice: %w", err)
	}
	return nil
}
