package group_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/group"
)

const (
	session   = 10 * time.Second
	rebalance = 30 * time.Second
)

// bench is a coordinator on a directory that outlives it.
type bench struct {
	t       *testing.T
	c       *group.Coordinator
	dir     string
	process string // the coordinator's; empty if it is not known
	lazy    bool   // commits and deals are not synced
	full    atomic.Bool
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	c, err := group.Open(group.Config{
		Dir: b.dir, Process: b.process, Sync: !b.lazy, MaxSession: time.Minute, InitialDelay: 20 * time.Millisecond,
		Exists: func(topic string, _ int32) bool { return topic != "gone" },
		Writable: func() error {
			if b.full.Load() {
				return errors.New("disk full")
			}
			return nil
		},
	})
	if err != nil {
		b.t.Fatalf("Open() = %v", err)
	}
	b.c = c
	b.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.t.Errorf("Close() = %v", err)
		}
	})
}

// restart closes the coordinator and opens another on the same directory.
func (b *bench) restart() {
	b.t.Helper()
	if err := b.c.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

// member is a member of the group "g", with what it was last told.
type member struct {
	b          *bench
	id         string
	generation int32
	leads      bool
	inside     bool // the coordinator's process
	others     []string
}

// join joins, or says why not.
func (m *member) join(ctx context.Context) error {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.ProtocolType = 2, "g", m.id, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(session/time.Millisecond), int32(rebalance/time.Millisecond)
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	p.Metadata = (&kmsg.ConsumerMemberMetadata{Topics: []string{"t"}}).AppendTo(nil)
	r.Protocols = append(r.Protocols, p)
	res := m.b.c.Join(ctx, r, "test", "local", m.inside)
	if res.ErrorCode != 0 {
		return kerr.ErrorForCode(res.ErrorCode)
	}
	m.id, m.generation, m.leads, m.others = res.MemberID, res.Generation, res.LeaderID == res.MemberID, nil
	for _, o := range res.Members {
		m.others = append(m.others, o.MemberID)
	}
	return nil
}

// sync asks for the share; a leader deals everyone its own id.
func (m *member) sync(ctx context.Context) error {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 1, "g", m.id, m.generation
	for _, id := range m.others {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = id, []byte(id)
		r.GroupAssignment = append(r.GroupAssignment, a)
	}
	res := m.b.c.Sync(ctx, r)
	if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
		return err
	}
	if got := string(res.MemberAssignment); got != m.id {
		m.b.t.Errorf("share of %s = %q", m.id, got)
	}
	return nil
}

func (m *member) beat() error {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Group, r.MemberID, r.Generation = "g", m.id, m.generation
	return kerr.ErrorForCode(m.b.c.Heartbeat(r).ErrorCode)
}

func (m *member) leave() error {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version, r.Group = 3, "g"
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = m.id
	r.Members = append(r.Members, one)
	return kerr.ErrorForCode(m.b.c.Leave(r).Members[0].ErrorCode)
}

func (m *member) commit(offset int64, metadata string) error {
	return m.b.commit("g", m.id, m.generation, "t", offset, metadata)
}

func (b *bench) commit(g, id string, generation int32, topic string, offset int64, metadata string) error {
	b.t.Helper()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 7, g, id, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = 1, offset, &metadata
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return kerr.ErrorForCode(b.c.Commit(b.t.Context(), r).Topics[0].Partitions[0].ErrorCode)
}

// fetch is the commit of "g" on partition 1 of "t".
func (b *bench) fetch() (offset int64, metadata string) {
	b.t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version, r.Group = 5, "g"
	r.Topics = append(r.Topics, kmsg.OffsetFetchRequestTopic{Topic: "t", Partitions: []int32{1}})
	p := b.c.Fetch(r).Topics[0].Partitions[0]
	return p.Offset, *p.Metadata
}

func (b *bench) describe() kmsg.DescribeGroupsResponseGroup {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = []string{"g"}
	return b.c.Describe(r).Groups[0]
}

// wants fails the test unless err is what is wanted.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// start runs f and returns what it will have returned.
func start(ctx context.Context, f func(context.Context) error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return done
}

