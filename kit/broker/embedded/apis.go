package embedded

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/embedded/internal/wire"
)

// apis are the requests served, in versions that the clients at hand use and
// that need nothing this broker does not have (topic ids, transactions).
func (e *Broker) apis() map[int16]wire.API {
	g := e.groups
	return map[int16]wire.API{
		int16(kmsg.Produce): {
			Min: wire.ProduceMin, Max: wire.ProduceMax, MaxBytes: 4 * broker.MaxBatchBytes, Handle: e.produce,
		},
		int16(kmsg.Fetch):                   {Min: fetchMin, Max: fetchMax, Handle: e.fetch},
		int16(kmsg.ListOffsets):             wire.Typed(1, 6, e.listOffsets),
		int16(kmsg.DeleteRecords):           wire.Typed(0, 2, e.deleteRecords),
		int16(kmsg.Metadata):                wire.Typed(0, 9, e.metadata),
		int16(kmsg.DescribeCluster):         wire.Typed(0, 0, e.describeCluster),
		int16(kmsg.CreateTopics):            wire.Typed(0, 6, e.createTopics),
		int16(kmsg.CreatePartitions):        wire.Typed(0, 3, e.createPartitions),
		int16(kmsg.DeleteTopics):            wire.Typed(0, 5, e.deleteTopics),
		int16(kmsg.DescribeConfigs):         wire.Typed(0, 4, e.describeConfigs),
		int16(kmsg.IncrementalAlterConfigs): wire.Typed(0, 1, e.alterConfigs),
		int16(kmsg.FindCoordinator):         wire.Typed(0, 4, e.findCoordinator),

		int16(kmsg.JoinGroup): wire.Typed(0, 9,
			func(ctx context.Context, r *wire.Request, q *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
				return g.Join(ctx, q, r.ClientID, r.Remote, r.Inside)
			}).Waiting(),
		int16(kmsg.SyncGroup):      wire.Typed(0, 5, timed(g.Sync)).Waiting(),
		int16(kmsg.OffsetCommit):   wire.Typed(0, 8, timed(g.Commit)),
		int16(kmsg.Heartbeat):      wire.Typed(0, 4, plain(g.Heartbeat)),
		int16(kmsg.LeaveGroup):     wire.Typed(0, 5, plain(g.Leave)),
		int16(kmsg.OffsetFetch):    wire.Typed(0, 8, plain(g.Fetch)),
		int16(kmsg.DescribeGroups): wire.Typed(0, 5, plain(g.Describe)),
		int16(kmsg.ListGroups):     wire.Typed(0, 4, plain(g.List)),
		int16(kmsg.DeleteGroups):   wire.Typed(0, 2, timed(g.Delete)),
		int16(kmsg.OffsetDelete):   wire.Typed(0, 0, timed(g.OffsetDelete)),
	}
}

// plain serves what needs only the request.
func plain[Q kmsg.Request, S kmsg.Response](do func(q Q) S) func(context.Context, *wire.Request, Q) S {
	return func(_ context.Context, _ *wire.Request, q Q) S { return do(q) }
}

// timed serves what needs the request and may end early.
func timed[Q kmsg.Request, S kmsg.Response](
	do func(ctx context.Context, q Q) S,
) func(context.Context, *wire.Request, Q) S {
	return func(ctx context.Context, _ *wire.Request, q Q) S { return do(ctx, q) }
}
