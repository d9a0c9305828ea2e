package machine_test

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
)

const (
	session   = 10 * time.Second
	rebalance = 30 * time.Second
)

// rig drives a machine by hand.
type rig struct {
	t       *testing.T
	g       *machine.Group
	now     time.Time
	tickets machine.Ticket
	replies map[machine.Ticket]machine.Reply
}

func setup(t *testing.T, cfg machine.Config) *rig {
	t.Helper()
	if cfg.MaxSession == 0 {
		cfg.MaxSession = time.Minute
	}
	return &rig{
		t: t, g: machine.New(cfg, 0), now: time.Unix(1e9, 0),
		replies: make(map[machine.Ticket]machine.Reply),
	}
}

func (r *rig) note(replies []machine.Reply) {
	r.t.Helper()
	for _, a := range replies {
		if _, twice := r.replies[a.Ticket]; twice || a.Ticket == 0 {
			r.t.Fatalf("ticket %d answered twice, or none at all", a.Ticket)
		}
		r.replies[a.Ticket] = a
	}
}

// join sends a join, with an id when it has none.
func (r *rig) join(member, newID string, protocols ...machine.Protocol) machine.Ticket {
	r.t.Helper()
	if protocols == nil {
		protocols = []machine.Protocol{{Name: "range", Metadata: []byte(member + newID)}}
	}
	r.tickets++
	r.note(r.g.Join(r.now, machine.Join{
		Ticket: r.tickets, Member: member, NewID: newID, ProtocolType: "consumer", Protocols: protocols,
		Session: session, Rebalance: rebalance,
	}))
	return r.tickets
}

func (r *rig) sync(member string, generation int32, deal map[string][]byte) machine.Ticket {
	r.t.Helper()
	r.tickets++
	r.note(r.g.Sync(r.now, machine.Sync{Ticket: r.tickets, Member: member, Generation: generation, Assignments: deal}))
	if s := r.g.Unsaved(); s != nil {
		r.note(r.g.Saved(r.now, s, true))
	}
	return r.tickets
}

func (r *rig) after(d time.Duration) {
	r.t.Helper()
	r.now = r.now.Add(d)
	r.note(r.g.Tick(r.now))
}

// err is how a request was answered; it must have been.
func (r *rig) err(t machine.Ticket) *kerr.Error {
	r.t.Helper()
	a, ok := r.replies[t]
	if !ok {
		r.t.Fatalf("ticket %d is not answered; group is %v", t, r.g.State())
	}
	return a.Err
}

func (r *rig) state(want machine.State) {
	r.t.Helper()
	if got := r.g.State(); got != want {
		r.t.Fatalf("State() = %v, want %v", got, want)
	}
}

func (r *rig) ids() []string {
	var ids []string
	for _, m := range r.g.View().Members {
		ids = append(ids, m.ID)
	}
	return ids
}

// pair is a stable group of a, which leads, and b.
func pair(t *testing.T) *rig {
	t.Helper()
	r := setup(t, machine.Config{InitialDelay: time.Second})
	a, b := r.join("", "a"), r.join("", "b")
	r.after(time.Second)
	if r.err(a) != nil || r.err(b) != nil || r.replies[b].Joined.Leader != "a" {
		t.Fatalf("joins answered %+v and %+v, want a generation led by a", r.replies[a], r.replies[b])
	}
	waits := r.sync("b", 1, nil)
	if _, early := r.replies[waits]; early {
		t.Fatal("share handed out before the leader dealt")
	}
	r.sync("a", 1, map[string][]byte{"a": []byte("0"), "b": []byte("1")})
	if got := string(r.replies[waits].Synced.Assignment); got != "1" {
		t.Fatalf("share of b = %q, want %q", got, "1")
	}
	r.state(machine.Stable)
	return r
}

func TestLeaderAloneIsToldTheMembers(t *testing.T) {
	t.Parallel()
	r := setup(t, machine.Config{InitialDelay: time.Second})
	a, b := r.join("", "a"), r.join("", "b")
	r.after(time.Second)
	want := []machine.Subscription{{Member: "a", Metadata: []byte("a")}, {Member: "b", Metadata: []byte("b")}}
	if diff := cmp.Diff(want, r.replies[a].Joined.Members); diff != "" {
		t.Errorf("leader is told (-want +got)\n%s", diff)
	}
	if got := r.replies[b].Joined.Members; got != nil {
		t.Errorf("follower is told %v, want nothing", got)
	}
}

