package composer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 2, 5, 0, 0, 0, time.UTC)

// fakeRouter is a router that remembers what it was given.
type fakeRouter struct {
	routerv1.UnimplementedRouterServiceServer

	// answer, when set, decides about a submission; a nil receipt and error
	// accept it.
	answer func(ctx context.Context, s *routerv1.Submission) (*mailv1.Receipt, error)
	// forget keeps nothing of what it was given.
	forget bool
	// breakAfter ends each stream after so many answers; 0 never does.
	breakAfter int

	mu  sync.Mutex
	got []*routerv1.Submission
}

func (f *fakeRouter) take(ctx context.Context, s *routerv1.Submission) (*mailv1.Receipt, error) {
	if !f.forget {
		f.mu.Lock()
		f.got = append(f.got, s)
		f.mu.Unlock()
	}
	if f.answer != nil {
		if receipt, err := f.answer(ctx, s); receipt != nil || err != nil {
			return receipt, err
		}
	}
	receipt := &mailv1.Receipt{
		MailId: s.GetMailId(), Lane: "bulk", State: mailv1.State_STATE_QUEUED,
		AcceptedAt: timestamppb.New(noon), ExpiresAt: timestamppb.New(noon.Add(time.Hour)), SendAt: s.GetSendAt(),
	}
	if s.GetSendAt() != nil {
		receipt.State = mailv1.State_STATE_SCHEDULED
	}
	return receipt, nil
}

func (f *fakeRouter) all() []*routerv1.Submission {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*routerv1.Submission(nil), f.got...)
}

// one returns the only submission.
func (f *fakeRouter) one(tb testing.TB) *routerv1.Submission {
	tb.Helper()
	all := f.all()
	if len(all) != 1 {
		tb.Fatalf("the router got %d submissions, want 1", len(all))
	}
	return all[0]
}

func (f *fakeRouter) Submit(ctx context.Context, req *routerv1.SubmitRequest) (*routerv1.SubmitResponse, error) {
	receipt, err := f.take(ctx, req.GetSubmission())
	if err != nil {
		return nil, err
	}
	return &routerv1.SubmitResponse{Receipt: receipt}, nil
}

func (f *fakeRouter) SubmitStream(stream grpc.BidiStreamingServer[routerv1.SubmitStreamRequest, routerv1.SubmitStreamResponse]) error {
	var (
		sending sync.Mutex
		workers sync.WaitGroup
	)
	defer workers.Wait()
	for n := 1; ; n++ {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.breakAfter > 0 && n > f.breakAfter {
			workers.Wait()
			return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "stopping").WithRetry(time.Second)
		}
		workers.Go(func() {
			resp := &routerv1.SubmitStreamResponse{Reference: req.GetReference()}
			receipt, err := f.take(stream.Context(), req.GetSubmission())
			if err != nil {
				resp.Result = &routerv1.SubmitStreamResponse_Error{Error: rpc.StatusIn("router.kurir", err).Proto()}
			} else {
				resp.Result = &routerv1.SubmitStreamResponse_Receipt{Receipt: receipt}
			}
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(resp) // the composer is gone: its test says so
		})
	}
}

// bundle is a composer with what surrounds it.
type bundle struct {
	client mailv1.MailServiceClient
	router *fakeRouter
	ring   *token.Ring
}