// settled joins and syncs all members at once.
func settled(t *testing.T, members ...*member) {
	t.Helper()
	for _, step := range []func(m *member) func(context.Context) error{
		func(m *member) func(context.Context) error { return m.join },
		func(m *member) func(context.Context) error { return m.sync },
	} {
		var waits []<-chan error
		for _, m := range members {
			waits = append(waits, start(t.Context(), step(m)))
		}
		for _, w := range waits {
			wants(t, "settling", <-w, nil)
		}
	}
}

func TestRebalance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		one, two := &member{b: b}, &member{b: b}
		begun := time.Now()
		settled(t, one)
		if took := time.Since(begun); took != 20*time.Millisecond {
			t.Errorf("first round took %v, want the initial delay", took)
		}
		joins := start(t.Context(), two.join)
		synctest.Wait()
		wants(t, "heartbeat in a round", one.beat(), kerr.RebalanceInProgress)
		wants(t, "commit in a round", one.commit(5, "five"), nil)
		begun = time.Now()
		wants(t, "join", one.join(t.Context()), nil)
		wants(t, "join", <-joins, nil)
		if took := time.Since(begun); took != 0 {
			t.Errorf("round of members that are all there took %v, want none", took)
		}
		if one.generation != two.generation || !one.leads || two.leads {
			t.Fatalf("members %+v and %+v, want one generation led by the first", one, two)
		}
		syncs := start(t.Context(), two.sync)
		synctest.Wait()
		wants(t, "sync of the leader", one.sync(t.Context()), nil)
		wants(t, "sync", <-syncs, nil)
		if got := b.describe(); got.State != "Stable" || len(got.Members) != 2 || got.Protocol != "range" {
			t.Errorf("Describe() = %+v, want a stable group of two", got)
		}
		wants(t, "leave", two.leave(), nil)
		wants(t, "heartbeat after a leave", one.beat(), kerr.RebalanceInProgress)
	})
}

func TestKilledMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		dead, alive := &member{b: b}, &member{b: b}
		settled(t, dead, alive)
		for range 9 {
			<-time.After(time.Second)
			wants(t, "heartbeat", alive.beat(), nil)
		}
		<-time.After(2 * time.Second)
		wants(t, "heartbeat", alive.beat(), kerr.RebalanceInProgress)
		settled(t, alive)
		wants(t, "commit of the killed one", dead.commit(1, ""), kerr.UnknownMemberID)
		wants(t, "commit of an older generation", b.commit("g", alive.id, alive.generation-1, "t", 1, ""), kerr.IllegalGeneration)
		wants(t, "commit", alive.commit(2, "two"), nil)
		if got, _ := b.fetch(); got != 2 {
			t.Errorf("fetched offset %d, want 2", got)
		}
	})
}

// TestLostConnections loses connections while requests wait: nobody is held
// up for longer than a session.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		one := &member{b: b}
		settled(t, one)
		ctx, lose := context.WithCancel(t.Context())
		ghost := &member{b: b}
		joins := start(ctx, ghost.join)
		synctest.Wait()
		wants(t, "heartbeat", one.beat(), kerr.RebalanceInProgress)
		lose()
		wants(t, "join that lost its connection", <-joins, kerr.CoordinatorNotAvailable)
		begun := time.Now()
		settled(t, one)
		if took := time.Since(begun); took != 0 {
			t.Errorf("one that never knew its id held up the round for %v", took)
		}
		if got := len(b.describe().Members); got != 1 {
			t.Errorf("group has %d members, want the one that is left", got)
		}

		two := &member{b: b}
		joins = start(t.Context(), two.join)
		synctest.Wait()
		wants(t, "join", one.join(t.Context()), nil)
		wants(t, "join", <-joins, nil)
		ctx, lose = context.WithCancel(t.Context())
		syncs := start(ctx, two.sync)
		synctest.Wait()
		lose() // and two never returns
		wants(t, "sync that lost its connection", <-syncs, kerr.CoordinatorNotAvailable)
		wants(t, "sync", one.sync(t.Context()), nil)
		<-time.After(session / 2)
		wants(t, "heartbeat", one.beat(), nil)
		<-time.After(session / 2)
		synctest.Wait()
		wants(t, "heartbeat", one.beat(), kerr.RebalanceInProgress)
		settled(t, one)
	})
}

