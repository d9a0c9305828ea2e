package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/fault"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// product sends the traffic as product services do: what is refused for now is
// sent again under its key, when the answer says so.
type product struct {
	mail   mailv1.MailServiceClient
	router routerv1.RouterServiceClient
	mails  []*Mail
	work   sync.WaitGroup
}

const (
	// senders is how many calls are under way at once.
	senders = 24
	// patience is how long one call may take.
	patience = 4 * time.Second
)

// start begins to send the mails, the i-th at(i) from now. wait returns when
// every mail is accepted or given up.
func (p *product) start(ctx context.Context, at func(i int) time.Duration) {
	queue := make(chan *Mail)
	begin := time.Now()
	p.work.Go(func() {
		defer close(queue)
		for i, m := range p.mails {
			if !until(ctx, begin.Add(at(i))) {
				return
			}
			select {
			case queue <- m:
			case <-ctx.Done():
				return
			}
		}
	})
	for range senders {
		p.work.Go(func() {
			for m := range queue {
				p.deliver(ctx, m)
			}
		})
	}
}

func (p *product) wait() { p.work.Wait() }

// until waits for a time; false when ctx ends before.
func until(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// deliver hands a mail to the mesh and does what is planned with it then.
func (p *product) deliver(ctx context.Context, m *Mail) {
	m.prepare(time.Now())
	receipt := p.call(ctx, m, m.Hasty)
	if receipt == nil {
		return
	}
	m.mu.Lock()
	m.Receipt = receipt
	m.mu.Unlock()
	accepted := time.Now()
	if m.Again > 0 {
		p.work.Go(func() {
			if !until(ctx, accepted.Add(m.Again)) {
				return
			}
			if again := p.call(ctx, m, false); again != nil && again.GetMailId() != receipt.GetMailId() {
				m.blame("sent again under its key it became mail %s, having been %s", again.GetMailId(), receipt.GetMailId())
			}
		})
	}
	if m.Cancel > 0 {
		p.work.Go(func() {
			if until(ctx, accepted.Add(m.Cancel)) {
				p.cancel(ctx, m)
			}
		})
	}
}

// call sends a mail until it is accepted, or once if it is hasty; nil when it
// was not.
func (p *product) call(ctx context.Context, m *Mail, hasty bool) *mailv1.Receipt {
	var receipt *mailv1.Receipt
	retry(ctx, func(ctx context.Context) (again bool, err error) {
		m.mu.Lock()
		m.Calls++
		m.mu.Unlock()
		receipt, err = m.send(ctx, p.mail)
		if err != nil && !passing(err) {
			m.blame("sending it was answered with %v", err)
			return false, nil
		}
		return !hasty, err
	})
	return receipt
}

// cancel cancels a mail. When the answer to a cancel was lost, that to the
// next does not say which of them it was: nothing is then known.
func (p *product) cancel(ctx context.Context, m *Mail) {
	m.mu.Lock()
	m.Tried = true
	m.mu.Unlock()
	retry(ctx, func(ctx context.Context) (bool, error) {
		res, err := p.router.Cancel(ctx, &routerv1.CancelRequest{
			Scope: &routerv1.Scope{Tenant: tenant, MailIds: []string{m.id()}}, Reason: "not wanted any more",
		})
		switch {
		case err == nil && res.GetCancelled() == 1:
			m.mu.Lock()
			m.Cancelled = time.Now()
			m.mu.Unlock()
		case err == nil:
			m.blame("cancelling it was answered with %v", res)
		case errors.Is(err, fault.Precondition):
			return false, nil // it is on its way
		case !passing(err):
			m.blame("cancelling it was answered with %v", err)
			return false, nil
		}
		return true, err
	})
}

// tenant is whose mail it all is.
const tenant = "default"

// retry calls until there is no error, or no sense in another try, honouring
// what the answers ask for.
func retry(ctx context.Context, call func(ctx context.Context) (again bool, err error)) {
	pause := backoff.Policy{Base: 50 * time.Millisecond, Max: time.Second}
	for tries := 1; ctx.Err() == nil; tries++ {
		one, cancel := context.WithTimeout(ctx, patience)
		again, err := call(one)
		cancel()
		if err == nil || !again {
			return
		}
		var f *fault.Error
		if errors.As(err, &f) && f.RetryAfter > 0 {
			_ = until(ctx, time.Now().Add(f.RetryAfter))
			continue
		}
		_ = pause.Wait(ctx, tries) // the loop looks at ctx
	}
}

// passing says that a call may well succeed when it is made again.
func passing(err error) bool {
	for _, kind := range []error{fault.Unavailable, fault.Conflict, fault.Exhausted, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
