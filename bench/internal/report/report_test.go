package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/bench/internal/report"
)

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target *report.Target
		value  float64
		want   bool
		text   string
	}{
		{report.AtMost(1.5), 1.5, true, "<= 1.50"},
		{report.AtMost(1.5), 1.501, false, "<= 1.50"},
		{report.AtLeast(2000), 2000, true, ">= 2000"},
		{report.AtLeast(2000), 1999.9, false, ">= 2000"},
	} {
		if got := c.target.Meets(c.value); got != c.want || c.target.String() != c.text {
			t.Errorf("%v.Meets(%v) = %v, want %q and %v", c.target, c.value, got, c.text, c.want)
		}
	}
}

func sample() *report.Report {
	r := &report.Report{Command: "bench", Machine: "two cores", Seed: 7}
	r.Add(
		report.Row{Scenario: "speed", Name: "unsigned", Value: 1999, Unit: "mails/s", Target: report.AtLeast(2000), Conditions: "10 KB"},
		report.Row{Scenario: "speed", Name: "share", Value: 60.25, Unit: "%", Target: report.AtLeast(50), Conditions: "10 KB"},
		report.Row{Scenario: "speed", Name: "of no account", Value: 0.126, Conditions: "1 KB"},
	)
	return r
}

func TestPrint(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample().Print(&b); err != nil {
		t.Fatalf("Print: %v", err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"command bench", "machine two cores", "seed 7", "SPEED", "unsigned 1999 mails/s >= 2000 NOT met [1]",
		"share 60.2 % >= 50 met [1]", "of no account 0.13 [2]", "[1] 10 KB", "[2] 1 KB", "1 of 2 targets met",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Print wrote %q, want %q in it", text, want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	want := sample()
	if err := want.JSON(&b); err != nil {
		t.Fatalf("JSON: %v", err)
	}
	got := new(report.Report)
	if err := json.Unmarshal([]byte(b.String()), got); err != nil {
		t.Fatalf("reading it back: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the report came back changed (-want +got):\n%s", diff)
	}
}
