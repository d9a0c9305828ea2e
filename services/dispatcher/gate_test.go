package dispatcher_test

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
)

// A mail stands back once more before its message, which is most of the work of
// sending it: the server has the envelope and waits.
func TestMessageStandsBack(t *testing.T) {
	t.Parallel()
	y := build(t)
	metrics := sdkmetric.NewManualReader()
	y.gate = gate.New(gate.Config{Places: 1}, lane.Default())
	if err := y.gate.Measure(sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	y.start()
	held := make(chan func(), 1)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Data {
			leave, err := y.gate.Enter(t.Context(), lane.OTP, "other")
			if err != nil {
				t.Errorf("Enter = %v, want nil", err)
			}
			held <- leave
		}
		return mxsim.Reply{}
	}})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.Bulk)
	e := y.send(lane.Bulk, "ana@example.org")
	leave := <-held
	brokertest.Eventually(t, func() bool { return waiting(t, metrics, lane.Bulk) == 1 || mx.Stats().Mails > 0 })
	if got := mx.Stats().Mails; got != 0 {
		t.Errorf("%d mails taken while there was no place, want none", got)
	}
	leave()
	want(t, next(), e, delivered)
}

// waiting is how many steps of a lane wait at the gate.
func waiting(t *testing.T, metrics sdkmetric.Reader, name string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if gauge, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "kurir_gate_waiting" {
			for _, p := range gauge.DataPoints {
				if l, _ := p.Attributes.Value(attribute.Key("lane")); l.AsString() == name {
					n += p.Value
				}
			}
		}
	}
	return n
}
