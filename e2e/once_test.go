package e2e_test

import (
	"bytes"
	"fmt"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// header returns a header field of a message.
func header(t *testing.T, message []byte, name string) string {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatalf("reading a received message: %v", err)
	}
	return m.Header.Get(name)
}

// later schedules a reminder for tomorrow.
func later(r *mailv1.SendReminderRequest) {
	r.Options.SendAt = timestamppb.New(time.Now().Add(24 * time.Hour))
}

// cancel cancels the invoice's waiting mail.
func cancel(t *testing.T, m *harness.Mesh, invoice string) {
	t.Helper()
	res, err := m.Router.Cancel(t.Context(), &routerv1.CancelRequest{
		Scope: &routerv1.Scope{Tenant: "default", InvoiceId: invoice}, Reason: "test",
	})
	if err != nil || res.GetCancelled() != 1 {
		t.Fatalf("Cancel(%q) = %v, %v, want one cancelled", invoice, res, err)
	}
}

// TestReplay sends the same mail a hundred times at once.
func TestReplay(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{})
	mx := m.Host(t, "mx.replay.example", mxsim.HostConfig{})
	m.DNS.MX("replay.example", "mx.replay.example")

	request := func() *mailv1.SendBillRequest {
		return &mailv1.SendBillRequest{
			IdempotencyKey: "the-same", To: &mailv1.Address{Email: "a@replay.example"}, Bill: harness.Invoice("INV-replay"),
		}
	}
	const replays = 100
	receipts := make([]*mailv1.Receipt, replays)
	var all errgroup.Group
	for i := range replays {
		all.Go(func() error {
			res, err := m.Mail.SendBill(t.Context(), request())
			receipts[i] = res.GetReceipt()
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	first := 0
	for _, r := range receipts {
		if r.GetMailId() != receipts[0].GetMailId() || !r.GetExpiresAt().AsTime().Equal(receipts[0].GetExpiresAt().AsTime()) {
			t.Errorf("a replay answered %v, want %v", r, receipts[0])
		}
		if !r.GetReplayed() {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d answers are no replays, want 1", first)
	}
	m.Final(t, receipts[0].GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	if got := mx.Stats().Mails; got != 1 {
		t.Errorf("the host took %d mails, want 1", got)
	}

	other := request()
	other.Bill.CustomerName = "Bapak Joko"
	if _, err := m.Mail.SendBill(t.Context(), other); !strings.Contains(fmt.Sprint(err), "idempotency") {
		t.Errorf("another body under the same key gave %v, want it refused", err)
	}
}

// TestRestart restarts each service in good order while mail is sent, and
// finds every accepted mail delivered once.
func TestRestart(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{})
	mx := m.Host(t, "mx.restart.example", mxsim.HostConfig{Keep: 100_000})
	m.DNS.MX("restart.example", "mx.restart.example")

	stop := make(chan struct{})
	accepted := map[string]string{} // recipient to mail id
	var sending errgroup.Group
	sending.Go(func() error {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return nil
			default:
			}
			to := fmt.Sprintf("n%d@restart.example", i)
			req := &mailv1.SendOtpRequest{
				IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: to}, Code: "482913", ProductName: "Bank Contoh",
			}
			for { // a refusal is no custody: the product tries again under the same key
				res, err := m.Mail.SendOtp(t.Context(), req, grpc.WaitForReady(true))
				if err == nil {
					accepted[to] = res.GetReceipt().GetMailId()
					break
				}
				if t.Context().Err() != nil {
					return err
				}
			}
		}
	})
	for _, service := range []string{"dispatcher", "router", "composer", "tracker"} {
		before := mx.Stats().Mails
		wait(t, mx, before+50)
		m.Restart(t, service)
		wait(t, mx, mx.Stats().Mails+50)
	}
	close(stop)
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, id := range accepted {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	times := map[string]int{}
	for _, r := range mx.Messages() {
		times[r.To]++
	}
	for to := range accepted {
		if times[to] != 1 {
			t.Errorf("%s was mailed %d times, want once", to, times[to])
		}
	}
}
