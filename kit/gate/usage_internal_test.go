package gate

import (
	"strconv"
	"testing"
	"time"
)

func TestUsageFades(t *testing.T) {
	t.Parallel()
	var u usage
	now := time.Now()
	u.add("a", time.Second, now)
	for after, want := range map[time.Duration]time.Duration{0: time.Second, lately: 368 * time.Millisecond, 3 * lately: 50 * time.Millisecond} {
		if got := u.of("a", now.Add(after)); got.Round(time.Millisecond) != want {
			t.Errorf("after %v %v of a second count, want %v", after, got, want)
		}
	}
	if u.big("b", now) || !u.big("a", now.Add(2*lately)) || u.big("a", now.Add(4*lately)) {
		t.Error("a used a second and is big for three, b is not, want that")
	}
}

func TestUsageForgets(t *testing.T) {
	t.Parallel()
	var u usage
	now := time.Now()
	for i := range 100 * crowd {
		now = now.Add(time.Second / 100)
		u.add(strconv.Itoa(i), time.Millisecond, now)
		if len(u.tenants) > 2*crowd {
			t.Fatalf("%d tenants are known when a hundred a second come and go, want %d at most", len(u.tenants), 2*crowd)
		}
	}
	for i := range 4 * crowd {
		u.add(strconv.Itoa(i), time.Millisecond, now)
	}
	if len(u.tenants) < 4*crowd {
		t.Errorf("%d tenants are known of %d who are busy, want all", len(u.tenants), 4*crowd)
	}
}
