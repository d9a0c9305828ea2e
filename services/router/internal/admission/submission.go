// Package admission takes finished mail into custody.
//
// A submission is decided upon in a fixed order:
//
//  1. its own sanity: recipient, lane, expiry, size, time of sending;
//  2. the idempotency key: a replay gets the original answer, another body
//     under the same key is refused, and one that is in flight in this process
//     is waited for;
//  3. the suppression list;
//  4. limits (their place is here; none are built yet);
//  5. the schedule: mail for later goes into the waiting room, in the same
//     commit that takes its key.
//
// Everything else goes to its lane at once. Its key is written as pending
// before the broker is asked and confirmed after the acknowledgement, outside
// the caller's time. A key that stays pending (a crash, a broker that did not
// answer) belongs to a mail that may or may not lie on its lane: the next
// submission under it must carry the same mail id, learns that id from the
// refusal IDEMPOTENCY_PENDING, and is then produced with the times of the first.
// Consumers drop a (mail id, attempt) they have seen, so either way there is
// one mail.
package admission

import (
	"strings"
	"time"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mailaddr"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/mail"
)

// Submission is a finished mail on its way into custody.
type Submission struct {
	// Mail is the mail. Admission sets Lane, Attempt, Domain, Key and the
	// times.
	Mail mail.Mail
	// Lane is the lane asked for; empty takes the kind's own.
	Lane string
	// IdempotencyKey is the caller's; empty takes the submission as new.
	IdempotencyKey string
	// Fingerprint tells a replay from another body under the same key.
	Fingerprint string
	// SendAt is when it shall leave; zero or past means now.
	SendAt time.Time
	// ExpiresIn is how long it is of use once it may leave; zero takes the
	// lane's default.
	ExpiresIn time.Duration
}

// Receipt is the proof of custody.
type Receipt struct {
	MailID     string
	Lane       string
	AcceptedAt time.Time
	ExpiresAt  time.Time
	// SendAt is zero unless the mail was scheduled.
	SendAt time.Time
	// Replayed says that this answers a replay of an idempotency key.
	Replayed bool
}

// Scheduled tells whether the mail was to wait when custody began.
func (r Receipt) Scheduled() bool { return !r.SendAt.IsZero() }

// Rules are what submissions are checked against.
type Rules struct {
	// Lanes are all lanes, by rank.
	Lanes lane.Set
	// MaxBytes is the largest message.
	MaxBytes int
	// MaxAhead is how far ahead a mail can be scheduled.
	MaxAhead time.Duration
}

// draft is a submission with everything decided that can be decided without
// the store.
type draft struct {
	mail   mail.Mail
	key    string
	body   string    // its fingerprint
	sendAt time.Time // zero for now
	urgent bool      // travels the highest lane
}

// check turns a submission into a draft, or says what is wrong with it.
func (r Rules) check(s Submission, now time.Time) (draft, error) {
	m := s.Mail
	l, err := r.lane(m.Kind, s.Lane)
	if err != nil {
		return draft{}, err
	}
	if len(m.Message) == 0 {
		return draft{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "message", "is empty")
	}
	if len(m.Message) > r.MaxBytes {
		return draft{}, fault.Invalidf(faultv1.Reason_REASON_MAIL_TOO_LARGE, "message", "is %d bytes, the limit is %d", len(m.Message), r.MaxBytes)
	}
	addr, err := mailaddr.Parse(m.Recipient)
	if err != nil {
		return draft{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_RECIPIENT, "recipient", "is no mailbox").WithCause(err)
	}
	if m.ReturnDomain, err = mailaddr.ParseDomain(m.ReturnDomain); err != nil {
		return draft{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "return_domain", "is no domain").WithCause(err)
	}
	if m.ID == "" || m.Tenant == "" {
		return draft{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "mail_id", "mail id and tenant must be given")
	}
	if err := storable(s); err != nil {
		return draft{}, err
	}
	expiry, ok := l.ClampExpiry(s.ExpiresIn)
	if !ok {
		return draft{}, fault.Invalidf(faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE, "expires_in",
			"lane %s takes %s to %s", l.Name, l.MinExpiry, l.MaxExpiry)
	}
	now = now.Truncate(time.Microsecond)
	d := draft{key: s.IdempotencyKey, body: s.Fingerprint, urgent: l.Name == r.Lanes[0].Name}
	leaves := now
	if s.SendAt.After(now) {
		if s.SendAt.Sub(now) > r.MaxAhead {
			return draft{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "send_at", "is more than %s ahead", r.MaxAhead)
		}
		d.sendAt = s.SendAt.Truncate(time.Microsecond)
		leaves = d.sendAt
	}
	m.Lane, m.Attempt = l.Name, 1
	m.Recipient, m.Domain, m.Key = addr.String(), addr.Domain(), mail.KeyOf(m.Tenant, addr.Key())
	m.SMTPUTF8 = m.SMTPUTF8 || addr.NeedsSMTPUTF8()
	m.AcceptedAt, m.ExpiresAt = now, leaves.Add(expiry)
	d.mail = m
	return d, nil
}

// storable refuses NUL in what the store keeps as text: a database that cannot
// hold it would fail the whole commit, and with it the mail of others.
func storable(s Submission) error {
	for _, f := range []struct{ name, value string }{
		{"mail_id", s.Mail.ID},
		{"tenant", s.Mail.Tenant},
		{"idempotency_key", s.IdempotencyKey},
		{"facts.invoice_id", s.Mail.Facts.Invoice},
		{"facts.template", s.Mail.Facts.Template},
	} {
		if strings.ContainsRune(f.value, 0) {
			return fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, f.name, "holds NUL")
		}
	}
	return nil
}

// lane finds the lane for a kind and what was asked for: a lower one than the
// kind's own may be had, a higher one may not.
func (r Rules) lane(k mail.Kind, asked string) (lane.Lane, error) {
	own := k.Lane()
	if own == "" {
		return lane.Lane{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "facts.kind", "is not known")
	}
	if asked == "" {
		asked = own
	}
	l, ok := r.Lanes.Lookup(asked)
	if !ok {
		return lane.Lane{}, fault.Invalidf(faultv1.Reason_REASON_LANE_UNKNOWN, "lane", "%q is not configured", asked)
	}
	if !r.Lanes.Allowed(own, asked) {
		return lane.Lane{}, fault.Invalidf(faultv1.Reason_REASON_LANE_UNKNOWN, "lane", "%q is above %q, the lane of this kind of mail", asked, own)
	}
	return l, nil
}

// receipt is the answer to a draft that is in custody.
func (d draft) receipt() Receipt {
	return Receipt{
		MailID: d.mail.ID, Lane: d.mail.Lane, AcceptedAt: d.mail.AcceptedAt,
		ExpiresAt: d.mail.ExpiresAt, SendAt: d.sendAt,
	}
}
