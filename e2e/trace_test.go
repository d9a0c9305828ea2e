package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// stations are the spans one bill's trace must hold, as service and part of
// the name, in causal order.
var stations = [][2]string{
	{"shop", "invoice issued"},
	{"composer", "SendBill"},
	{"router", "Submit"},
	{"router", "publish kurir.lane.billing"},
	{"dispatcher", "deliver"},
	{"dispatcher", "smtp"},
	{"tracker", "ingest"},
	{"tracker", "open"},
	{"tracker", "click"},
}

// TestTrace follows one bill from the product's own span to the click, all in
// one trace, across gRPC, Kafka, SMTP and HTTP.
func TestTrace(t *testing.T) {
	t.Parallel()
	spans := harness.NewCollector(t)
	m := harness.Start(t, harness.Options{TraceEndpoint: spans.Addr(), OwnBroker: true})
	root, id := journey(t, m, spans.Addr())

	harness.Eventually(t, func() error {
		found := spans.Trace(root.TraceID().String())
		for _, s := range found {
			if s.Parent != "" && found[s.Parent].ID == "" {
				return fmt.Errorf("span %s %q has a parent outside its trace", s.Service, s.Name)
			}
		}
		for _, station := range stations {
			if !holds(found, station) {
				return fmt.Errorf("the trace has no span %q of %s: %v", station[1], station[0], names(found))
			}
		}
		return nil
	})
	for _, s := range spans.All() {
		for key, value := range s.Attributes {
			if strings.Contains(value, "sari@") {
				t.Errorf("attribute %s of span %q holds the recipient's address: %s", key, s.Name, value)
			}
		}
	}
	if id == "" {
		t.Error("the bill has no id")
	}
}

// journey sends a bill in the name of a shop, opens it and follows its link.
func journey(t *testing.T, m *harness.Mesh, endpoint string) (trace.SpanContext, string) {
	t.Helper()
	mx := m.Host(t, "mx.trace.example", mxsim.HostConfig{})
	m.DNS.MX("trace.example", "mx.trace.example")
	shop := harness.Product(t, "shop", endpoint)
	ctx, span := shop.Tracer("shop").Start(t.Context(), "invoice issued", trace.WithSpanKind(trace.SpanKindClient))
	res, err := m.Client(t, shop).SendBill(ctx, &mailv1.SendBillRequest{
		IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: "sari@trace.example"}, Bill: harness.Invoice("INV-trace"),
	})
	span.End()
	if err != nil {
		t.Fatal(err)
	}
	m.Final(t, res.GetReceipt().GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	wait(t, mx, 1)
	reader, err := mxsim.NewReader(mx.Messages()[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reader.Open(t.Context()), click(t.Context(), reader)); err != nil {
		t.Fatal(err)
	}
	m.Event(t, res.GetReceipt().GetMailId(), eventsv1.EventType_EVENT_TYPE_CLICKED)
	return span.SpanContext(), res.GetReceipt().GetMailId()
}

func click(ctx context.Context, r *mxsim.Reader) error {
	_, err := r.Click(ctx)
	return err
}

func holds(spans map[string]harness.Span, station [2]string) bool {
	for _, s := range spans {
		if s.Service == station[0] && strings.Contains(s.Name, station[1]) {
			return true
		}
	}
	return false
}

func names(spans map[string]harness.Span) []string {
	var all []string
	for _, s := range spans {
		all = append(all, s.Service+" "+s.Name)
	}
	return all
}
