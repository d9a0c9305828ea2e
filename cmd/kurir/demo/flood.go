package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// postman sends the demonstration's mail and notes what was accepted.
type postman struct {
	mail   mailv1.MailServiceClient
	ledger *ledger
	sink   *arrivals
	domain string
}

// otp sends one OTP and returns the time from the call to the receiving
// server's 250, or the stall time for one that did not arrive within it.
func (p *postman) otp(ctx context.Context, name string) (time.Duration, error) {
	to := name + "@" + p.domain
	arrived := p.sink.expect(to)
	start := time.Now()
	res, err := p.mail.SendOtp(ctx, &mailv1.SendOtpRequest{
		IdempotencyKey: name, To: &mailv1.Address{Email: to}, Code: "482 913", ProductName: "Bank Contoh",
		Origin: "bank.example", Options: &mailv1.Options{Locale: "id-ID"},
	})
	if err != nil {
		return 0, fmt.Errorf("sending an OTP: %w", err)
	}
	p.ledger.accept(res.GetReceipt().GetMailId(), to)
	lost := time.NewTimer(stall)
	defer lost.Stop()
	select {
	case at := <-arrived:
		return at.Sub(start), nil
	case <-lost.C:
		return stall, nil // the verdict counts it
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// idle sends n OTPs one after the other and returns their times.
func (p *postman) idle(ctx context.Context, n int) ([]time.Duration, error) {
	times := make([]time.Duration, 0, n)
	for i := range n {
		d, err := p.otp(ctx, fmt.Sprintf("otp-idle-%06d", i))
		if err != nil {
			return nil, err
		}
		times = append(times, d)
	}
	return times, nil
}

// flood sends bulk mails as fast as they are taken and otps OTPs spread evenly
// over their arrival. It returns the OTPs' times and when the first bulk mail
// was accepted.
func (p *postman) flood(ctx context.Context, bulk, otps int) ([]time.Duration, time.Time, error) {
	var (
		mu    sync.Mutex
		times []time.Duration
	)
	all, ctx := errgroup.WithContext(ctx)
	for i := range otps {
		turn := p.sink.after(i * bulk / otps)
		all.Go(func() error {
			select {
			case <-turn:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			d, err := p.otp(ctx, fmt.Sprintf("otp-flood-%06d", i))
			mu.Lock()
			defer mu.Unlock()
			times = append(times, d)
			return err
		})
	}
	var first time.Time
	all.Go(func() (err error) {
		first, err = p.batch(ctx, bulk)
		return err
	})
	err := all.Wait()
	return times, first, err
}

// batch streams n generic mails and returns when the first was accepted.
func (p *postman) batch(ctx context.Context, n int) (first time.Time, err error) {
	stream, err := p.mail.SendBatch(ctx)
	if err != nil {
		return first, fmt.Errorf("opening a batch: %w", err)
	}
	var both errgroup.Group
	both.Go(func() error {
		for i := range n {
			err := stream.Send(&mailv1.SendBatchRequest{Reference: p.bulkAddress(i), Item: &mailv1.SendBatchRequest_Mail{
				Mail: &mailv1.SendRequest{
					IdempotencyKey: fmt.Sprintf("bulk-%06d", i), To: &mailv1.Address{Email: p.bulkAddress(i)},
					Content: &mailv1.Content{
						Subject: "Promo akhir tahun",
						Text:    "Halo, diskon akhir tahun berlaku sampai 31 Desember 2026.\n",
						Html:    "<p>Halo, <strong>diskon akhir tahun</strong> berlaku sampai 31 Desember 2026.</p>",
					},
					Options: &mailv1.Options{Locale: "id-ID", Campaign: "akhir-tahun"},
				},
			}})
			if errors.Is(err, io.EOF) {
				return nil // the answer says why
			}
			if err != nil {
				return fmt.Errorf("sending a batch: %w", err)
			}
		}
		return stream.CloseSend()
	})
	both.Go(func() error {
		for {
			res, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("sending a batch: %w", err)
			}
			if res.GetError() != nil {
				return fmt.Errorf("sending %s: %s", res.GetReference(), res.GetError().GetMessage())
			}
			if first.IsZero() {
				first = time.Now()
			}
			p.ledger.accept(res.GetReceipt().GetMailId(), res.GetReference())
		}
	})
	err = both.Wait()
	return first, err
}

// bulkAddress spreads the bulk over addresses of the same site the OTPs go to.
func (p *postman) bulkAddress(i int) string {
	return fmt.Sprintf("%s%06d@%s", bulkPrefix, i, p.domain)
}
