package store

import (
	"context"
	"database/sql"
	"time"

	"kurir.dev/services/router/internal/dead"
)

var _ dead.Ledger = (*Store)(nil)

// Begin implements dead.Ledger.
func (s *Store) Begin(ctx context.Context, id string, now time.Time, again bool) (dead.Replay, error) {
	var before dead.Replay
	err := s.write(ctx, rankPeople, func(ctx context.Context, t *txn) error {
		before = dead.Replay{}
		if err := t.query(ctx, func(row *sql.Rows) error {
			return scanReplay(row, nil, &before)
		}, `SELECT dead_id, begun, done FROM replays WHERE dead_id = ?`, id); err != nil {
			return err
		}
		if !before.Begun.IsZero() && !again {
			return nil
		}
		return t.exec(ctx, `INSERT INTO replays (dead_id, begun, done) VALUES (?, ?, 0)
			ON CONFLICT (dead_id) DO UPDATE SET begun = excluded.begun, done = 0`, id, micros(now))
	})
	return before, s.fault("beginning a replay", err)
}

// Done implements dead.Ledger.
func (s *Store) Done(ctx context.Context, id string, now time.Time) error {
	_, err := s.exec(ctx, `UPDATE replays SET done = ? WHERE dead_id = ?`, micros(now), id)
	return s.fault("noting a replay", err)
}

// Replays implements dead.Ledger.
func (s *Store) Replays(ctx context.Context, ids []string) (map[string]dead.Replay, error) {
	found := make(map[string]dead.Replay)
	if len(ids) == 0 {
		return found, nil
	}
	err := s.read(ctx, func(row *sql.Rows) error {
		var id string
		var r dead.Replay
		err := scanReplay(row, &id, &r)
		found[id] = r
		return err
	}, `SELECT dead_id, begun, done FROM replays WHERE dead_id IN (`+marks(len(ids))+`)`, anys(ids)...)
	return found, s.fault("reading replays", err)
}

func scanReplay(row *sql.Rows, id *string, r *dead.Replay) error {
	var name string
	var begun, done int64
	if err := row.Scan(&name, &begun, &done); err != nil {
		return err
	}
	if id != nil {
		*id = name
	}
	r.Begun, r.Done = at(begun), at(done)
	return nil
}
