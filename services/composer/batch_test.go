package composer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer"
)

type batch = grpc.BidiStreamingClient[mailv1.SendBatchRequest, mailv1.SendBatchResponse]

// collect reads all answers of a batch.
func collect(tb testing.TB, stream batch) map[string]*mailv1.SendBatchResponse {
	tb.Helper()
	out := map[string]*mailv1.SendBatchResponse{}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Errorf("Recv = %v", err)
			return out
		}
		if out[resp.GetReference()] != nil {
			tb.Errorf("item %s was answered twice", resp.GetReference())
		}
		out[resp.GetReference()] = resp
	}
}

func openBatch(ctx context.Context, tb testing.TB, b *bundle) batch {
	tb.Helper()
	stream, err := b.client.SendBatch(ctx)
	if err != nil {
		tb.Fatalf("SendBatch = %v", err)
	}
	return stream
}

func TestBatch(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{answer: func(_ context.Context, s *routerv1.Submission) (*mailv1.Receipt, error) {
		if s.GetRecipient() == "gone@example.co.id" {
			return nil, fault.Newf(fault.Precondition, faultv1.Reason_REASON_RECIPIENT_SUPPRESSED, "suppressed")
		}
		return nil, nil
	}}, nil)
	stream := openBatch(t.Context(), t, b)
	send := func(reference string, req any) {
		t.Helper()
		if err := stream.Send(item(reference, req)); err != nil {
			t.Fatalf("Send = %v", err)
		}
	}
	// The bad ones first: those behind them must not suffer.
	bad := refusals()
	for i, c := range bad {
		send(fmt.Sprintf("bad %d", i), c.send)
	}
	send("nothing", nil)
	send("suppressed", otp(func(r *mailv1.SendOtpRequest) { r.To.Email = "gone@example.co.id" }))
	good := map[string]any{"otp": otp(nil), "bill": bill(nil), "reminder": reminder(nil), "mail": generic(nil)}
	for reference, req := range good {
		send(reference, req)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatalf("CloseSend = %v", err)
	}
	got := collect(t, stream)
	if want := len(bad) + 2 + len(good); len(got) != want {
		t.Errorf("%d answers, want %d", len(got), want)
	}
	for i, c := range bad {
		err := rpc.FromStatus(status.FromProto(got[fmt.Sprintf("bad %d", i)].GetError()))
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != c.kind || f.Reason != c.reason || c.field != "" && (len(f.Fields) == 0 || f.Fields[0].Name != c.field) {
			t.Errorf("%s: the answer is %v, want %v %v of %s", c.name, err, c.kind, c.reason, c.field)
		}
	}
	if err := rpc.FromStatus(status.FromProto(got["nothing"].GetError())); !errors.Is(err, fault.Invalid) {
		t.Errorf("an item without a mail: %v, want Invalid", err)
	}
	var f *fault.Error
	if err := rpc.FromStatus(status.FromProto(got["suppressed"].GetError())); !errors.As(err, &f) || f.Reason != faultv1.Reason_REASON_RECIPIENT_SUPPRESSED {
		t.Errorf("the suppressed item: %v, want REASON_RECIPIENT_SUPPRESSED", err)
	}
	for reference := range good {
		if got[reference].GetReceipt().GetMailId() == "" {
			t.Errorf("%s: no receipt: %v", reference, got[reference])
		}
	}
}

func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	const inFlight, items = 4, 200
	arrived := make(chan struct{}, items)
	release := make(chan struct{})
	b := setup(t, &fakeRouter{answer: func(ctx context.Context, _ *routerv1.Submission) (*mailv1.Receipt, error) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil, nil
	}}, func(cfg *composer.Config) { cfg.BatchInFlight = inFlight })
	stream := openBatch(t.Context(), t, b)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range items {
			if err := stream.Send(item(strconv.Itoa(i), otp(nil))); err != nil {
				t.Errorf("Send = %v", err)
				return
			}
		}
		_ = stream.CloseSend()
	})
	for range inFlight {
		<-arrived
	}
	// All workers wait for the router, so nothing can have come after them.
	if got := len(b.router.all()); got != inFlight {
		t.Errorf("the router has %d in hand, want %d", got, inFlight)
	}
	close(release)
	wg.Wait()
	if got := len(collect(t, stream)); got != items {
		t.Errorf("%d answers, want %d", got, items)
	}
}

