package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/services/tracker/internal/ledger"
)

// Parcel is something that must go to Kafka: a finished message, or a ledger
// entry that is still to be put into one.
type Parcel struct {
	ID      int64
	Message broker.Message
	Entry   *ledger.Entry // nil for a message
}

const insertParcel = `INSERT INTO outbox (entry_id, topic, part, key, value, headers, claimed_until) VALUES `

func entryParcel(entryID string) []any {
	return []any{entryID, "", -1, []byte{}, []byte{}, []byte{}, 0}
}

// Post puts messages into the outbox.
func (s *Store) Post(ctx context.Context, messages []broker.Message) error {
	return s.db.Tx(ctx, func(tx *sql.Tx) error { return s.post(ctx, tx, messages) })
}

func (s *Store) post(ctx context.Context, tx *sql.Tx, messages []broker.Message) error {
	rows := make([][]any, len(messages))
	for i, m := range messages {
		headers, err := json.Marshal(m.Headers)
		if err != nil {
			return fmt.Errorf("encoding headers: %w", err)
		}
		rows[i] = []any{"", m.Topic, m.Partition, blob(m.Key), blob(m.Value), headers, 0}
	}
	if err := s.bulk(ctx, tx, insertParcel, ``, rows, nil); err != nil {
		return fmt.Errorf("writing the outbox: %w", err)
	}
	return nil
}

// ClaimParcels hands out up to limit parcels, the oldest first, and keeps them
// from other callers until the claim ends.
func (s *Store) ClaimParcels(ctx context.Context, now, until time.Time, limit int) ([]Parcel, error) {
	var out []Parcel
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		out = out[:0]
		query := `SELECT id FROM outbox WHERE claimed_until <= ? ORDER BY id LIMIT ?`
		if s.db.Postgres() {
			query += ` FOR UPDATE SKIP LOCKED`
		}
		ids, err := s.ids(ctx, tx, query, nanos(now), limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		in := marks(len(ids))
		if _, err := tx.ExecContext(ctx, s.db.Rebind(`UPDATE outbox SET claimed_until = ? WHERE id IN (`+in+`)`),
			append([]any{nanos(until)}, ids...)...); err != nil {
			return err
		}
		return scan(ctx, tx, s.db.Rebind(`SELECT o.id, o.topic, o.part, o.key, o.value, o.headers, o.entry_id,
			COALESCE(b.type, 0), COALESCE(b.tenant, ''), COALESCE(b.invoice_id, ''), COALESCE(b.at, 0), COALESCE(b.currency, ''),
			COALESCE(b.units, 0), COALESCE(b.nanos, 0), COALESCE(b.mail_id, ''), COALESCE(b.reference, '')
			FROM outbox o LEFT JOIN billing b ON b.entry_id = o.entry_id WHERE o.id IN (`+in+`) ORDER BY o.id`), ids,
			func(r *sql.Rows) error {
				p, err := scanParcel(r)
				out = append(out, p)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("claiming parcels: %w", err)
	}
	return out, nil
}

func scanParcel(r *sql.Rows) (Parcel, error) {
	var p Parcel
	var e ledger.Entry
	var headers []byte
	var at int64
	err := r.Scan(&p.ID, &p.Message.Topic, &p.Message.Partition, &p.Message.Key, &p.Message.Value, &headers, &e.ID,
		&e.Type, &e.Tenant, &e.InvoiceID, &at, &e.Amount.Currency, &e.Amount.Units, &e.Amount.Nanos, &e.MailID, &e.Reference)
	if err != nil {
		return p, err
	}
	if e.ID != "" {
		e.At = moment(at)
		p.Entry = &e
		return p, nil
	}
	if err := json.Unmarshal(headers, &p.Message.Headers); err != nil {
		return p, fmt.Errorf("decoding headers: %w", err)
	}
	return p, nil
}

// Delivered takes parcels out of the outbox.
func (s *Store) Delivered(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	if _, err := s.db.W.ExecContext(ctx, s.db.Rebind(`DELETE FROM outbox WHERE id IN (`+marks(len(ids))+`)`), args...); err != nil {
		return fmt.Errorf("emptying the outbox: %w", err)
	}
	return nil
}

// Return gives parcels back that could not be delivered, before their claim
// ends.
func (s *Store) Return(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	if _, err := s.db.W.ExecContext(ctx, s.db.Rebind(`UPDATE outbox SET claimed_until = 0 WHERE id IN (`+marks(len(ids))+`)`), args...); err != nil {
		return fmt.Errorf("returning parcels: %w", err)
	}
	return nil
}

// Waiting counts what must still leave the store.
type Waiting struct {
	Parcels int64
	Errands int64
}

// Waiting counts parcels and errands.
func (s *Store) Waiting(ctx context.Context) (Waiting, error) {
	var w Waiting
	err := s.db.R.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM outbox), (SELECT COUNT(*) FROM errands)`).
		Scan(&w.Parcels, &w.Errands)
	if err != nil {
		return w, fmt.Errorf("counting what waits: %w", err)
	}
	return w, nil
}

func (s *Store) ids(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]any, error) {
	var ids []any
	err := scan(ctx, tx, s.db.Rebind(query), args, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}
