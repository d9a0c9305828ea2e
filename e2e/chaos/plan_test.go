package chaos_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kurir.dev/e2e/chaos"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	plan := chaos.NewPlan(7, 200)
	if diff := cmp.Diff(plan, chaos.NewPlan(7, 200)); diff != "" {
		t.Errorf("NewPlan() made another plan of the same seed:\n%s", diff)
	}
	if cmp.Equal(plan, chaos.NewPlan(8, 200)) {
		t.Error("NewPlan() made the same plan of another seed")
	}
	kills, acts := map[string]int{}, map[chaos.Act]int{}
	total := 0
	var last time.Duration
	for i, f := range plan {
		if f.At < last {
			t.Errorf("fault %d is at %s, after one at %s", i, f.At, last)
		}
		last = f.At
		acts[f.Act]++
		switch f.Act {
		case chaos.Kill:
			kills[f.Target]++
			total++
		case chaos.KillTwo:
			total += 2
		case chaos.Freeze:
			if f.Last <= 3*time.Second {
				t.Errorf("a dispatcher is frozen for %s, no longer than its session", f.Last)
			}
		default:
		}
	}
	if total < 200 {
		t.Errorf("NewPlan(7, 200) kills %d times", total)
	}
	for _, target := range []string{"composer", "router", "dispatcher1", "dispatcher2", "tracker", "broker"} {
		if kills[target] < 10 {
			t.Errorf("NewPlan(7, 200) kills %s %d times", target, kills[target])
		}
	}
	for _, act := range []chaos.Act{chaos.KillTwo, chaos.Restart, chaos.Freeze, chaos.Drop, chaos.Refuse, chaos.Silence} {
		if acts[act] == 0 {
			t.Errorf("NewPlan(7, 200) has no %s", act)
		}
	}
}

func TestPlanSpares(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		busy := map[string]time.Duration{}
		for _, f := range chaos.NewPlan(seed, 40) {
			targets := []string{f.Target}
			if f.Act == chaos.KillTwo {
				targets = []string{"dispatcher1", "dispatcher2"}
			}
			for _, target := range targets {
				if f.At <= busy[target] && busy[target] > 0 {
					t.Fatalf("seed %d: %s, which is struck until %s", seed, f, busy[target])
				}
				busy[target] = f.At + f.Last
			}
		}
	}
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	mails := chaos.NewTraffic(7, 3000)
	same := cmpopts.IgnoreUnexported(chaos.Mail{})
	if diff := cmp.Diff(mails, chaos.NewTraffic(7, 3000), same); diff != "" {
		t.Errorf("NewTraffic() made other mails of the same seed:\n%s", diff)
	}
	seen := map[string]int{}
	for _, m := range mails {
		seen[m.Lane]++
		seen[string(m.Dest)]++
		for what, so := range map[string]bool{"ahead": m.Ahead > 0, "cancel": m.Cancel > 0, "again": m.Again > 0, "hasty": m.Hasty} {
			if so {
				seen[what]++
			}
		}
	}
	for _, what := range []string{
		"otp", "billing", "reminder", "bulk", "fast", "slow", "failing", "dead", "grey", "dropping", "kept",
		"ahead", "cancel", "again", "hasty",
	} {
		if seen[what] < 60 {
			t.Errorf("NewTraffic(7, 3000) has %d of %s", seen[what], what)
		}
	}
}
