package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"kurir.dev/services/router/internal/waiting"
)

// columns are those of waiting, in the order values gives them.
const columns = `mail_id, attempt, tenant, lane, kind, domain, site, invoice, template, recipient,
	state, held, hold_until, reason, ending, due_at, expires_at, hint, held_at, in_doubt, tell, wake_at, envelope`

// width is how many they are.
const width = 23

// Put takes a deferred mail into the waiting room. A (mail id, attempt) that
// waits or has left already is passed over, an older attempt gives way.
// Concurrent calls share a commit.
func (s *Store) Put(ctx context.Context, m waiting.Mail) error {
	_, err := s.group.Do(ctx, op{put: &m})
	return err
}

// put writes mails into the room.
func (t *txn) put(ctx context.Context, mails []*waiting.Mail) error {
	if len(mails) == 0 {
		return nil
	}
	newest := make(map[string]*waiting.Mail, len(mails))
	for _, m := range mails {
		if n := newest[m.ID]; n == nil || m.Attempt > n.Attempt {
			newest[m.ID] = m
		}
	}
	ids := anys(slices.Sorted(maps.Keys(newest)))
	drop := func(row *sql.Rows) error {
		var id string
		var attempt uint32
		if err := row.Scan(&id, &attempt); err != nil {
			return err
		}
		if n := newest[id]; n != nil && n.Attempt <= attempt {
			delete(newest, id)
		}
		return nil
	}
	if err := t.query(ctx, drop, `SELECT mail_id, attempt FROM departures WHERE mail_id IN (`+marks(len(ids))+`)`, ids...); err != nil {
		return err
	}
	if err := t.query(ctx, drop, `SELECT mail_id, attempt FROM waiting WHERE mail_id IN (`+marks(len(ids))+`)`, ids...); err != nil {
		return err
	}
	if len(newest) == 0 {
		return nil
	}
	order := slices.Sorted(maps.Keys(newest))
	ids = anys(order)
	if err := t.counted(ctx, -1, `DELETE FROM waiting WHERE mail_id IN (`+marks(len(ids))+`) RETURNING lane`, ids...); err != nil {
		return err
	}
	args := make([]any, 0, width*len(ids))
	for _, id := range order {
		args = append(args, values(newest[id])...)
	}
	return t.counted(ctx, 1, `INSERT INTO waiting (`+columns+`) VALUES `+tuples(len(ids), width)+` ON CONFLICT DO NOTHING RETURNING lane`, args...)
}

// values are m's columns.
func values(m *waiting.Mail) []any {
	return []any{
		m.ID, int64(m.Attempt), m.Tenant, m.Lane, int64(m.Kind), m.Domain, m.Site, m.Invoice, m.Template, m.Recipient[:],
		m.State.String(), bit(m.Held), micros(m.HoldUntil), m.Reason, m.Ending.String(),
		micros(m.DueAt), micros(m.ExpiresAt), m.Hint, micros(m.HeldAt), bit(m.InDoubt), int64(m.Tell),
		micros(m.WakeAt()), m.Envelope,
	}
}

// counted runs a statement that returns the lane of each row it changed and
// notes the change.
func (t *txn) counted(ctx context.Context, sign int64, q string, args ...any) error {
	return t.query(ctx, func(row *sql.Rows) error {
		var lane string
		if err := row.Scan(&lane); err != nil {
			return err
		}
		t.delta[lane] += sign
		return nil
	}, q, args...)
}

// bump writes what was noted into waiting_counts; the last statements of a
// transaction, in the order of lanes, so that replicas wait for each other
// shortly and never in a ring.
func (t *txn) bump(ctx context.Context) error {
	for _, lane := range slices.Sorted(maps.Keys(t.delta)) {
		if t.delta[lane] == 0 {
			continue
		}
		if err := t.exec(ctx, `INSERT INTO waiting_counts (lane, n) VALUES (?, ?)
			ON CONFLICT (lane) DO UPDATE SET n = waiting_counts.n + excluded.n`, lane, t.delta[lane]); err != nil {
			return err
		}
	}
	return nil
}

// Counts tells how many mails of each lane are in the room.
func (s *Store) Counts(ctx context.Context) (map[string]int64, error) {
	counts := make(map[string]int64)
	err := s.read(ctx, func(row *sql.Rows) error {
		var lane string
		var n int64
		if err := row.Scan(&lane, &n); err != nil {
			return err
		}
		counts[lane] = n
		return nil
	}, `SELECT lane, n FROM waiting_counts`)
	return counts, s.fault("counting waiting mail", err)
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

// quoted is a list of words as SQL text, for words of our own only.
func quoted(words ...string) string { return "'" + strings.Join(words, "', '") + "'" }
