package admission_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/admission"
)

// crash leaves a key pending.
func (b *bench) crash(t *testing.T, id, key string) {
	t.Helper()
	b.carrier.err = errors.New("broker is gone")
	if _, err := b.desk.Submit(t.Context(), otp(id, key)); err == nil {
		t.Fatal("Submit() = nil, want the broker's error")
	}
	b.carrier.err = nil
}

// TestPendingIsLookedFor: what a replay of a pending key does depends on where
// the mail is found.
func TestPendingIsLookedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		where     admission.Whereabouts
		err       error
		published int
		replayed  bool
		doubtful  bool
		reason    faultv1.Reason
	}{
		"there":   {where: admission.There, replayed: true},
		"nowhere": {where: admission.Nowhere, published: 1},
		"untold":  {where: admission.Untold, published: 1, doubtful: true},
		"no answer": {
			err: errors.New("broker is gone"), reason: faultv1.Reason_REASON_BROKER_UNAVAILABLE,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.crash(t, "m1", "k")
			b.finder.where["m1"], b.finder.err = c.where, c.err
			r, err := b.desk.Submit(t.Context(), otp("m1", "k"))
			if c.reason != 0 {
				if f := fault.From(err); f == nil || f.Kind != fault.Unavailable || f.Reason != c.reason {
					t.Errorf("Submit() = %v, want %v", err, c.reason)
				}
				return
			}
			if err != nil || r.MailID != "m1" || r.Replayed != c.replayed || len(b.carrier.published) != c.published {
				t.Errorf("Submit() = %+v, %v, %d published, want replayed %v and %d published", r, err, len(b.carrier.published), c.replayed, c.published)
			}
			if c.published > 0 && b.carrier.published[0].Doubtful != c.doubtful {
				t.Errorf("published %+v, want doubtful %v", b.carrier.published[0], c.doubtful)
			}
			<-b.ledger.confirmed
			if want := (admission.Span{From: noon(), To: noon().Add(time.Minute)}); b.finder.asked[0] != want {
				t.Errorf("Find(%v), want %v", b.finder.asked[0], want)
			}
		})
	}
}

// TestPendingAnswersAnotherID: a mail that is found needs not be rendered again
// under its id.
func TestPendingAnswersAnotherID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.crash(t, "m1", "k")
	b.finder.where["m1"] = admission.There
	if r, err := b.desk.Submit(t.Context(), otp("m2", "k")); err != nil || r.MailID != "m1" || !r.Replayed {
		t.Errorf("Submit(another id) = %+v, %v, want the first mail's receipt", r, err)
	}
}

// TestLostEventLeavesPending: a key is confirmed only once the acceptance is
// told; the sweeper tells it again.
func TestLostEventLeavesPending(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carrier.mute = true
	if _, err := b.desk.Submit(t.Context(), otp("m1", "k")); err != nil {
		t.Fatalf("Submit() = %v", err)
	}
	if !b.ledger.row("k").Pending {
		t.Fatal("the key is confirmed though its event was lost")
	}
	b.carrier.mute, b.finder.where["m1"] = false, admission.There
	b.sweep(t, noon().Add(time.Hour), func() { <-b.ledger.confirmed })
	if b.ledger.row("k").Pending || len(b.carrier.accepted) != 1 {
		t.Errorf("row %+v, told %v, want it confirmed and told", b.ledger.row("k"), b.carrier.accepted)
	}
}

// TestSweepNotesAbsent: what is nowhere is not looked for twice, and what may
// still land is left alone.
func TestSweepNotesAbsent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.crash(t, "m1", "k")
	b.sweep(t, noon().Add(30*time.Second), func() {})
	if len(b.finder.asked) != 0 {
		t.Errorf("looked for %v while it may still land", b.finder.asked)
	}
	b.sweep(t, noon().Add(time.Hour), func() {})
	if row := b.ledger.row("k"); !row.Absent || len(b.finder.asked) != 1 {
		t.Fatalf("row %+v, asked %d times, want it known to be nowhere", row, len(b.finder.asked))
	}
	if _, err := b.desk.Submit(t.Context(), otp("m1", "k")); err != nil || len(b.finder.asked) != 1 {
		t.Errorf("Submit() = %v after %d looks, want custody without another", err, len(b.finder.asked))
	}
}

