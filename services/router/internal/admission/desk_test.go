package admission_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
)

func TestSubmitPublishes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got, err := b.desk.Submit(t.Context(), otp("m1", "k"))
	want := admission.Receipt{MailID: "m1", Lane: "otp", AcceptedAt: noon(), ExpiresAt: noon().Add(5 * time.Minute)}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("Submit() = %v (-want +got):\n%s", err, diff)
	}
	m := b.carrier.published[0]
	if m.Attempt != 1 || m.Recipient != "Budi@example.com" || m.Domain != "example.com" || m.Key == (mail.Key{}) {
		t.Errorf("published %+v, want attempt 1 and a normalised recipient", m)
	}
	if keys := <-b.ledger.confirmed; !cmp.Equal(keys, []admission.Key{{Tenant: "acme", Value: "k"}}) {
		t.Errorf("confirmed %v, want the key", keys)
	}
	replay, err := b.desk.Submit(t.Context(), otp("m2", "k"))
	want.Replayed = true
	if diff := cmp.Diff(want, replay); err != nil || diff != "" {
		t.Errorf("Submit(replay) = %v (-want +got):\n%s", err, diff)
	}
}

func TestSubmitSchedules(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := otp("m1", "k")
	s.SendAt, s.ExpiresIn = noon().Add(time.Hour), time.Minute
	r, err := b.desk.Submit(t.Context(), s)
	if err != nil || !r.Scheduled() || !r.ExpiresAt.Equal(noon().Add(time.Hour+time.Minute)) {
		t.Fatalf("Submit() = %+v, %v, want it scheduled and its expiry counted from then", r, err)
	}
	if len(b.carrier.published) != 0 || len(b.ledger.waits) != 1 || len(b.woken) != 1 {
		t.Errorf("published %d, waiting %d, woken %d, want it to wait", len(b.carrier.published), len(b.ledger.waits), len(b.woken))
	}
	s.SendAt = noon().Add(-time.Second)
	s.IdempotencyKey = "past"
	if r, err := b.desk.Submit(t.Context(), s); err != nil || r.Scheduled() {
		t.Errorf("Submit(past send_at) = %+v, %v, want it to go now", r, err)
	}
}

func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *admission.Submission)
		kind   fault.Kind
		reason faultv1.Reason
	}{
		"no kind": {
			func(s *admission.Submission) { s.Mail.Kind = mail.KindNone },
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD,
		},
		"bad recipient": {
			func(s *admission.Submission) { s.Mail.Recipient = "budi" },
			fault.Invalid, faultv1.Reason_REASON_INVALID_RECIPIENT,
		},
		"line break in recipient": {
			func(s *admission.Submission) { s.Mail.Recipient = "budi@example.com\r\nRCPT TO:<x@y.z>" },
			fault.Invalid, faultv1.Reason_REASON_INVALID_RECIPIENT,
		},
		"bad return domain": {
			func(s *admission.Submission) { s.Mail.ReturnDomain = "no domain" },
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD,
		},
		"NUL in key": {
			func(s *admission.Submission) { s.IdempotencyKey = "a\x00b" },
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD,
		},
		"NUL in invoice": {
			func(s *admission.Submission) { s.Mail.Facts.Invoice = "INV\x00" },
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD,
		},
		"no message": {
			func(s *admission.Submission) { s.Mail.Message = nil },
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD,
		},
		"too large": {
			func(s *admission.Submission) { s.Mail.Message = make([]byte, 1001) },
			fault.Invalid, faultv1.Reason_REASON_MAIL_TOO_LARGE,
		},
		"expires too soon": {
			func(s *admission.Submission) { s.ExpiresIn = 29 * time.Second },
			fault.Invalid, faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE,
		},
		"expires too late": {
			func(s *admission.Submission) { s.ExpiresIn = 31 * time.Minute },
			fault.Invalid, faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE,
		},
		"negative expiry": {
			func(s *admission.Submission) { s.ExpiresIn = -time.Minute },
			fault.Invalid, faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE,
		},
		"too far ahead": {
			func(s *admission.Submission) { s.SendAt = noon().Add(91 * 24 * time.Hour) },
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD,
		},
		"unknown lane": {
			func(s *admission.Submission) { s.Lane = "express" },
			fault.Invalid, faultv1.Reason_REASON_LANE_UNKNOWN,
		},
		"raised lane": {
			func(s *admission.Submission) { s.Mail.Kind, s.Lane = mail.KindGeneric, "otp" },
			fault.Invalid, faultv1.Reason_REASON_LANE_UNKNOWN,
		},
		"suppressed": {
			func(s *admission.Submission) { s.Mail.Recipient = "gone@example.com" },
			fault.Precondition, faultv1.Reason_REASON_RECIPIENT_SUPPRESSED,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.ledger.causes[mail.KeyOf("acme", "gone@example.com")] = suppression.HardBounce
			s := otp("m1", "k")
			c.change(&s)
			_, err := b.desk.Submit(t.Context(), s)
			if f := fault.From(err); f == nil || f.Kind != c.kind || f.Reason != c.reason {
				t.Errorf("Submit() = %v, want %v %v", err, c.kind, c.reason)
			}
			if len(b.carrier.published) != 0 || len(b.ledger.rows) != 0 {
				t.Error("Submit() left something behind")
			}
		})
	}
}

