package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
)

var _ admission.Ledger = (*Store)(nil)

// Admit implements admission.Ledger.
func (s *Store) Admit(ctx context.Context, e admission.Entry) (admission.Verdict, error) {
	group := s.group
	if e.Urgent {
		group = s.urgent
	}
	return group.Do(ctx, op{admit: &e})
}

// Confirm implements admission.Ledger.
func (s *Store) Confirm(ctx context.Context, keys []admission.Key) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := s.group.Do(ctx, op{confirm: keys})
	return err
}

// admit decides about the entries among ops and enters those that are let in.
// Two of one batch with the same key are decided in their order.
func (t *txn) admit(ctx context.Context, ops []op, verdicts []admission.Verdict) error {
	if t.hot == nil {
		return t.decide(ctx, ops, verdicts)
	}
	enter := t.StmtContext(ctx, t.hot.enter)
	defer func() { _ = enter.Close() }()
	for i, o := range ops {
		if o.admit == nil {
			continue
		}
		if e := o.admit; e.Key.Value != "" {
			res, err := enter.ExecContext(ctx, append(entryRow(e), e.Recipient[:])...)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 1 {
				if err != nil {
					return err
				}
				continue
			}
		}
		if err := t.decide(ctx, ops[i:i+1], verdicts[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// decide is admit by what is read first, for all ops at once.
func (t *txn) decide(ctx context.Context, ops []op, verdicts []admission.Verdict) error {
	var keys []admission.Key
	var recipients []mail.Key
	for _, o := range ops {
		if o.admit == nil {
			continue
		}
		if o.admit.Key.Value != "" {
			keys = append(keys, o.admit.Key)
		}
		recipients = append(recipients, o.admit.Recipient)
	}
	if len(recipients) == 0 {
		return nil
	}
	priors, err := t.priors(ctx, keys)
	if err != nil {
		return err
	}
	causes, err := t.causes(ctx, recipients)
	if err != nil {
		return err
	}
	var entered []*admission.Entry
	for i, o := range ops {
		if o.admit == nil {
			continue
		}
		e := o.admit
		if prior := priors[e.Key]; prior != nil {
			verdicts[i].Prior = prior
			continue
		}
		if cause := causes[e.Recipient]; cause.Stops(e.Kind) {
			verdicts[i].Suppressed = cause
			continue
		}
		if e.Key.Value != "" {
			entered = append(entered, e)
			priors[e.Key] = &admission.Prior{Fingerprint: e.Fingerprint, Receipt: e.Receipt, Pending: e.Waits == nil, Band: e.Band}
		}
	}
	lost, err := t.enter(ctx, entered)
	if err != nil || len(lost) == 0 {
		return err
	}
	// Another replica took these keys since we looked.
	won, err := t.priors(ctx, lost)
	if err != nil {
		return err
	}
	for i, o := range ops {
		if o.admit != nil && won[o.admit.Key] != nil {
			verdicts[i].Prior = won[o.admit.Key]
		}
	}
	return nil
}

// priors reads what stands under keys.
func (t *txn) priors(ctx context.Context, keys []admission.Key) (map[admission.Key]*admission.Prior, error) {
	found := make(map[admission.Key]*admission.Prior, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	args := make([]any, 0, 2*len(keys))
	for _, k := range keys {
		args = append(args, k.Tenant, k.Value)
	}
	err := t.query(ctx, func(row *sql.Rows) error {
		var k admission.Key
		var p admission.Prior
		if err := scanPrior(row, &k, &p); err != nil {
			return err
		}
		found[k] = &p
		return nil
	}, `SELECT `+priorColumns+`
		FROM idempotency WHERE (tenant, idem_key) IN (VALUES `+tuples(len(keys), 2)+`)`, args...)
	return found, err
}

const priorColumns = `tenant, idem_key, fingerprint, mail_id, lane, pending, accepted_at, expires_at, send_at, tried_from, tried_to, band`

// What stands in the column pending.
const (
	settled = 0 // accepted
	pending = 1 // nobody knows
	absent  = 2 // looked for in vain
)

func scanPrior(row *sql.Rows, k *admission.Key, p *admission.Prior) error {
	var state, accepted, expires, send, from, to, band int64
	if err := row.Scan(&k.Tenant, &k.Value, &p.Fingerprint, &p.Receipt.MailID, &p.Receipt.Lane,
		&state, &accepted, &expires, &send, &from, &to, &band); err != nil {
		return err
	}
	p.Receipt.AcceptedAt, p.Receipt.ExpiresAt, p.Receipt.SendAt = at(accepted), at(expires), at(send)
	p.Pending, p.Absent = state != settled, state == absent
	p.Band, p.Unplaced = topic.Band(max(band, 0)), band < 0
	if from == 0 {
		from, to = accepted, accepted
	}
	if p.Pending {
		p.Tried = admission.Span{From: at(from), To: at(to)}
	}
	return nil
}

// causes reads why recipients are suppressed.
func (t *txn) causes(ctx context.Context, recipients []mail.Key) (map[mail.Key]suppression.Cause, error) {
	found := make(map[mail.Key]suppression.Cause)
	args := make([]any, len(recipients))
	for i, r := range recipients {
		args[i] = r[:]
	}
	err := t.query(ctx, func(row *sql.Rows) error {
		var key []byte
		var cause suppression.Cause
		if err := row.Scan(&key, &cause); err != nil {
			return err
		}
		found[mail.Key(key)] = cause
		return nil
	}, `SELECT recipient, cause FROM suppressions WHERE recipient IN (`+marks(len(args))+`)`, args...)
	return found, err
}

// What enters an entry.
const (
	entryWidth  = 10
	insertEntry = `INSERT INTO idempotency (tenant, idem_key, fingerprint, mail_id, lane, pending, accepted_at, expires_at, send_at, band) `
)

// entryRow is an entry's row, with room for one parameter more.
func entryRow(e *admission.Entry) []any {
	r := e.Receipt
	return append(make([]any, 0, entryWidth+1), e.Key.Tenant, e.Key.Value, e.Fingerprint, r.MailID, r.Lane,
		bit(e.Waits == nil), micros(r.AcceptedAt), micros(r.ExpiresAt), micros(r.SendAt), int64(e.Band))
}

// enter writes entries under their keys and answers the keys that were taken
// meanwhile. In the order of keys, so that replicas do not wait for each other
// in a ring.
func (t *txn) enter(ctx context.Context, entries []*admission.Entry) ([]admission.Key, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	slices.SortFunc(entries, func(a, b *admission.Entry) int { return compareKeys(a.Key, b.Key) })
	args := make([]any, 0, entryWidth*len(entries))
	for _, e := range entries {
		args = append(args, entryRow(e)...)
	}
	entered := make(map[admission.Key]bool, len(entries))
	err := t.query(ctx, func(row *sql.Rows) error {
		var k admission.Key
		if err := row.Scan(&k.Tenant, &k.Value); err != nil {
			return err
		}
		entered[k] = true
		return nil
	}, insertEntry+`VALUES `+tuples(len(entries), entryWidth)+` ON CONFLICT DO NOTHING RETURNING tenant, idem_key`, args...)
	if err != nil {
		return nil, err
	}
	var lost []admission.Key
	for _, e := range entries {
		if !entered[e.Key] {
			lost = append(lost, e.Key)
		}
	}
	return lost, nil
}

// confirm marks keys as accepted.
func (t *txn) confirm(ctx context.Context, keys []admission.Key) error {
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, compareKeys)
	if t.hot != nil {
		confirm := t.StmtContext(ctx, t.hot.confirm)
		defer func() { _ = confirm.Close() }()
		for _, k := range keys {
			if _, err := confirm.ExecContext(ctx, k.Tenant, k.Value); err != nil {
				return err
			}
		}
		return nil
	}
	for part := range slices.Chunk(keys, step) {
		args := make([]any, 0, 2*len(part))
		for _, k := range part {
			args = append(args, k.Tenant, k.Value)
		}
		if err := t.exec(ctx, `UPDATE idempotency SET pending = 0
			WHERE (tenant, idem_key) IN (VALUES `+tuples(len(part), 2)+`)`, args...); err != nil {
			return err
		}
	}
	return nil
}

func compareKeys(a, b admission.Key) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Value, b.Value))
}
