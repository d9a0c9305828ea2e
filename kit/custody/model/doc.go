// Package model checks the custody protocol by walking through everything
// that can happen in a small world: dispatchers that die, are taken for dead
// or drain, acknowledgements and replies that get lost, records told twice,
// metadata cut short, mail that waits and comes back.
//
// What a partition's owner knows is not modelled but run: each world holds
// real [mark.Tracker]s, its commits are what [mark.Mark.Encode] wrote, and a
// takeover reads them with [mark.Resume]. Modelled are the broker, the
// dispatcher's ledger and settlements, the waiting room, the operator and the
// mail server. README.md tells the rest.
package model