func TestSubmitLowersLane(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := otp("m1", "")
	s.Mail.Kind, s.Lane = mail.KindBill, "bulk"
	if r, err := b.desk.Submit(t.Context(), s); err != nil || r.Lane != "bulk" || !r.ExpiresAt.Equal(noon().Add(24*time.Hour)) {
		t.Errorf("Submit(bill on bulk) = %+v, %v, want bulk with its expiry", r, err)
	}
}

// TestSubmitConcurrent: many at once under one key give one mail and one
// answer; another body under the key is refused meanwhile.
func TestSubmitConcurrent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carrier.gate, b.carrier.entered = make(chan struct{}), make(chan struct{}, 1)
	const n = 100
	receipts := make([]admission.Receipt, n)
	errs := make([]error, n)
	var callers sync.WaitGroup
	submit := func(i int) {
		callers.Go(func() { receipts[i], errs[i] = b.desk.Submit(t.Context(), otp("m"+string(rune('a'+i%26)), "k")) })
	}
	submit(0)
	<-b.carrier.entered
	for i := 1; i < n; i++ {
		submit(i)
	}
	other := otp("m2", "k")
	other.Fingerprint = "other"
	if _, err := b.desk.Submit(t.Context(), other); fault.From(err).Reason != faultv1.Reason_REASON_IDEMPOTENCY_MISMATCH {
		t.Errorf("Submit(other body) = %v, want a mismatch", err)
	}
	close(b.carrier.gate)
	callers.Wait()
	fresh := 0
	for i := range n {
		if errs[i] != nil || receipts[i].MailID != "ma" {
			t.Fatalf("Submit(%d) = %+v, %v, want the first mail's receipt", i, receipts[i], errs[i])
		}
		if !receipts[i].Replayed {
			fresh++
		}
	}
	if fresh != 1 || len(b.carrier.published) != 1 {
		t.Errorf("%d fresh receipts, %d published, want 1 of each", fresh, len(b.carrier.published))
	}
	if _, err := b.desk.Submit(t.Context(), other); fault.From(err).Reason != faultv1.Reason_REASON_IDEMPOTENCY_MISMATCH {
		t.Errorf("Submit(other body, later) = %v, want a mismatch", err)
	}
}

