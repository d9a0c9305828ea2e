// Package offsets keeps what consumer groups have committed, and the last deal
// of each group that has members: in memory to be read, and in an append-only
// journal to survive.
//
// The journal is one file of frames, each with a length and a checksum. All
// commits that queue while the disk is busy are written and synced together
// (group commit), in the order in which they were queued, and nobody is told
// of success before the sync returned. A write that failed is cut off again
// before the next one, so that no half frame hides later ones; after a failed
// sync, which leaves open what the disk holds, the whole file is written anew
// first. A file that has grown far beyond what it means is written anew too:
// beside the old one, synced, renamed over it, and the directory synced.
package offsets
