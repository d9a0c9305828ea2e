// Package store keeps the router's keys, suppressions and waiting mail on
// SQLite or PostgreSQL. One implementation speaks both dialects; storetest
// holds what it promises.
//
// What submissions and deferrals write goes through one group commit: whatever
// arrives while a transaction runs shares the next. Within it the order is
// keys, suppressions, waiting mail. Urgent submissions have a group of their
// own. What people and the releaser do are transactions of their own, in
// bounded steps. On SQLite, which has one writer, turns are by rank: an urgent
// submission waits for one transaction at most, whatever queues, and each ends
// after a few rows when somebody of a higher rank waits.
//
// Every fault of the database comes back as Unavailable STORE_UNAVAILABLE with
// its cause; nothing that was asked is then known to be done or not done.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/db"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/gate"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/waiting"
)

const (
	// batch is how many submissions and deferrals share a transaction: enough
	// to make a commit cheap, few enough to keep it short.
	batch = 64
	// step is how many rows a verb of people, or a purge, touches at once on
	// PostgreSQL, and finds at once on both.
	step = 500
	// portion is how many rows SQLite's writer touches before it looks whether
	// it is somebody else's turn.
	portion = 4
	// bite is how many rows a verb of people, or a purge, touches at once on
	// SQLite: about what a turn lasts.
	bite = 64
	// claimBytes bounds the envelopes of one claim, putBytes those of one
	// commit.
	claimBytes = 512 << 10
	putBytes   = 256 << 10
)

// Store is the router's store. It is safe for concurrent use between Start and
// Stop of its Part.
type Store struct {
	db     *db.DB
	lanes  []string   // by rank
	gate   *gate.Gate // nil on PostgreSQL
	turns  *turns     // nil on PostgreSQL
	hot    *hot       // nil on PostgreSQL
	group  *db.Group[op, admission.Verdict]
	urgent *db.Group[op, admission.Verdict]
}

// op is one write on the hot path; exactly one field is set.
type op struct {
	admit   *admission.Entry
	confirm []admission.Key
	retry   *retry
	put     *waiting.Mail
}

// whose is the lane and the tenant of the op's mail; empty if it does not tell.
func (o op) whose() (lane, tenant string) {
	switch {
	case o.put != nil:
		return o.put.Lane, o.put.Tenant
	case o.admit != nil:
		return o.admit.Receipt.Lane, o.admit.Key.Tenant
	}
	return "", ""
}

// bytes is how much of a transaction the op takes.
func (o op) bytes() int {
	switch {
	case o.put != nil:
		return len(o.put.Envelope)
	case o.admit != nil && o.admit.Waits != nil:
		return len(o.admit.Waits.Envelope)
	}
	return 0
}

// first is the first-ranked lane of ops and its tenants, each once; the last of
// all lanes if none tells its own: what is done for several shall not wait for
// the floor of the lowest.
func (s *Store) first(ops []op) (lane string, tenants []string) {
	lane = s.lanes[len(s.lanes)-1]
	rank := len(s.lanes)
	for _, o := range ops {
		its, tenant := o.whose()
		r := slices.Index(s.lanes, its)
		if r < 0 || r > rank {
			continue
		}
		if r < rank {
			lane, tenants, rank = its, nil, r
		}
		if !slices.Contains(tenants, tenant) {
			tenants = append(tenants, tenant)
		}
	}
	return lane, tenants
}

// Open opens the store at url, see db.Open. lanes are named by rank: mail of the
// first leaves the room before that of the others. On SQLite, whose one writer
// they share, other admission and deferrals stand back at g, which may be nil.
// inherit is Inherit, or nothing to leave alone what dead processes had claimed.
func Open(ctx context.Context, url string, lanes []string, g *gate.Gate, inherit ...Heir) (*Store, error) {
	d, err := db.Open(ctx, url, migrations(), inherit...)
	if err != nil {
		return nil, err
	}
	s := &Store{db: d, lanes: lanes}
	if !d.Postgres() {
		s.turns, s.gate = &turns{}, g
		if s.hot, err = prepare(ctx, d.W); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	s.group, s.urgent = db.NewGroup(batch, s.commits(rankIntake)), db.NewGroup(batch, s.commits(rankUrgent))
	return s, nil
}

// Part is the store's life: Stop commits what was handed in and closes.
func (s *Store) Part() app.Part {
	group, urgent := s.group.Part(), s.urgent.Part()
	return app.Part{
		Name: "store",
		Start: func(ctx context.Context) error {
			return errors.Join(group.Start(ctx), urgent.Start(ctx))
		},
		Stop: func(ctx context.Context) error {
			return errors.Join(urgent.Stop(ctx), group.Stop(ctx), s.Close())
		},
	}
}

// Close closes a store whose Part was never started.
func (s *Store) Close() error { return errors.Join(s.hot.close(), s.db.Close()) }

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.fault("pinging", s.db.W.QueryRowContext(ctx, `SELECT 1`).Scan(&one))
}

// commits makes the commit function of a group: a batch of hot writes in as few
// transactions as keep nobody of a higher rank waiting.
func (s *Store) commits(r rank) func(ctx context.Context, ops []op) ([]admission.Verdict, error) {
	return func(ctx context.Context, ops []op) ([]admission.Verdict, error) {
		verdicts := make([]admission.Verdict, len(ops))
		if r != rankUrgent {
			// It stands back like a step of theirs. The place is for whoever
			// computes next: none is held while the disk syncs.
			lane, tenants := s.first(ops)
			leave, err := s.gate.Enter(ctx, lane, tenants...)
			if err != nil {
				return nil, s.fault("standing back", err)
			}
			leave()
		}
		err := s.portions(ctx, r, len(ops), func(ctx context.Context, t *txn, from int) (int, error) {
			to, size := from, 0
			for to < len(ops) && to-from < s.most(batch) && (to == from || size+ops[to].bytes() <= putBytes) {
				size += ops[to].bytes()
				to++
			}
			return to, t.commit(ctx, ops[from:to], verdicts[from:to])
		})
		if err != nil {
			return nil, s.fault("committing", err)
		}
		return verdicts, nil
	}
}

