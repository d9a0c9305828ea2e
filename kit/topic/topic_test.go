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
			"kurir.lane.otp", "kurir.outcome.otp", "kurir.deferred.otp",
			"kurir.lane.bulk", "kurir.outcome.bulk", "kurir.deferred.bulk",
			"kurir.events", "kurir.billing", "kurir.control", "kurir.dead",
		}},
		{"eu", []string{
			"eu.lane.otp", "eu.outcome.otp", "eu.deferred.otp",
			"eu.lane.bulk", "eu.outcome.bulk", "eu.deferred.bulk",
			"eu.events", "eu.billing", "eu.control", "eu.dead",
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

func TestIsDeferred(t *testing.T) {
	t.Parallel()
	n := topic.Names{Prefix: "eu"}
	for name, want := range map[string]bool{
		n.SharedDeferred(): true, n.Deferred("otp"): true, "eu.deferred.gone": true,
		n.Deferred(""): false, "eu.deferredness": false, "eu.deferred.lane.otp": false, n.Lane("otp"): false,
		topic.Names{}.Deferred("otp"): false,
	} {
		if got := n.IsDeferred(name); got != want {
			t.Errorf("IsDeferred(%q) = %v, want %v", name, got, want)
		}
	}
}
