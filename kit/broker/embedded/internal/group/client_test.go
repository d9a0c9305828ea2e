package group_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/group"
	"kurir.dev/kit/broker/embedded/internal/wire"
)

// partitions is how many the served topic "t" has.
const partitions = 3

// served is a coordinator behind a socket, with as much of a broker around it
// as a group of kafka-go asks for.
type served struct {
	t    *testing.T
	dir  string
	addr net.Addr
	end  func() // the server's; safe to call twice
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{t: t, dir: t.TempDir(), addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	s.start()
	t.Cleanup(func() { s.end() })
	return s
}

// restart ends the server and starts another on the same port and directory.
func (s *served) restart() {
	s.t.Helper()
	s.end()
	s.start()
}

func (s *served) start() {
	t := s.t
	t.Helper()
	c, err := group.Open(group.Config{Dir: s.dir, Sync: true, MaxSession: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	s.addr = addr
	apis := c.APIs()
	apis[int16(kmsg.Metadata)] = wire.Typed(0, 6,
		func(_ context.Context, r *wire.Request, q *kmsg.MetadataRequest) *kmsg.MetadataResponse {
			res := q.ResponseKind().(*kmsg.MetadataResponse)
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host, b.Port = 1, r.Host, r.Port
			res.Brokers, res.ControllerID = append(res.Brokers, b), 1
			topic := kmsg.NewMetadataResponseTopic()
			name := "t"
			topic.Topic = &name
			for p := range int32(partitions) {
				rp := kmsg.NewMetadataResponseTopicPartition()
				rp.Partition, rp.Leader, rp.Replicas, rp.ISR = p, 1, []int32{1}, []int32{1}
				topic.Partitions = append(topic.Partitions, rp)
			}
			res.Topics = append(res.Topics, topic)
			return res
		})
	apis[int16(kmsg.FindCoordinator)] = wire.Typed(0, 2,
		func(_ context.Context, r *wire.Request, q *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
			res := q.ResponseKind().(*kmsg.FindCoordinatorResponse)
			res.NodeID, res.Host, res.Port = 1, r.Host, r.Port
			return res
		})
	server := wire.NewServer(t.Context(), wire.Config{APIs: apis, Log: slog.New(slog.DiscardHandler)})
	server.Open(wire.Door{Listener: l, Host: addr.IP.String(), Port: int32(addr.Port), Conns: 100})
	s.end = sync.OnceFunc(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		server.Close()
	})
}

func (s *served) client() *kafka.Client {
	transport := &kafka.Transport{ClientID: "test"}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: s.addr, Transport: transport, Timeout: 10 * time.Second}
}

// worker is a member run by kafka-go.
type worker struct {
	s     *served
	group *kafka.ConsumerGroup

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (s *served) work() *worker {
	s.t.Helper()
	w := &worker{s: s}
	var d net.Dialer
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: "g", Brokers: []string{s.addr.String()}, Topics: []string{"t"}, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: 20 * time.Millisecond, SessionTimeout: time.Second, RebalanceTimeout: 5 * time.Second,
		JoinGroupBackoff: 10 * time.Millisecond,
		Dialer: &kafka.Dialer{DialFunc: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.dead {
				_ = c.Close()
				return nil, net.ErrClosed
			}
			w.conns = append(w.conns, c)
			return c, nil
		}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	w.group = g
	s.t.Cleanup(func() { _ = g.Close() })
	return w
}

// next waits for the worker's next generation.
func (w *worker) next() *kafka.Generation {
	w.s.t.Helper()
	for {
		gen, err := w.group.Next(w.s.t.Context())
		if err == nil {
			return gen
		}
		if !errors.Is(err, kafka.RebalanceInProgress) {
			w.s.t.Fatalf("Next() = %v", err)
		}
	}
}

// kill cuts the worker off for good.
func (w *worker) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for _, c := range w.conns {
		_ = c.Close()
	}
}

func (s *served) commit(c *kafka.Client, gen *kafka.Generation, partition int, offset int64, metadata string) error {
	s.t.Helper()
	res, err := c.OffsetCommit(s.t.Context(), &kafka.OffsetCommitRequest{
		GroupID: gen.GroupID, GenerationID: int(gen.ID), MemberID: gen.MemberID,
		Topics: map[string][]kafka.OffsetCommit{"t": {{Partition: partition, Offset: offset, Metadata: metadata}}},
	})
	if err != nil {
		s.t.Fatalf("OffsetCommit() = %v", err)
	}
	return res.Topics["t"][0].Error
}

func TestKafkaGo(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.client()
	one := s.work()
	first := one.next()
	if err := s.commit(c, first, 1, 41, "k11;0;"); err != nil {
		t.Fatalf("commit = %v", err)
	}
	fetched, err := c.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: "g", Topics: map[string][]int{"t": {0, 1}}})
	if err != nil || fetched.Error != nil {
		t.Fatalf("OffsetFetch() = %v, %v", err, fetched.Error)
	}
	got := make(map[int]kafka.OffsetFetchPartition)
	for _, p := range fetched.Topics["t"] {
		got[p.Partition] = p
	}
	if got[0].CommittedOffset != -1 || got[1].CommittedOffset != 41 || got[1].Metadata != "k11;0;" {
		t.Errorf("OffsetFetch() = %+v, want -1, and 41 with metadata", got)
	}
	if err := s.commit(c, first, 1, 42, string(make([]byte, 4097))); !errors.Is(err, kafka.OffsetMetadataTooLarge) {
		t.Errorf("commit of 4097 bytes of metadata = %v, want %v", err, kafka.OffsetMetadataTooLarge)
	}

	two := s.work()
	second, gen := two.next(), one.next()
	if gen.ID != second.ID || gen.ID <= first.ID {
		t.Errorf("generations %d and %d follow %d, want one greater", gen.ID, second.ID, first.ID)
	}
	if n := len(gen.Assignments["t"]) + len(second.Assignments["t"]); n != partitions {
		t.Errorf("%d partitions dealt, want %d", n, partitions)
	}
	if err := s.commit(c, first, 1, 7, ""); !errors.Is(err, kafka.IllegalGeneration) {
		t.Errorf("commit of an older generation = %v, want %v", err, kafka.IllegalGeneration)
	}

	described, err := c.DescribeGroups(t.Context(), &kafka.DescribeGroupsRequest{GroupIDs: []string{"g"}})
	if err != nil || described.Groups[0].GroupState != "Stable" || len(described.Groups[0].Members) != 2 {
		t.Errorf("DescribeGroups() = %+v, %v, want a stable group of two", described, err)
	}
	listed, err := c.ListGroups(t.Context(), &kafka.ListGroupsRequest{})
	if err != nil || len(listed.Groups) != 1 || listed.Groups[0].GroupID != "g" {
		t.Errorf("ListGroups() = %+v, %v, want g", listed, err)
	}

	two.kill()
	last := one.next() // after two's session
	if n := len(last.Assignments["t"]); n != partitions {
		t.Errorf("%d partitions dealt to the one who is left, want %d", n, partitions)
	}
	if err := s.commit(c, second, 1, 7, ""); !errors.Is(err, kafka.UnknownMemberId) {
		t.Errorf("commit of a zombie = %v, want %v", err, kafka.UnknownMemberId)
	}
	if err := s.commit(c, last, 1, 43, ""); err != nil {
		t.Errorf("commit = %v", err)
	}
	if err := one.group.Close(); err != nil { // leaves
		t.Fatal(err)
	}
	deleted, err := c.DeleteGroups(t.Context(), &kafka.DeleteGroupsRequest{GroupIDs: []string{"g"}})
	if err != nil || deleted.Errors["g"] != nil {
		t.Errorf("DeleteGroups() = %+v, %v", deleted, err)
	}
}

