package composer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer"
)

// opened is a message as its reader gets it.
type opened struct {
	header     mail.Header
	text, html string
}

func open(tb testing.TB, raw []byte) opened {
	tb.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		tb.Fatalf("net/mail: %v", err)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		tb.Fatalf("Content-Type: %v", err)
	}
	var parts []string
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatalf("multipart: %v", err)
		}
		all, err := io.ReadAll(p)
		if err != nil {
			tb.Fatalf("part: %v", err)
		}
		parts = append(parts, strings.ReplaceAll(string(all), "\r\n", "\n"))
	}
	if len(parts) != 2 {
		tb.Fatalf("the message has %d parts, want 2", len(parts))
	}
	return opened{header: msg.Header, text: parts[0], html: parts[1]}
}

// claims returns what the tracker's links of a page at /kind/ vouch for.
func claims(tb testing.TB, ring *token.Ring, page, kind string) []token.Claims {
	tb.Helper()
	var out []token.Claims
	for _, m := range regexp.MustCompile(`https://t\.kurir\.example/`+kind+`/([A-Za-z0-9_-]+)`).FindAllStringSubmatch(page, -1) {
		c, err := ring.Verify(m[1])
		if err != nil {
			tb.Fatalf("Verify(%q) = %v", m[1], err)
		}
		out = append(out, c)
	}
	return out
}

func TestSendOtp(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	resp, err := b.client.SendOtp(t.Context(), otp(nil))
	if err != nil {
		t.Fatalf("SendOtp = %v", err)
	}
	s := b.router.one(t)
	if got := resp.GetReceipt().GetMailId(); got != s.GetMailId() {
		t.Errorf("receipt of %s, want %s", got, s.GetMailId())
	}
	want := &routerv1.Submission{
		MailId: s.GetMailId(), Tenant: "default", IdempotencyKey: "otp-1", ReturnDomain: "bounce.kurir.example",
		Recipient: "sari@example.co.id", ExpiresIn: durationpb.New(5 * time.Minute),
		Facts: &eventsv1.MailFacts{
			Kind: mailv1.Kind_KIND_OTP, Template: "otp", TemplateVersion: "1", Locale: "id-ID",
			MessageId: "<" + s.GetMailId() + "@kurir.example>", Recipient: "sari@example.co.id", SenderDomain: "kurir.example",
		},
	}
	if diff := cmp.Diff(want, s, protocmp.Transform(), protocmp.IgnoreFields(&routerv1.Submission{}, "message", "fingerprint")); diff != "" {
		t.Errorf("submission (-want +got):\n%s", diff)
	}
	m := open(t, s.GetMessage())
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "List-Unsubscribe": "", "Message-Id": want.GetFacts().GetMessageId(),
		"Date": "Mon, 02 Nov 2026 05:00:00 +0000", "From": "Kurir <no-reply@kurir.example>",
	} {
		if got := m.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if strings.Contains(m.text+m.html, "http") || strings.Contains(m.html, "<a") || strings.Contains(m.html, "<img") {
		t.Errorf("an OTP holds a link or an image")
	}
	if want := "\n@nusapay.example #482913"; !strings.HasSuffix(m.text, want) {
		t.Errorf("the text does not end in %q:\n%s", want, m.text)
	}
	if !strings.Contains(m.html, ">482 913<") || !strings.Contains(m.text, "berlaku selama 5 menit") {
		t.Errorf("code or validity are missing:\n%s", m.text)
	}
	if strings.Contains(m.header.Get("Subject"), "482") {
		t.Errorf("the subject tells the code")
	}
}

