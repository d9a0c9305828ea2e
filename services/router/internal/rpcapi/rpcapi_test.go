package rpcapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	"kurir.dev/kit/app"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// room is a Room and a List that remembers what it was asked.
type room struct {
	ending waiting.Ending
	scopes []waiting.Scope
	mails  []waiting.Mail
	tenant string
}

func (r *room) Cancel(_ context.Context, s waiting.Scope, _ string) (int64, error) {
	r.scopes = append(r.scopes, s)
	return 1, nil
}

func (r *room) Decide(ctx context.Context, s waiting.Scope, ending waiting.Ending, reason string) (int64, error) {
	r.ending = ending
	return r.Cancel(ctx, s, reason)
}

func (r *room) Hold(ctx context.Context, s waiting.Scope, reason string, _ time.Time) (int64, error) {
	return r.Cancel(ctx, s, reason)
}

func (r *room) Release(ctx context.Context, s waiting.Scope) (int64, error) {
	return r.Cancel(ctx, s, "")
}

func (r *room) List(_ context.Context, s waiting.Scope, after waiting.Cursor, limit int) ([]waiting.Mail, error) {
	r.scopes = append(r.scopes, s)
	from := 0
	for from < len(r.mails) && r.mails[from].ID <= after.ID {
		from++
	}
	return r.mails[from:min(from+limit, len(r.mails))], nil
}

func (r *room) Suppress(_ context.Context, e suppression.Entry) (suppression.Entry, error) {
	r.tenant = e.Tenant
	return e, nil
}

func (r *room) Unsuppress(_ context.Context, tenant string, _ mail.Key) (bool, error) {
	r.tenant = tenant
	return true, nil
}

func (r *room) Suppressions(_ context.Context, tenant, _ string, _ int) ([]suppression.Entry, error) {
	r.tenant = tenant
	return nil, nil
}

func (r *room) Suppression(context.Context, string, mail.Key) (suppression.Entry, bool, error) {
	return suppression.Entry{}, false, nil
}

