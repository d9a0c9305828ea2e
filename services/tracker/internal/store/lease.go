package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Partition is a partition of a topic and where it goes on.
type Partition struct {
	Topic     string
	Partition int
	Next      int64 // -1: never read
}

// leaseRow is a partition with its lease.
type leaseRow struct {
	Partition
	owner string
	until time.Time
}

// Lease makes sure that the partitions are known, takes this replica's share
// of them until the given time and returns it. A lease only spares replicas
// each other's work: that a record counts once is Ingest's to see to.
func (s *Store) Lease(ctx context.Context, replica string, partitions []Partition, now, until time.Time) ([]Partition, error) {
	var mine []Partition
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := s.lock(ctx, tx, 0); err != nil {
			return err
		}
		rows := make([][]any, len(partitions))
		for i, p := range partitions {
			rows[i] = []any{p.Topic, p.Partition, -1, "", 0}
		}
		if err := s.bulk(ctx, tx, `INSERT INTO offsets (topic, part, next, owner, lease_until) VALUES `,
			` ON CONFLICT (topic, part) DO NOTHING`, rows, nil); err != nil {
			return err
		}
		replicas, err := s.alive(ctx, tx, replica, now, until)
		if err != nil {
			return err
		}
		all, err := s.leases(ctx, tx)
		if err != nil {
			return err
		}
		var gone []leaseRow
		mine, gone = divide(all, replica, replicas, now)
		for _, p := range gone {
			if _, err := tx.ExecContext(ctx, s.db.Rebind(`UPDATE offsets SET owner = '', lease_until = 0 WHERE topic = ? AND part = ?`),
				p.Topic, p.Partition.Partition); err != nil {
				return err
			}
		}
		for _, p := range mine {
			if _, err := tx.ExecContext(ctx, s.db.Rebind(`UPDATE offsets SET owner = ?, lease_until = ? WHERE topic = ? AND part = ?`),
				replica, nanos(until), p.Topic, p.Partition); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("leasing partitions: %w", err)
	}
	return mine, nil
}

// Leave gives the replica's partitions back.
func (s *Store) Leave(ctx context.Context, replica string) error {
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := s.lock(ctx, tx, 0); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.db.Rebind(`UPDATE offsets SET owner = '', lease_until = 0 WHERE owner = ?`), replica); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.db.Rebind(`DELETE FROM replicas WHERE id = ?`), replica)
		return err
	})
	if err != nil {
		return fmt.Errorf("giving partitions back: %w", err)
	}
	return nil
}

// alive notes that this replica lives and counts those that do.
func (s *Store) alive(ctx context.Context, tx *sql.Tx, replica string, now, until time.Time) (int, error) {
	if _, err := tx.ExecContext(ctx, s.db.Rebind(`DELETE FROM replicas WHERE alive_until <= ?`), nanos(now)); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, s.db.Rebind(`INSERT INTO replicas (id, alive_until) VALUES (?, ?)
		ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until`), replica, nanos(until)); err != nil {
		return 0, err
	}
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM replicas`).Scan(&n)
	return n, err
}

func (s *Store) leases(ctx context.Context, tx *sql.Tx) ([]leaseRow, error) {
	var all []leaseRow
	err := scan(ctx, tx, `SELECT topic, part, next, owner, lease_until FROM offsets ORDER BY topic, part`, nil, func(r *sql.Rows) error {
		var l leaseRow
		var until int64
		err := r.Scan(&l.Topic, &l.Partition.Partition, &l.Next, &l.owner, &until)
		l.until = moment(until)
		all = append(all, l)
		return err
	})
	return all, err
}

// divide says which partitions a replica shall have of all, and which of its
// own it gives up: each replica has at most an equal share, rounded up, keeps
// what it has within it, and takes what is free for the rest.
func divide(all []leaseRow, replica string, replicas int, now time.Time) (mine []Partition, gone []leaseRow) {
	share := (len(all) + replicas - 1) / replicas
	for _, l := range all {
		if l.owner != replica {
			continue
		}
		if len(mine) < share {
			mine = append(mine, l.Partition)
		} else {
			gone = append(gone, l)
		}
	}
	for _, l := range all {
		free := l.owner != replica && (l.owner == "" || !l.until.After(now))
		if free && len(mine) < share {
			mine = append(mine, l.Partition)
		}
	}
	return mine, gone
}

// Reset makes a partition go on at next, whatever was stored of it: for a
// partition whose log no longer holds what comes next.
func (s *Store) Reset(ctx context.Context, p Partition) error {
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := s.lock(ctx, tx, 0); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.db.Rebind(`UPDATE offsets SET next = ? WHERE topic = ? AND part = ?`), p.Next, p.Topic, p.Partition)
		return err
	})
	if err != nil {
		return fmt.Errorf("resetting an offset: %w", err)
	}
	return nil
}
