package ingest

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/tracker/internal/store"
)

// BenchmarkMails takes plain mails from their sealed records to the store: the
// event that accepts each, and the outcome that delivers it, which comes in the
// same batch or in the next. One operation is one mail; cpu-s/1000 is the
// processor time of all threads.
func BenchmarkMails(b *testing.B) {
	for _, batch := range []int{100, 400, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchmarkMails(b, batch) })
	}
}

func benchmarkMails(b *testing.B, size int) {
	keys, err := seal.Generate()
	if err != nil {
		b.Fatalf("seal.Generate() = %v", err)
	}
	s, err := store.Open(b.Context(), dbtest.SQLite(b))
	if err != nil {
		b.Fatalf("Open() = %v", err)
	}
	defer func() { _ = s.Close() }()
	client := brokertest.New(b, nil).Client(nil, "bulk")
	codec := record.NewCodec(keys, client.Topics())
	in := New(Deps{
		Telemetry: telemetry.Discard(), Broker: client, Codec: codec, Store: s, Ready: app.NewReady(), Now: time.Now, Stored: func(bool) {},
	}, Config{Lanes: []string{"bulk"}, Group: "test", Batch: size, Pace: time.Millisecond, Lease: time.Second, MaxWait: time.Second})

	messages := records(b, codec, b.N)
	readers := map[string]*reader{}
	offsets := map[string]int64{}
	batch := make([]item, 0, size)
	before := processor(b)
	b.ResetTimer()
	for i, m := range messages {
		r := readers[m.Topic]
		if r == nil {
			r = &reader{at: place{m.Topic, 0}}
			readers[m.Topic] = r
		}
		m.Offset = offsets[m.Topic]
		offsets[m.Topic]++
		if batch = append(batch, fetched(r, m)); len(batch) < size && i < len(messages)-1 {
			continue
		}
		if err := in.ingest(b.Context(), batch); err != nil {
			b.Fatalf("ingest() = %v", err)
		}
		batch = batch[:0]
	}
	b.StopTimer()
	b.ReportMetric((processor(b)-before).Seconds()/float64(b.N)*1000, "cpu-s/1000")
}

// records are the records of n mails: each is delivered fifty mails after it
// was accepted.
func records(b *testing.B, codec *record.Codec, n int) []kafka.Message {
	const later = 50
	at := time.Unix(1_800_000_000, 0)
	var out []kafka.Message
	add := func(i int, typ eventsv1.EventType) {
		id := fmt.Sprintf("01900000-0000-7000-8000-%012d", i)
		to := fmt.Sprintf("recipient-%d@example.test", i*7919%1_000_003)
		at = at.Add(250 * time.Microsecond)
		ev := &eventsv1.Event{
			EventId: record.EventID(id, 1, 0, typ), Type: typ, MailId: id, Tenant: "acme", Lane: "bulk", Attempt: 1,
			OccurredAt: timestamppb.New(at), Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
			Facts: &eventsv1.MailFacts{
				Kind: mailv1.Kind_KIND_GENERIC, Recipient: to, SenderDomain: "acme.example", Campaign: "winter",
				Locale: "id-ID",
			},
		}
		seal := codec.Event
		if typ == eventsv1.EventType_EVENT_TYPE_DELIVERED {
			seal = func(ev *eventsv1.Event) (broker.Message, error) { return codec.Outcome(ev, 0) }
			ev.Detail = &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{
				Site: "example.test", Host: "mx1.example.test", RemoteIp: "192.0.2.1", Route: "mx", Egress: "default",
				Code: 250, EnhancedCode: "2.0.0", Text: "Ok: queued as 4Zx9r2",
			}}
		}
		msg, err := seal(ev)
		if err != nil {
			b.Fatalf("making a record: %v", err)
		}
		m := kafka.Message{Topic: msg.Topic, Key: msg.Key, Value: msg.Value, Time: at}
		for _, h := range msg.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		out = append(out, m)
	}
	for i := range n + later {
		if i < n {
			add(i, eventsv1.EventType_EVENT_TYPE_ACCEPTED)
		}
		if i >= later {
			add(i-later, eventsv1.EventType_EVENT_TYPE_DELIVERED)
		}
	}
	return out
}

// processor is the processor time this process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatalf("Getrusage() = %v", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