// sweep sweeps once at a time, until meanwhile returns and all is swept.
func (b *bench) sweep(t *testing.T, now time.Time, meanwhile func()) {
	t.Helper()
	s := &admission.Sweeper{
		Ledger: b.ledger, Finder: b.finder, Carrier: b.carrier, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return now }, Landing: time.Minute, Every: time.Hour,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	meanwhile()
	if before := <-b.ledger.swept; !before.Equal(now.Add(-time.Minute)) {
		t.Errorf("Swept(%v), want %v", before, now.Add(-time.Minute))
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// TestReplayKeepsBand: a mail that is tried again goes where it was tried first,
// whatever its tenant has there by then; what was not taken takes no place.
func TestReplayKeepsBand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.crash(t, "ordinary", "k")
	others := b.crowd.Choose("otp", "acme")
	if others.Band() != topic.Ordinary {
		t.Fatal("a mail that did not land keeps its place")
	}
	b.crash(t, "aside", "l")
	for _, id := range []string{"ordinary", "aside"} {
		s := otp(id, b.keyOf(id))
		s.Fingerprint = "another"
		if _, err := b.desk.Submit(t.Context(), s); err == nil {
			t.Error("Submit(another body) = nil, want a mismatch")
		}
	}
	others.Leave()
	for _, c := range []struct {
		id   string
		want topic.Band
	}{{"aside", topic.Overflow}, {"ordinary", topic.Ordinary}} {
		if _, err := b.desk.Submit(t.Context(), otp(c.id, b.keyOf(c.id))); err != nil {
			t.Fatalf("Submit(%s) = %v", c.id, err)
		}
		if got := b.carrier.bands[len(b.carrier.bands)-1]; got != c.want {
			t.Errorf("Submit(%s) put it into %v, want %v", c.id, got, c.want)
		}
	}
	if got := b.crowd.Crowded()["otp"]; got != 1 {
		t.Errorf("Crowded() = %d, want one: a mail lies in the ordinary band", got)
	}
}

// keyOf is the key under which a mail is pending.
func (b *bench) keyOf(id string) string {
	b.ledger.mu.Lock()
	defer b.ledger.mu.Unlock()
	for k, p := range b.ledger.rows {
		if p.Receipt.MailID == id {
			return k.Value
		}
	}
	return ""
}

// TestSlots: bytes are bounded as places are, and a flood of one lane leaves
// every lane above it some room.
func TestSlots(t *testing.T) {
	t.Parallel()
	b := setup(t) // 100,000 bytes in flight
	b.carrier.gate, b.carrier.entered = make(chan struct{}), make(chan struct{}, 400)
	var callers sync.WaitGroup
	submit := func(lane string) {
		s := otp("m", "")
		s.Lane, s.Mail.Message = lane, make([]byte, 1000)
		callers.Go(func() {
			if _, err := b.desk.Submit(t.Context(), s); err != nil {
				t.Errorf("Submit(%s) = %v, want custody", lane, err)
			}
		})
		<-b.carrier.entered
	}
	for range 100 {
		submit("bulk")
	}
	full := otp("m", "")
	full.Lane, full.Mail.Message = "bulk", make([]byte, 1000)
	if _, err := b.desk.Submit(t.Context(), full); !errors.Is(err, fault.Exhausted) {
		t.Errorf("Submit(bulk beyond the bytes) = %v, want Exhausted", err)
	}
	for _, lane := range []string{"reminder", "billing", "otp"} {
		submit(lane)
	}
	close(b.carrier.gate)
	callers.Wait()
}
