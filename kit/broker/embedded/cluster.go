package embedded

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/wire"
)

const (
	// node is the one broker there is.
	node = 1
	// clusterID is what the cluster calls itself.
	clusterID = "kurir-embedded"
)

// metadata says which topics there are, all of them led here. Topics are never
// made by asking for them.
func (e *Broker) metadata(_ context.Context, r *wire.Request, q *kmsg.MetadataRequest) kmsg.Response {
	res := kmsg.NewPtrMetadataResponse()
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = node, r.Host, r.Port
	res.Brokers = append(res.Brokers, b)
	res.ClusterID, res.ControllerID = new(clusterID), node
	if q.Topics == nil || r.Version == 0 && len(q.Topics) == 0 {
		for _, name := range e.topics.Names() {
			res.Topics = append(res.Topics, e.describe(name))
		}
		return res
	}
	for _, t := range q.Topics {
		if t.Topic != nil {
			res.Topics = append(res.Topics, e.describe(*t.Topic))
		}
	}
	return res
}

// describe says what there is of a topic. A partition that takes no records now
// is led, for it can be read, and has no replica in sync.
func (e *Broker) describe(name string) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic = new(name)
	n := e.topics.Partitions(name)
	if n == 0 {
		t.ErrorCode = wire.UnknownTopicOrPartition
	}
	for i := range n {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), node, 0
		p.Replicas = []int32{node}
		if e.writable(name, p.Partition) {
			p.ISR = []int32{node}
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t
}

// writable says whether a partition can take records.
func (e *Broker) writable(name string, partition int32) bool {
	l := e.topics.Log(name, partition)
	return l != nil && l.Err() == nil && !e.guard.refuses(name)
}

// describeCluster says who the cluster is.
func (*Broker) describeCluster(_ context.Context, r *wire.Request, _ *kmsg.DescribeClusterRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeClusterResponse()
	res.ClusterID, res.ControllerID = clusterID, node
	b := kmsg.NewDescribeClusterResponseBroker()
	b.NodeID, b.Host, b.Port = node, r.Host, r.Port
	res.Brokers = append(res.Brokers, b)
	return res
}

// findCoordinator says that every group is coordinated here.
func (*Broker) findCoordinator(_ context.Context, r *wire.Request, q *kmsg.FindCoordinatorRequest) kmsg.Response {
	res := kmsg.NewPtrFindCoordinatorResponse()
	var code int16
	if q.CoordinatorType != 0 { // of transactions, which there are not
		code = wire.InvalidRequest
	}
	res.NodeID, res.Host, res.Port, res.ErrorCode = node, r.Host, r.Port, code
	for _, key := range q.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port, c.ErrorCode = key, node, r.Host, r.Port, code
		res.Coordinators = append(res.Coordinators, c)
	}
	return res
}
