package store

import (
	"database/sql"
	"strings"
	"testing"

	"kurir.dev/kit/dbtest"
	"kurir.dev/services/router/internal/waiting"
)

// TestListingPlan makes sure that mail that is named is found by its id, and a
// tenant's in its order: of what waits there may be millions.
func TestListingPlan(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), dbtest.SQLite(t), []string{"bulk"}, nil)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, tt := range []struct {
		name  string
		scope waiting.Scope
		want  string
	}{
		{"ids", waiting.Scope{IDs: []string{"a", "b"}}, "(mail_id=?)"},
		{"ids of a tenant", waiting.Scope{IDs: []string{"a"}, Tenant: "t"}, "(mail_id=?)"},
		{"invoice", waiting.Scope{Tenant: "t", Invoice: "i"}, "INDEX waiting_invoice (tenant=? AND invoice=?)"},
		{"tenant", waiting.Scope{Tenant: "t"}, "INDEX waiting_tenant (tenant=?"},
		{"everything", waiting.Scope{}, "INDEX waiting_due ("},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, args := listing(tt.scope, waiting.Cursor{}, 10)
			var plan []string
			err := s.read(t.Context(), func(row *sql.Rows) error {
				var id, parent, unused int
				var step string
				err := row.Scan(&id, &parent, &unused, &step)
				plan = append(plan, step)
				return err
			}, `EXPLAIN QUERY PLAN `+q, args...)
			if err != nil {
				t.Fatalf("EXPLAIN = %v", err)
			}
			if !strings.Contains(plan[0], "SEARCH waiting USING ") || !strings.Contains(plan[0], tt.want) {
				t.Errorf("the plan is %q, want a search by %q", plan, tt.want)
			}
		})
	}
}
