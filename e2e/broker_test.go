package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// unready waits until the service says that it cannot work, and that the
// broker is why.
func unready(t *testing.T, m *harness.Mesh, service string) {
	t.Helper()
	harness.Eventually(t, func() error {
		ready, why, err := m.Readiness(t, service)
		if err != nil {
			return err
		}
		if ready || !strings.Contains(why, m.BrokerAddress()) {
			return fmt.Errorf("readiness of %s is %t, %q, want it shut with the broker's address", service, ready, why)
		}
		return nil
	})
}

// turnedAway sends a mail with the time a product may have, and checks that it
// is told before that is over to come again. Nothing is known of it then: it
// may be delivered later all the same.
func turnedAway(t *testing.T, m *harness.Mesh) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := m.Mail.SendOtp(ctx, &mailv1.SendOtpRequest{
		IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: "away@broker.example"}, Code: "482913", ProductName: "Bank",
	})
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE || f.RetryAfter <= 0 {
		t.Errorf("SendOtp without a broker = %v, want UNAVAILABLE, BROKER_UNAVAILABLE, with RetryInfo", err)
	}
}

// TestBrokerAbsent starts the services before their broker.
func TestBrokerAbsent(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{Processes: true, Without: []string{"broker"}})
	m.Host(t, "mx.broker.example", mxsim.HostConfig{})
	m.DNS.MX("broker.example", "mx.broker.example")

	for _, service := range []string{"router", "dispatcher", "tracker"} {
		unready(t, m, service)
		harness.Eventually(t, func() error { // tries again and again
			if log := m.Log(t, service); strings.Count(log, "broker not ready, trying again") < 3 || !strings.Contains(log, m.BrokerAddress()) {
				return fmt.Errorf("the log of %s does not tell of three tries:\n%s", service, log)
			}
			return nil
		})
	}
	turnedAway(t, m)
	m.Begin(t, "broker")
	m.Ready(t)
	m.Final(t, m.OTP(t, "a@broker.example").GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
}

// TestBrokerHangs lets the broker stand still, connections and all: products
// are told in time to come again, and all is well when it goes on.
func TestBrokerHangs(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{Processes: true, OwnBroker: true})
	m.Host(t, "mx.broker.example", mxsim.HostConfig{})
	m.DNS.MX("broker.example", "mx.broker.example")

	before := m.OTP(t, "a@broker.example").GetMailId()
	m.Pause(t, "broker")
	turnedAway(t, m)
	shut(t, m, "router")
	shut(t, m, "dispatcher")
	turnedAway(t, m)
	m.Resume(t, "broker")
	m.Ready(t)
	for _, id := range []string{before, m.OTP(t, "a@broker.example").GetMailId()} {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
}

// shut waits until the service says that it cannot work.
func shut(t *testing.T, m *harness.Mesh, service string) {
	t.Helper()
	harness.Eventually(t, func() error {
		ready, why, err := m.Readiness(t, service)
		if err == nil && ready {
			err = fmt.Errorf("%s is ready, %q", service, why)
		}
		return err
	})
}

// TestBrokerLost takes the broker away in the middle of a stream of mail, once
// in good order and once by force, and gives it back.
func TestBrokerLost(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{Processes: true, OwnBroker: true})
	mx := m.Host(t, "mx.broker.example", mxsim.HostConfig{Script: mxsim.Tarpit(10 * time.Millisecond)})
	m.DNS.MX("broker.example", "mx.broker.example")

	var accepted []string
	for _, take := range []func(t *testing.T, service string){m.Stop, m.Kill} {
		for range 50 {
			accepted = append(accepted, m.Bulk(t, "a@broker.example").GetMailId())
		}
		take(t, "broker") // while most of it is on its way
		unready(t, m, "router")
		unready(t, m, "dispatcher")
		turnedAway(t, m)
		m.Begin(t, "broker")
		m.Ready(t)
	}
	accepted = append(accepted, m.OTP(t, "a@broker.example").GetMailId())
	for _, id := range accepted {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	took, away, times := 0, 0, map[string]int{}
	for _, r := range mx.Messages() {
		if r.To == "a@broker.example" {
			took++
		} else {
			away++
		}
		times[header(t, r.Data, "Message-Id")]++
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("the host took %s %d times, want once", id, n)
		}
	}
	if away > 2 {
		t.Errorf("the host took %d mails of the two that were turned away", away)
	}
	if took != len(accepted) {
		t.Errorf("the host took %d mails, want the %d accepted, each once", took, len(accepted))
	}
	for _, service := range []string{"router", "dispatcher", "tracker"} {
		if lines := strings.Count(m.Log(t, service), "\n"); lines > 200 {
			t.Errorf("%s wrote %d lines, want no flood", service, lines)
		}
	}
}