// TestSubmitPending: a broker that did not answer leaves the key pending; the
// next submission learns the mail id, and under it gets the original times.
func TestSubmitPending(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carrier.err = errors.New("broker is gone")
	_, err := b.desk.Submit(t.Context(), otp("m1", "k"))
	f := fault.From(err)
	if f == nil || f.Kind != fault.Unavailable || f.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE || f.RetryAfter <= 0 {
		t.Fatalf("Submit() = %v, want Unavailable with a time to come back", err)
	}
	b.carrier.err = nil
	_, err = b.desk.Submit(t.Context(), otp("m2", "k"))
	f = fault.From(err)
	if f == nil || f.Kind != fault.Conflict || f.Reason != faultv1.Reason_REASON_IDEMPOTENCY_PENDING || f.Meta["mail_id"] != "m1" {
		t.Fatalf("Submit(another id) = %v, want a conflict that names m1", err)
	}
	b.ledger.mu.Lock()
	row := b.ledger.rows[admission.Key{Tenant: "acme", Value: "k"}]
	row.Receipt.AcceptedAt, row.Receipt.ExpiresAt = noon().Add(-time.Minute), noon().Add(time.Minute)
	b.ledger.rows[admission.Key{Tenant: "acme", Value: "k"}] = row
	b.ledger.mu.Unlock()
	r, err := b.desk.Submit(t.Context(), otp("m1", "k"))
	if err != nil || r.MailID != "m1" || !r.AcceptedAt.Equal(noon().Add(-time.Minute)) || r.Replayed {
		t.Fatalf("Submit(same id) = %+v, %v, want custody with the first times", r, err)
	}
	if m := b.carrier.published[0]; m.ID != "m1" || !m.ExpiresAt.Equal(noon().Add(time.Minute)) {
		t.Errorf("published %+v, want m1 with its first expiry", m)
	}
	<-b.ledger.confirmed
}

// TestSubmitWithinDeadline: a broker that hangs is told to the caller as what
// it is, from the time the margin keeps.
func TestSubmitWithinDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carrier.gate = make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := b.desk.Submit(ctx, otp("m1", "k"))
	if f := fault.From(err); f == nil || f.Kind != fault.Unavailable || f.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE {
		t.Errorf("Submit() = %v, want Unavailable and not the deadline's own error", err)
	}
}

// TestSubmitLeaderGone: when the one who leads gives up, another one of those
// who wait leads.
func TestSubmitLeaderGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carrier.gate, b.carrier.entered = make(chan struct{}), make(chan struct{}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	callers.Go(func() {
		if _, err := b.desk.Submit(ctx, otp("m1", "k")); !errors.Is(err, context.Canceled) {
			t.Errorf("Submit(leader) = %v, want it cancelled", err)
		}
	})
	<-b.carrier.entered
	callers.Go(func() {
		if _, err := b.desk.Submit(t.Context(), otp("m1", "k")); err != nil {
			t.Errorf("Submit(follower) = %v, want custody", err)
		}
	})
	cancel()
	<-b.carrier.entered
	close(b.carrier.gate)
	callers.Wait()
	<-b.ledger.confirmed
}

// TestSubmitOverload: a flood of bulk mail is refused in the end, and an OTP
// still finds a place.
func TestSubmitOverload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carrier.gate, b.carrier.entered = make(chan struct{}), make(chan struct{}, 200)
	bulk := otp("m1", "")
	bulk.Mail.Kind = mail.KindGeneric
	var callers sync.WaitGroup
	submit := func(s admission.Submission) {
		callers.Go(func() {
			if _, err := b.desk.Submit(t.Context(), s); err != nil {
				t.Errorf("Submit() = %v, want custody", err)
			}
		})
	}
	for range 200 {
		submit(bulk)
	}
	for range 200 {
		<-b.carrier.entered
	}
	_, err := b.desk.Submit(t.Context(), bulk)
	if f := fault.From(err); f == nil || f.Kind != fault.Exhausted || f.RetryAfter <= 0 {
		t.Errorf("Submit(one more) = %v, want Exhausted with a time to come back", err)
	}
	submit(otp("m2", ""))
	<-b.carrier.entered
	close(b.carrier.gate)
	callers.Wait()
}

func TestSubmitStoreGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ledger.err = errors.New("disk is gone")
	_, err := b.desk.Submit(t.Context(), otp("m1", "k"))
	if f := fault.From(err); f == nil || f.Kind != fault.Unavailable || f.Reason != faultv1.Reason_REASON_STORE_UNAVAILABLE {
		t.Errorf("Submit() = %v, want Unavailable", err)
	}
}
