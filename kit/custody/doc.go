// Package custody reads a topic so that no record is lost and none that is
// done is handed out again, whoever dies.
//
// A [Consumer] is a member of a consumer group. For each partition it is
// dealt it goes through these steps:
//
//  1. a heartbeat: the lease begins
//  2. fetch the last commit: watermark, done set, journal position
//  3. commit, which proves that the generation is ours and promises how far
//     records may be handed out before the next commit
//  4. read the journal from that position to its end into Handler.Recover
//  5. read the partition from the watermark, leave out what is done, hand out
//     the rest, as many and as much at a time as the window holds
//  6. commit what completes, in any order, every so often
//  7. when the partition is lost or the consumer stops: hand out nothing
//     more, let what is in flight end within Drain, commit, let go
//
// Commits are fenced by generation and member: a process that was paused and
// wakes up late cannot rewind its successor. What it has in flight must ask
// [Delivery.Alive] before the step that cannot be taken back, and tell
// [Delivery.Try] before it begins: what was begun and not ended when a process
// died is [Delivery.Again] for the next.
//
// What comes again after a crash is what was in flight, and what completed in
// the last moments before it; of the latter the journal tells.
package custody
