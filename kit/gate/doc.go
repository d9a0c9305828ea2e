// Package gate shares the processors of a machine among the lanes and their
// tenants, at the heavy steps: rendering, sealing, signing, handshakes,
// ingestion. Go's scheduler knows no priorities, so what must not delay a
// one-time password has to wait before it begins.
//
// A step passes the gate one place at a time ([Gate.Enter]). Who goes next:
//
//  1. a lane that got less than its floor, so that nobody starves
//  2. the first-ranked lane
//  3. the other lanes in proportion to their weights, unless mail of the
//     first-ranked lane is in work anywhere in this process ([Gate.Begin]) or was
//     a moment ago: then they stand back
//
// Within a lane those tenants go first that used little lately, the small ones,
// each by turns; so do the big ones behind them. While mail of a small tenant is
// in work, or was a moment ago, the big ones of its lane and of those below stand
// back, down to a floor that they share.
//
// What computes little, but makes the disk sync or sends a message, enters before
// it and leaves at once: so it stands back as well.
//
// With two places or more the other lanes leave one free for a second after
// anything of the first-ranked lane, so that the next finds it empty. Without
// such mail they have all places.
//
// Work that serves all lanes is a class of its own behind them ([Background]).
//
// Floors are kept by token buckets, in processor time: each fills with the
// floor, every step draws its duration, and of the time that the scheduler kept
// its place idle a part, and debt is forgotten beyond what a tenth of a second
// fills. A lane that used its share while it was calm therefore leaves the first
// tenth of a rush alone, and has about its floor in one that lasts.
package gate
