package apache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// ready waits until the node serves and knows all nodes that run.
func (c *Cluster) ready(ctx context.Context, n *node) error {
	running := 0
	for _, other := range c.nodes {
		if c.runs(other.id) {
			running++
		}
	}
	_, done := n.life()
	return until(ctx, done, func(ctx context.Context) error {
		conn, err := (&kafka.Dialer{}).DialContext(ctx, "tcp", n.addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline)
		}
		brokers, err := conn.Brokers()
		if err != nil {
			return err
		}
		known := slices.ContainsFunc(brokers, func(b kafka.Broker) bool { return b.ID == n.id })
		if !known || len(brokers) < running {
			return fmt.Errorf("node %d knows of %d brokers, want %d", n.id, len(brokers), running)
		}
		return nil
	})
}

// until asks again and again until there is no error; done ends it early when
// it closes, nil never does.
func until(ctx context.Context, done <-chan struct{}, ask func(ctx context.Context) error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := ask(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-done:
			return errors.New("the node ended")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// with calls f with a client that lives as long as the call.
func (c *Cluster) with(f func(client *kafka.Client) error) error {
	transport := &kafka.Transport{DialTimeout: time.Second, MetadataTTL: 100 * time.Millisecond}
	defer transport.CloseIdleConnections()
	return f(&kafka.Client{Addr: kafka.TCP(c.Addrs()...), Transport: transport})
}

// partition is what a running node knows of a partition.
func (c *Cluster) partition(ctx context.Context, topic string, id int) (kafka.Partition, error) {
	var faults []error
	for _, n := range c.nodes {
		if !c.runs(n.id) {
			continue
		}
		all, err := (&kafka.Dialer{Timeout: time.Second}).LookupPartitions(ctx, "tcp", n.addr, topic)
		for _, p := range all {
			if err == nil && p.ID == id {
				return p, nil
			}
		}
		faults = append(faults, err)
	}
	return kafka.Partition{}, fmt.Errorf("no node knows %s-%d: %w", topic, id, errors.Join(faults...))
}

// runs says whether the node's process does.
func (c *Cluster) runs(id int) bool {
	if id < 1 || id > len(c.nodes) {
		return false
	}
	cmd, _ := c.nodes[id-1].life()
	return cmd != nil
}

// Leader is the running node that leads a partition; it waits until there is
// one.
func (c *Cluster) Leader(ctx context.Context, topic string, partition int) (id int, err error) {
	err = until(ctx, nil, func(ctx context.Context) error {
		p, err := c.partition(ctx, topic, partition)
		if err == nil && !c.runs(p.Leader.ID) {
			err = fmt.Errorf("%s-%d has no leader", topic, partition)
		}
		id = p.Leader.ID
		return err
	})
	return id, err
}

// InSync waits until so many replicas of the partition are in sync.
func (c *Cluster) InSync(ctx context.Context, topic string, partition, replicas int) error {
	return until(ctx, nil, func(ctx context.Context) error {
		p, err := c.partition(ctx, topic, partition)
		if err == nil && len(p.Isr) < replicas {
			err = fmt.Errorf("%s-%d has %d replicas in sync, want %d", topic, partition, len(p.Isr), replicas)
		}
		return err
	})
}

// MoveLeader makes the node lead the partition, of which it must have a
// replica, and returns once it does.
func (c *Cluster) MoveLeader(ctx context.Context, topic string, partition, to int) error {
	p, err := c.partition(ctx, topic, partition)
	if err != nil {
		return err
	}
	replicas := []int{to}
	for _, b := range p.Replicas {
		if b.ID != to {
			replicas = append(replicas, b.ID)
		}
	}
	if len(replicas) != len(p.Replicas) {
		return fmt.Errorf("node %d has no replica of %s-%d", to, topic, partition)
	}
	return c.with(func(client *kafka.Client) error {
		res, err := client.AlterPartitionReassignments(ctx, &kafka.AlterPartitionReassignmentsRequest{
			Topic: topic, Timeout: 5 * time.Second,
			Assignments: []kafka.AlterPartitionReassignmentsRequestAssignment{{PartitionID: partition, BrokerIDs: replicas}},
		})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			return fmt.Errorf("reordering replicas: %w", err)
		}
		return until(ctx, nil, func(ctx context.Context) error {
			_, err := client.ElectLeaders(ctx, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{partition}, Timeout: time.Second})
			if err != nil {
				return fmt.Errorf("electing the leader: %w", err)
			}
			p, err := c.partition(ctx, topic, partition)
			if err == nil && p.Leader.ID != to {
				err = fmt.Errorf("%s-%d is led by node %d, want %d", topic, partition, p.Leader.ID, to)
			}
			return err
		})
	})
}

// Coordinator is the running node that coordinates a group; it waits until
// there is one.
func (c *Cluster) Coordinator(ctx context.Context, group string) (id int, err error) {
	err = c.with(func(client *kafka.Client) error {
		return until(ctx, nil, func(ctx context.Context) error {
			res, err := client.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer})
			if err == nil {
				err = res.Error
			}
			if err != nil {
				return fmt.Errorf("finding the coordinator: %w", err)
			}
			if id = res.Coordinator.NodeID; !c.runs(id) {
				return fmt.Errorf("group %s has no coordinator", group)
			}
			return nil
		})
	})
	return id, err
}