// serve serves the API over real gRPC; without keys the server is open.
func serve(t *testing.T, r *room, keys ...rpc.APIKey) routerv1.RouterServiceClient {
	t.Helper()
	tel := telemetry.Discard()
	var auth *rpc.Auth
	if len(keys) > 0 {
		var err error
		if auth, err = rpc.NewAuth(rpc.AuthConfig{Keys: keys}); err != nil {
			t.Fatalf("NewAuth() = %v", err)
		}
	}
	wire := rpc.Memory()
	server, err := rpc.NewServer(rpc.ServerConfig{}, rpc.ServerDeps{Service: "router", Telemetry: tel, Listener: wire, Auth: auth})
	if err != nil {
		t.Fatalf("NewServer() = %v", err)
	}
	routerv1.RegisterRouterServiceServer(server, New(Deps{
		Room: r, List: r, Lanes: lane.Default(), Now: time.Now,
		Stats: func(context.Context) (map[string]LaneStat, error) {
			return map[string]LaneStat{"bulk": {Depth: 7}}, nil
		},
	}))
	start(t, server.Part())
	conn, err := rpc.Dial(rpc.ClientConfig{Target: "passthrough:///router"}, rpc.ClientDeps{Telemetry: tel, Dialer: wire.DialContext})
	if err != nil {
		t.Fatalf("Dial() = %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return routerv1.NewRouterServiceClient(conn)
}

func start(t *testing.T, p app.Part) {
	t.Helper()
	if err := p.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	t.Cleanup(func() { _ = p.Stop(context.WithoutCancel(t.Context())) })
}

func key(tenant, secret string, scopes ...string) rpc.APIKey {
	sum := sha256.Sum256([]byte(secret))
	return rpc.APIKey{Tenant: tenant, SHA256: hex.EncodeToString(sum[:]), Scopes: scopes}
}

func as(ctx context.Context, secret string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
}

// TestPermits: a caller acts for its own tenant, another one asks for admin.
func TestPermits(t *testing.T) {
	t.Parallel()
	api := serve(t, &room{},
		key("acme", "sender", rpc.ScopeSend), key("acme", "reader", rpc.ScopeRead),
		key("ops", "operator", rpc.ScopeSend, rpc.ScopeRead, rpc.ScopeAdmin))
	lane := func(tenant string) *routerv1.Scope { return &routerv1.Scope{Tenant: tenant, Lane: "bulk"} }
	cancel := func(ctx context.Context, tenant string) error {
		_, err := api.Cancel(ctx, &routerv1.CancelRequest{Scope: lane(tenant)})
		return err
	}
	list := func(ctx context.Context, tenant string) error {
		_, err := api.ListWaiting(ctx, &routerv1.ListWaitingRequest{Scope: lane(tenant)})
		return err
	}
	suppress := func(ctx context.Context, tenant string) error {
		_, err := api.RemoveSuppression(ctx, &routerv1.RemoveSuppressionRequest{Tenant: tenant, Address: "a@example.com"})
		return err
	}
	lanes := func(ctx context.Context, _ string) error {
		_, err := api.ListLanes(ctx, &routerv1.ListLanesRequest{})
		return err
	}
	for _, c := range []struct {
		name, secret, tenant string
		call                 func(ctx context.Context, tenant string) error
		denied               bool
	}{
		{"cancel own", "sender", "acme", cancel, false},
		{"cancel another's", "sender", "umbrella", cancel, true},
		{"cancel everybody's", "sender", "", cancel, true},
		{"cancel as reader", "reader", "acme", cancel, true},
		{"list own", "reader", "acme", list, false},
		{"list everybody's", "reader", "", list, true},
		{"list as sender", "sender", "acme", list, true},
		{"lanes as reader", "reader", "", lanes, false},
		{"suppress as sender", "sender", "acme", suppress, true},
		{"operator cancels everybody's", "operator", "", cancel, false},
		{"operator lists another's", "operator", "acme", list, false},
		{"operator suppresses", "operator", "acme", suppress, false},
	} {
		err := c.call(as(t.Context(), c.secret), c.tenant)
		if denied := err != nil && fault.KindOf(err) == fault.Denied; denied != c.denied || (err != nil && !denied) {
			t.Errorf("%s = %v, want denied %v", c.name, err, c.denied)
		}
	}
}

// TestOwnTenant: what is left out is the caller's own.
func TestOwnTenant(t *testing.T) {
	t.Parallel()
	r := &room{}
	api := serve(t, r, key("acme", "all", rpc.ScopeSend, rpc.ScopeRead, rpc.ScopeAdmin))
	ctx := as(t.Context(), "all")
	if _, err := api.ListWaiting(ctx, &routerv1.ListWaitingRequest{}); err != nil || r.scopes[0].Tenant != "acme" {
		t.Errorf("ListWaiting() = %v of %+v, want the caller's tenant", err, r.scopes)
	}
	if _, err := api.ListSuppressions(ctx, &routerv1.ListSuppressionsRequest{}); err != nil || r.tenant != "acme" {
		t.Errorf("ListSuppressions() = %v of %q, want the caller's tenant", err, r.tenant)
	}
	open := serve(t, r)
	if _, err := open.ListSuppressions(t.Context(), &routerv1.ListSuppressionsRequest{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("ListSuppressions(no tenant at all) = %v, want Invalid", err)
	}
}

func TestScopeIsDecoded(t *testing.T) {
	t.Parallel()
	r := &room{}
	api := serve(t, r)
	in := &routerv1.Scope{
		Tenant: "acme", MailIds: []string{"m"}, Lane: "bulk", InvoiceId: "I", Template: "T", Domain: "Bücher.example",
		Site: "S", Kind: mailv1.Kind_KIND_REMINDER,
	}
	if _, err := api.Release(t.Context(), &routerv1.ReleaseRequest{Scope: in}); err != nil {
		t.Fatalf("Release() = %v", err)
	}
	want := waiting.Scope{
		Tenant: "acme", IDs: []string{"m"}, Lane: "bulk", Invoice: "I", Template: "T", Domain: "xn--bcher-kva.example",
		Site: "S", Kind: mail.KindReminder,
	}
	if diff := cmp.Diff(want, r.scopes[0]); diff != "" {
		t.Errorf("scope (-want +got):\n%s", diff)
	}
	in.Domain = "no domain"
	if _, err := api.Release(t.Context(), &routerv1.ReleaseRequest{Scope: in}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Release(bad domain) = %v, want Invalid", err)
	}
}

func TestListWaitingPages(t *testing.T) {
	t.Parallel()
	r := &room{}
	for _, id := range []string{"a", "b", "c"} {
		r.mails = append(r.mails, waiting.Mail{ID: id, Attempt: 3, State: waiting.Deferred, DueAt: time.Unix(1, 0)})
	}
	api := serve(t, r)
	var got []string
	for token := ""; ; {
		resp, err := api.ListWaiting(t.Context(), &routerv1.ListWaitingRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatalf("ListWaiting(%q) = %v", token, err)
		}
		for _, m := range resp.GetMails() {
			got = append(got, m.GetMailId())
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{"a", "b", "c"}; !cmp.Equal(got, want) {
		t.Errorf("ListWaiting() page by page = %v, want %v", got, want)
	}
	_, err := api.ListWaiting(t.Context(), &routerv1.ListWaitingRequest{PageToken: "!"})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("ListWaiting(bad token) = %v, want Invalid", err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("MTcwMDAwMDAwMDAwMDAwMHxtYWls")
	f.Add(cursor(waiting.Mail{ID: "a|b", DueAt: time.UnixMicro(-5)}))
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseCursor(token)
		if err != nil || token == "" {
			return
		}
		back, err := parseCursor(cursor(waiting.Mail{ID: c.ID, DueAt: c.DueAt}))
		if err != nil || back.ID != c.ID || !back.DueAt.Equal(c.DueAt) {
			t.Errorf("parseCursor(cursor(%+v)) = %+v, %v", c, back, err)
		}
	})
}

// TestFingerprintIsText: a hash is bytes, and PostgreSQL takes no text that is
// not UTF-8 or holds NUL.
func TestFingerprintIsText(t *testing.T) {
	t.Parallel()
	got, err := submission(&routerv1.Submission{Fingerprint: []byte{0, 0xff, 'a'}})
	if err != nil || got.Fingerprint != "00ff61" {
		t.Errorf("submission().Fingerprint = %q, %v, want %q", got.Fingerprint, err, "00ff61")
	}
}