func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		zombie, alive := &member{b: b}, &member{b: b}
		settled(t, zombie, alive)
		was := b.describe()
		wants(t, "commit", alive.commit(7, "seven"), nil)
		<-time.After(session - time.Second)
		b.restart()
		if offset, metadata := b.fetch(); offset != 7 || metadata != "seven" {
			t.Errorf("fetched %d, %q after a restart, want 7, seven", offset, metadata)
		}
		if diff := cmp.Diff(was, b.describe(), cmpopts.IgnoreUnexported(kmsg.Tags{})); diff != "" {
			t.Errorf("Describe() after a restart (-before +after)\n%s", diff)
		}
		wants(t, "heartbeat after a restart", alive.beat(), nil)
		wants(t, "commit after a restart", alive.commit(8, ""), nil)

		fresh := &member{b: b}
		joins := start(t.Context(), func(ctx context.Context) error { return errors.Join(fresh.join(ctx), fresh.sync(ctx)) })
		synctest.Wait()
		begun := time.Now()
		wants(t, "heartbeat when one joins", alive.beat(), kerr.RebalanceInProgress)
		settled(t, alive)
		wants(t, "join and sync", <-joins, nil)
		if waited := time.Since(begun); waited != session {
			t.Errorf("silent member was waited for for %v, want its session, %v, begun anew", waited, session)
		}
		wants(t, "commit of the zombie", zombie.commit(3, ""), kerr.UnknownMemberID)
		wants(t, "leaving", errors.Join(alive.leave(), fresh.leave()), nil)
		b.restart()
		if got := b.describe(); got.State != "Empty" {
			t.Errorf("group that all have left is %q after a restart, want Empty", got.State)
		}
		wants(t, "join with an old id", (&member{b: b, id: zombie.id}).join(t.Context()), kerr.UnknownMemberID)
		fresh = &member{b: b}
		settled(t, fresh)
		if fresh.generation <= zombie.generation {
			t.Errorf("generation %d after a restart follows %d", fresh.generation, zombie.generation)
		}
		wants(t, "commit of the zombie", zombie.commit(3, ""), kerr.UnknownMemberID)
		wants(t, "commit under a new id with an old generation",
			b.commit("g", fresh.id, zombie.generation, "t", 3, ""), kerr.IllegalGeneration)
		if got, _ := b.fetch(); got != 8 {
			t.Errorf("fetched offset %d, want 8", got)
		}
	})
}

// TestRestartOfProcess kills the coordinator's process with members in it: they
// are waited for no longer, their generation is over, and who lived elsewhere
// goes on. In the same process, a restart kills nobody.
func TestRestartOfProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, dir: t.TempDir(), process: "first"}
		b.open()
		dead, elsewhere := &member{b: b, inside: true}, &member{b: b}
		settled(t, dead, elsewhere)
		wants(t, "commit", dead.commit(7, "seven"), nil)
		b.restart()
		wants(t, "heartbeat after a restart in the same process", dead.beat(), nil)

		b.process = "second"
		b.restart()
		begun := time.Now()
		wants(t, "heartbeat of the dead", dead.beat(), kerr.UnknownMemberID)
		wants(t, "commit of the dead", dead.commit(3, ""), kerr.UnknownMemberID)
		heir := &member{b: b, inside: true}
		joins := start(t.Context(), func(ctx context.Context) error { return errors.Join(heir.join(ctx), heir.sync(ctx)) })
		synctest.Wait()
		wants(t, "heartbeat of who lived elsewhere", elsewhere.beat(), kerr.RebalanceInProgress)
		settled(t, elsewhere)
		wants(t, "join and sync", <-joins, nil)
		if heir.generation <= dead.generation {
			t.Errorf("generation %d after the restart follows %d", heir.generation, dead.generation)
		}
		if offset, metadata := b.fetch(); offset != 7 || metadata != "seven" {
			t.Errorf("fetched %d, %q after the restart, want 7, seven", offset, metadata)
		}
		wants(t, "leaving", elsewhere.leave(), nil)
		settled(t, heir)

		b.process = "third"
		b.restart()
		if got := b.describe(); got.State != "Empty" {
			t.Errorf("group whose members all died is %q, want Empty", got.State)
		}
		last := &member{b: b, inside: true}
		settled(t, last)
		if last.generation <= heir.generation {
			t.Errorf("generation %d after all died follows %d", last.generation, heir.generation)
		}
		if waited := time.Since(begun); waited >= session {
			t.Errorf("the dead were waited for for %v", waited)
		}
	})
}

