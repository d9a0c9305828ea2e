// Package topic names Kurir's Kafka topics.
//
// Every name is made here and nowhere else, so that one prefix moves a whole
// installation: two of them can share a cluster and never meet.
package topic

import "strings"

// DefaultPrefix begins every name when none is configured.
const DefaultPrefix = "kurir"

// Names makes topic names. The zero value uses [DefaultPrefix]. Safe for
// concurrent use.
type Names struct {
	// Prefix comes before every name; empty means [DefaultPrefix].
	Prefix string
}

func (n Names) name(rest string) string {
	if n.Prefix == "" {
		return DefaultPrefix + "." + rest
	}
	return n.Prefix + "." + rest
}

// Lane is the topic of mail that goes now on the given lane.
func (n Names) Lane(lane string) string { return n.name("lane." + lane) }

// Outcome is the topic of what each attempt on the lane came to: the
// dispatchers' shared journal and the tracker's feed. It has as many
// partitions as [Names.Lane] of the same lane, and an outcome lies in the
// partition of the record it answers.
func (n Names) Outcome(lane string) string { return n.name("outcome." + lane) }

// Deferred is the topic of mail of the lane that must wait, on its way to the
// router.
func (n Names) Deferred(lane string) string { return n.SharedDeferred() + "." + lane }

// SharedDeferred is the topic that deferred mail of all lanes was written to
// before each had its own. Nobody writes to it, and nobody makes it, but it is
// read where it exists.
func (n Names) SharedDeferred() string { return n.name("deferred") }

// IsDeferred says whether the topic is one of deferred mail: of any lane, or of
// all.
func (n Names) IsDeferred(name string) bool {
	rest, ok := strings.CutPrefix(name, n.SharedDeferred())
	if !ok || rest == "" {
		return ok
	}
	lane, ok := strings.CutPrefix(rest, ".")
	return ok && lane != "" && !strings.Contains(lane, ".")
}

// Events is the topic of all events that are not outcomes.
func (n Names) Events() string { return n.name("events") }

// Billing is the topic of the life of invoices, for product services.
func (n Names) Billing() string { return n.name("billing") }

// Control is the topic of holds, suspensions and limits, read whole at start.
func (n Names) Control() string { return n.name("control") }

// Dead is the topic of records that could not be decoded, sealed.
func (n Names) Dead() string { return n.name("dead") }

// All lists every topic of an installation with the given lanes: each lane
// with its outcome topic and that of its deferred mail, then the ones there is
// one of.
func (n Names) All(lanes []string) []string {
	all := make([]string, 0, 3*len(lanes)+4)
	for _, l := range lanes {
		all = append(all, n.Lane(l), n.Outcome(l), n.Deferred(l))
	}
	return append(all, n.Events(), n.Billing(), n.Control(), n.Dead())
}

// OutcomeOf is the outcome topic of a lane topic, whatever its prefix; false
// for any other topic.
func OutcomeOf(name string) (string, bool) {
	i := strings.LastIndex(name, ".lane.")
	if i < 0 {
		return "", false
	}
	return name[:i] + ".outcome." + name[i+len(".lane."):], true
}
