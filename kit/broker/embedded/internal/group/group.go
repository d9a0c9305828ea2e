// Package group coordinates consumer groups: who is a member, which generation
// it is, and how far each group has come.
package group

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config is what a coordinator needs.
type Config struct {
	// Dir holds the journal of committed offsets; it is made if it is missing.
	Dir string
	// Sync makes each commit durable before it is answered.
	Sync bool
	// MinSession and MaxSession bound the session timeouts of members.
	MinSession, MaxSession time.Duration
	// InitialDelay is how long an empty group waits for more members before
	// its first generation.
	InitialDelay time.Duration
	// Log is for what nobody is answered; nil discards it.
	Log *slog.Logger
	// Writable says why nothing may be written now, nil that all may.
	Writable func() error
}

// Coordinator coordinates all groups of the broker. It is safe for concurrent
// use.
type Coordinator struct{ cfg Config }

// Open loads the committed offsets from cfg.Dir.
func Open(cfg Config) (*Coordinator, error) { return &Coordinator{cfg: cfg}, nil }

// Close answers everyone who waits, ends the timers and closes the journal.
func (c *Coordinator) Close() error { return nil }

// Join is JoinGroup; it blocks until the round ends or ctx does.
func (c *Coordinator) Join(ctx context.Context, r *kmsg.JoinGroupRequest, clientID, host string) *kmsg.JoinGroupResponse {
	return r.ResponseKind().(*kmsg.JoinGroupResponse)
}

// Sync is SyncGroup; it blocks until the leader has dealt or ctx ends.
func (c *Coordinator) Sync(ctx context.Context, r *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	return r.ResponseKind().(*kmsg.SyncGroupResponse)
}

// Heartbeat is Heartbeat.
func (c *Coordinator) Heartbeat(r *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	return r.ResponseKind().(*kmsg.HeartbeatResponse)
}

// Leave is LeaveGroup.
func (c *Coordinator) Leave(r *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	return r.ResponseKind().(*kmsg.LeaveGroupResponse)
}

// Commit is OffsetCommit; it answers when the offsets are written.
func (c *Coordinator) Commit(ctx context.Context, r *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	return r.ResponseKind().(*kmsg.OffsetCommitResponse)
}

// Fetch is OffsetFetch.
func (c *Coordinator) Fetch(r *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	return r.ResponseKind().(*kmsg.OffsetFetchResponse)
}

// Describe is DescribeGroups.
func (c *Coordinator) Describe(r *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	return r.ResponseKind().(*kmsg.DescribeGroupsResponse)
}

// List is ListGroups.
func (c *Coordinator) List(r *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	return r.ResponseKind().(*kmsg.ListGroupsResponse)
}

// Delete is DeleteGroups.
func (c *Coordinator) Delete(r *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	return r.ResponseKind().(*kmsg.DeleteGroupsResponse)
}

// OffsetDelete is OffsetDelete.
func (c *Coordinator) OffsetDelete(r *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	return r.ResponseKind().(*kmsg.OffsetDeleteResponse)
}

// Committed is how far each group has come on a partition.
func (c *Coordinator) Committed(topic string, partition int32) map[string]int64 { return nil }

// Forget drops what was committed for a topic that was deleted.
func (c *Coordinator) Forget(topic string) {}
