package e2e_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// TestRestartUp kills "kurir up" with mail in every hand that holds it for a
// while: consumers that have partitions, the tracker, the waiting room. All of
// these hold for many minutes here. Started again, it sees everything to its end
// within one: it waits for nothing that only its dead self could give back.
func TestRestartUp(t *testing.T) {
	t.Parallel()
	const hold = 20 * time.Minute
	in, m := harness.UpMX(t, harness.Settings{
		"dispatcher.lease.session": hold, "dispatcher.lease.rebalance": hold,
		"tracker.ingest.lease": hold, "router.waiting.lease": hold,
	})
	// Nobody gets as far as the dot, after which there would be doubt.
	slow := m.Host(t, "mx.slow.example", mxsim.HostConfig{})
	m.DNS.MX("slow.example", "mx.slow.example")
	fast := m.Host(t, "mx.fast.example", mxsim.HostConfig{})
	m.DNS.MX("fast.example", "mx.fast.example")

	var mails []string
	for i := range 4 { // whose connections stay
		mails = append(mails, m.OTP(t, fmt.Sprintf("before%d@slow.example", i)).GetMailId())
	}
	for _, id := range mails {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	asked := make(chan struct{})
	var once sync.Once
	slow.SetScript(func(e mxsim.Event) mxsim.Reply {
		if e.Stage != mxsim.Rcpt {
			return mxsim.Reply{}
		}
		once.Do(func() { close(asked) })
		return mxsim.Reply{Delay: time.Hour}
	})
	for i := range 20 {
		mails = append(mails, m.OTP(t, fmt.Sprintf("otp%d@slow.example", i)).GetMailId(),
			m.Bill(t, fmt.Sprintf("bill%d@slow.example", i), fmt.Sprintf("INV-%d", i)).GetMailId())
	}
	const waiting = 400 // more than a claim
	for i := range waiting {
		res, err := m.Mail.Send(t.Context(), &mailv1.SendRequest{
			IdempotencyKey: fmt.Sprintf("late-%d", i), To: &mailv1.Address{Email: fmt.Sprintf("late%d@fast.example", i)},
			Content: &mailv1.Content{Subject: "Kabar", Text: "Halo.\n"},
			Options: &mailv1.Options{SendAt: timestamppb.New(time.Now().Add(time.Hour))},
		})
		if err != nil {
			t.Fatalf("Send() = %v", err)
		}
		mails = append(mails, res.GetReceipt().GetMailId())
	}
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatal("no mail was on its way within a minute")
	}
	if _, err := m.Router.Release(t.Context(), &routerv1.ReleaseRequest{Scope: &routerv1.Scope{Tenant: "default", Lane: "bulk"}}); err != nil {
		t.Fatalf("Release() = %v", err)
	}
	wait(t, fast, 1) // the releaser is at work
	in.Process.Kill()
	slow.SetScript(nil)
	in.Begin(t)
	for _, id := range mails {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
}
