package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/wire"
)

// APIs are the coordinator's requests, for a server, by their keys. The newest
// versions are the last before those of the group protocol that brokers drive
// (KIP-848) and of topics named by id (KIP-516).
func (c *Coordinator) APIs() map[int16]wire.API {
	return map[int16]wire.API{
		int16(kmsg.JoinGroup): wire.Typed(0, 9,
			func(ctx context.Context, r *wire.Request, q *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
				return c.Join(ctx, q, r.ClientID, r.Remote, r.Inside)
			}).Waiting(),
		int16(kmsg.SyncGroup): wire.Typed(0, 5,
			func(ctx context.Context, _ *wire.Request, q *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
				return c.Sync(ctx, q)
			}).Waiting(),
		int16(kmsg.Heartbeat): wire.Typed(0, 4,
			func(_ context.Context, _ *wire.Request, q *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
				return c.Heartbeat(q)
			}),
		int16(kmsg.LeaveGroup): wire.Typed(0, 5,
			func(_ context.Context, _ *wire.Request, q *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
				return c.Leave(q)
			}),
		int16(kmsg.OffsetCommit): wire.Typed(0, 8,
			func(ctx context.Context, _ *wire.Request, q *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
				return c.Commit(ctx, q)
			}),
		int16(kmsg.OffsetFetch): wire.Typed(0, 8,
			func(_ context.Context, _ *wire.Request, q *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
				return c.Fetch(q)
			}),
		int16(kmsg.DescribeGroups): wire.Typed(0, 5,
			func(_ context.Context, _ *wire.Request, q *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
				return c.Describe(q)
			}),
		int16(kmsg.ListGroups): wire.Typed(0, 4,
			func(_ context.Context, _ *wire.Request, q *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
				return c.List(q)
			}),
		int16(kmsg.DeleteGroups): wire.Typed(0, 2,
			func(ctx context.Context, _ *wire.Request, q *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
				return c.Delete(ctx, q)
			}),
		int16(kmsg.OffsetDelete): wire.Typed(0, 0,
			func(ctx context.Context, _ *wire.Request, q *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
				return c.OffsetDelete(ctx, q)
			}),
	}
}