// TestKafkaGoRestart restarts the server in the middle of a generation of two.
func TestKafkaGoRestart(t *testing.T) {
	t.Parallel()
	s := serve(t)
	one, two := &client{s: s, c: s.client()}, &client{s: s, c: s.client()}
	one.join()
	var work sync.WaitGroup
	work.Go(two.join)
	for one.beat() == nil { // until two is there
	}
	one.join()
	work.Wait()
	if len(one.share)+len(two.share) != partitions || one.generation != two.generation {
		t.Fatalf("dealt %v and %v, want all partitions in one generation", one, two)
	}

	s.restart()
	for _, m := range []*client{one, two} {
		m.c = s.client() // connects anew
		if err := m.beat(); err != nil {
			t.Errorf("Heartbeat() after a restart = %v, want nil: nothing has changed", err)
		}
		gen := &kafka.Generation{ID: int32(m.generation), GroupID: "g", MemberID: m.id}
		if err := s.commit(m.c, gen, m.share[0], 5, ""); err != nil {
			t.Errorf("commit after a restart = %v, want nil", err)
		}
	}

	s.restart()
	one.c, two.c = s.client(), s.client()
	three := &client{s: s, c: s.client()}
	work.Go(three.join)
	for one.beat() == nil { // until three is there
	}
	one.join() // two never comes back
	work.Wait()
	if silent := time.Since(two.sent); silent < clientSession {
		t.Errorf("share of a silent member dealt %v after its heartbeat, want not before %v", silent, clientSession)
	}
	if n := len(one.share) + len(three.share); n != partitions || three.generation != one.generation {
		t.Errorf("%d partitions dealt in generations %d and %d, want %d in one", n, one.generation, three.generation, partitions)
	}
	if err := two.beat(); !errors.Is(err, kafka.UnknownMemberId) {
		t.Errorf("Heartbeat() of the one that was silent = %v, want %v", err, kafka.UnknownMemberId)
	}
}