// TestRestartInRound ends the coordinator when a generation has begun and is
// not dealt: the one before goes on.
func TestRestartInRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		one, two, three := &member{b: b}, &member{b: b}, &member{b: b}
		settled(t, one, two)
		dealt := one.generation
		// The newcomer first: a round ends when all that are known have come.
		join := func() {
			var joins []<-chan error
			for _, m := range []*member{three, one, two} {
				joins = append(joins, start(t.Context(), m.join))
				synctest.Wait()
			}
			for _, j := range joins {
				wants(t, "join", <-j, nil)
			}
		}
		join()
		b.restart()
		wants(t, "heartbeat in the generation that nobody was dealt", one.beat(), kerr.IllegalGeneration)
		wants(t, "commit of one that was dealt nothing", three.commit(1, ""), kerr.UnknownMemberID)
		wants(t, "commit of the generation before", b.commit("g", two.id, dealt, "t", 5, ""), nil)
		reached := one.generation
		three.id = ""
		join()
		if one.generation <= reached {
			t.Errorf("generation %d after a restart follows %d", one.generation, reached)
		}
	})
}

// TestUnsavedDealIsNotTold deals what the journal cannot take.
func TestUnsavedDealIsNotTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		m := &member{b: b}
		wants(t, "join", m.join(t.Context()), nil)
		r := kmsg.NewPtrSyncGroupRequest()
		r.Group, r.MemberID, r.Generation = "g", m.id, m.generation
		r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: m.id, MemberAssignment: make([]byte, 8<<20)}}
		res := b.c.Sync(t.Context(), r)
		wants(t, "sync", kerr.ErrorForCode(res.ErrorCode), kerr.CoordinatorNotAvailable)
		if len(res.MemberAssignment) > 0 {
			t.Error("a share was told that is not on disk")
		}
		if got := b.describe().State; got != "CompletingRebalance" {
			t.Errorf("group is %q, want CompletingRebalance", got)
		}
		wants(t, "heartbeat", m.beat(), nil)
		wants(t, "sync of the same generation", m.sync(t.Context()), nil)
		b.restart()
		wants(t, "heartbeat", m.beat(), nil)
	})
}

// TestGenerationsOutrunTheirReserve goes through more generations than are
// reserved at once.
func TestGenerationsOutrunTheirReserve(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir(), lazy: true}
	b.open()
	m := &member{b: b}
	settled(t, m)
	for range 3000 { // a leader that joins again wants a new generation
		settled(t, m)
	}
	last := m.generation
	b.restart()
	fresh := &member{b: b}
	settled(t, fresh)
	if fresh.generation <= last {
		t.Errorf("generation %d after a restart follows %d", fresh.generation, last)
	}
}

// TestRequestsAreCopied uses a request's memory again after it was answered,
// as servers do.
func TestRequestsAreCopied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version, r.Group, r.ProtocolType, r.SessionTimeoutMillis = 2, "g", "consumer", 10000
		r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("metadata")}}
		id := b.c.Join(t.Context(), r, "test", "local", false).MemberID
		copy(r.Protocols[0].Metadata, "rubbish")
		s := kmsg.NewPtrSyncGroupRequest()
		s.Group, s.MemberID, s.Generation = "g", id, 1
		s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: id, MemberAssignment: []byte("share")}}
		b.c.Sync(t.Context(), s)
		copy(s.GroupAssignment[0].MemberAssignment, "trash")
		got := b.describe().Members[0]
		if string(got.ProtocolMetadata) != "metadata" || string(got.MemberAssignment) != "share" {
			t.Errorf("member has metadata %q and share %q", got.ProtocolMetadata, got.MemberAssignment)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		one, two := &member{b: b}, &member{b: b}
		settled(t, one)
		joins := start(t.Context(), two.join)
		synctest.Wait()
		if err := b.c.Close(); err != nil {
			t.Fatalf("Close() = %v", err)
		}
		wants(t, "join that waited", <-joins, kerr.CoordinatorNotAvailable)
		wants(t, "join", one.join(t.Context()), kerr.CoordinatorNotAvailable)
		wants(t, "heartbeat", one.beat(), kerr.CoordinatorNotAvailable)
		wants(t, "commit", one.commit(1, ""), kerr.CoordinatorNotAvailable)
	})
}

func TestCommitsFromOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		wants(t, "commit of no member", b.commit("g", "", -1, "t", 4, "x"), nil)
		if got := b.describe(); got.State != "Empty" {
			t.Errorf("group that only committed is %q, want Empty", got.State)
		}
		wants(t, "commit of a topic that does not exist", b.commit("g", "", -1, "gone", 4, ""), kerr.UnknownTopicOrPartition)
		wants(t, "metadata of 4096", b.commit("g", "", -1, "t", 4, string(make([]byte, 4096))), nil)
		wants(t, "metadata of 4097", b.commit("g", "", -1, "t", 5, string(make([]byte, 4097))), kerr.OffsetMetadataTooLarge)
		b.full.Store(true)
		wants(t, "commit of a known partition, disk full", b.commit("g", "", -1, "t", 6, ""), nil)
		wants(t, "commit of a new partition, disk full", b.commit("g", "", -1, "u", 6, ""), kerr.CoordinatorNotAvailable)
		m := &member{b: b}
		settled(t, m)
		wants(t, "commit of no member to a group with some", b.commit("g", "", -1, "t", 9, ""), kerr.UnknownMemberID)
		wants(t, "commit of a member, disk full", b.commit("g", m.id, m.generation, "u", 6, ""), nil)
		if diff := cmp.Diff(map[string]int64{"g": 6}, b.c.Committed("t", 1)); diff != "" {
			t.Errorf("Committed() (-want +got)\n%s", diff)
		}
		b.c.Forget("t")
		if got, _ := b.fetch(); got != -1 {
			t.Errorf("fetched offset %d of a forgotten topic, want -1", got)
		}
	})
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		list := func() []string {
			var names []string
			for _, g := range b.c.List(kmsg.NewPtrListGroupsRequest()).Groups {
				names = append(names, g.Group+" "+g.GroupState)
			}
			return names
		}
		remove := func() error {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = []string{"g"}
			return kerr.ErrorForCode(b.c.Delete(t.Context(), r).Groups[0].ErrorCode)
		}
		takeBack := func(topic string) error {
			r := kmsg.NewPtrOffsetDeleteRequest()
			r.Group = "g"
			r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}}}}
			res := b.c.OffsetDelete(t.Context(), r)
			if res.ErrorCode != 0 {
				return kerr.ErrorForCode(res.ErrorCode)
			}
			return kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
		}
		if got := b.describe().State; got != "Dead" {
			t.Errorf("unknown group is %q, want Dead", got)
		}
		wants(t, "deleting an unknown group", remove(), kerr.GroupIDNotFound)
		wants(t, "deleting offsets of an unknown group", takeBack("t"), kerr.GroupIDNotFound)
		m := &member{b: b}
		settled(t, m)
		wants(t, "commit", m.commit(1, ""), nil)
		wants(t, "commit", b.commit("g", m.id, m.generation, "u", 1, ""), nil)
		wants(t, "commit", b.commit("other", "", -1, "t", 1, ""), nil)
		if diff := cmp.Diff([]string{"g Stable", "other Empty"}, list()); diff != "" {
			t.Errorf("List() (-want +got)\n%s", diff)
		}
		wants(t, "deleting a group with members", remove(), kerr.NonEmptyGroup)
		wants(t, "deleting offsets of a topic that is read", takeBack("t"), kerr.GroupSubscribedToTopic)
		wants(t, "deleting offsets of a topic that is not read", takeBack("u"), nil)
		all := kmsg.NewPtrOffsetFetchRequest()
		all.Version = 8
		all.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
		if got := b.c.Fetch(all).Groups[0].Topics; len(got) != 1 || got[0].Topic != "t" || got[0].Partitions[0].Offset != 1 {
			t.Errorf("Fetch() of all = %+v, want partition 1 of t alone", got)
		}
		wants(t, "leaving", m.leave(), nil)
		wants(t, "deleting an empty group", remove(), nil)
		if diff := cmp.Diff([]string{"other Empty"}, list()); diff != "" {
			t.Errorf("List() (-want +got)\n%s", diff)
		}
	})
}