// txn is one transaction, with what it changed in the count of each lane.
type txn struct {
	*sql.Tx
	db    *db.DB
	hot   *hot
	delta map[string]int64
}

// commit does hot writes, but for the counts.
func (t *txn) commit(ctx context.Context, ops []op, verdicts []admission.Verdict) error {
	clear(verdicts)
	if err := t.admit(ctx, ops, verdicts); err != nil {
		return err
	}
	var puts []*waiting.Mail
	var keys []admission.Key
	for i, o := range ops {
		keys = append(keys, o.confirm...)
		switch {
		case o.put != nil:
			puts = append(puts, o.put)
		case o.retry != nil:
			if err := t.retry(ctx, *o.retry); err != nil {
				return err
			}
		case o.admit != nil && o.admit.Waits != nil && verdicts[i] == (admission.Verdict{}):
			puts = append(puts, o.admit.Waits)
		}
	}
	if err := t.confirm(ctx, keys); err != nil {
		return err
	}
	return t.put(ctx, puts)
}

// most is how many rows are written before the writer looks whether it is
// somebody else's turn: n on PostgreSQL, which has many writers.
func (s *Store) most(n int) int {
	if s.turns == nil {
		return n
	}
	return min(n, portion)
}

// bite is how many rows a verb of people, or a purge, touches at once.
func (s *Store) bite() int {
	if s.turns == nil {
		return step
	}
	return bite
}

// portions does n things in transactions that end when the turn of r does: it
// has taken its time, or somebody of a higher rank waits. do does some, from the
// given one on, and answers where it came to; it runs again if its transaction
// has to. The counts are written after the last of each transaction.
func (s *Store) portions(ctx context.Context, r rank, n int, do func(ctx context.Context, t *txn, from int) (to int, err error)) error {
	for done := 0; done < n; {
		var to int
		err := s.write(ctx, r, func(ctx context.Context, t *txn) error {
			begun := time.Now()
			for to = done; to < n; {
				var err error
				if to, err = do(ctx, t, to); err != nil {
					return err
				}
				if s.turns.over(r, begun) {
					break
				}
			}
			return t.bump(ctx)
		})
		if err != nil {
			return err
		}
		done = to
	}
	return nil
}

// write runs fn in a transaction when it is the turn of r. On SQLite what has
// begun is seen through: it does not take long, and a context that can end
// costs its driver a goroutine for each statement.
func (s *Store) write(ctx context.Context, r rank, fn func(ctx context.Context, t *txn) error) error {
	end, err := s.turns.take(ctx, r)
	if err != nil {
		return err
	}
	defer end()
	if s.turns != nil {
		ctx = context.WithoutCancel(ctx)
	}
	return s.db.Tx(ctx, func(tx *sql.Tx) error { return fn(ctx, s.tx(tx)) })
}

// exec runs one statement when it is the turn of people, and counts the rows it
// changed.
func (s *Store) exec(ctx context.Context, q string, args ...any) (int64, error) {
	end, err := s.turns.take(ctx, rankPeople)
	if err != nil {
		return 0, err
	}
	defer end()
	res, err := s.db.W.ExecContext(ctx, s.db.Rebind(q), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// rankOf is the rank of waiting mail of a lane on its way out.
func (s *Store) rankOf(lane string) rank {
	if len(s.lanes) > 0 && lane == s.lanes[0] {
		return rankFirst
	}
	return rankDue
}

func (s *Store) tx(tx *sql.Tx) *txn {
	return &txn{Tx: tx, db: s.db, hot: s.hot, delta: make(map[string]int64)}
}

func (t *txn) exec(ctx context.Context, q string, args ...any) error {
	_, err := t.ExecContext(ctx, t.db.Rebind(q), args...)
	return err
}

// query runs q and calls scan for each row.
func (t *txn) query(ctx context.Context, scan func(row *sql.Rows) error, q string, args ...any) error {
	rows, err := t.QueryContext(ctx, t.db.Rebind(q), args...)
	if err != nil {
		return err
	}
	return each(rows, scan)
}

// read runs q outside a transaction and calls scan for each row.
func (s *Store) read(ctx context.Context, scan func(row *sql.Rows) error, q string, args ...any) error {
	rows, err := s.db.R.QueryContext(ctx, s.db.Rebind(q), args...)
	if err != nil {
		return err
	}
	return each(rows, scan)
}

func each(rows *sql.Rows, scan func(row *sql.Rows) error) error {
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// fault is what callers learn of a database error.
func (s *Store) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	msg := "the store did not answer in time"
	if db.Full(err) {
		msg = "the store's disk is full"
	}
	return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_STORE_UNAVAILABLE, "%s", msg).
		WithRetry(time.Second).WithCause(fmt.Errorf("%s: %w", doing, err))
}

// tuples is n times "(?,?)", each of size columns, parted by commas.
func tuples(n, size int) string {
	one := "(" + marks(size) + ")"
	return strings.TrimSuffix(strings.Repeat(one+",", n), ",")
}

// marks is n question marks, parted by commas.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
