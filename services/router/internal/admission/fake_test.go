package admission_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/lane"
	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/crowd"
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
	swept     chan time.Time
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
		l.rows[e.Key] = admission.Prior{Fingerprint: e.Fingerprint, Receipt: e.Receipt, Pending: e.Waits == nil, Band: e.Band, Tried: admission.Span{From: e.Receipt.AcceptedAt, To: e.Receipt.AcceptedAt}}
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

func (l *ledger) Retry(_ context.Context, k admission.Key, tried admission.Span) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rows[k]
	p.Tried, p.Absent = tried, false
	l.rows[k] = p
	return nil
}

func (l *ledger) Pending(_ context.Context, before time.Time) ([]admission.Open, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var open []admission.Open
	for k, p := range l.rows {
		if p.Pending && !p.Absent && p.Receipt.AcceptedAt.Before(before) {
			open = append(open, admission.Open{Key: k, Prior: p})
		}
	}
	return open, nil
}

func (l *ledger) Absent(_ context.Context, k admission.Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.rows[k]
	p.Absent = true
	l.rows[k] = p
	return nil
}

func (l *ledger) Swept(_ context.Context, before time.Time) error {
	l.swept <- before
	return nil
}

// row is what stands under a key.
func (l *ledger) row(value string) admission.Prior {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows[admission.Key{Tenant: "acme", Value: value}]
}

// finder is an admission.Finder that knows where mail is.
type finder struct {
	mu    sync.Mutex
	where map[string]admission.Whereabouts
	asked []admission.Span
	err   error
}

func (f *finder) Find(_ context.Context, p admission.Prior, span admission.Span) (admission.Finding, error) {
	id := p.Receipt.MailID
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, span)
	return admission.Finding{Where: f.where[id], Mail: mail.Mail{ID: id}}, f.err
}

// carrier is an admission.Carrier that remembers everything. A publication
// waits for gate, and fails with err.
type carrier struct {
	mu        sync.Mutex
	published []mail.Mail
	bands     []topic.Band // of what is published
	accepted  []admission.Receipt
	gate      chan struct{}
	entered   chan struct{}
	err       error
	mute      bool // events are lost
}

func (c *carrier) Publish(ctx context.Context, m mail.Mail, s *crowd.Seat) error {
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
	c.published, c.bands = append(c.published, m), append(c.bands, s.Band())
	s.Landed(0, int64(len(c.published)))
	return nil
}

func (c *carrier) Seal(_ context.Context, m mail.Mail) ([]byte, error) {
	return append([]byte("sealed "), m.Message...), nil
}

func (c *carrier) Accepted(_ context.Context, _ mail.Mail, r admission.Receipt, done func(told bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mute {
		c.accepted = append(c.accepted, r)
	}
	if done != nil {
		done(!c.mute)
	}
}

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// bench is a desk with all that is around it.
type bench struct {
	ledger  *ledger
	carrier *carrier
	finder  *finder
	crowd   *crowd.Crowd // of at most one mail
	desk    *admission.Desk
	woken   []time.Time
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		ledger: &ledger{
			rows: map[admission.Key]admission.Prior{}, causes: map[mail.Key]suppression.Cause{},
			confirmed: make(chan []admission.Key, 16), swept: make(chan time.Time, 16),
		},
		crowd:   crowd.New(crowd.Config{After: 1}, []string{"otp"}, nil, slog.New(slog.DiscardHandler)),
		carrier: &carrier{}, finder: &finder{where: map[string]admission.Whereabouts{}},
	}
	b.desk = admission.NewDesk(admission.Deps{
		Ledger: b.ledger, Carrier: b.carrier, Finder: b.finder, Crowd: b.crowd, Log: slog.New(slog.DiscardHandler), Now: noon,
		Wake: func(_ string, at time.Time) { b.woken = append(b.woken, at) },
	}, admission.Config{
		Rules:       admission.Rules{Lanes: lane.Default(), MaxBytes: 1000, MaxAhead: 90 * 24 * time.Hour},
		MaxInFlight: 200, MaxBytes: 100_000, Margin: 10 * time.Millisecond, Landing: time.Minute,
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
