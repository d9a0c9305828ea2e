package store

import (
	"context"
	"database/sql"
	"time"

	"kurir.dev/services/router/internal/admission"
)

var _ admission.Unfinished = (*Store)(nil)

// retry notes a try of a key.
type retry struct {
	key   admission.Key
	tried admission.Span
}

// Retry implements admission.Ledger.
func (s *Store) Retry(ctx context.Context, key admission.Key, tried admission.Span) error {
	_, err := s.group.Do(ctx, op{retry: &retry{key: key, tried: tried}})
	return err
}

func (t *txn) retry(ctx context.Context, r retry) error {
	return t.exec(ctx, `UPDATE idempotency SET pending = ?, tried_from = ?, tried_to = ?
		WHERE tenant = ? AND idem_key = ? AND pending <> ?`,
		pending, micros(r.tried.From), micros(r.tried.To), r.key.Tenant, r.key.Value, settled)
}

// swept names the progress of the sweep.
const swept = "swept"

// Pending implements admission.Unfinished.
func (s *Store) Pending(ctx context.Context, before time.Time) ([]admission.Open, error) {
	from, err := s.progress(ctx)
	if err != nil {
		return nil, s.fault("asking how far keys were swept", err)
	}
	var open []admission.Open
	err = s.read(ctx, func(row *sql.Rows) error {
		var o admission.Open
		if err := scanPrior(row, &o.Key, &o.Prior); err != nil {
			return err
		}
		open = append(open, o)
		return nil
	}, `SELECT `+priorColumns+` FROM idempotency WHERE accepted_at >= ? AND accepted_at < ? AND pending = ?
		ORDER BY accepted_at LIMIT ?`, from, micros(before), pending, step)
	return open, s.fault("finding pending keys", err)
}

// Absent implements admission.Unfinished.
func (s *Store) Absent(ctx context.Context, key admission.Key) error {
	_, err := s.exec(ctx, `UPDATE idempotency SET pending = ? WHERE tenant = ? AND idem_key = ? AND pending = ?`,
		absent, key.Tenant, key.Value, pending)
	return s.fault("noting a key whose mail is nowhere", err)
}

// Swept implements admission.Unfinished.
func (s *Store) Swept(ctx context.Context, before time.Time) error {
	_, err := s.exec(ctx, `INSERT INTO progress (name, at) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE excluded.at > progress.at`, swept, micros(before))
	return s.fault("noting how far keys were swept", err)
}

func (s *Store) progress(ctx context.Context) (int64, error) {
	var at int64
	err := s.read(ctx, func(row *sql.Rows) error { return row.Scan(&at) }, `SELECT at FROM progress WHERE name = ?`, swept)
	return at, err
}
