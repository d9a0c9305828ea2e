package store

import (
	"slices"
	"testing"

	"kurir.dev/kit/lane"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/waiting"
)

func TestFirst(t *testing.T) {
	t.Parallel()
	s := &Store{lanes: lane.Default().Names()}
	admit := func(lane, tenant string) op {
		return op{admit: &admission.Entry{Key: admission.Key{Tenant: tenant}, Receipt: admission.Receipt{Lane: lane}}}
	}
	put := func(lane, tenant string) op { return op{put: &waiting.Mail{Lane: lane, Tenant: tenant}} }
	for name, c := range map[string]struct {
		ops     []op
		lane    string
		tenants []string
	}{
		"one":                  {[]op{admit(lane.Billing, "a")}, lane.Billing, []string{"a"}},
		"each tenant once":     {[]op{admit(lane.Bulk, "a"), put(lane.Bulk, "b"), admit(lane.Bulk, "a")}, lane.Bulk, []string{"a", "b"}},
		"those of the highest": {[]op{put(lane.Bulk, "a"), admit(lane.Reminder, "b"), admit(lane.Billing, "c"), put(lane.Reminder, "d")}, lane.Billing, []string{"c"}},
		"no lane is told":      {[]op{{confirm: []admission.Key{{Tenant: "a"}}}, {retry: &retry{}}}, lane.Bulk, nil},
		"lane not known":       {[]op{admit("express", "a")}, lane.Bulk, nil},
	} {
		if l, tenants := s.first(c.ops); l != c.lane || !slices.Equal(tenants, c.tenants) {
			t.Errorf("%s: first() = %s, %v, want %s, %v", name, l, tenants, c.lane, c.tenants)
		}
	}
}
