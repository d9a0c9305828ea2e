// Package load is the benchmark's generator: products that submit mail over
// gRPC, and the bare loop that submits nothing to anybody.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/metadata"

	"kurir.dev/bench/internal/sink"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// Domain is the one site all mail goes to, but for that of [Product.NewBatchTo].
const Domain = "penerima.example"

// streams is how many batches a tenant sends at a time.
const streams = 4

// Product submits mail of one size. Safe for concurrent use.
type Product struct {
	mail  mailv1.MailServiceClient
	sink  *sink.Sink
	name  string
	texts []string
}

// NewProduct makes a product whose mail has about size bytes. Its name keeps
// its idempotency keys apart from those of other products.
func NewProduct(mail mailv1.MailServiceClient, s *sink.Sink, name string, rnd *rand.Rand, size int) *Product {
	return &Product{mail: mail, sink: s, name: name, texts: texts(rnd, size, 64)}
}

// Batch is bulk mail, and what is known of it.
type Batch struct {
	Series *sink.Series
	// IDs of the mails accepted, by number; empty while not accepted.
	IDs []string
	// Began is when the first was submitted, on the sink's clock.
	Began    time.Duration
	domain   string
	accepted atomic.Int64
}

// Accepted is how many were accepted so far.
func (b *Batch) Accepted() int { return int(b.accepted.Load()) }

// NewBatch makes a batch of n mails under a letter.
func (p *Product) NewBatch(letter byte, n int) *Batch { return p.NewBatchTo(Domain, letter, n) }

// NewBatchTo makes a batch of n mails to another domain.
func (p *Product) NewBatchTo(domain string, letter byte, n int) *Batch {
	return &Batch{Series: p.sink.Expect(letter, n), IDs: make([]string, n), domain: domain}
}

// Submit submits a batch in a tenant's name, by several SendBatch streams as
// fast as they are taken, and returns when all of it was accepted. Mail that is
// refused because the mesh is busy is submitted again.
func (p *Product) Submit(ctx context.Context, tenant string, b *Batch) error {
	ctx = as(ctx, tenant)
	todo := make([]int, len(b.IDs))
	for i := range todo {
		todo[i] = i
	}
	b.Began = p.sink.Now()
	for len(todo) > 0 {
		var mu sync.Mutex
		var again []int
		all, ctx := errgroup.WithContext(ctx)
		share := (len(todo) + streams - 1) / streams
		for len(todo) > 0 {
			part := todo[:min(share, len(todo))]
			todo = todo[len(part):]
			all.Go(func() error {
				refused, err := p.stream(ctx, b, part)
				mu.Lock()
				defer mu.Unlock()
				again = append(again, refused...)
				return err
			})
		}
		if err := all.Wait(); err != nil {
			return err
		}
		if todo = again; len(todo) > 0 {
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// stream submits the mails numbered in part and returns those refused.
func (p *Product) stream(ctx context.Context, b *Batch, part []int) (refused []int, err error) {
	stream, err := p.mail.SendBatch(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a batch: %w", err)
	}
	var both errgroup.Group
	both.Go(func() error {
		for _, i := range part {
			err := stream.Send(&mailv1.SendBatchRequest{
				Reference: strconv.Itoa(i), Item: &mailv1.SendBatchRequest_Mail{Mail: p.request(b.Series, i, b.domain)},
			})
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
			i, err := strconv.Atoi(res.GetReference())
			if err != nil || i < 0 || i >= len(b.IDs) {
				return fmt.Errorf("an answer refers to %q, which was not sent", res.GetReference())
			}
			switch {
			case res.GetError() == nil:
				b.IDs[i] = res.GetReceipt().GetMailId()
				b.accepted.Add(1)
			case busy(res.GetError().GetCode()):
				refused = append(refused, i)
			default:
				return fmt.Errorf("a mail was refused: %s", res.GetError().GetMessage())
			}
		}
	})
	return refused, both.Wait()
}

// as is ctx of a call in a tenant's name.
func as(ctx context.Context, tenant string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "kurir-tenant", tenant)
}

func (p *Product) request(s *sink.Series, i int, domain string) *mailv1.SendRequest {
	to := s.Address(i, domain)
	return &mailv1.SendRequest{
		IdempotencyKey: p.name + to, To: &mailv1.Address{Email: to},
		Content: &mailv1.Content{Subject: "Kabar akhir tahun", Text: p.texts[i%len(p.texts)]},
		Options: &mailv1.Options{Locale: "id-ID", Campaign: "akhir-tahun"},
	}
}

// busy tells whether a refusal asks to try again: RESOURCE_EXHAUSTED, ABORTED
// and UNAVAILABLE.
func busy(code int32) bool { return code == 8 || code == 10 || code == 14 }

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
