package queue_test

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/services/dispatcher/internal/queue"
)

func lanes() []queue.Lane {
	return []queue.Lane{{Name: "otp", Rank: 0}, {Name: "billing", Rank: 1, FloorPercent: 20}, {Name: "bulk", Rank: 3, FloorPercent: 5}}
}

func TestPopOrder(t *testing.T) {
	t.Parallel()
	q := queue.New[string](lanes())
	for i := range 3 {
		q.Push("bulk", "t", 100, "bulk"+strconv.Itoa(i))
		q.Push("otp", "t", 100, "otp"+strconv.Itoa(i))
	}
	var got []string
	for {
		v, ok := q.Pop(nil, nil)
		if !ok {
			break
		}
		got = append(got, v.Value)
	}
	want := []string{"otp0", "otp1", "otp2", "bulk0", "bulk1", "bulk2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestFloors(t *testing.T) {
	t.Parallel()
	q := queue.New[string](lanes())
	for range 1000 {
		for _, l := range lanes() {
			q.Push(l.Name, "t", 100, l.Name)
		}
	}
	count := map[string]int{}
	for range 1000 {
		v, _ := q.Pop(nil, nil)
		count[v.Value]++
	}
	if count["billing"] < 190 || count["bulk"] < 45 || count["otp"] < 700 {
		t.Errorf("of 1000 turns %v, want floors of 20 %% and 5 %% kept and the rest for otp", count)
	}
}

func TestLanesThatMayNotGo(t *testing.T) {
	t.Parallel()
	q := queue.New[string](lanes())
	q.Push("bulk", "t", 100, "bulk")
	if v, ok := q.Pop(func(lane string) bool { return lane == "otp" }, nil); ok {
		t.Errorf("Pop = %q, want none: bulk may not go", v.Value)
	}
	q.Push("otp", "t", 100, "otp")
	if v, _ := q.Pop(func(lane string) bool { return lane == "otp" }, nil); v.Value != "otp" || v.Lane != "otp" {
		t.Errorf("Pop = %+v, want otp", v)
	}
}

func TestTenantsThatMayNotGo(t *testing.T) {
	t.Parallel()
	q := queue.New[string](lanes())
	for _, name := range []string{"big", "small", "big"} {
		q.Push("bulk", name, 100, name)
	}
	q.Push("otp", "big", 100, "code")
	fits := func(lane, tenant string) bool { return lane == "otp" || tenant != "big" }
	for _, want := range []queue.Turn[string]{{Value: "code", Lane: "otp", Tenant: "big"}, {Value: "small", Lane: "bulk", Tenant: "small"}} {
		if got, ok := q.Pop(nil, fits); !ok || got != want {
			t.Errorf("Pop = %+v, %t, want %+v", got, ok, want)
		}
	}
	if got, ok := q.Pop(nil, fits); ok || q.Len() != 2 {
		t.Errorf("Pop = %+v, %d left, want none and two left: big may not go", got, q.Len())
	}
}

func TestTenantsShare(t *testing.T) {
	t.Parallel()
	q := queue.New[string](lanes())
	for range 10000 {
		q.Push("bulk", "big", 4<<10, "big")
	}
	for range 10 {
		q.Push("bulk", "small", 4<<10, "small")
	}
	count := map[string]int{}
	for turn := range 30 {
		v, _ := q.Pop(nil, nil)
		count[v.Value]++
		if turn == 29 && count["small"] != 10 {
			t.Errorf("after 30 turns %v, want all 10 of the small tenant", count)
		}
	}
}

func TestTenantsShareBytes(t *testing.T) {
	t.Parallel()
	q := queue.New[int](lanes())
	for range 1000 {
		q.Push("bulk", "heavy", 64<<10, 64<<10)
		q.Push("bulk", "light", 4<<10, 4<<10)
	}
	bytes := map[int]int{}
	for range 500 {
		v, _ := q.Pop(nil, nil)
		bytes[v.Value] += v.Value
	}
	if ratio := float64(bytes[64<<10]) / float64(bytes[4<<10]); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("bytes %v, want shares alike", bytes)
	}
}

func TestRemoveAndDrain(t *testing.T) {
	t.Parallel()
	q := queue.New[int](lanes())
	var items []*queue.Item[int]
	for i := range 5 {
		items = append(items, q.Push("otp", strconv.Itoa(i%2), 1, i))
	}
	if !q.Remove(items[2]) || q.Remove(items[2]) || q.Remove(nil) {
		t.Error("Remove must take an item once")
	}
	if v, _ := q.Pop(nil, nil); v.Value != 0 || q.Remove(items[0]) {
		t.Error("an item popped cannot be removed")
	}
	if got := len(q.Drain("otp")); got != 3 || q.Len() != 0 || q.LaneLen("otp") != 0 {
		t.Errorf("Drain took %d, %d left, want 3 and 0", got, q.Len())
	}
	if q.Push("none", "t", 1, 1) != nil || q.Drain("none") != nil {
		t.Error("an unknown lane takes nothing")
	}
}
