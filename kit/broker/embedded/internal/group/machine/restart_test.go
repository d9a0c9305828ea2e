package machine_test

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
)

const (
	shares = 5
	// drain is how long a member may take to let go once it was told to join
	// again: what the rebalance timeout leaves of a session in which it was not
	// told.
	drain = rebalance - session
)

// holder is a member of the group as the member sees it.
type holder struct {
	id         string
	generation int32
	asks       machine.Ticket // join or sync under way
	asked      time.Time      // since when
	syncs      bool           // it is a sync
	members    []machine.Subscription

	share []byte    // partitions
	lease time.Time // when the last answered request was sent; good for a session
	told  time.Time // to join again; zero when it was not
	beat  time.Time // when the heartbeat was sent that is under way; zero for none
}

func (h *holder) drop() { *h = holder{id: h.id, generation: h.generation} }

// holds says whether the member takes its share for its own.
func (h *holder) holds(now time.Time) bool {
	return len(h.share) > 0 && now.Sub(h.lease) < session && (h.told.IsZero() || now.Sub(h.told) < drain)
}

// town is a group, its members and its disk, any of which may fail.
type town struct {
	*rig
	rng     *rand.Rand
	holders []*holder
	named   int
	highest int32
	disk    *machine.Snapshot
	queue   []*machine.Snapshot // not on disk yet, for certain
}

// after an event: what it brought about.
func (w *town) hear(replies []machine.Reply) {
	w.t.Helper()
	w.note(replies)
	if s := w.g.Unsaved(); s != nil {
		w.queue = append(w.queue, s)
	}
	for _, r := range replies {
		for _, h := range w.holders {
			if h.asks != r.Ticket {
				continue
			}
			h.asks = 0
			switch {
			case r.Err == kerr.UnknownMemberID:
				h.id = ""
			case r.Err != nil:
			case h.syncs:
				h.share, h.lease = r.Synced.Assignment, h.asked
			default:
				h.id, h.generation, h.members = r.Joined.Member, r.Joined.Generation, r.Joined.Members
			}
		}
	}
}

func (w *town) move() {
	w.t.Helper()
	h := w.holders[w.rng.IntN(len(w.holders))]
	switch w.rng.IntN(16) {
	case 0, 1:
		w.join(h)
	case 2, 3, 4:
		w.sync(h)
	case 5, 6, 7:
		if h.beat.IsZero() {
			h.beat = w.now
		} else {
			w.heartbeat(h)
		}
	case 8:
		if w.rng.IntN(4) == 0 {
			id := h.id
			h.drop()
			h.id = ""
			replies, _ := w.g.Leave(w.now, id)
			w.hear(replies)
		}
	case 9:
		if w.rng.IntN(4) == 0 { // dies, and another takes its place
			t := h.asks
			*h = holder{}
			if t != 0 {
				w.hear(w.g.Abandon(w.now, t))
			}
		}
	case 10, 11, 12:
		if len(w.queue) > 0 {
			w.save()
		}
	case 13, 14:
		w.rest(w.now.Add(time.Duration(w.rng.IntN(4000)) * time.Millisecond))
	case 15:
		if w.rng.IntN(3) == 0 {
			w.restart()
		}
	}
}

func (w *town) join(h *holder) {
	if h.asks != 0 {
		return
	}
	h.drop() // first it lets go
	w.tickets++
	w.named++
	h.asks, h.asked = w.tickets, w.now
	w.hear(w.g.Join(w.now, machine.Join{
		Ticket: h.asks, Member: h.id, NewID: "m" + strconv.Itoa(w.named), ProtocolType: "consumer",
		Protocols: []machine.Protocol{{Name: "range"}}, Session: session, Rebalance: rebalance,
	}))
}