// clientSession is the session timeout of a client's member.
const clientSession = 2 * time.Second

// client is a member by single requests.
type client struct {
	s          *served
	c          *kafka.Client
	id         string
	generation int
	share      []int
	sent       time.Time // the last heartbeat that was answered well
}

// join takes part in one round, and deals when it leads.
func (m *client) join() {
	t := m.s.t
	var joined *kafka.JoinGroupResponse
	for joined == nil || errors.Is(joined.Error, kafka.MemberIDRequired) {
		var err error
		joined, err = m.c.JoinGroup(t.Context(), &kafka.JoinGroupRequest{
			GroupID: "g", MemberID: m.id, SessionTimeout: clientSession, RebalanceTimeout: 10 * time.Second,
			ProtocolType: "consumer", Protocols: []kafka.GroupProtocol{{
				Name: "range", Metadata: kafka.GroupProtocolSubscription{Topics: []string{"t"}},
			}},
		})
		if err != nil {
			t.Errorf("JoinGroup() = %v", err)
			return
		}
		m.id = joined.MemberID
	}
	if joined.Error != nil {
		t.Errorf("JoinGroup() = %v", joined.Error)
		return
	}
	m.generation = joined.GenerationID
	var deal []kafka.SyncGroupRequestAssignment
	for i, other := range joined.Members {
		a := kafka.SyncGroupRequestAssignment{MemberID: other.ID}
		var mine []int
		for p := i; p < partitions; p += len(joined.Members) {
			mine = append(mine, p)
		}
		a.Assignment.AssignedPartitions = map[string][]int{"t": mine}
		deal = append(deal, a)
	}
	dealt, err := m.c.SyncGroup(t.Context(), &kafka.SyncGroupRequest{
		GroupID: "g", MemberID: m.id, GenerationID: m.generation, ProtocolType: "consumer", ProtocolName: "range", Assignments: deal,
	})
	if err != nil || dealt.Error != nil {
		t.Errorf("SyncGroup() = %+v, %v", dealt, err)
		return
	}
	m.share = dealt.Assignment.AssignedPartitions["t"]
}

func (m *client) beat() error {
	sent := time.Now()
	res, err := m.c.Heartbeat(m.s.t.Context(), &kafka.HeartbeatRequest{
		GroupID: "g", MemberID: m.id, GenerationID: int32(m.generation),
	})
	if err != nil {
		return err
	}
	if code := res.Throttle.Milliseconds(); code != 0 { // kafka-go mixes up the two
		return kafka.Error(code)
	}
	m.sent = sent
	return nil
}
