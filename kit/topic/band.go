package topic

// Band is a part of a lane topic's partitions. A tenant's mail goes into the
// ordinary band until many of its mails are unfinished there, and beyond that
// into the overflow band: so whoever reads both side by side need not read
// through one tenant's backlog to come to another's mail. An outcome lies in
// the band of its mail, for the two topics' partitions are numbered alike.
type Band int

// The bands of a topic.
const (
	Ordinary Band = iota
	Overflow
)

// Bands is how many there are, and so the fewest partitions with which each
// has its own.
const Bands = 2

// String names the band, for logs and metrics.
func (b Band) String() string {
	if b == Overflow {
		return "overflow"
	}
	return "ordinary"
}

// Of is the first partition of the band and how many there are, of a topic
// with the given number of partitions: overflow is the upper half, rounded
// down. A topic with fewer than two is both bands whole.
func (b Band) Of(partitions int) (first, n int) {
	if partitions < Bands {
		return 0, partitions
	}
	overflow := partitions / Bands
	if b == Overflow {
		return partitions - overflow, overflow
	}
	return 0, partitions - overflow
}

// BandOf is the band that a partition is in, of a topic with the given number
// of partitions; [Ordinary] where both are the whole topic.
func BandOf(partition, partitions int) Band {
	if first, _ := Overflow.Of(partitions); partitions >= Bands && partition >= first {
		return Overflow
	}
	return Ordinary
}