func (w *town) sync(h *holder) {
	if h.asks != 0 || h.id == "" {
		return
	}
	w.tickets++
	h.asks, h.asked, h.syncs = w.tickets, w.now, true
	deal := make(map[string][]byte)
	for p := range byte(shares) {
		if n := len(h.members); n > 0 {
			m := h.members[(int(p)+w.rng.IntN(2))%n].Member
			deal[m] = append(deal[m], p)
		}
	}
	w.hear(w.g.Sync(w.now, machine.Sync{Ticket: h.asks, Member: h.id, Generation: h.generation, Assignments: deal}))
}

// heartbeat brings in the heartbeat under way, and the answer home as a rule.
func (w *town) heartbeat(h *holder) {
	sent := h.beat
	h.beat = time.Time{}
	err := w.g.Heartbeat(w.now, h.id, h.generation)
	if w.rng.IntN(4) == 0 {
		return
	}
	switch {
	case err == nil:
		h.lease = sent
	case err != kerr.RebalanceInProgress:
		h.drop()
	case h.holds(w.now):
		h.lease = sent
		if h.told.IsZero() {
			h.told = w.now
		}
	}
}

// save brings the oldest queued snapshot to disk, or fails to; a disk that says
// so may hold it nevertheless.
func (w *town) save() {
	s, ok := w.queue[0], w.rng.IntN(4) > 0
	w.queue = w.queue[1:]
	if ok || w.rng.IntN(2) == 0 {
		w.disk = s
	}
	w.hear(w.g.Saved(w.now, s, ok))
}

// restart ends the coordinator, with some of what was queued on disk, and
// begins another some time later.
func (w *town) restart() {
	w.t.Helper()
	for _, s := range w.queue[:w.rng.IntN(len(w.queue)+1)] {
		w.disk = s
	}
	w.queue = nil
	for _, h := range w.holders {
		h.asks, h.beat = 0, time.Time{}
	}
	w.now = w.now.Add(time.Duration(w.rng.IntN(int(session))))
	cfg := machine.Config{MaxSession: time.Minute}
	if w.disk == nil || len(w.disk.Members) == 0 {
		w.g = machine.New(cfg, w.highest)
		return
	}
	g, err := machine.Restore(w.now, cfg, w.highest, w.disk)
	if err != nil {
		w.t.Fatalf("Restore(%+v) = %v", w.disk, err)
	}
	w.g = g
}

func (w *town) rest(until time.Time) {
	w.t.Helper()
	for {
		due := w.g.Next()
		if due.IsZero() || due.After(until) {
			w.now = until
			return
		}
		w.now = due
		w.hear(w.g.Tick(w.now))
		w.check()
	}
}

// check looks whether two members hold the same.
func (w *town) check() {
	w.t.Helper()
	w.highest = max(w.highest, w.g.Generation())
	var owners [shares]*holder
	for _, h := range w.holders {
		if !h.holds(w.now) {
			continue
		}
		for _, p := range h.share {
			if o := owners[p]; o != nil && o != h {
				w.t.Fatalf("partition %d is held by %+v and %+v", p, o, h)
			}
			owners[p] = h
		}
	}
}

