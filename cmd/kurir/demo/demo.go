// Package demo shows the mesh at work on one machine: real mail of all kinds
// over gRPC, Kafka lanes, DNS and SMTP to a receiving server of its own, an
// OTP passing a flood of bulk mail, and an invoice from its mail to its
// payment.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"kurir.dev/cmd/kurir/client"
	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/mxsim"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// Options say how much the demonstration sends.
type Options struct {
	// Bulk is how many bulk mails make the flood; 0 leaves the flood out.
	Bulk int
	// OTP is how many OTPs are sent, once while idle and once in the flood.
	OTP int
	// Out is told what happens; nil tells nobody.
	Out io.Writer
	// Live has the flood's progress redrawn on one line, for a terminal.
	Live bool
	// LogLevel of the services, "error" when empty.
	LogLevel string
	// TraceEndpoint is an OTLP/gRPC collector, such as a Jaeger; empty for none.
	TraceEndpoint string
}

// Run runs the demonstration in a temporary directory on free ports and
// returns what it measured. A mail lost or sent twice is in the result, not an
// error.
func Run(ctx context.Context, opts Options) (Result, error) {
	dir, err := os.MkdirTemp("", "kurir-demo-")
	if err != nil {
		return Result{}, fmt.Errorf("making a directory for the demonstration: %w", err)
	}
	defer os.RemoveAll(dir)
	if opts.Out == nil {
		opts.Out = io.Discard
	}
	sink := newArrivals()
	net, err := newInternet(sink)
	if err != nil {
		return Result{}, err
	}
	defer net.Close()
	cfg, err := config(ctx, filepath.Join(dir, "data"), net, opts)
	if err != nil {
		return Result{}, err
	}
	m, err := mesh.New(ctx, cfg)
	if err != nil {
		return Result{}, err
	}
	var result Result
	err = m.Run(ctx, func(ctx context.Context) error {
		var err error
		result, err = show(ctx, m, sink, opts)
		return err
	})
	return result, err
}

// show runs the acts one after the other.
func show(ctx context.Context, m *mesh.Mesh, sink *arrivals, opts Options) (r Result, err error) {
	book := newLedger()
	p := &postman{mail: m.Mail(), ledger: book, sink: sink, domain: domain}
	ctx, leave := context.WithCancel(ctx)
	var following errgroup.Group
	following.Go(func() error { return book.follow(ctx, m.Tracker()) })
	defer func() {
		leave()
		if e := following.Wait(); err == nil {
			err = e
		}
	}()

	fmt.Fprint(opts.Out, introduction)
	say(opts.Out, "One mail of each kind")
	billID, err := kinds(ctx, m, p, opts.Out, &r)
	if err != nil {
		return r, err
	}

	say(opts.Out, "%d OTPs, one after the other, with nothing else to do", opts.OTP)
	idle, err := p.idle(ctx, opts.OTP)
	if err != nil {
		return r, err
	}
	tell(opts.Out, "half were delivered within %.1f ms of the call, 99 %% within %.1f ms", quantile(idle, 0.50), quantile(idle, 0.99))

	var flooded []time.Duration
	if opts.Bulk > 0 {
		say(opts.Out, "A flood of %d bulk mails to the same host, and %d OTPs all through it", opts.Bulk, opts.OTP)
		if flooded, err = flood(ctx, p, opts, &r); err != nil {
			return r, err
		}
		tell(opts.Out, "half of the OTPs were delivered within %.1f ms, 99 %% within %.1f ms", quantile(flooded, 0.50), quantile(flooded, 0.99))
	}
	r.latencies(idle, flooded)

	say(opts.Out, "The customer opens the bill, follows its pay link and pays")
	if err := life(ctx, m.Tracker(), sink.message(billTo), opts.Out, &r); err != nil {
		return r, err
	}

	say(opts.Out, "Every accepted mail is followed to its final event")
	if err := book.wait(ctx); err != nil {
		return r, err
	}
	book.verdict(&r, sink)
	tell(opts.Out, "%d accepted, %d delivered, %d lost, %d sent twice", r.Accepted, r.Delivered, r.Lost, r.Duplicates)
	return r, timeline(ctx, m.Tracker(), billID, opts.Out)
}

// introduction tells what is about to be seen.
const introduction = `
The whole of Kurir runs in this process, in a temporary directory: composer,
router, dispatcher and tracker, a broker that speaks Kafka, and SQLite. Beside
it run a name server and a mail host to deliver to. Nothing leaves this machine.
`

const (
	billTo     = "sari@" + domain
	reminderTo = "budi@" + domain
)