func TestSendBill(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	if _, err := b.client.SendBill(t.Context(), bill(func(r *mailv1.SendBillRequest) {
		r.Options = &mailv1.Options{Locale: "en-GB", Campaign: "nov", Labels: map[string]string{"a": "b"}, ReplyTo: address("help@nusanet.example", "")}
	})); err != nil {
		t.Fatalf("SendBill = %v", err)
	}
	s := b.router.one(t)
	wantFacts := &eventsv1.MailFacts{
		Kind: mailv1.Kind_KIND_BILL, Template: "bill", TemplateVersion: "1", Locale: "en", InvoiceId: "inv-42",
		Amount: idr(333_000), DueOn: invoice().GetDueOn(), Campaign: "nov", Labels: map[string]string{"a": "b"},
		MessageId: "<" + s.GetMailId() + "@kurir.example>", Recipient: "sari@example.co.id", SenderDomain: "kurir.example", Tracked: true,
	}
	if diff := cmp.Diff(wantFacts, s.GetFacts(), protocmp.Transform()); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if s.GetExpiresIn() != nil || s.GetSmtputf8() {
		t.Errorf("expires_in = %v, smtputf8 = %v, want neither", s.GetExpiresIn(), s.GetSmtputf8())
	}
	m := open(t, s.GetMessage())
	if got := m.header.Get("List-Unsubscribe"); got != "" {
		t.Errorf("List-Unsubscribe = %q, want none on a bill", got)
	}
	pay := token.Claims{Tenant: "default", MailID: s.GetMailId(), Link: "pay", URL: "https://pay.nusanet.example/i/42?a=1&b=2"}
	for part, page := range map[string]string{"text": m.text, "html": m.html} {
		if diff := cmp.Diff([]token.Claims{pay}, claims(t, b.ring, page, "c")); diff != "" {
			t.Errorf("%s links (-want +got):\n%s", part, diff)
		}
		if strings.Contains(page, "pay.nusanet.example") {
			t.Errorf("the %s holds the bare pay address", part)
		}
		for _, want := range []string{"IDR\u00a0333,000", "21 November 2026", "IDR\u00a0300,000", "IDR\u00a033,000", "-IDR\u00a050,000"} {
			if !strings.Contains(page, want) {
				t.Errorf("the %s has no %q", part, want)
			}
		}
	}
	pixel := token.Claims{Tenant: "default", MailID: s.GetMailId()}
	if diff := cmp.Diff([]token.Claims{pixel}, claims(t, b.ring, m.html, "o")); diff != "" {
		t.Errorf("pixel (-want +got):\n%s", diff)
	}
	if got := m.header.Get("Reply-To"); got != "help@nusanet.example" {
		t.Errorf("Reply-To = %q", got)
	}
}

func TestSendReminder(t *testing.T) {
	t.Parallel()
	for days, want := range map[int32][2]string{
		3: {"dalam 3 hari", "in 3 days"}, 1: {"besok", "tomorrow"}, 0: {"hari ini", "today"},
		-1: {"lewat jatuh tempo 1 hari", "1 day overdue"}, -7: {"lewat jatuh tempo 7 hari", "7 days overdue"},
	} {
		for i, locale := range []string{"id-ID", "en"} {
			b := setup(t, &fakeRouter{}, nil)
			if _, err := b.client.SendReminder(t.Context(), reminder(func(r *mailv1.SendReminderRequest) {
				r.DaysUntilDue, r.Options = days, &mailv1.Options{Locale: locale}
			})); err != nil {
				t.Fatalf("SendReminder(%d) = %v", days, err)
			}
			s := b.router.one(t)
			m := open(t, s.GetMessage())
			if !strings.Contains(m.text, want[i]) || !strings.Contains(m.html, want[i]) {
				t.Errorf("reminder for %d days in %s does not say %q:\n%s", days, locale, want[i], m.text)
			}
			if s.GetFacts().GetReminderStep() != "due-3" || s.GetFacts().GetInvoiceId() != "inv-42" {
				t.Errorf("facts = %v", s.GetFacts())
			}
			unsubscribe := token.Claims{Tenant: "default", MailID: s.GetMailId(), Unsubscribe: true}
			if diff := cmp.Diff([]token.Claims{unsubscribe}, claims(t, b.ring, m.header.Get("List-Unsubscribe"), "u")); diff != "" {
				t.Errorf("List-Unsubscribe (-want +got):\n%s", diff)
			}
			if got := m.header.Get("List-Unsubscribe-Post"); got != "List-Unsubscribe=One-Click" {
				t.Errorf("List-Unsubscribe-Post = %q", got)
			}
		}
	}
}

