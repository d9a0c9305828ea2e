package site

import (
	"math"
	"time"
)

// bucket holds the mails that may be sent now, of a rate a second; it fills to
// one second's worth. The highest lane may empty it, the others leave it a
// reserve: in the long run they get the whole rate all the same, but the first
// codes that come never wait for a token.
type bucket struct {
	tokens float64
	filled time.Time
}

// fill brings the bucket up to date.
func (b *bucket) fill(now time.Time, rate float64) {
	if b.filled.IsZero() {
		b.tokens = depth(rate)
	} else {
		b.tokens = min(b.tokens+max(now.Sub(b.filled).Seconds(), 0)*rate, depth(rate))
	}
	b.filled = now
}

// wait is how long until a mail may take its token with so much left behind.
func (b *bucket) wait(rate, reserve float64) time.Duration {
	short := 1 + reserve - b.tokens
	if short <= 0 {
		return 0
	}
	return max(time.Duration(math.Ceil(short/rate*float64(time.Second))), time.Microsecond)
}

// depth is how much a bucket holds.
func depth(rate float64) float64 { return max(rate, 1) }

// pace is how many mails a second a site does while some wait for it: what it
// does when it has nothing to do tells nothing. Both sums fade.
type pace struct {
	done, busy float64   // mails, and the seconds they took
	since      time.Time // up to which busy is counted; zero while none waits
}

const paceMemory = 30 * time.Second

// wait says whether mail waits from now on.
func (p *pace) wait(now time.Time, waits bool) {
	p.advance(now)
	switch {
	case !waits:
		p.since = time.Time{}
	case p.since.IsZero():
		p.since = now
	}
}

func (p *pace) advance(now time.Time) {
	if p.since.IsZero() {
		return
	}
	keeps := math.Exp(-max(now.Sub(p.since).Seconds(), 0) / paceMemory.Seconds())
	p.done *= keeps
	p.busy = p.busy*keeps + paceMemory.Seconds()*(1-keeps)
	p.since = now
}

// count counts a mail that is done.
func (p *pace) count(now time.Time) {
	if !p.since.IsZero() {
		p.advance(now)
		p.done++
	}
}

// faith is for how many seconds a rate that is allowed is believed beside what
// is seen.
const faith = 0.2

// perSecond is the pace seen until now, below the rate that is allowed; 0 is
// none.
func (p *pace) perSecond(now time.Time, rate float64) float64 {
	p.advance(now)
	if rate > 0 {
		return min((p.done+rate*faith)/(p.busy+faith), rate)
	}
	return p.done / max(p.busy, 1)
}

// speed is an exponentially fading count of completions.
type speed struct {
	fading float64
	last   time.Time
}

const speedMemory = 30 * time.Second

func (r *speed) count(now time.Time) {
	r.fading = r.fading*math.Exp(-now.Sub(r.last).Seconds()/speedMemory.Seconds()) + 1
	r.last = now
}

// perSecond is the speed, of a site that has been there for so long.
func (r *speed) perSecond(now time.Time, age time.Duration) float64 {
	fading := r.fading * math.Exp(-now.Sub(r.last).Seconds()/speedMemory.Seconds())
	seen := 1 - math.Exp(-age.Seconds()/speedMemory.Seconds())
	return fading / (speedMemory.Seconds() * max(seen, 1e-3))
}
