package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/status"

	"kurir.dev/bench/internal/sink"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// Shots are single mails and when each was sent.
type Shots struct {
	series *sink.Series
	began  []atomic.Int64 // on the sink's clock; 0 not sent
	next   int
}

// NewShots makes room for n mails under a letter.
func (p *Product) NewShots(letter byte, n int) *Shots {
	return &Shots{series: p.sink.Expect(letter, n), began: make([]atomic.Int64, n)}
}

// Slice is the shots of one stretch of time.
type Slice struct{ From, To int }

// Outcome is what became of shots.
type Outcome struct {
	Times   []time.Duration // from call to 250, of those that arrived
	Lost    int             // accepted, and not arrived
	Refused int             // not accepted
}

// Outcome looks what became of the shots of slices.
func (s *Shots) Outcome(slices ...Slice) Outcome {
	var o Outcome
	for _, part := range slices {
		for i := part.From; i < part.To; i++ {
			began := time.Duration(s.began[i].Load())
			at, ok := s.series.At(i)
			switch {
			case began == refused:
				o.Refused++
			case !ok:
				o.Lost++
			default:
				o.Times = append(o.Times, at-began)
			}
		}
	}
	return o
}

// refused stands for the time of a shot that was not accepted.
const refused = -1

// accepted looks at the answer for shot number i: one that says the mesh is
// busy is noted, any other error is returned.
func (s *Shots) accepted(i int, err error) error {
	if err != nil && busy(int32(status.Code(err))) {
		s.began[i].Store(refused)
		return nil
	}
	return err
}

// Poisson calls send for one shot after the other, with pauses as a Poisson
// process of a rate per second has them, without waiting for any to end, until
// the slice is full or enough is closed. It returns when all were accepted.
func (s *Shots) Poisson(ctx context.Context, rnd *rand.Rand, rate float64, most int, enough <-chan struct{},
	send func(ctx context.Context, s *Shots, i int) error,
) (Slice, error) {
	part := Slice{From: s.next, To: s.next}
	all, ctx := errgroup.WithContext(ctx)
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for stop := false; !stop && part.To-part.From < most; {
		next = next.Add(time.Duration(rnd.ExpFloat64() / rate * float64(time.Second)))
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
			if part.To == len(s.began) {
				return part, fmt.Errorf("all %d single mails are used up", part.To)
			}
			i := part.To
			part.To++
			all.Go(func() error { return send(ctx, s, i) })
		case <-enough:
			stop = true
		case <-ctx.Done():
			stop = true
		}
	}
	err := all.Wait()
	s.next = part.To
	return part, err
}

// Arrive waits until the mails of a slice came, or for the time given.
func (s *Shots) Arrive(ctx context.Context, part Slice, most time.Duration) error {
	late := time.NewTimer(most)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := part.From; i < part.To; {
		if _, ok := s.series.At(i); ok || s.began[i].Load() == refused {
			i++
			continue
		}
		select {
		case <-tick.C:
		case <-late.C:
			return nil // those missing are counted
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// OTP sends an OTP as shot number i.
func (p *Product) OTP(ctx context.Context, s *Shots, i int) error {
	to := s.series.Address(i, Domain)
	s.began[i].Store(int64(p.sink.Now()))
	_, err := p.mail.SendOtp(ctx, &mailv1.SendOtpRequest{
		IdempotencyKey: p.name + to, To: &mailv1.Address{Email: to}, Code: "482 913", ProductName: "Bank Contoh",
		Origin: "bank.example", Options: &mailv1.Options{Locale: "id-ID"},
	})
	if err := s.accepted(i, err); err != nil {
		return fmt.Errorf("sending an OTP: %w", err)
	}
	return nil
}

// Small sends generic mail as shot number i, in the name of one of so many
// small tenants.
func (p *Product) Small(tenants int) func(ctx context.Context, s *Shots, i int) error {
	return func(ctx context.Context, s *Shots, i int) error {
		s.began[i].Store(int64(p.sink.Now()))
		_, err := p.mail.Send(as(ctx, fmt.Sprintf("small-%02d", i%tenants)), p.request(s.series, i, Domain))
		if err := s.accepted(i, err); err != nil {
			return fmt.Errorf("sending a small tenant's mail: %w", err)
		}
		return nil
	}
}

// Sustain sends OTPs as fast as so many callers can, each waiting for its
// answer, until enough is closed, and returns how many.
func (p *Product) Sustain(ctx context.Context, s *Shots, callers int, enough <-chan struct{}) (int, error) {
	var mu sync.Mutex
	from := s.next
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if s.next == len(s.began) {
			return 0, false
		}
		s.next++
		return s.next - 1, true
	}
	all, ctx := errgroup.WithContext(ctx)
	for range callers {
		all.Go(func() error {
			for {
				select {
				case <-enough:
					return nil
				default:
				}
				i, ok := take()
				if !ok {
					return fmt.Errorf("all %d single mails are used up", len(s.began))
				}
				if err := p.OTP(ctx, s, i); err != nil {
					return err
				}
			}
		})
	}
	err := all.Wait()
	return s.next - from, err
}
