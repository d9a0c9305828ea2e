package deliver

import "kurir.dev/services/dispatcher/internal/site"

// load is how much mail of a lane waits in queues.
type load struct {
	mails int
	bytes int64
}

// roll is the jobs that wait in sites' queues, which it weighs by lane and
// looks through piece by piece: a window that is full is too much to look
// through at once beside codes. The engine's lock guards it.
type roll struct {
	spots []spot
	at    map[*job]int // in spots
	next  int          // spot to look at
	held  map[string]load
}

// spot is one job's place.
type spot struct {
	job    *job
	ticket *site.Ticket[*job]
	bytes  int64
}

func newRoll() roll { return roll{at: map[*job]int{}, held: map[string]load{}} }

// put adds a job that is not there.
func (r *roll) put(j *job, t *site.Ticket[*job]) {
	bytes := int64(len(j.mail.Message))
	r.at[j] = len(r.spots)
	r.spots = append(r.spots, spot{job: j, ticket: t, bytes: bytes})
	r.weigh(j, 1, bytes)
}

// take removes a job, if it is there. The last one comes into its place.
func (r *roll) take(j *job) {
	i, ok := r.at[j]
	if !ok {
		return
	}
	r.weigh(j, -1, -r.spots[i].bytes)
	last := len(r.spots) - 1
	r.spots[i] = r.spots[last]
	r.at[r.spots[i].job] = i
	r.spots[last] = spot{}
	r.spots = r.spots[:last]
	delete(r.at, j)
}

func (r *roll) weigh(j *job, mails int, bytes int64) {
	l := r.held[j.lane.Name]
	r.held[j.lane.Name] = load{l.mails + mails, l.bytes + bytes}
}

// withdraw looks at n jobs, at all of them by turns, about, and takes those away
// that are over and that no worker has yet.
func (r *roll) withdraw(n int, over func(*job) bool) (gone []*job) {
	for range min(n, len(r.spots)) {
		if r.next >= len(r.spots) {
			r.next = 0
		}
		x := r.spots[r.next]
		if over(x.job) && x.ticket.Withdraw() {
			r.take(x.job) // another is here now
			gone = append(gone, x.job)
			continue
		}
		r.next++
	}
	return gone
}
