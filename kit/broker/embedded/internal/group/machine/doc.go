// Package machine is a consumer group as a pure state machine: the classic
// group protocol of Kafka. It knows no clock, no lock and no connection. Each
// event carries the time at which it happened, and returns the answers that it
// brought about.
//
//	Empty ------ join ----------> PreparingRebalance
//	PreparingRebalance -- all here, or time is up --> CompletingRebalance
//	PreparingRebalance -- nobody left --> Empty
//	CompletingRebalance -- the leader's deal, saved --> Stable
//	CompletingRebalance, Stable -- join, leave, a member lost --> PreparingRebalance
//	Empty ------ End ----------> Dead
//
// A member lasts as long as it gives signs of life. While one of its requests
// waits here, its connection is the sign of life, and the end of the round
// bounds the wait; when it does not wait, its session timeout runs. So a member
// that never comes back is gone after its session timeout, or at the end of the
// round, in every state. A member id that was given and never used (KIP-394)
// holds up nobody, and is forgotten after the session timeout that was asked
// for with it.
//
// Nobody is told a share before the deal is saved: the machine hands out a
// [Snapshot] and waits to hear that it is on disk. A coordinator that starts
// goes on with the last one saved. All whom a share was ever told, and who were
// not removed from the group since by a later deal, are members then, with a
// session to come back in: so their shares are dealt to nobody else while they
// may hold them, whenever the coordinator ended.
//
// Where it differs from Kafka: a round does not wait for ids that were given
// and not used yet; a member that joined without an id and lost its connection
// before the answer is gone at once, for it cannot know who it was; static
// members (KIP-345) are refused.
package machine
