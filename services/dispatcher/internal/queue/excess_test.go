package queue_test

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kurir.dev/services/dispatcher/internal/queue"
)

func TestExcess(t *testing.T) {
	t.Parallel()
	var fresh func(a, b string) int
	seasoned := func(a, b string) int { return cmp.Compare(strings.Count(a, "!"), strings.Count(b, "!")) }
	for _, tt := range []struct {
		name, items string
		keep        int
		order       func(a, b string) int
		want        string
	}{
		{"nothing beyond", "a1 a2 b1", 3, fresh, ""},
		{"the oldest go, in order", "a1 a2 a3 a4", 2, fresh, "a1 a2"},
		{"the small tenant keeps its place", "b1 a1 a2 a3 b2 a4 a5", 4, fresh, "a1 a2 a3"},
		{"large ones give in turn", "a1 a2 a3 b1 b2 b3 b4 c1", 3, fresh, "a1 b1 a2 b2 b3"},
		{"who went before stays", "a1! a2!! a3 a4", 2, seasoned, "a3 a4"},
		{"but not what may not", "a1!!! a2! a3", 0, seasoned, "a3 a2!"},
		{"and goes when it must", "a1!! a2! a3", 1, seasoned, "a3 a2!"},
	} {
		q := queue.New[string](lanes())
		for item := range strings.FieldsSeq(tt.items) {
			q.Push("bulk", item[:1], 1, item)
		}
		if got := strings.Join(q.Excess("bulk", tt.keep, tt.order, func(s string) bool { return !strings.HasSuffix(s, "!!!") }), " "); got != tt.want {
			t.Errorf("%s: Excess = %q, want %q", tt.name, got, tt.want)
		}
		if got, want := q.LaneLen("bulk"), len(strings.Fields(tt.items))-len(strings.Fields(tt.want)); got != want {
			t.Errorf("%s: %d stay, want %d", tt.name, got, want)
		}
	}
	if got := queue.New[string](nil).Excess("bulk", 0, fresh, nil); len(got) != 0 {
		t.Errorf("Excess of no lane = %v, want none", got)
	}
}

// A tenant with a hundred thousand mails does not delay one with ten.
func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	q := queue.New[string](lanes())
	for i := range 100_000 {
		q.Push("bulk", "large", 10<<10, "large"+strconv.Itoa(i))
	}
	for i := range 10 {
		q.Push("bulk", "small", 10<<10, "small"+strconv.Itoa(i))
	}
	var order []string
	for range 60 {
		turn, _ := q.Pop(nil, nil)
		order = append(order, turn.Value)
	}
	if at := slices.Index(order, "small9"); at < 0 || at > 40 {
		t.Errorf("the small tenant's last mail is number %d, want it among the first 40", at)
	}
}
