package broker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody/mark"
)

// What was committed is told as it was, of those partitions alone where
// anything was.
func TestCommits(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 0, 10)
	check := func(step string, want map[int]mark.Mark) {
		t.Helper()
		got, err := c.Commits(t.Context(), "g", "kurir.lane.otp")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: Commits() = %v (-want +got):\n%s", step, err, diff)
		}
	}
	check("untouched", map[int]mark.Mark{})
	m := mark.Mark{Low: 4, Done: []mark.Span{{Start: 5, End: 8}}, Limit: 10, Tried: 10}
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 0, 4, m.Encode())
	check("done set", map[int]mark.Mark{0: m})
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 3, 2, "of another program")
	check("another program", map[int]mark.Mark{0: m, 3: {Low: 2}})
	if got, err := c.Commits(t.Context(), "g", "kurir.lane.unknown"); err == nil {
		t.Errorf("Commits(no such topic) = %v, want an error", got)
	}
}
