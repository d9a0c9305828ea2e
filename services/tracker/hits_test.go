package tracker_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// tracked is a mail in a running tracker that was delivered.
func tracked(t *testing.T, w *world) (*house, letter) {
	t.Helper()
	h, l := w.start(), bill(1)
	w.produce(l.accepted(), l.delivered())
	h.mail(l.tenant, l.id, inState(mailv1.State_STATE_DELIVERED))
	return h, l
}

func TestPixelAndClick(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	w := newWorld(t)
	tel, err := telemetry.New(t.Context(), "tracker", "test", telemetry.Default(),
		telemetry.WithSpanProcessor(sdktrace.SpanProcessor(spans)), telemetry.WithWriter(io.Discard))
	if err != nil {
		t.Fatalf("telemetry.New = %v", err)
	}
	w.deps.Telemetry = tel
	h, l := tracked(t, w)

	pixel := "/o/" + w.deps.Tokens.Sign(l.claims("", "")) + ".gif"
	res := h.fetch(http.MethodGet, pixel, nil, nil)
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/gif" || !bytes.HasPrefix(body, []byte("GIF89a")) {
		t.Errorf("pixel = %s %q %q, %v, want 200 and a GIF", res.Status, res.Header.Get("Content-Type"), body, err)
	}
	h.fetch(http.MethodHead, pixel, nil, nil)
	h.fetch(http.MethodGet, pixel, http.Header{"User-Agent": {"Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"}}, nil)

	link := "/c/" + w.deps.Tokens.Sign(l.claims("pay", "https://pay.example/i/1?ref=a%20b#top"))
	res = h.fetch(http.MethodGet, link, nil, nil)
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != http.StatusFound || to.Host != "pay.example" || to.Query().Get("ref") != "a b" || to.Fragment != "top" {
		t.Fatalf("click = %s to %q, %v, want 302 to the link's target", res.Status, res.Header.Get("Location"), err)
	}
	click := to.Query().Get("kurir_click")

	got := h.mail(l.tenant, l.id, func(r *trackerv1.GetMailResponse) bool {
		return r.GetMail().GetOpens() == 1 && r.GetMail().GetClicks() == 1 && r.GetMail().GetMachineHits() == 2
	})
	i := slices.IndexFunc(got.GetTimeline(), func(e *eventsv1.Event) bool { return e.GetEventId() == click })
	if i < 0 {
		t.Fatalf("timeline = %v, want the click %q", got.GetTimeline(), click)
	}
	hit := got.GetTimeline()[i].GetHit()
	if hit.GetLink() != "pay" || hit.GetNetwork() != "127.0.0.0/24" || hit.GetUserAgent() != browser ||
		hit.GetClass() != eventsv1.HitClass_HIT_CLASS_HUMAN || got.GetTimeline()[i].GetFacts().GetInvoiceId() != l.invoice {
		t.Errorf("click's event = %v, want link, network, agent, class and facts", got.GetTimeline()[i])
	}
	w.assertTrace(spans)

	for _, path := range []string{
		"/o/x.gif", "/c/x", "/c/" + w.deps.Tokens.Sign(l.claims("", "")), "/o/" + w.deps.Tokens.Sign(l.claims("pay", "https://pay.example")) + ".gif",
		"/u/" + w.deps.Tokens.Sign(l.claims("", "")), "/", "/c/" + strings.Repeat("A", 5000),
	} {
		if res := h.fetch(http.MethodGet, path, nil, nil); res.StatusCode != http.StatusNotFound || res.Header.Get("Location") != "" {
			t.Errorf("GET %.40s = %s to %q, want 404", path, res.Status, res.Header.Get("Location"))
		}
	}
}

// assertTrace looks for the spans of ingestion and of the hits in the mail's trace.
func (w *world) assertTrace(spans *tracetest.SpanRecorder) {
	w.t.Helper()
	names := func() (map[string]int, error) {
		found := map[string]int{}
		for _, s := range spans.Ended() {
			if s.SpanContext().TraceID().String() == "0af7651916cd43dd8448eb211c80319c" && s.Parent().IsValid() {
				found[s.Name()]++
			}
		}
		return found, nil
	}
	eventually(w.t, "spans of the mail's trace", names, func(n map[string]int) bool {
		return n["ingest"] >= 6 && n["open"] == 3 && n["click"] == 1
	})
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, l := tracked(t, w)
	claims := l.claims("", "")
	claims.Unsubscribe = true
	path := "/u/" + w.deps.Tokens.Sign(claims)

	res := h.fetch(http.MethodGet, path, http.Header{"Accept-Language": {"en-GB"}}, nil)
	page, _ := io.ReadAll(res.Body)
	for _, want := range []string{"Unsubscribe?", "shop.example", "B***@example.co.id", `lang="en"`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("page lacks %q:\n%s", want, page)
		}
	}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if res := h.fetch(http.MethodPost, path, form, strings.NewReader("x=y")); res.StatusCode != http.StatusBadRequest {
		t.Errorf("POST without the pair = %s, want 400", res.Status)
	}
	w.router.setAway(true)
	for range 2 {
		if res := h.fetch(http.MethodPost, path, form, strings.NewReader("List-Unsubscribe=One-Click")); res.StatusCode != http.StatusOK {
			t.Errorf("POST = %s, want 200", res.Status)
		}
	}
	got := h.mail(l.tenant, l.id, func(r *trackerv1.GetMailResponse) bool { return len(r.GetTimeline()) == 3 })
	if last := got.GetTimeline()[2]; last.GetType() != eventsv1.EventType_EVENT_TYPE_UNSUBSCRIBED {
		t.Errorf("last event = %v, want UNSUBSCRIBED", last.GetType())
	}
	w.router.setAway(false)
	call, ok := (<-w.router.calls).(*routerv1.AddSuppressionRequest)
	if s := call.GetSuppression(); !ok || s.GetAddress() != "Budi@Example.co.id" || s.GetTenant() != l.tenant ||
		s.GetCause() != routerv1.SuppressionCause_SUPPRESSION_CAUSE_UNSUBSCRIBE {
		t.Errorf("the router was asked %v, want the suppression of the recipient", call)
	}
}