// setup starts a composer, its configuration changed by change, over a fake
// router, both over real gRPC in memory.
func setup(tb testing.TB, router *fakeRouter, change func(cfg *composer.Config)) *bundle {
	tb.Helper()
	tel := telemetry.Discard()
	routerConn := serve(tb, tel, "router", func(l *rpc.MemoryListener) app.Part {
		server, err := rpc.NewServer(rpc.ServerConfig{}, rpc.ServerDeps{Service: "router", Telemetry: tel, Listener: l})
		if err != nil {
			tb.Fatalf("NewServer = %v", err)
		}
		routerv1.RegisterRouterServiceServer(server, router)
		return server.Part()
	}, "")
	ring, err := token.NewRing(token.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	if err != nil {
		tb.Fatalf("NewRing = %v", err)
	}
	cfg := composer.Default()
	cfg.PublicURL = "https://t.kurir.example"
	key := ""
	if change != nil {
		change(&cfg)
		for _, t := range cfg.Tenants {
			if len(t.Keys) > 0 {
				key = "secret"
			}
		}
	}
	var mu sync.Mutex
	serial := 0
	conn := serve(tb, tel, "composer", func(l *rpc.MemoryListener) app.Part {
		svc, err := composer.New(tb.Context(), composer.Deps{
			Telemetry: tel, Listener: l, Router: routerv1.NewRouterServiceClient(routerConn), Tokens: ring,
			Now: func() time.Time { return noon },
			NewID: func() (string, error) {
				mu.Lock()
				defer mu.Unlock()
				serial++
				return fmt.Sprintf("019a4270-0d80-7000-8000-%012d", serial), nil
			},
		}, cfg)
		if err != nil {
			tb.Fatalf("New = %v", err)
		}
		return svc.Part()
	}, key)
	return &bundle{client: mailv1.NewMailServiceClient(conn), router: router, ring: ring}
}

// given returns v, changed.
func given[T proto.Message](change func(v T), v T) T {
	if change != nil {
		change(v)
	}
	return v
}

func address(email, name string) *mailv1.Address {
	return &mailv1.Address{Email: email, DisplayName: name}
}

func idr(units int64) *mailv1.Money { return &mailv1.Money{CurrencyCode: "IDR", Units: units} }

func otp(change func(r *mailv1.SendOtpRequest)) *mailv1.SendOtpRequest {
	return given(change, &mailv1.SendOtpRequest{
		IdempotencyKey: "otp-1", To: address("sari@example.co.id", "Sari Wijaya"), Code: "482 913",
		ProductName: "Nusapay", Origin: "Nusapay.example", ClientIp: "203.0.113.9",
	})
}

func invoice() *mailv1.Bill {
	return &mailv1.Bill{
		InvoiceId: "inv-42", Number: "INV/2026/11/00042", BillerName: "Nusanet", CustomerName: "Sari Wijaya",
		IssuedOn: &mailv1.Date{Year: 2026, Month: 11, Day: 1}, DueOn: &mailv1.Date{Year: 2026, Month: 11, Day: 21},
		LineItems: []*mailv1.LineItem{
			{Description: "Internet 100 Mbps", Quantity: 1, UnitPrice: idr(350_000), Amount: idr(350_000)},
			{Description: "Potongan pelanggan setia", Amount: idr(-50_000)},
		},
		Tax: idr(33_000), Total: idr(333_000), PayUrl: "https://pay.nusanet.example/i/42?a=1&b=2", Period: "November 2026",
	}
}

func bill(change func(r *mailv1.SendBillRequest)) *mailv1.SendBillRequest {
	return given(change, &mailv1.SendBillRequest{
		IdempotencyKey: "bill-1", To: address("sari@example.co.id", "Sari Wijaya"), Bill: invoice(),
	})
}

func reminder(change func(r *mailv1.SendReminderRequest)) *mailv1.SendReminderRequest {
	return given(change, &mailv1.SendReminderRequest{
		IdempotencyKey: "rem-1", To: address("sari@example.co.id", "Sari Wijaya"), Bill: invoice(),
		Step: "due-3", DaysUntilDue: 3,
	})
}

func generic(change func(r *mailv1.SendRequest)) *mailv1.SendRequest {
	return given(change, &mailv1.SendRequest{
		IdempotencyKey: "gen-1", To: address("sari@example.co.id", ""),
		Content: &mailv1.Content{
			Subject: "Jadwal", Html: `<html><body><p>Halo <a href="https://www.nusanet.example/jadwal?x=1&amp;y=2">jadwal</a></p></body></html>`,
		},
	})
}

// serve starts a part that listens in memory and returns a connection to it.
func serve(tb testing.TB, tel *telemetry.Telemetry, name string, build func(l *rpc.MemoryListener) app.Part, key string) *grpc.ClientConn {
	tb.Helper()
	l := rpc.Memory()
	part := build(l)
	if err := part.Start(tb.Context()); err != nil {
		tb.Fatalf("starting %s: %v", name, err)
	}
	conn, err := rpc.Dial(rpc.ClientConfig{Target: name, Key: conf.Secret(key)}, rpc.ClientDeps{Telemetry: tel, Dialer: l.DialContext})
	if err != nil {
		tb.Fatalf("Dial = %v", err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 10*time.Second)
		defer cancel()
		if err := part.Stop(ctx); err != nil {
			tb.Errorf("stopping %s: %v", name, err)
		}
	})
	return conn
}
