// Package site shares a destination's connections among the mail that waits
// for it.
//
// A site is a set of hosts that take mail together. It has a queue (package
// queue) and workers, each of which owns one connection for as long as it has
// mail to carry and a while longer. Some of a site's connections are for the
// highest lane alone; the others begin few and grow with success. Across all
// sites each lane has a budget of deliveries under way, which no other lane
// can use; sites that wait for one take turns.
//
// One lock guards it all: what happens under it takes a microsecond, and what
// takes time happens in the workers.
package site
