package gate

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

const (
	// lately is how far usage is remembered: of what is that old, a third counts.
	lately = time.Second
	// bigger is the processor time from which a tenant is a big one of its lane,
	// a twentieth of a processor.
	bigger = lately / 20
	// crowd is from how many tenants on those are forgotten that used nothing lately.
	crowd = 1024
)

// usage is how much processor time the tenants of a lane used lately. The zero
// value knows nobody.
type usage struct {
	tenants map[string]spent
	most    int // tenants before it is swept
}

type spent struct {
	time time.Duration
	at   time.Time
}

// left is what counts of it by now.
func (s spent) left(now time.Time) time.Duration {
	return time.Duration(float64(s.time) * math.Exp(-float64(now.Sub(s.at))/float64(lately)))
}

// of is what a tenant used lately.
func (u *usage) of(tenant string, now time.Time) time.Duration { return u.tenants[tenant].left(now) }

// big says whether that is much.
func (u *usage) big(tenant string, now time.Time) bool { return u.of(tenant, now) > bigger }

// smallest is who of tenants used least lately; "" of none.
func (u *usage) smallest(tenants []string, now time.Time) string {
	switch len(tenants) {
	case 0:
		return ""
	case 1:
		return tenants[0]
	}
	return slices.MinFunc(tenants, func(a, b string) int { return cmp.Compare(u.of(a, now), u.of(b, now)) })
}

// add notes that a tenant used so much more.
func (u *usage) add(tenant string, d time.Duration, now time.Time) {
	if u.tenants == nil {
		u.tenants, u.most = map[string]spent{}, crowd
	}
	if len(u.tenants) >= u.most {
		maps.DeleteFunc(u.tenants, func(_ string, s spent) bool { return s.left(now) < bigger/100 })
		u.most = max(crowd, 2*len(u.tenants))
	}
	u.tenants[tenant] = spent{u.of(tenant, now) + d, now}
}
