package admission_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/lane"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// ledger is an admission.Ledger in memory that never fails unless told to.
type ledger struct {
	mu        sync.Mutex
	rows      map[admission.Key]admission.Prior
	waits     []waiting.Mail
	causes    map[mail.Key]suppression.Cause
	confirmed chan []admission.Key
	err       error
}

func (l *ledger) Admit(_ context.Context, e admission.Entry) (admission.Verdict, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return admission.Verdict{}, l.err
	}
	if p, ok := l.rows[e.Key]; ok {
		return admission.Verdict{Prior: &p}, nil
	}
	if c := l.causes[e.Recipient]; c.Stops(e.Kind) {
		return admission.Verdict{Suppressed: c}, nil
	}
	if e.Key.Value != "" {
		l.rows[e.Key] = admission.Prior{Fingerprint: e.Fingerprint, Receipt: e.Receipt, Pending: e.Waits == nil}
	}
	if e.Waits != nil {
		l.waits = append(l.waits, *e.Waits)
	}
	return admission.Verdict{}, nil
}

func (l *ledger) Confirm(_ context.Context, keys []admission.Key) error {
	l.mu.Lock()
	for _, k := range keys {
		p := l.rows[k]
		p.Pending = false
		l.rows[k] = p
	}
	l.mu.Unlock()
	l.confirmed <- keys
	return nil
}

// carrier is an admission.Carrier that remembers everything. A publication
// waits for gate, and fails with err.
type carrier struct {
	mu        sync.Mutex
	published []mail.Mail
	accepted  []admission.Receipt
	gate      chan struct{}
	entered   chan struct{}
	err       error
}

func (c *carrier) Publish(ctx context.Context, m mail.Mail) error {
	if c.entered != nil {
		c.entered <- struct{}{}
	}
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.published = append(c.published, m)
	return nil
}

func (c *carrier) Seal(_ context.Context, m mail.Mail) ([]byte, error) {
	return append([]byte("sealed "), m.Message...), nil
}

func (c *carrier) Accepted(_ context.Context, _ mail.Mail, r admission.Receipt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = append(c.accepted, r)
}

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// bench is a desk with all that is around it.
type bench struct {
	ledger  *ledger
	carrier *carrier
	desk    *admission.Desk
	woken   []time.Time
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		ledger: &ledger{
			rows: map[admission.Key]admission.Prior{}, causes: map[mail.Key]suppression.Cause{},
			confirmed: make(chan []admission.Key, 16),
		},
		carrier: &carrier{},
	}
	b.desk = admission.NewDesk(admission.Deps{
		Ledger: b.ledger, Carrier: b.carrier, Log: slog.New(slog.DiscardHandler), Now: noon,
		Wake: func(at time.Time) { b.woken = append(b.woken, at) },
	}, admission.Config{
		Rules:       admission.Rules{Lanes: lane.Default(), MaxBytes: 1000, MaxAhead: 90 * 24 * time.Hour},
		MaxInFlight: 200, Margin: 10 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.desk.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return b
}

// otp is a submission of an OTP.
func otp(id, key string) admission.Submission {
	return admission.Submission{
		Mail: mail.Mail{
			ID: id, Tenant: "acme", Kind: mail.KindOTP, Recipient: "Budi@Example.com",
			ReturnDomain: "bounce.acme.example", Message: []byte("Subject: hi\r\n\r\n"),
		},
		IdempotencyKey: key, Fingerprint: "print",
	}
}
