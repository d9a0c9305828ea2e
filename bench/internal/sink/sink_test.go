package sink_test

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"kurir.dev/bench/internal/sink"
)

func newSink(t *testing.T) *sink.Sink {
	t.Helper()
	s, err := sink.New(t.Context())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func dial(t *testing.T, s *sink.Sink) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(s.Addr())
	if err != nil {
		t.Fatalf("dialing: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(c *smtp.Client, to string) error {
	return c.SendMail("from@a.example", []string{to}, strings.NewReader("Subject: x\r\n\r\nhello\r\n"))
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	series := s.Expect('b', 3)
	sample := s.Sample()
	c := dial(t, s)
	for _, i := range []int{2, 0, 2} {
		if err := send(c, series.Address(i, "site.example")); err != nil {
			t.Fatalf("sending %d: %v", i, err)
		}
	}
	if err := series.Wait(t.Context(), 2, time.Minute); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if series.Count() != 2 || series.Again() != 1 {
		t.Errorf("Count, Again = %d, %d, want 2, 1", series.Count(), series.Again())
	}
	first, came := series.At(0)
	if last, ok := series.At(2); !came || !ok || last >= first || series.Last() != first {
		t.Errorf("At(2), At(0), Last = %v, %v, %v, want them in this order, the last two alike", last, first, series.Last())
	}
	if _, ok := series.At(1); ok {
		t.Error("At(1) is known, want that it has not come")
	}
	if got := string(<-sample); got != "Subject: x\r\n\r\nhello\r\n" {
		t.Errorf("Sample = %q, want the first message", got)
	}
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	s.Expect('b', 3)
	for _, to := range []string{"b3@x.example", "b-1@x.example", "bx@x.example", "c1@x.example", "b@x.example"} {
		c := dial(t, s)
		if err := send(c, to); err == nil {
			t.Errorf("a mail to %s was taken, want it refused", to)
		}
	}
}

// A mail in the tarpit comes when it is loosened, mail of another series at once.
func TestTarpit(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	slow, fast := s.Expect('b', 1), s.Expect('o', 1)
	slow.Tarpit(time.Hour)
	done := make(chan error, 1)
	c := dial(t, s)
	go func() { done <- send(c, slow.Address(0, "x.example")) }()
	if err := send(dial(t, s), fast.Address(0, "x.example")); err != nil {
		t.Fatalf("sending beside the tarpit: %v", err)
	}
	if slow.Count() != 0 {
		t.Error("the mail in the tarpit came, want it to wait")
	}
	slow.Loosen()
	slow.Loosen() // once more does nothing
	if err := <-done; err != nil || slow.Count() != 1 {
		t.Errorf("after Loosen: %v, %d mails, want 1", err, slow.Count())
	}
}

func TestWaitGivesUp(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	if err := s.Expect('b', 1).Wait(t.Context(), 1, 0); err == nil {
		t.Error("Wait = nil for a mail that does not come")
	}
}
