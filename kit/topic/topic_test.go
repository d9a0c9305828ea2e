package topic_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/topic"
)

func TestNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		prefix string
		want   []string
	}{
		{"", []string{
			"kurir.lane.otp", "kurir.outcome.otp", "kurir.lane.bulk", "kurir.outcome.bulk",
			"kurir.deferred", "kurir.events", "kurir.billing", "kurir.control", "kurir.dead",
		}},
		{"eu", []string{
			"eu.lane.otp", "eu.outcome.otp", "eu.lane.bulk", "eu.outcome.bulk",
			"eu.deferred", "eu.events", "eu.billing", "eu.control", "eu.dead",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.prefix, func(t *testing.T) {
			t.Parallel()
			got := topic.Names{Prefix: tt.prefix}.All([]string{"otp", "bulk"})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("All() mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	n := topic.Names{Prefix: "eu.lane"}
	if got, ok := topic.OutcomeOf(n.Lane("otp")); !ok || got != n.Outcome("otp") {
		t.Errorf("OutcomeOf(%q) = %q, %v, want %q, true", n.Lane("otp"), got, ok, n.Outcome("otp"))
	}
	if got, ok := topic.OutcomeOf("kurir.deferred"); ok {
		t.Errorf("OutcomeOf(kurir.deferred) = %q, true, want false", got)
	}
}