func TestSharesAreExclusive(t *testing.T) {
	t.Parallel()
	var held, restarts int
	for seed := range uint64(1000) {
		w := &town{rig: setup(t, machine.Config{}), rng: rand.New(rand.NewPCG(seed, 4))}
		for range 2 + w.rng.IntN(3) {
			w.holders = append(w.holders, &holder{})
		}
		for range 400 {
			was := w.g
			w.move()
			w.check()
			if w.g != was {
				restarts++
			}
			for _, h := range w.holders {
				if h.holds(w.now) {
					held++
				}
			}
		}
		// All fall silent: nobody may be left.
		for len(w.queue) > 0 {
			w.save()
		}
		w.rest(w.now.Add(2 * (session + rebalance)))
		if !w.g.Idle() {
			t.Fatalf("silent group is %v with members %v, want it idle", w.g.State(), w.ids())
		}
	}
	t.Logf("%d restarts; a share was held in %d moments", restarts, held)
	if held == 0 {
		t.Error("nobody ever held a share: nothing was tried")
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	r := pair(t)
	r.sync("a", 1, nil) // settled: changes nothing
	r.join("a", "")     // the leader wants a new generation
	r.join("b", "")
	r.sync("b", 2, nil)
	r.tickets++
	r.note(r.g.Sync(r.now, machine.Sync{
		Ticket: r.tickets, Member: "a", Generation: 2, Assignments: map[string][]byte{"a": {1}, "b": {2}},
	}))
	saved := r.g.Unsaved()
	if _, early := r.replies[r.tickets]; early || saved == nil {
		t.Fatalf("deal told before it was saved; Unsaved() = %v", saved)
	}
	text, err := json.Marshal(saved)
	if err != nil {
		t.Fatal(err)
	}
	r.note(r.g.Saved(r.now, saved, true))
	if got := r.err(r.tickets); got != nil {
		t.Fatalf("sync = %v, want nil", got)
	}
	var read machine.Snapshot
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	g, err := machine.Restore(r.now, machine.Config{MaxSession: time.Minute}, 40, &read)
	if err != nil {
		t.Fatalf("Restore() = %v", err)
	}
	if diff := cmp.Diff(r.g.View(), g.View()); diff != "" {
		t.Errorf("View() of the restored group (-before +after)\n%s", diff)
	}
	r.g = g
	if got := r.g.Commit(r.now, "b", 2); got != nil {
		t.Errorf("Commit(b) = %v, want nil", got)
	}
	joined := r.join("", "c")
	r.join("a", "")
	r.join("b", "")
	if got := r.replies[joined].Joined.Generation; got != 41 {
		t.Errorf("generation after one with the floor of 40 is %d, want 41", got)
	}
}

// TestOvertakenDeal saves a deal after its round is over.
func TestOvertakenDeal(t *testing.T) {
	t.Parallel()
	for _, saved := range []bool{true, false} {
		r := pair(t)
		r.join("a", "")
		r.join("b", "")
		r.tickets++
		r.note(r.g.Sync(r.now, machine.Sync{Ticket: r.tickets, Member: "a", Generation: 2}))
		deal, waits := r.g.Unsaved(), r.tickets
		joined := r.join("", "c")
		if got := r.err(waits); got != kerr.RebalanceInProgress {
			t.Errorf("sync = %v, want %v", got, kerr.RebalanceInProgress)
		}
		r.note(r.g.Saved(r.now, deal, saved))
		r.state(machine.Preparing)
		r.join("a", "")
		r.join("b", "")
		if got := r.replies[joined].Joined.Generation; got != 3 {
			t.Errorf("c joined generation %d, want 3", got)
		}
	}
}

// FuzzRestore restores any text: what is taken for a group behaves as one.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"generation":3,"protocol_type":"consumer","protocol":"range","leader":"a","members":[` +
		`{"id":"a","session":10000000000,"rebalance":20000000000,"protocols":[{"name":"range","metadata":"AAE="}],"assignment":"AA=="},` +
		`{"id":"b","session":10000000000,"protocols":[{"name":"range"}]}]}`))
	f.Add([]byte(`{"leader":"a","members":[{"id":"a","session":1},{"id":"a","session":1}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s machine.Snapshot
		if json.Unmarshal(text, &s) != nil {
			return
		}
		r := setup(t, machine.Config{})
		g, err := machine.Restore(r.now, machine.Config{MaxSession: time.Minute}, 0, &s)
		if err != nil {
			return
		}
		if len(g.View().Members) != len(s.Members) || g.State() != machine.Stable {
			t.Fatalf("Restore(%s) has members %v in %v", text, g.View().Members, g.State())
		}
		for range 2 * len(s.Members) {
			if next := g.Next(); !next.IsZero() {
				g.Tick(next)
			}
		}
		if !g.Idle() {
			t.Fatalf("silent group of %s is %v", text, g.State())
		}
	})
}