func TestSendOwnContent(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	if _, err := b.client.Send(t.Context(), generic(nil)); err != nil {
		t.Fatalf("Send = %v", err)
	}
	s := b.router.one(t)
	m := open(t, s.GetMessage())
	link := token.Claims{Tenant: "default", MailID: s.GetMailId(), Link: "link-1", URL: "https://www.nusanet.example/jadwal?x=1&y=2"}
	if diff := cmp.Diff([]token.Claims{link}, claims(t, b.ring, m.html, "c")); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if !strings.Contains(m.text, "Halo") || !strings.Contains(m.text, "https://www.nusanet.example/jadwal?x=1&y=2") {
		t.Errorf("the text made of the HTML = %q", m.text)
	}
	if len(claims(t, b.ring, m.html, "o")) != 1 || m.header.Get("List-Unsubscribe") == "" {
		t.Errorf("pixel or List-Unsubscribe are missing")
	}
}

func TestSendByTemplate(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	if _, err := b.client.Send(t.Context(), generic(func(r *mailv1.SendRequest) {
		r.Content, r.Options = nil, &mailv1.Options{Template: "receipt", Locale: "en"}
		r.Variables = map[string]string{"biller_name": "B", "customer_name": "C", "number": "1", "amount": "USD 1234.5", "paid_on": "2026-11-21"}
	})); err != nil {
		t.Fatalf("Send = %v", err)
	}
	s := b.router.one(t)
	if got := s.GetFacts().GetKind(); got != mailv1.Kind_KIND_BILL {
		t.Errorf("kind = %v, want that of the template", got)
	}
	if m := open(t, s.GetMessage()); !strings.Contains(m.text, "$1,234.50") || !strings.Contains(m.text, "21 November 2026") {
		t.Errorf("the text = %q", m.text)
	}
}

func TestUntracked(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, func(cfg *composer.Config) {
		tenant := cfg.Tenants[composer.DefaultTenant]
		tenant.Untracked = true
		cfg.Tenants[composer.DefaultTenant] = tenant
	})
	if _, err := b.client.SendReminder(t.Context(), reminder(nil)); err != nil {
		t.Fatalf("SendReminder = %v", err)
	}
	s := b.router.one(t)
	m := open(t, s.GetMessage())
	if s.GetFacts().GetTracked() || strings.Contains(m.html, "/o/") || strings.Contains(m.html, "/c/") || !strings.Contains(m.html, "https://pay.nusanet.example/i/42?a=1&amp;b=2") {
		t.Errorf("mail of an untracked tenant is followed")
	}
	if m.header.Get("List-Unsubscribe") == "" {
		t.Errorf("no List-Unsubscribe")
	}
}