func TestNewMemberStartsRound(t *testing.T) {
	t.Parallel()
	r := pair(t)
	c := r.join("", "c")
	r.state(machine.Preparing)
	if got := r.g.Heartbeat(r.now, "a", 1); got != kerr.RebalanceInProgress {
		t.Errorf("Heartbeat(a) = %v, want %v", got, kerr.RebalanceInProgress)
	}
	if got := r.g.Commit(r.now, "a", 1); got != nil {
		t.Errorf("Commit(a) before it joined again = %v, want nil", got)
	}
	r.join("a", "")
	if _, early := r.replies[c]; early {
		t.Fatal("round ended before all members joined")
	}
	r.join("b", "")
	if r.err(c) != nil || r.g.Generation() != 2 {
		t.Fatalf("c answered %+v, want generation 2", r.replies[c])
	}
	if got := r.g.Commit(r.now, "a", 1); got != kerr.IllegalGeneration {
		t.Errorf("Commit(a, 1) in generation 2 = %v, want %v", got, kerr.IllegalGeneration)
	}
	if got := r.g.Commit(r.now, "a", 2); got != kerr.RebalanceInProgress {
		t.Errorf("Commit(a, 2) before the deal = %v, want %v", got, kerr.RebalanceInProgress)
	}
}

func TestLostMember(t *testing.T) {
	t.Parallel()
	beat := func(r *rig, ids ...string) {
		for _, id := range ids {
			_ = r.g.Heartbeat(r.now, id, r.g.Generation())
		}
	}
	tests := []struct {
		name string
		run  func(r *rig)
		want []string
	}{
		{"silent when stable", func(r *rig) {
			r.after(session / 2)
			beat(r, "a")
			r.after(session / 2)
		}, []string{"a"}},
		{"silent while a round waits for it", func(r *rig) {
			r.join("a", "")
			r.after(session)
		}, []string{"a"}},
		{"beats but never joins again", func(r *rig) {
			r.join("a", "")
			for range rebalance / time.Second {
				beat(r, "b")
				r.after(time.Second)
			}
		}, []string{"a"}},
		{"follower joined, and silent before sync", func(r *rig) {
			r.join("a", "")
			r.join("b", "")
			r.sync("a", 2, nil)
			r.after(session / 2)
			beat(r, "a")
			r.after(session / 2)
		}, []string{"a"}},
		{"leader joined, and silent before sync", func(r *rig) {
			r.join("a", "")
			r.join("b", "")
			r.sync("b", 2, nil)
			r.after(session)
		}, []string{"b"}},
		{"leader beats but never deals", func(r *rig) {
			r.join("a", "")
			r.join("b", "")
			r.sync("b", 2, nil)
			for range rebalance / time.Second {
				beat(r, "a")
				r.after(time.Second)
			}
		}, []string{"b"}},
		{"follower beats but never asks for its share", func(r *rig) {
			r.join("a", "")
			r.join("b", "")
			r.sync("a", 2, nil)
			for range rebalance / time.Second {
				beat(r, "a", "b")
				r.after(time.Second)
			}
		}, []string{"a"}},
		{"lost its connection while it waited for the round", func(r *rig) {
			r.join("", "c") // b alone would start no round: it has no news
			ticket := r.join("b", "")
			r.note(r.g.Abandon(r.now, ticket))
			r.join("a", "")
			r.after(session)
		}, []string{"a", "c"}},
		{"lost its connection before it was told its id", func(r *rig) {
			ticket := r.join("", "c")
			r.note(r.g.Abandon(r.now, ticket))
		}, []string{"a", "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := pair(t)
			r.t = t
			tt.run(r)
			if diff := cmp.Diff(tt.want, r.ids()); diff != "" {
				t.Errorf("members (-want +got)\n%s", diff)
			}
		})
	}
}

func TestPromisedIDHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := pair(t)
	r.note(r.g.Join(r.now, machine.Join{
		Ticket: 1000, NewID: "c", Announce: true, ProtocolType: "consumer",
		Protocols: []machine.Protocol{{Name: "range"}}, Session: session,
	}))
	if got := r.replies[1000]; got.Err != kerr.MemberIDRequired || got.Joined.Member != "c" {
		t.Fatalf("Join() = %+v, want %v and an id", got, kerr.MemberIDRequired)
	}
	r.state(machine.Stable)
	if joined := r.join("a", ""); r.g.State() != machine.Preparing {
		t.Fatalf("leader joined again, answered %+v, want a round", r.replies[joined])
	}
	r.join("b", "")
	r.state(machine.Completing) // though c did not come back
	r.after(session)
	if got := r.err(r.join("c", "")); got != kerr.UnknownMemberID {
		t.Errorf("Join(c) after its time = %v, want %v", got, kerr.UnknownMemberID)
	}
}

func TestPromisedIDIsUsed(t *testing.T) {
	t.Parallel()
	r := setup(t, machine.Config{})
	r.note(r.g.Join(r.now, machine.Join{
		Ticket: 1000, NewID: "c", Announce: true, ProtocolType: "consumer",
		Protocols: []machine.Protocol{{Name: "range"}}, Session: session,
	}))
	if r.g.Idle() {
		t.Error("Idle() = true with an id promised, want false")
	}
	if got := r.err(r.join("c", "")); got != nil {
		t.Errorf("Join(c) = %v, want nil", got)
	}
}

func TestJoinAgainWithoutNews(t *testing.T) {
	t.Parallel()
	r := pair(t)
	again := r.join("b", "", machine.Protocol{Name: "range", Metadata: []byte("b")})
	if got := r.replies[again]; got.Err != nil || got.Joined.Generation != 1 {
		t.Fatalf("Join(b) = %+v, want generation 1", got)
	}
	share := r.sync("b", 1, nil)
	if got := string(r.replies[share].Synced.Assignment); got != "1" {
		t.Errorf("share = %q, want %q", got, "1")
	}
	r.join("b", "", machine.Protocol{Name: "range", Metadata: []byte("news")})
	r.state(machine.Preparing)
}

