package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kurir.dev/kit/fault"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// operator holds mail of a domain and of a site now and then, and decides
// about mail in doubt: sends it, for nobody knows better.
type operator struct {
	router routerv1.RouterServiceClient
	work   sync.WaitGroup

	mu   sync.Mutex
	held int64 // how often mail was held
}

// start works until ctx ends; wait returns when it has stopped.
func (o *operator) start(ctx context.Context) {
	scopes := []*routerv1.Scope{
		{Tenant: tenant, Domain: Kept.domain()},
		{Tenant: tenant, Site: "mx." + Grey.domain()},
	}
	for i, scope := range scopes {
		o.work.Go(func() {
			for n := 0; ; n++ {
				if !until(ctx, time.Now().Add(time.Duration(2+i)*time.Second)) {
					return
				}
				if n%2 == 0 {
					o.hold(ctx, scope)
				} else {
					o.release(ctx, scope)
				}
			}
		})
	}
	o.work.Go(func() {
		for until(ctx, time.Now().Add(2*time.Second)) {
			_ = o.decide(ctx)
		}
	})
}

func (o *operator) wait() { o.work.Wait() }

func (o *operator) hold(ctx context.Context, scope *routerv1.Scope) {
	retry(ctx, func(ctx context.Context) (bool, error) {
		res, err := o.router.Hold(ctx, &routerv1.HoldRequest{Scope: scope, Reason: "a look at it first"})
		o.mu.Lock()
		defer o.mu.Unlock()
		o.held += res.GetHeld()
		return true, err
	})
}

func (o *operator) release(ctx context.Context, scope *routerv1.Scope) {
	retry(ctx, func(ctx context.Context) (bool, error) {
		_, err := o.router.Release(ctx, &routerv1.ReleaseRequest{Scope: scope})
		return true, err
	})
}

// decide sends the mail in doubt.
func (o *operator) decide(ctx context.Context) error {
	return o.send(ctx, &routerv1.Scope{Tenant: tenant, InDoubt: true, Held: true})
}

// send sends held mail of a scope.
func (o *operator) send(ctx context.Context, scope *routerv1.Scope) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := o.router.ListWaiting(ctx, &routerv1.ListWaitingRequest{Scope: scope, PageSize: 1000})
	if err != nil {
		return fmt.Errorf("listing held mail: %w", err)
	}
	var ids []string
	for _, m := range res.GetMails() {
		ids = append(ids, m.GetMailId())
	}
	if len(ids) == 0 {
		return nil
	}
	_, err = o.router.Decide(ctx, &routerv1.DecideRequest{
		Scope: &routerv1.Scope{Tenant: tenant, MailIds: ids}, Verdict: routerv1.Verdict_VERDICT_SEND, Reason: "nobody knows better",
	})
	if err != nil && fault.KindOf(err) != fault.Precondition { // of one that went meanwhile
		return fmt.Errorf("deciding about held mail: %w", err)
	}
	return nil
}

// calm sends all that is held; nil when nothing waits any more.
func (o *operator) calm(ctx context.Context) error {
	if err := o.send(ctx, &routerv1.Scope{Tenant: tenant, Held: true}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := o.router.ListWaiting(ctx, &routerv1.ListWaitingRequest{Scope: &routerv1.Scope{Tenant: tenant}, PageSize: 5})
	if err != nil {
		return fmt.Errorf("listing waiting mail: %w", err)
	}
	if n := len(res.GetMails()); n > 0 {
		return fmt.Errorf("mail still waits, such as %v", res.GetMails()[0])
	}
	return nil
}