func TestSMTPUTF8(t *testing.T) {
	t.Parallel()
	for email, want := range map[string]bool{"señor@example.com": true, "info@bücher.example": false} {
		b := setup(t, &fakeRouter{}, nil)
		if _, err := b.client.SendOtp(t.Context(), otp(func(r *mailv1.SendOtpRequest) { r.To.Email = email })); err != nil {
			t.Fatalf("SendOtp = %v", err)
		}
		s := b.router.one(t)
		if got := s.GetSmtputf8(); got != want {
			t.Errorf("smtputf8 for %q = %v, want %v", email, got, want)
		}
		if _, domain, _ := strings.Cut(s.GetRecipient(), "@"); strings.ContainsFunc(domain, func(r rune) bool { return r > '~' }) {
			t.Errorf("recipient = %q, want the domain in A-labels", s.GetRecipient())
		}
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	at := noon.Add(48 * time.Hour)
	resp, err := b.client.SendBill(t.Context(), bill(func(r *mailv1.SendBillRequest) {
		r.Options = &mailv1.Options{SendAt: timestamppb.New(at), ExpiresIn: durationpb.New(24 * time.Hour), Lane: "bulk"}
	}))
	if err != nil {
		t.Fatalf("SendBill = %v", err)
	}
	s := b.router.one(t)
	if !s.GetSendAt().AsTime().Equal(at) || s.GetExpiresIn().AsDuration() != 24*time.Hour || s.GetLane() != "bulk" {
		t.Errorf("send_at = %v, expires_in = %v, lane = %q", s.GetSendAt().AsTime(), s.GetExpiresIn().AsDuration(), s.GetLane())
	}
	if resp.GetReceipt().GetState() != mailv1.State_STATE_SCHEDULED {
		t.Errorf("state = %v, want SCHEDULED", resp.GetReceipt().GetState())
	}
	if got := open(t, s.GetMessage()).header.Get("Date"); got != "Wed, 04 Nov 2026 05:00:00 +0000" {
		t.Errorf("Date = %q, want when it leaves", got)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	send := func(ctx context.Context, change func(r *mailv1.SendOtpRequest)) []byte {
		t.Helper()
		if _, err := b.client.SendOtp(ctx, otp(change)); err != nil {
			t.Fatalf("SendOtp = %v", err)
		}
		all := b.router.all()
		return all[len(all)-1].GetFingerprint()
	}
	labels := func(r *mailv1.SendOtpRequest) {
		r.Options = &mailv1.Options{Labels: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}}
	}
	first := send(t.Context(), labels)
	if len(first) != sha256.Size {
		t.Fatalf("the fingerprint has %d bytes, want %d", len(first), sha256.Size)
	}
	for range 5 {
		if !bytes.Equal(send(t.Context(), labels), first) {
			t.Errorf("the same request has another fingerprint")
		}
	}
	if !bytes.Equal(send(t.Context(), func(r *mailv1.SendOtpRequest) { labels(r); r.IdempotencyKey = "other" }), first) {
		t.Errorf("the key changes the fingerprint")
	}
	if bytes.Equal(send(t.Context(), func(r *mailv1.SendOtpRequest) { labels(r); r.Code = "1234" }), first) {
		t.Errorf("another code has the same fingerprint")
	}
	if bytes.Equal(send(rpc.WithTenant(t.Context(), "acme"), labels), first) {
		t.Errorf("another tenant has the same fingerprint")
	}
}

func pendingFault(id string) error {
	return fault.Newf(fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING, "pending").WithMeta("mail_id", id)
}

func TestPending(t *testing.T) {
	t.Parallel()
	const earlier = "019a0000-0000-7000-8000-00000000beef"
	b := setup(t, &fakeRouter{answer: func(_ context.Context, s *routerv1.Submission) (*mailv1.Receipt, error) {
		if s.GetMailId() != earlier {
			return nil, pendingFault(earlier)
		}
		return nil, nil
	}}, nil)
	resp, err := b.client.SendBill(t.Context(), bill(nil))
	if err != nil || resp.GetReceipt().GetMailId() != earlier {
		t.Fatalf("SendBill = %v, %v, want the earlier id", resp, err)
	}
	all := b.router.all()
	if len(all) != 2 || !bytes.Equal(all[0].GetFingerprint(), all[1].GetFingerprint()) {
		t.Fatalf("the router got %d submissions, want 2 of one fingerprint", len(all))
	}
	if got, want := open(t, all[1].GetMessage()).header.Get("Message-Id"), "<"+earlier+"@kurir.example>"; got != want {
		t.Errorf("Message-ID = %q, want %q", got, want)
	}
	for _, c := range claims(t, b.ring, open(t, all[1].GetMessage()).html, "c") {
		if c.MailID != earlier {
			t.Errorf("a link of mail %s, want %s", c.MailID, earlier)
		}
	}
}

func TestPendingOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{answer: func(context.Context, *routerv1.Submission) (*mailv1.Receipt, error) {
		return nil, pendingFault("019a0000-0000-7000-8000-00000000beef")
	}}, nil)
	_, err := b.client.SendBill(t.Context(), bill(nil))
	if !errors.Is(err, fault.Conflict) || len(b.router.all()) != 2 {
		t.Errorf("SendBill = %v after %d submissions, want Conflict after 2", err, len(b.router.all()))
	}
}

