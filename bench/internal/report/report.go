// Package report is what a benchmark run found, beside what was aimed at.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is one run.
type Report struct {
	Command string `json:"command"`
	Machine string `json:"machine"`
	Broker  string `json:"broker"`
	Seed    uint64 `json:"seed"`
	Began   string `json:"began"` // as RFC 3339 §5.6 writes times
	Took    string `json:"took"`
	Rows    []Row  `json:"rows"`
}

// Row is one figure.
type Row struct {
	Scenario string  `json:"scenario"`
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit,omitempty"`
	// Target is what is aimed at; nil for a figure that is only told.
	Target *Target `json:"target,omitempty"`
	// Met tells whether Value meets Target; set by Add.
	Met *bool `json:"met,omitempty"`
	// Conditions are those the figure was taken under.
	Conditions string `json:"conditions"`
}

// Target is a bound.
type Target struct {
	// Least says that Bound is the least value that will do, not the most.
	Least bool    `json:"least,omitempty"`
	Bound float64 `json:"bound"`
}

// AtMost is a bound from above.
func AtMost(bound float64) *Target { return &Target{Bound: bound} }

// AtLeast is a bound from below.
func AtLeast(bound float64) *Target { return &Target{Least: true, Bound: bound} }

// Meets tells whether v is within the bound.
func (t Target) Meets(v float64) bool {
	if t.Least {
		return v >= t.Bound
	}
	return v <= t.Bound
}

// String writes the bound as a condition.
func (t Target) String() string {
	if t.Least {
		return ">= " + number(t.Bound)
	}
	return "<= " + number(t.Bound)
}

// Add adds rows, each with its verdict.
func (r *Report) Add(rows ...Row) {
	for _, row := range rows {
		if row.Target != nil {
			met := row.Target.Meets(row.Value)
			row.Met = &met
		}
		r.Rows = append(r.Rows, row)
	}
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Print writes the report as a table for people.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "\ncommand  %s\nmachine  %s\nbroker   %s\nbegan    %s, took %s\nseed     %d\n",
		r.Command, r.Machine, r.Broker, r.Began, r.Took, r.Seed)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	scenario, targets, met := "", 0, 0
	var conditions []string // each is told once, under its number
	for _, row := range r.Rows {
		if row.Scenario != scenario {
			scenario = row.Scenario
			fmt.Fprintf(table, "\n%s\t\t\t\t\n", strings.ToUpper(scenario))
		}
		target, verdict := "", ""
		if row.Target != nil {
			targets++
			target, verdict = row.Target.String(), "NOT met"
			if *row.Met {
				met++
				verdict = "met"
			}
		}
		n := slices.Index(conditions, row.Conditions) + 1
		if n == 0 {
			conditions = append(conditions, row.Conditions)
			n = len(conditions)
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t[%d]\n", row.Name, strings.TrimSpace(number(row.Value)+" "+row.Unit), target, verdict, n)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for i, c := range conditions {
		fmt.Fprintf(w, "[%d] %s\n", i+1, c)
	}
	_, err := fmt.Fprintf(w, "\n%d of %d targets met\n", met, targets)
	return err
}

// number writes v with three digits that count, and no fewer than the whole ones.
func number(v float64) string {
	switch abs := max(v, -v); {
	case abs == float64(int64(abs)) || abs >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
