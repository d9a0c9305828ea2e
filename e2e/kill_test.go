package e2e_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// stream sends bills and OTPs, a handful at once, until it is stopped, and
// notes what was accepted. What fails is sent again under its key, as a
// product does.
type stream struct {
	mail mailv1.MailServiceClient
	stop chan struct{}
	work sync.WaitGroup

	mails brokertest.Tally // accepted

	mu       sync.Mutex
	accepted []string
}

func startStream(t *testing.T, m *harness.Mesh, domain string) *stream {
	t.Helper()
	s := &stream{mail: m.Mail, stop: make(chan struct{})}
	for sender := range 4 {
		s.work.Go(func() { s.send(t, sender, domain) })
	}
	return s
}

func (s *stream) send(t *testing.T, sender int, domain string) {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ; {
		select {
		case <-pause.C:
		case <-s.stop:
			return
		}
		key := fmt.Sprintf("%d-%d", sender, n)
		to := &mailv1.Address{Email: "a" + key + "@" + domain}
		var receipt *mailv1.Receipt
		if n%2 == 0 {
			res, err := s.mail.SendOtp(t.Context(), &mailv1.SendOtpRequest{IdempotencyKey: key, To: to, Code: "482913", ProductName: "Bank"})
			if err != nil {
				continue
			}
			receipt = res.GetReceipt()
		} else {
			res, err := s.mail.SendBill(t.Context(), &mailv1.SendBillRequest{IdempotencyKey: key, To: to, Bill: harness.Invoice("INV-" + key)})
			if err != nil {
				continue
			}
			receipt = res.GetReceipt()
		}
		n++
		s.mu.Lock()
		s.accepted = append(s.accepted, receipt.GetMailId())
		s.mu.Unlock()
		s.mails.Add()
	}
}

// end ends the stream and returns what was accepted.
func (s *stream) end() []string {
	close(s.stop)
	s.work.Wait()
	return s.accepted
}

// settled is the error of a mail that has no final event.
func settled(res *trackerv1.GetMailResponse) error {
	switch res.GetMail().GetState() {
	case mailv1.State_STATE_DELIVERED, mailv1.State_STATE_BOUNCED, mailv1.State_STATE_EXPIRED,
		mailv1.State_STATE_CANCELLED, mailv1.State_STATE_SUPPRESSED:
		return nil
	default:
		return fmt.Errorf("mail %s is %v", res.GetMail().GetMailId(), res.GetMail().GetState())
	}
}

// twice counts the mails a host took again, by Message-ID.
func twice(t *testing.T, mx *mxsim.Host) int {
	t.Helper()
	seen, again := map[string]bool{}, 0
	for _, r := range mx.Messages() {
		id := header(t, r.Data, "Message-Id")
		if seen[id] {
			again++
		}
		seen[id] = true
	}
	return again
}

// decide lets the mails go that a kill left in doubt and that wait for a
// decision, as an operator does, and waits until everyone has its final event.
func decide(t *testing.T, m *harness.Mesh, accepted []string) (inDoubt int) {
	t.Helper()
	for _, id := range accepted {
		harness.Eventually(t, func() error {
			res, err := m.Tracker.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: id})
			if err != nil {
				return err
			}
			if res.GetMail().GetState() != mailv1.State_STATE_HELD {
				return settled(res)
			}
			released, err := m.Router.Release(t.Context(), &routerv1.ReleaseRequest{Scope: &routerv1.Scope{Tenant: "default", MailIds: []string{id}}})
			inDoubt += int(released.GetReleased())
			return errors.Join(err, errors.New("was in doubt"))
		})
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	return inDoubt
}

// allEnded checks that every mail ended in one final event and that at most so
// many were in doubt or sent twice: what can be on the wire is one mail for
// each connection.
func allEnded(t *testing.T, m *harness.Mesh, mx *mxsim.Host, accepted []string, bound int) {
	t.Helper()
	inDoubt := decide(t, m, accepted)
	again := twice(t, mx)
	t.Logf("%d accepted, %d in doubt, %d sent twice", len(accepted), inDoubt, again)
	if again > bound || inDoubt > bound {
		t.Errorf("%d of %d mails were sent twice and %d in doubt, want at most %d", again, len(accepted), inDoubt, bound)
	}
	if got := mx.Stats().Mails; got != len(accepted)+again {
		t.Errorf("the host took %d mails, want the %d accepted and %d again", got, len(accepted), again)
	}
}

// TestKillUp kills "kurir up" in the middle of a stream of mail and starts it
// again on its data directory.
func TestKillUp(t *testing.T) {
	t.Parallel()
	in, m := harness.UpMX(t, nil)
	mx := m.Host(t, "mx.up.example", mxsim.HostConfig{Script: mxsim.Tarpit(5 * time.Millisecond), Keep: 100_000})
	m.DNS.MX("up.example", "mx.up.example")
	s := startStream(t, m, "up.example")
	s.mails.More(t, 100)
	in.Process.Kill()
	in.Begin(t)
	s.mails.More(t, 60)
	allEnded(t, m, mx, s.end(), mx.Stats().Peak)
}

// TestKill kills each process of the mesh in the middle of a stream of mail
// and starts it again: all that was accepted ends in one final event, and only
// what was on the wire when the dispatcher died may have been sent twice.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"dispatcher", "router", "tracker", "composer", "broker"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			m := harness.Start(t, harness.Options{Processes: true, OwnBroker: victim == "broker"})
			mx := m.Host(t, "mx.kill.example", mxsim.HostConfig{Script: mxsim.Tarpit(5 * time.Millisecond), Keep: 100_000})
			m.DNS.MX("kill.example", "mx.kill.example")

			s := startStream(t, m, "kill.example")
			s.mails.More(t, 60)
			m.Kill(t, victim)
			m.Begin(t, victim)
			s.mails.More(t, 60)
			wait(t, mx, mx.Stats().Mails+30) // all is well again
			bound := 0
			if victim == "dispatcher" || victim == "broker" {
				bound = mx.Stats().Peak
			}
			allEnded(t, m, mx, s.end(), bound)
		})
	}
}
