// Package seglog keeps one partition: a log of record batches in the format
// they travel in (KIP-98, message format 2), in segment files that are named
// after the offset they begin with.
//
// Writing. All writing is done by one goroutine of the log. Whatever queued up
// while the last sync ran goes into the next write and shares its one
// fdatasync. What is written over space that was zeroed and synced before
// needs no journal of the file system, so that a flooded partition does not
// hold up its quiet neighbour; the space is prepared ahead of the writer, and
// segments that were trimmed away are used again.
//
// Reading. Readers see what is synced, by pread, and never wait for a writer.
//
// Opening. Only the last segment can end in the middle of a write: its batches
// are checked and what follows the last whole one is cut. Earlier segments are
// looked at when somebody reads them, so that a start takes the same time and
// memory however long the log is.
//
// Failing. A write that failed is undone by the next one. After a sync that
// failed nobody knows what the disk holds (the kernel may have dropped the
// pages and reports it once): the log takes nothing more until it is opened
// again and says so loudly.
package seglog
