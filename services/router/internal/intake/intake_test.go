package intake_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/router/internal/intake"
	"kurir.dev/services/router/internal/waiting"
)

// room takes no mail before it has a bill.
type room struct {
	want int
	full chan struct{} // closed when it has all it wants

	mu    sync.Mutex
	lanes []string      // of what it has, in that order
	bill  chan struct{} // closed when a bill is in
}

func newRoom(want int) *room {
	return &room{want: want, full: make(chan struct{}), bill: make(chan struct{})}
}

func (r *room) Put(ctx context.Context, m waiting.Mail) error {
	if m.Lane != "billing" {
		select {
		case <-r.bill:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lanes = append(r.lanes, m.Lane)
	if m.Lane == "billing" {
		close(r.bill)
	}
	if len(r.lanes) == r.want {
		close(r.full)
	}
	return nil
}

// TestLanesApart: a flood of deferrals of one lane that does not get in, more
// than any window holds, leaves the way of another lane free.
func TestLanesApart(t *testing.T) {
	t.Parallel()
	const flood = 6000
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.Partitions = 1 }, "billing", "bulk")
	keys, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	codec, p := record.NewCodec(keys, c.Topics()), b.Producer(c)
	var acked sync.WaitGroup
	put := func(lane, id string) {
		m, err := codec.Deferral(&eventsv1.Deferral{Envelope: &eventsv1.MailEnvelope{MailId: id, Lane: lane, Attempt: 2}})
		if err != nil {
			t.Fatalf("Deferral() = %v", err)
		}
		acked.Add(1)
		if err := p.Enqueue(m, func(_ broker.Position, err error) {
			if err != nil {
				t.Errorf("Enqueue() = %v", err)
			}
			acked.Done()
		}); err != nil {
			t.Fatalf("Enqueue() = %v", err)
		}
	}
	for i := range flood {
		put("bulk", strconv.Itoa(i))
	}
	acked.Wait()
	put("billing", "bill")
	acked.Wait()

	r := newRoom(flood + 1)
	in, err := intake.New(intake.Deps{
		Broker: c, Telemetry: telemetry.Discard(), Group: "router", Room: r, Codec: codec, Lanes: []string{"billing", "bulk"},
		Wake: func(string, time.Time) {},
		Dead: func(context.Context, broker.Message) error { t.Error("a record is dead"); return nil },
	})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := in.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	<-r.full
	stop()
	running.Wait()
	if r.lanes[0] != "billing" {
		t.Errorf("the first mail in the room is of %s, want the bill", r.lanes[0])
	}
}