func TestRouterErrors(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{answer: func(context.Context, *routerv1.Submission) (*mailv1.Receipt, error) {
		return nil, fault.Newf(fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "no broker").WithRetry(3 * time.Second)
	}}, nil)
	_, err := b.client.SendOtp(t.Context(), otp(nil))
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE || f.RetryAfter != 3*time.Second {
		t.Errorf("SendOtp = %#v, want the router's fault with its retry time", err)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	left := make(chan time.Duration, 1)
	b := setup(t, &fakeRouter{answer: func(ctx context.Context, _ *routerv1.Submission) (*mailv1.Receipt, error) {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := b.client.SendOtp(ctx, otp(nil))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("SendOtp = %v, want DeadlineExceeded", err)
	}
	if got := <-left; got <= 0 || got >= time.Second {
		t.Errorf("the router had %v left, want some of the caller's second", got)
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("secret"))
	with := func(scopes ...string) func(cfg *composer.Config) {
		return func(cfg *composer.Config) {
			tenant := cfg.Tenants[composer.DefaultTenant]
			tenant.Keys = []composer.Key{{SHA256: hex.EncodeToString(sum[:]), Scopes: scopes}}
			tenant.Domains = []string{"nusanet.example"}
			cfg.Tenants = map[string]composer.Tenant{"acme": tenant}
		}
	}
	b := setup(t, &fakeRouter{}, with("send"))
	if _, err := b.client.SendOtp(t.Context(), otp(func(r *mailv1.SendOtpRequest) {
		r.Options = &mailv1.Options{From: address("otp@NUSANET.example", "Nusapay")}
	})); err != nil {
		t.Fatalf("SendOtp = %v", err)
	}
	if s := b.router.one(t); s.GetTenant() != "acme" || s.GetFacts().GetSenderDomain() != "nusanet.example" {
		t.Errorf("tenant = %q, sender domain = %q", s.GetTenant(), s.GetFacts().GetSenderDomain())
	}
	b = setup(t, &fakeRouter{}, with("read"))
	if _, err := b.client.SendOtp(t.Context(), otp(nil)); !errors.Is(err, fault.Denied) {
		t.Errorf("SendOtp with a key to read = %v, want Denied", err)
	}
	stream, err := b.client.SendBatch(t.Context())
	if err != nil {
		t.Fatalf("SendBatch = %v", err)
	}
	if _, err := stream.Recv(); !errors.Is(err, fault.Denied) {
		t.Errorf("SendBatch with a key to read = %v, want Denied", err)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"promo/template.yaml":  "name: promo\nversion: \"3\"\nkind: generic\ndescription: Ours\nvariables: [{name: who, required: true, description: Whom}]\nsample: {who: You}\n",
		"promo/en/subject.txt": "Hi {{.who}}",
		"promo/en/mail.txt":    "Hello {{.who}}",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := setup(t, &fakeRouter{}, func(cfg *composer.Config) { cfg.Templates = dir })
	list, err := b.client.ListTemplates(t.Context(), &mailv1.ListTemplatesRequest{})
	if err != nil {
		t.Fatalf("ListTemplates = %v", err)
	}
	var names []string
	for _, tmpl := range list.GetTemplates() {
		names = append(names, tmpl.GetName())
		if tmpl.GetName() == "promo" {
			want := &mailv1.Template{
				Name: "promo", Version: "3", Kind: mailv1.Kind_KIND_GENERIC, Locales: []string{"en"}, Description: "Ours",
				Variables: []*mailv1.Variable{{Name: "who", Description: "Whom", Required: true}},
			}
			if diff := cmp.Diff(want, tmpl, protocmp.Transform()); diff != "" {
				t.Errorf("promo (-want +got):\n%s", diff)
			}
		}
	}
	if want := []string{"bill", "notice", "otp", "promo", "receipt", "reminder"}; !slices.Equal(names, want) {
		t.Errorf("ListTemplates = %v, want %v", names, want)
	}
	preview, err := b.client.PreviewTemplate(t.Context(), &mailv1.PreviewTemplateRequest{Template: "promo", Variables: map[string]string{"who": "Sari"}})
	want := &mailv1.PreviewTemplateResponse{Subject: "Hi Sari", Text: "Hello Sari\n", Version: "3", Locale: "en"}
	if diff := cmp.Diff(want, preview, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("PreviewTemplate = %v (-want +got):\n%s", err, diff)
	}
	preview, err = b.client.PreviewTemplate(t.Context(), &mailv1.PreviewTemplateRequest{Template: "bill", Locale: "id"})
	if err != nil || !strings.Contains(preview.GetHtml(), "Rp499.500") || preview.GetLocale() != "id-ID" {
		t.Errorf("PreviewTemplate(bill) = %v, %v", preview.GetLocale(), err)
	}
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	tel := telemetry.Discard()
	deps := composer.Deps{Telemetry: tel, Router: routerv1.NewRouterServiceClient(nil), Tokens: token.Generate()}
	taken, err := app.Listen(t.Context(), "127.0.0.1:0", "")
	if err != nil {
		t.Fatalf("Listen = %v", err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for _, c := range []struct {
		name   string
		change func(cfg *composer.Config)
		want   string
	}{
		{"port", func(cfg *composer.Config) { cfg.GRPC.Listen = taken.Addr().String() }, taken.Addr().String()},
		{"public url", func(cfg *composer.Config) { cfg.PublicURL = "nowhere" }, "public_url"},
		{"no tenant", func(cfg *composer.Config) { cfg.Tenants = nil }, "tenants"},
		{"tenant", func(cfg *composer.Config) { cfg.Tenants = map[string]composer.Tenant{"a": {}} }, "tenants.a: from.email"},
		{"templates", func(cfg *composer.Config) { cfg.Templates = filepath.Join(t.TempDir(), "none") }, "none"},
		{"lanes", func(cfg *composer.Config) { cfg.Lanes = cfg.Lanes[:2] }, "reminder"},
	} {
		cfg := composer.Default()
		cfg.GRPC.Listen = "127.0.0.1:0"
		c.change(&cfg)
		if _, err := composer.New(t.Context(), deps, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New = %v, want an error that says %q", c.name, err, c.want)
		}
	}
	if _, err := composer.New(t.Context(), composer.Deps{}, composer.Default()); err == nil {
		t.Errorf("New without dependencies = nil, want an error")
	}
}

func TestReceiptIsPassedOn(t *testing.T) {
	t.Parallel()
	want := &mailv1.Receipt{
		MailId: "019a0000-0000-7000-8000-00000000beef", Lane: "billing", State: mailv1.State_STATE_SCHEDULED,
		AcceptedAt: timestamppb.New(noon), ExpiresAt: timestamppb.New(noon.Add(time.Hour)),
		SendAt: timestamppb.New(noon.Add(time.Minute)), Replayed: true,
	}
	b := setup(t, &fakeRouter{answer: func(context.Context, *routerv1.Submission) (*mailv1.Receipt, error) { return want, nil }}, nil)
	resp, err := b.client.SendBill(t.Context(), bill(nil))
	if diff := cmp.Diff(want, resp.GetReceipt(), protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("SendBill = %v (-want +got):\n%s", err, diff)
	}
}