// kinds sends an OTP, a bill and a reminder, each under a span of the calling
// product, and waits until they are delivered.
func kinds(ctx context.Context, m *mesh.Mesh, p *postman, out io.Writer, r *Result) (billID string, err error) {
	took, err := p.otp(ctx, "otp-first")
	if err != nil {
		return "", err
	}
	tell(out, "an OTP: delivered %s after the call", took.Round(100*time.Microsecond))

	p.sink.keep(billTo)
	billCame, reminderCame := p.sink.expect(billTo), p.sink.expect(reminderTo)
	billCtx, span := m.Tracer().Start(ctx, "invoice issued", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient))
	r.TraceID = span.SpanContext().TraceID().String()
	sent, err := p.mail.SendBill(billCtx, &mailv1.SendBillRequest{
		IdempotencyKey: "bill-0042", To: &mailv1.Address{Email: billTo, DisplayName: "Ibu Sari"}, Bill: bill(),
		Options: &mailv1.Options{Locale: "id-ID"},
	})
	span.End()
	if err != nil {
		return "", fmt.Errorf("sending a bill: %w", err)
	}
	p.ledger.accept(sent.GetReceipt().GetMailId(), billTo)

	other := bill()
	other.InvoiceId = "INV-2026-0007"
	reminded, err := p.mail.SendReminder(ctx, &mailv1.SendReminderRequest{
		IdempotencyKey: "reminder-0007", To: &mailv1.Address{Email: reminderTo}, Bill: other, Step: "due-3", DaysUntilDue: 3,
		Options: &mailv1.Options{Locale: "en"},
	})
	if err != nil {
		return "", fmt.Errorf("sending a reminder: %w", err)
	}
	p.ledger.accept(reminded.GetReceipt().GetMailId(), reminderTo)
	lost := time.NewTimer(stall)
	defer lost.Stop()
	for _, came := range []<-chan time.Time{billCame, reminderCame} {
		select {
		case <-came:
		case <-lost.C:
			return "", errors.New("the bill or the reminder did not arrive")
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	tell(out, "an e-bill and a payment reminder: delivered")
	return sent.GetReceipt().GetMailId(), nil
}

// flood runs the flood with its progress shown, and sets the bulk rate.
func flood(ctx context.Context, p *postman, opts Options, r *Result) ([]time.Duration, error) {
	done := p.sink.after(opts.Bulk)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var showing errgroup.Group
	showing.Go(func() error { progress(ctx, opts, p.sink, done); return nil })
	times, first, err := p.flood(ctx, opts.Bulk, opts.OTP)
	if err == nil {
		select {
		case <-done:
		case <-time.After(stall):
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	cancel()
	_ = showing.Wait()
	bulk, _, last := p.sink.counts()
	if took := last.Sub(first); took > 0 {
		r.BulkPerSecond = float64(int(float64(bulk)/took.Seconds()*10)) / 10
	}
	return times, err
}

// progress tells how much of the flood has arrived: every 200 ms on a
// terminal, every 2 s elsewhere, until done or ctx is done.
func progress(ctx context.Context, opts Options, sink *arrivals, done <-chan struct{}) {
	every := 2 * time.Second
	if opts.Live {
		every = 200 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			if opts.Live {
				fmt.Fprint(opts.Out, "\r\x1b[K")
			}
			tell(opts.Out, "%d of %d delivered", opts.Bulk, opts.Bulk)
			return
		case <-ctx.Done():
			return
		}
		bulk, _, _ := sink.counts()
		if opts.Live {
			const width = 40
			full := width * bulk / opts.Bulk
			fmt.Fprintf(opts.Out, "\r  [%s%s] %d", strings.Repeat("=", full), strings.Repeat(" ", width-full), bulk)
			continue
		}
		tell(opts.Out, "%d of %d delivered", bulk, opts.Bulk)
	}
}

// life opens the bill, follows its pay link, pays, and waits until the ledger
// shows all three.
func life(ctx context.Context, tracker trackerv1.TrackerServiceClient, message []byte, out io.Writer, r *Result) error {
	person, err := mxsim.NewReader(message)
	if err != nil {
		return err
	}
	if err := person.Open(ctx); err != nil {
		return err
	}
	payPage, err := person.Click(ctx)
	if err != nil {
		return err
	}
	if err := pay(ctx, tracker, payPage.Query().Get("kurir_click")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := tracker.GetInvoice(ctx, &trackerv1.GetInvoiceRequest{InvoiceId: invoiceID})
		if err != nil {
			return fmt.Errorf("reading the invoice: %w", err)
		}
		inv := res.GetInvoice()
		r.Invoice = InvoiceResult{Opens: inv.GetOpens(), Clicks: inv.GetClicks(), Paid: inv.GetState() == trackerv1.InvoiceState_INVOICE_STATE_PAID}
		if r.Invoice.Opens > 0 && r.Invoice.Clicks > 0 && r.Invoice.Paid {
			tell(out, "invoice %s: opened %s, clicked %s, paid; the payment is credited to mail %s", invoiceID,
				times(inv.GetOpens()), times(inv.GetClicks()), inv.GetPaidByMailId())
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil // the result says what is missing
		}
	}
}

// timeline prints what happened to one mail.
func timeline(ctx context.Context, tracker trackerv1.TrackerServiceClient, mailID string, out io.Writer) error {
	res, err := tracker.GetMail(ctx, &trackerv1.GetMailRequest{MailId: mailID})
	if err != nil {
		return fmt.Errorf("reading the bill's timeline: %w", err)
	}
	say(out, "What happened to the bill, as kurir status %s would show it", mailID)
	for _, ev := range res.GetTimeline() {
		tell(out, "%s", client.Line(ev))
	}
	return nil
}

// times is how often, in words.
func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func say(out io.Writer, format string, args ...any) { fmt.Fprintf(out, "\n"+format+"\n", args...) }

func tell(out io.Writer, format string, args ...any) { fmt.Fprintf(out, "  "+format+"\n", args...) }