func TestPagesAnswerWithoutTheBroker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, l := tracked(t, w)
	w.broker.Stop()
	for range 20 {
		if res := h.fetch(http.MethodGet, "/o/"+w.deps.Tokens.Sign(l.claims("", ""))+".gif", nil, nil); res.StatusCode != http.StatusOK {
			t.Fatalf("pixel without the broker = %s, want 200", res.Status)
		}
	}
	if _, err := h.api.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: l.id}); err != nil {
		t.Errorf("GetMail without the broker = %v, want no error", err)
	}
	h.stop()
	w.broker.Start()
	again := w.start()
	again.mail(l.tenant, l.id, func(r *trackerv1.GetMailResponse) bool { return r.GetMail().GetOpens() == 20 })
}

func TestInvoiceLivesUntilPaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, l := tracked(t, w)
	h.fetch(http.MethodGet, "/o/"+w.deps.Tokens.Sign(l.claims("", ""))+".gif", nil, nil)
	res := h.fetch(http.MethodGet, "/c/"+w.deps.Tokens.Sign(l.claims("pay", "https://pay.example/")), nil, nil)
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		t.Fatalf("Location = %v", err)
	}
	p := payment("pay-1", l.invoice, &mailv1.Money{CurrencyCode: "IDR", Units: 150_000})
	p.ClickId, p.PaymentReference = to.Query().Get("kurir_click"), "TRX-9"
	w.router.setAway(true) // the payment is recorded all the same
	first, err := h.api.ReportBillingEvent(t.Context(), p)
	if err != nil || first.GetInvoice().GetState() != trackerv1.InvoiceState_INVOICE_STATE_PAID || first.GetRemindersCancelled() != 0 {
		t.Fatalf("ReportBillingEvent = %v, %v, want PAID, none cancelled", first, err)
	}
	w.router.setAway(false)
	call, ok := (<-w.router.calls).(*routerv1.CancelRequest)
	if s := call.GetScope(); !ok || s.GetInvoiceId() != l.invoice || s.GetTenant() != l.tenant || s.GetKind() != mailv1.Kind_KIND_REMINDER {
		t.Errorf("the router was asked %v, want to cancel the invoice's reminders", call)
	}
	eventually(t, "the replay's count", func() (int64, error) {
		again, err := h.api.ReportBillingEvent(t.Context(), p)
		return again.GetRemindersCancelled(), err
	}, func(n int64) bool { return n == 2 })

	inv := eventually(t, "GetInvoice", func() (*trackerv1.GetInvoiceResponse, error) {
		return h.api.GetInvoice(t.Context(), &trackerv1.GetInvoiceRequest{InvoiceId: l.invoice})
	}, func(r *trackerv1.GetInvoiceResponse) bool { return len(r.GetLife()) == 4 })
	var life []eventsv1.BillingType
	for _, e := range inv.GetLife() {
		life = append(life, e.GetType())
	}
	for _, want := range []eventsv1.BillingType{
		eventsv1.BillingType_BILLING_TYPE_MAILED, eventsv1.BillingType_BILLING_TYPE_OPENED,
		eventsv1.BillingType_BILLING_TYPE_PAY_CLICKED, eventsv1.BillingType_BILLING_TYPE_PAID,
	} {
		if !slices.Contains(life, want) {
			t.Errorf("life = %v, want %v in it", life, want)
		}
	}
	got := inv.GetInvoice()
	if got.GetPaidByMailId() != l.id || got.GetAttribution() != "click_id" || got.GetOpens() != 1 || got.GetClicks() != 1 || len(inv.GetMails()) != 1 {
		t.Errorf("invoice = %v with %d mails, want paid by %s by click id, 1 open, 1 click, 1 mail", got, len(inv.GetMails()), l.id)
	}
	list, err := h.api.ListInvoices(t.Context(), &trackerv1.ListInvoicesRequest{State: trackerv1.InvoiceState_INVOICE_STATE_PAID})
	if err != nil || len(list.GetInvoices()) != 1 {
		t.Errorf("ListInvoices(PAID) = %v, %v, want one", list, err)
	}
}
