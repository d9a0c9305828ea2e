package store

import (
	"database/sql"
	"strings"
	"testing"

	"kurir.dev/kit/dbtest"
)

// TestInheritPlan: a start does not take the longer the more waits.
func TestInheritPlan(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), dbtest.SQLite(t), []string{"bulk"}, nil)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const want = "INDEX waiting_wake (lane=? AND wake_at>? AND wake_at<?)"
	var plan []string
	err = s.read(t.Context(), func(row *sql.Rows) error {
		var id, parent, unused int
		var step string
		err := row.Scan(&id, &parent, &unused, &step)
		plan = append(plan, step)
		return err
	}, `EXPLAIN QUERY PLAN `+orphans, 1, 1, 2, "a", "b")
	if err != nil {
		t.Fatalf("EXPLAIN = %v", err)
	}
	if len(plan) == 0 || !strings.Contains(plan[0], want) {
		t.Errorf("the plan is %q, want a search by %q", plan, want)
	}
}
