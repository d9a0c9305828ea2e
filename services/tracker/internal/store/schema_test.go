package store

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"kurir.dev/kit/db"
	"kurir.dev/kit/dbtest"
)

// ids are of a mail's events: as all services make them, as hits have them, and
// such that a shortened id could be taken for them.
func ids(mailID string) []string {
	return []string{mailID + "/1/0/delivered", "0190-hit", "/1/0/delivered", "=/1", mailID + "x", mailID, "=" + mailID}
}

func TestEventKey(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, id := range ids("m") {
		key := eventKey("m", id)
		if got := eventID("m", key); got != id {
			t.Errorf("eventID(eventKey(%q)) = %q", id, got)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q have the key %q", id, other, key)
		}
		seen[key] = id
	}
	if got := eventKey("m", "m/1/0/delivered"); strings.Contains(got, "m/") {
		t.Errorf("eventKey = %q, want it without the mail's id", got)
	}
}

// TestLeaner brings a store of the first schema up to date and finds its events
// as they were, each known already.
func TestLeaner(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		ctx := t.Context()
		old, err := db.Open(ctx, url, migrations()[:1])
		if err != nil {
			t.Fatalf("db.Open = %v", err)
		}
		const mailID = "01900000-0000-7000-8000-000000000001"
		want := ids(mailID)
		for i, id := range want {
			_, err := old.W.ExecContext(ctx, old.Rebind(`INSERT INTO events (position, event_id, tenant, mail_id, lane, type, attempt,
				sequence, occurred_at, traceparent, body) VALUES (?, ?, 't', ?, 'bulk', 1, 0, 0, ?, '', ?)`), i+1, id, mailID, i+1, []byte{})
			if err != nil {
				t.Fatalf("inserting: %v", err)
			}
		}
		if err := old.Close(); err != nil {
			t.Fatalf("Close = %v", err)
		}
		s, err := Open(ctx, url)
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		t.Cleanup(func() { _ = s.Close() })
		events, err := s.Timeline(ctx, "t", mailID)
		if err != nil {
			t.Fatalf("Timeline = %v", err)
		}
		var got []string
		records := make([]Record, 0, len(events))
		for i := range events {
			got = append(got, events[i].ID)
			records = append(records, Record{Topic: "x", Offset: int64(i), Event: &events[i]})
		}
		if !slices.Equal(got, want) {
			t.Errorf("Timeline has the ids %q, want %q", got, want)
		}
		res, err := s.Ingest(ctx, records, events[0].At, nil)
		if err != nil || slices.Contains(res.Fates, Stored) {
			t.Errorf("Ingest of the same events = %v, %v, want every one a repetition", res.Fates, err)
		}
	})
}

// TestTimelinePlan makes sure that a mail's events are found by the mail: of all
// events of a tenant there may be millions.
func TestTimelinePlan(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), dbtest.SQLite(t))
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var steps []string
	err = scan(t.Context(), s.db.R, `EXPLAIN QUERY PLAN `+timeline, []any{"t", "m", 10}, func(r *sql.Rows) error {
		var id, parent, unused int
		var step string
		err := r.Scan(&id, &parent, &unused, &step)
		steps = append(steps, step)
		return err
	})
	if err != nil {
		t.Fatalf("EXPLAIN = %v", err)
	}
	if plan := strings.Join(steps, "; "); !strings.Contains(plan, "SEARCH e USING INDEX sqlite_autoindex_events_1 (mail_id=?)") {
		t.Errorf("the plan of the timeline is %q, want a search of events by mail_id", plan)
	}
}
