package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/lane"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// Mail is one mail of the traffic, and what its sender learns of it. The
// first fields are planned and do not change.
type Mail struct {
	N    int
	Lane string
	Dest Dest
	// Ahead is how long before its time it is sent; 0 sends it to leave now.
	Ahead time.Duration
	// Expires is the time of use asked for; 0 takes the lane's.
	Expires time.Duration
	// Cancel is when it is cancelled, counted from its acceptance; 0 never.
	Cancel time.Duration
	// Hasty senders give up after the first refusal.
	Hasty bool
	// Again is when it is sent again under its key, counted from its
	// acceptance; 0 never.
	Again time.Duration

	send func(context.Context, mailv1.MailServiceClient) (*mailv1.Receipt, error)

	mu sync.Mutex
	// Calls counts the tries, Receipt is the answer to the first that was
	// accepted, nil when none was.
	Calls   int
	Receipt *mailv1.Receipt
	// Cancelled is when a cancel was answered with OK, Tried whether one was
	// tried.
	Cancelled time.Time
	Tried     bool
	// Faults are answers that no sender should get.
	Faults []string
}

// To is its recipient, which no other mail has.
func (m *Mail) To() string { return fmt.Sprintf("m%d@%s", m.N, m.Dest.domain()) }

// id is the mail's id, empty while it is not accepted.
func (m *Mail) id() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Receipt.GetMailId()
}

// blame notes an answer that no sender should get.
func (m *Mail) blame(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Faults = append(m.Faults, fmt.Sprintf(format, args...))
}

// weighted is a choice among several.
type weighted[T any] []struct {
	weight int
	value  T
}

func (w weighted[T]) pick(rnd *rand.Rand) T {
	total := 0
	for _, c := range w {
		total += c.weight
	}
	n := rnd.IntN(total)
	for _, c := range w {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	panic("unreachable: weights sum to the total")
}

// NewTraffic makes the mails of a seed: the same seed and number make the same.
func NewTraffic(seed uint64, n int) []*Mail {
	rnd := rand.New(rand.NewPCG(seed, 2))
	lanes := weighted[string]{{35, lane.OTP}, {25, lane.Billing}, {20, lane.Reminder}, {20, lane.Bulk}}
	dests := weighted[Dest]{{35, Fast}, {25, Slow}, {8, Failing}, {6, Dead}, {9, Grey}, {10, Dropping}, {7, Kept}}
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rnd.Int64N(int64(high-low))) }
	mails := make([]*Mail, n)
	for i := range mails {
		m := &Mail{N: i, Lane: lanes.pick(rnd), Dest: dests.pick(rnd)}
		switch {
		case m.Dest == Dead: // nothing else ends it
			m.Expires = between(5*time.Second, 25*time.Second)
		case m.Lane == lane.OTP:
			m.Expires = between(10*time.Second, 40*time.Second)
		}
		if luck := rnd.IntN(100); luck < 16 || m.Dest == Kept {
			m.Ahead = between(time.Second, 8*time.Second)
			if luck < 5 {
				m.Ahead += 5 * time.Second
				m.Cancel = between(time.Millisecond, m.Ahead+2*time.Second)
			}
		}
		if rnd.IntN(100) < 10 {
			m.Again = between(time.Millisecond, 15*time.Second)
		}
		m.Hasty = rnd.IntN(100) < 4
		mails[i] = m
	}
	return mails
}

// prepare makes the mail's request, the same for each call. now is when it is
// sent for the first time.
func (m *Mail) prepare(now time.Time) {
	options := &mailv1.Options{Locale: "id-ID"}
	if m.Ahead > 0 {
		options.SendAt = timestamppb.New(now.Add(m.Ahead))
	}
	if m.Expires > 0 {
		options.ExpiresIn = durationpb.New(m.Expires)
	}
	key, to, invoice := "key-"+strconv.Itoa(m.N), &mailv1.Address{Email: m.To()}, "INV-"+strconv.Itoa(m.N)
	switch m.Lane {
	case lane.OTP:
		req := &mailv1.SendOtpRequest{IdempotencyKey: key, To: to, Code: "482913", ProductName: "Bank Contoh", Options: options}
		m.send = func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
			res, err := c.SendOtp(ctx, req)
			return res.GetReceipt(), err
		}
	case lane.Billing:
		req := &mailv1.SendBillRequest{IdempotencyKey: key, To: to, Bill: harness.Invoice(invoice), Options: options}
		m.send = func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
			res, err := c.SendBill(ctx, req)
			return res.GetReceipt(), err
		}
	case lane.Reminder:
		req := &mailv1.SendReminderRequest{IdempotencyKey: key, To: to, Bill: harness.Invoice(invoice), Step: "first", DaysUntilDue: 3, Options: options}
		m.send = func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
			res, err := c.SendReminder(ctx, req)
			return res.GetReceipt(), err
		}
	default:
		req := &mailv1.SendRequest{
			IdempotencyKey: key, To: to, Options: options,
			Content: &mailv1.Content{Subject: "Kabar", Text: "Halo.\n"},
		}
		m.send = func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
			res, err := c.Send(ctx, req)
			return res.GetReceipt(), err
		}
	}
}
