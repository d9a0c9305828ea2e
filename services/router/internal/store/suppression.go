package store

import (
	"context"
	"database/sql"
	"time"

	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
)

const entryColumns = `tenant, address, recipient, cause, note, since`

// Suppress adds e, unless the entry that stands does not yield to it, and gives
// back the entry as it then stands.
func (s *Store) Suppress(ctx context.Context, e suppression.Entry) (suppression.Entry, error) {
	stands := e
	err := s.write(ctx, rankPeople, func(ctx context.Context, t *txn) error {
		stands = e
		// The row is made before it is looked at: two who add an address that
		// is new then meet at the row and not beside each other.
		if err := t.exec(ctx, `INSERT INTO suppressions (`+entryColumns+`) VALUES `+tuples(1, 6)+` ON CONFLICT DO NOTHING`, entryValues(e)...); err != nil {
			return err
		}
		q := `SELECT ` + entryColumns + ` FROM suppressions WHERE recipient = ?`
		if s.db.Postgres() {
			q += ` FOR UPDATE`
		}
		if err := t.query(ctx, func(row *sql.Rows) (err error) {
			stands, err = scanEntry(row)
			return err
		}, q, e.Key[:]); err != nil {
			return err
		}
		if !stands.Cause.Yields(e.Cause) {
			return nil
		}
		stands = e
		return t.exec(ctx, `UPDATE suppressions SET address = ?, cause = ?, note = ?, since = ? WHERE recipient = ?`,
			e.Address, int64(e.Cause), e.Note, micros(e.Since), e.Key[:])
	})
	return stands, s.fault("suppressing", err)
}

// Unsuppress removes an entry and tells whether there was one.
func (s *Store) Unsuppress(ctx context.Context, tenant string, key mail.Key) (bool, error) {
	n, err := s.exec(ctx, `DELETE FROM suppressions WHERE recipient = ? AND tenant = ?`, key[:], tenant)
	return n > 0, s.fault("removing a suppression", err)
}

// Suppressions lists a tenant's entries by address, beginning after the address
// given, at most limit.
func (s *Store) Suppressions(ctx context.Context, tenant, after string, limit int) ([]suppression.Entry, error) {
	var list []suppression.Entry
	err := s.read(ctx, func(row *sql.Rows) error {
		e, err := scanEntry(row)
		list = append(list, e)
		return err
	}, `SELECT `+entryColumns+` FROM suppressions WHERE tenant = ? AND address > ? ORDER BY address LIMIT ?`, tenant, after, limit)
	return list, s.fault("listing suppressions", err)
}

// Suppression looks one address up.
func (s *Store) Suppression(ctx context.Context, tenant string, key mail.Key) (suppression.Entry, bool, error) {
	var found suppression.Entry
	ok := false
	err := s.read(ctx, func(row *sql.Rows) (err error) {
		found, err = scanEntry(row)
		ok = true
		return err
	}, `SELECT `+entryColumns+` FROM suppressions WHERE recipient = ? AND tenant = ?`, key[:], tenant)
	return found, ok && err == nil, s.fault("looking a suppression up", err)
}

func entryValues(e suppression.Entry) []any {
	return []any{e.Tenant, e.Address, e.Key[:], int64(e.Cause), e.Note, micros(e.Since)}
}

func scanEntry(row *sql.Rows) (suppression.Entry, error) {
	var e suppression.Entry
	var key []byte
	var since int64
	if err := row.Scan(&e.Tenant, &e.Address, &key, &e.Cause, &e.Note, &since); err != nil {
		return e, err
	}
	if len(key) == len(e.Key) {
		e.Key = mail.Key(key)
	}
	e.Since = at(since)
	return e, nil
}

// Purge forgets keys accepted before keys and departures before left, in
// steps, and tells how many rows went.
func (s *Store) Purge(ctx context.Context, keys, left time.Time) (int64, error) {
	var total int64
	for _, p := range []struct {
		q      string
		before time.Time
	}{
		{`DELETE FROM idempotency WHERE (tenant, idem_key) IN
			(SELECT tenant, idem_key FROM idempotency WHERE accepted_at < ? ORDER BY accepted_at LIMIT ?)`, keys},
		{`DELETE FROM departures WHERE mail_id IN
			(SELECT mail_id FROM departures WHERE left_at < ? ORDER BY left_at LIMIT ?)`, left},
	} {
		for {
			n, err := s.exec(ctx, p.q, micros(p.before), s.bite())
			if err != nil {
				return total, s.fault("purging", err)
			}
			if total += n; n < int64(s.bite()) {
				break
			}
		}
	}
	return total, nil
}
