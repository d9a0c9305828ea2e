// Package chaos storms a mesh of real processes and judges every mail.
//
// A run:
//
//  1. Four services, two of them dispatchers, and the broker start as
//     processes. Mail hosts, name server and senders live in the test process.
//  2. Some mail warms the mesh; what each process uses is measured.
//  3. The traffic ([NewTraffic]) goes over all lanes to hosts that are fast,
//     slow, refusing, dead, greylisting and hanging up. An operator holds,
//     releases, decides; senders cancel, and send again under the same key.
//     Meanwhile the plan's faults ([NewPlan]) strike.
//  4. When the last fault is undone everything must drain.
//  5. Each mail is a [Case]: what its sender was told, what its host saw, what
//     lies in the topics and what the tracker shows. [Judge] says which
//     promises were broken.
//  6. The processes must use no more than before.
//
// Plan and traffic follow from one seed, which the run prints: the same seed
// strikes the same targets in the same order and at the same times, up to how
// the machine schedules it all.
package chaos