func TestVote(t *testing.T) {
	t.Parallel()
	p := func(names ...string) (ps []machine.Protocol) {
		for _, n := range names {
			ps = append(ps, machine.Protocol{Name: n})
		}
		return ps
	}
	r := setup(t, machine.Config{InitialDelay: time.Second})
	r.join("", "a", p("sticky", "range", "robin")...)
	r.join("", "b", p("robin", "range")...)
	r.join("", "c", p("robin", "range")...)
	if got := r.err(r.join("", "d", p("sticky")...)); got != kerr.InconsistentGroupProtocol {
		t.Errorf("Join without a common protocol = %v, want %v", got, kerr.InconsistentGroupProtocol)
	}
	r.after(time.Second)
	if got := r.replies[1].Joined.Protocol; got != "robin" {
		t.Errorf("protocol = %q, want %q", got, "robin")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	good := machine.Join{
		NewID: "z", ProtocolType: "consumer", Protocols: []machine.Protocol{{Name: "range"}}, Session: session,
	}
	tests := []struct {
		name string
		edit func(*machine.Join)
		want *kerr.Error
	}{
		{"unknown id", func(j *machine.Join) { j.Member = "stranger" }, kerr.UnknownMemberID},
		{"static", func(j *machine.Join) { j.Static = true }, kerr.UnsupportedVersion},
		{"session too short", func(j *machine.Join) { j.Session = time.Millisecond }, kerr.InvalidSessionTimeout},
		{"session too long", func(j *machine.Join) { j.Session = time.Hour }, kerr.InvalidSessionTimeout},
		{"no protocol", func(j *machine.Join) { j.Protocols = nil }, kerr.InconsistentGroupProtocol},
		{"no type", func(j *machine.Join) { j.ProtocolType = "" }, kerr.InconsistentGroupProtocol},
		{"other type", func(j *machine.Join) { j.ProtocolType = "connect" }, kerr.InconsistentGroupProtocol},
		{"full", func(*machine.Join) {}, kerr.GroupMaxSizeReached},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, machine.Config{MaxMembers: 2, MinSession: time.Second})
			r.join("", "a")
			r.join("", "b")
			j := good
			j.Ticket = machine.Ticket(100 + i)
			tt.edit(&j)
			r.note(r.g.Join(r.now, j))
			if got := r.err(j.Ticket); got != tt.want {
				t.Errorf("Join() = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCommitOfNoMember(t *testing.T) {
	t.Parallel()
	r := setup(t, machine.Config{})
	if got := r.g.Commit(r.now, "", -1); got != nil {
		t.Errorf("Commit to an empty group = %v, want nil", got)
	}
	r.join("", "a")
	if got := r.g.Commit(r.now, "", -1); got != kerr.UnknownMemberID {
		t.Errorf("Commit to a group with members = %v, want %v", got, kerr.UnknownMemberID)
	}
	if got := r.g.Commit(r.now, "a", -1); got != kerr.IllegalGeneration {
		t.Errorf("Commit of a member without generation = %v, want %v", got, kerr.IllegalGeneration)
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	r := pair(t)
	replies, err := r.g.Leave(r.now, "a")
	r.note(replies)
	if err != nil {
		t.Fatalf("Leave(a) = %v, want nil", err)
	}
	b := r.join("b", "")
	if got := r.replies[b].Joined; got.Leader != "b" || got.Generation != 2 {
		t.Errorf("Join(b) = %+v, want to lead generation 2", got)
	}
	if _, err := r.g.Leave(r.now, "a"); err != kerr.UnknownMemberID {
		t.Errorf("Leave(a) again = %v, want %v", err, kerr.UnknownMemberID)
	}
	if err := r.g.End(); err != kerr.NonEmptyGroup {
		t.Errorf("End() = %v, want %v", err, kerr.NonEmptyGroup)
	}
	replies, _ = r.g.Leave(r.now, "b")
	r.note(replies)
	if !r.g.Idle() || r.g.End() != nil {
		t.Error("a group that all have left is not idle, or does not end")
	}
	r.state(machine.Dead)
	if got := r.err(r.join("", "c")); got != kerr.CoordinatorNotAvailable {
		t.Errorf("Join() of a dead group = %v, want %v", got, kerr.CoordinatorNotAvailable)
	}
}

// world drives a machine at random, and checks what must hold always.
type world struct {
	*rig
	ids        []string
	waiting    map[machine.Ticket]time.Time // since when
	leaders    map[int32]string
	named      int
	generation int32
}

func explore(t *testing.T, moves []byte) {
	t.Helper()
	w := &world{
		rig:     setup(t, machine.Config{InitialDelay: time.Second, MaxMembers: 6}),
		waiting: make(map[machine.Ticket]time.Time), leaders: make(map[int32]string),
	}
	for len(moves) >= 3 {
		w.move(moves[0], int(moves[1]), moves[2])
		w.check()
		moves = moves[3:]
	}
	// All fall silent: nobody may be left, and nobody may wait.
	w.rest(w.now.Add(2 * (session + rebalance)))
	if !w.g.Idle() {
		t.Fatalf("silent group is %v with members %v, want it idle", w.g.State(), w.rig.ids())
	}
	if len(w.waiting) > 0 {
		t.Fatalf("requests %v were never answered", w.waiting)
	}
}

// rest lets time pass as a clock would: it ticks when something is due.
func (w *world) rest(until time.Time) {
	w.t.Helper()
	for range 1000 {
		due := w.g.Next()
		if due.IsZero() || due.After(until) {
			w.now = until
			return
		}
		w.now = due
		w.take(w.g.Tick(w.now))
		if next := w.g.Next(); !next.IsZero() && !next.After(w.now) {
			w.t.Fatalf("Next() = %v right after Tick(%v)", next, w.now)
		}
		w.check()
	}
	w.t.Fatal("the clock does not come to rest")
}

func (w *world) pick(n int) string {
	if len(w.ids) == 0 {
		return ""
	}
	return w.ids[n%len(w.ids)]
}

func (w *world) move(kind byte, n int, arg byte) {
	w.t.Helper()
	id, generation := w.pick(n), w.g.Generation()-int32(arg%8/7) // at times a stale one
	switch kind % 9 {
	case 0, 1:
		w.named++
		w.enter(machine.Join{NewID: "m" + strconv.Itoa(w.named), Announce: arg%2 == 0})
	case 2, 3:
		w.named++
		w.enter(machine.Join{Member: id, NewID: "m" + strconv.Itoa(w.named)})
	case 4, 5:
		w.tickets++
		w.waiting[w.tickets] = w.now
		w.take(w.g.Sync(w.now, machine.Sync{Ticket: w.tickets, Member: id, Generation: generation}))
		if s := w.g.Unsaved(); s != nil {
			w.take(w.g.Saved(w.now, s, arg%4 > 0))
		}
	case 6:
		_ = w.g.Heartbeat(w.now, id, generation)
		w.commit(id, generation)
		w.commit("", -1)
	case 7:
		if arg%2 == 0 {
			replies, _ := w.g.Leave(w.now, id)
			w.take(replies)
			return
		}
		t := machine.Ticket(n)%(w.tickets+1) + 1
		delete(w.waiting, t)
		w.take(w.g.Abandon(w.now, t))
	case 8:
		w.rest(w.now.Add(time.Duration(arg) * 100 * time.Millisecond))
	}
}

func (w *world) enter(j machine.Join) {
	w.t.Helper()
	w.tickets++
	w.waiting[w.tickets] = w.now
	j.Ticket, j.ProtocolType, j.Session, j.Rebalance = w.tickets, "consumer", session, rebalance
	j.Protocols = []machine.Protocol{{Name: "range", Metadata: []byte{byte(w.tickets % 2)}}}
	w.take(w.g.Join(w.now, j))
}

// commit checks that a commit is taken from whom it may be taken alone.
func (w *world) commit(id string, generation int32) {
	w.t.Helper()
	member := false
	for _, m := range w.rig.ids() {
		member = member || m == id
	}
	state := w.g.State()
	want := member && generation == w.g.Generation() && (state == machine.Stable || state == machine.Preparing) ||
		generation < 0 && state == machine.Empty
	if got := w.g.Commit(w.now, id, generation); (got == nil) != want {
		w.t.Fatalf("Commit(%q, %d) = %v in %v of generation %d, member %v", id, generation, got, state, w.g.Generation(), member)
	}
}

// take notes answers and checks them.
func (w *world) take(replies []machine.Reply) {
	w.t.Helper()
	for _, r := range replies {
		delete(w.waiting, r.Ticket)
		j := r.Joined
		if j.Member != "" && r.Err != kerr.UnknownMemberID {
			w.ids = append(w.ids, j.Member)
		}
		if r.Err != nil || j.Member == "" {
			continue
		}
		if j.Generation != w.g.Generation() {
			w.t.Fatalf("joined generation %d while it is %d", j.Generation, w.g.Generation())
		}
		if leads := j.Member == j.Leader; leads != (j.Members != nil) {
			w.t.Fatalf("member told %+v", j)
		}
		if was, ok := w.leaders[j.Generation]; ok && was != j.Leader {
			w.t.Fatalf("generation %d has the leaders %s and %s", j.Generation, was, j.Leader)
		}
		w.leaders[j.Generation] = j.Leader
	}
	w.note(replies)
}

// check looks at what must hold between any two events.
func (w *world) check() {
	w.t.Helper()
	if w.g.Generation() < w.generation {
		w.t.Fatalf("generation %d follows %d", w.g.Generation(), w.generation)
	}
	w.generation = w.g.Generation()
	if empty := len(w.rig.ids()) == 0; empty != (w.g.State() == machine.Empty) {
		w.t.Fatalf("group is %v with %d members", w.g.State(), len(w.rig.ids()))
	}
	for t, since := range w.waiting {
		if w.now.Sub(since) > 2*rebalance+session {
			w.t.Fatalf("request %d waits for %v", t, w.now.Sub(since))
		}
	}
}

func TestRandomLives(t *testing.T) {
	t.Parallel()
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 1))
		moves := make([]byte, 3*200)
		for i := range moves {
			moves[i] = byte(rng.Uint32())
		}
		explore(t, moves)
	}
}

func FuzzLives(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 0, 1, 8, 0, 20, 4, 0, 0, 4, 1, 0, 8, 0, 255})
	f.Add([]byte{0, 0, 0, 2, 0, 0, 8, 0, 11, 7, 0, 1, 6, 0, 7, 8, 0, 120})
	f.Fuzz(func(t *testing.T, moves []byte) { explore(t, moves[:min(len(moves), 3000)]) })
}
