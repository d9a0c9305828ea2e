package wire

import (
	"context"
	"fmt"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/scan"
)

const (
	// skew is how far the clocks of routers and brokers may be apart.
	skew = 2 * time.Second
	// outcomes bounds how many outcomes are read in search of one mail.
	outcomes = 500_000
)

// Finder looks for mail on its lane and in what became of it.
type Finder struct {
	client   *broker.Client
	reader   *scan.Reader
	producer *broker.Producer
	codec    *record.Codec
	names    topic.Names
}

var _ admission.Finder = (*Finder)(nil)

// NewFinder makes a finder.
func NewFinder(c *broker.Client, p *broker.Producer, codec *record.Codec) *Finder {
	return &Finder{client: c, reader: scan.New(c), producer: p, codec: codec, names: c.Topics()}
}

// Find implements admission.Finder, in the partition where the mail is put:
//
//  1. of the lane, from the span's beginning to its end: a record stays there
//     whatever became of it, until it is trimmed
//  2. when the log begins later than the span, records may be gone that were
//     done: then of outcomes, from the span's beginning on
//  3. when that begins later as well, or is too long, nobody can tell
//
// A mail without a place is looked for in all partitions.
func (f *Finder) Find(ctx context.Context, p admission.Prior, span admission.Span) (admission.Finding, error) {
	lane, id := p.Receipt.Lane, p.Receipt.MailID
	partitions, err := f.client.Partitions(ctx, f.names.Lane(lane))
	if err != nil {
		return admission.Finding{}, err
	}
	if !p.Unplaced {
		partition, err := f.producer.PartitionIn(f.names.Lane(lane), []byte(id), p.Band)
		if err != nil {
			return admission.Finding{}, err
		}
		return f.find(ctx, lane, id, partition, span)
	}
	sum := admission.Finding{Where: admission.Nowhere}
	for partition := range partitions {
		found, err := f.find(ctx, lane, id, partition, span)
		if err != nil || found.Where == admission.There {
			return found, err
		}
		if found.Where == admission.Untold {
			sum = found
		}
	}
	return sum, nil
}

// find is Find in one partition.
func (f *Finder) find(ctx context.Context, lane, id string, partition int, span admission.Span) (admission.Finding, error) {
	name := f.names.Lane(lane)
	found, whole, err := f.look(ctx, name, partition, id, span.From.Add(-skew), span.To.Add(skew), func(r custody.Record) (mail.Mail, error) {
		e, err := f.codec.OpenMail(r)
		return known(e.GetTenant(), e.GetLane(), e.GetTraceparent(), e.GetTracestate(), e.GetFacts()), err
	})
	if err != nil || found != nil || whole {
		return finding(found, admission.Nowhere), err
	}
	found, whole, err = f.look(ctx, f.names.Outcome(lane), partition, id, span.From.Add(-skew), time.Time{}, func(r custody.Record) (mail.Mail, error) {
		ev, err := f.codec.OpenEvent(r)
		return known(ev.GetTenant(), ev.GetLane(), ev.GetTraceparent(), "", ev.GetFacts()), err
	})
	if whole {
		return finding(found, admission.Nowhere), err
	}
	return finding(found, admission.Untold), err
}

// finding is what was found, or else what that means.
func finding(found *mail.Mail, otherwise admission.Whereabouts) admission.Finding {
	if found == nil {
		return admission.Finding{Where: otherwise}
	}
	return admission.Finding{Where: admission.There, Mail: *found}
}

// look searches a partition between two times, the second zero for its end, and
// tells whether the log reaches back to the first.
func (f *Finder) look(
	ctx context.Context, name string, partition int, id string, from, to time.Time, open func(r custody.Record) (mail.Mail, error),
) (found *mail.Mail, whole bool, err error) {
	bounds, err := f.reader.Bounds(ctx, name, partition)
	if err != nil {
		return nil, false, err
	}
	first, err := f.reader.At(ctx, name, partition, from)
	if err != nil {
		return nil, false, err
	}
	last := bounds.Last
	if !to.IsZero() {
		if last, err = f.reader.At(ctx, name, partition, to); err != nil {
			return nil, false, err
		}
	}
	whole = bounds.First == 0 || first > bounds.First
	if to.IsZero() && last-first > outcomes {
		return nil, false, nil
	}
	err = f.reader.Read(ctx, name, partition, first, last, func(r custody.Record) bool {
		if string(r.Key) != id {
			return true
		}
		m, err := open(r)
		if err != nil { // it is there, though not to be read
			m = mail.Mail{}
		}
		m.ID = id
		found = &m
		return false
	})
	if err != nil {
		return nil, false, fmt.Errorf("looking for a mail: %w", err)
	}
	return found, whole, nil
}

// known is what a record tells of its mail.
func known(tenant, lane, parent, state string, f *eventsv1.MailFacts) mail.Mail {
	carried, err := Facts(f)
	if err != nil {
		carried = mail.Facts{}
	}
	return mail.Mail{Tenant: tenant, Lane: lane, Facts: carried, Trace: mail.Trace{Parent: parent, State: state}}
}