func TestBatchSurvivesABrokenStream(t *testing.T) {
	t.Parallel()
	const items = 40
	b := setup(t, &fakeRouter{breakAfter: 5}, func(cfg *composer.Config) { cfg.BatchInFlight = 1 })
	stream := openBatch(t.Context(), t, b)
	for i := range items {
		if err := stream.Send(item(strconv.Itoa(i), otp(nil))); err != nil {
			t.Fatalf("Send = %v", err)
		}
	}
	_ = stream.CloseSend()
	got := collect(t, stream)
	accepted, unavailable := 0, 0
	for reference, resp := range got {
		if resp.GetReceipt() != nil {
			accepted++
			continue
		}
		unavailable++
		var f *fault.Error
		if err := rpc.FromStatus(status.FromProto(resp.GetError())); !errors.As(err, &f) || f.Kind != fault.Unavailable || f.RetryAfter != time.Second {
			t.Errorf("item %s = %v, want Unavailable with a retry time", reference, err)
		}
	}
	// Every stream takes 5 and fails the one that it breaks with.
	if accepted+unavailable != items || unavailable < 1 || unavailable > items/6+1 {
		t.Errorf("%d accepted and %d unavailable of %d", accepted, unavailable, items)
	}
}

func TestBatchPending(t *testing.T) {
	t.Parallel()
	const earlier = "019a0000-0000-7000-8000-00000000beef"
	b := setup(t, &fakeRouter{answer: func(_ context.Context, s *routerv1.Submission) (*mailv1.Receipt, error) {
		if s.GetMailId() != earlier {
			return nil, pendingFault(earlier)
		}
		return nil, nil
	}}, nil)
	stream := openBatch(t.Context(), t, b)
	for _, reference := range []string{"a", "b"} {
		if err := stream.Send(item(reference, otp(nil))); err != nil {
			t.Fatalf("Send = %v", err)
		}
	}
	_ = stream.CloseSend()
	var ids []string
	for _, resp := range collect(t, stream) {
		ids = append(ids, resp.GetReceipt().GetMailId())
	}
	if diff := cmp.Diff([]string{earlier, earlier}, ids); diff != "" {
		t.Errorf("mail ids (-want +got):\n%s", diff)
	}
}

func TestBatchCancelled(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	left := make(chan struct{})
	b := setup(t, &fakeRouter{answer: func(ctx context.Context, _ *routerv1.Submission) (*mailv1.Receipt, error) {
		arrived <- struct{}{}
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	stream := openBatch(ctx, t, b)
	if err := stream.Send(item("a", otp(nil))); err != nil {
		t.Fatalf("Send = %v", err)
	}
	<-arrived
	cancel()
	<-left // the router is told; the setup's cleanup sees the calls end
}

func BenchmarkBatch(b *testing.B) {
	s := setup(b, &fakeRouter{}, nil)
	req := generic(func(r *mailv1.SendRequest) {
		r.Content = nil
		r.Options = &mailv1.Options{Template: "notice"}
		r.Variables = map[string]string{"title": "Jadwal", "message": "Kantor kami tutup besok.", "name": "Sari"}
	})
	stream := openBatch(b.Context(), b, s)
	b.ResetTimer()
	go func() {
		for i := range b.N {
			if err := stream.Send(item(strconv.Itoa(i), req)); err != nil {
				b.Errorf("Send = %v", err)
				return
			}
		}
		_ = stream.CloseSend()
	}()
	got := 0
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || resp.GetReceipt() == nil {
			b.Fatalf("Recv = %v, %v", resp, err)
		}
		got++
	}
	if got != b.N {
		b.Errorf("%d answers, want %d", got, b.N)
	}
	b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "mails/s")
}
