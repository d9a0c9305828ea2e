package gate

import (
	"container/list"
	"time"
)

// fresh is how long a mail in work counts at most: one that is slow, because
// its peer is, holds nobody up.
const fresh = 50 * time.Millisecond

// work is the mail of a lane that others stand back for.
type work struct {
	begun list.List // of time.Time: when each mail in work began
	ended time.Time // when the last of them ended
}

func (w *work) begin(now time.Time) *list.Element { return w.begun.PushBack(now) }

func (w *work) end(mail *list.Element, now time.Time) {
	if begun, ok := w.begun.Remove(mail).(time.Time); ok && now.Sub(begun) < fresh {
		w.ended = now
	}
}

// calm is until when the others stand back, unless something begins or ends;
// linger is how long they do when nothing is in work any more.
func (w *work) calm(linger time.Duration) time.Time {
	until := w.ended.Add(linger)
	if last := w.begun.Back(); last != nil {
		if begun, ok := last.Value.(time.Time); ok && begun.Add(fresh).After(until) {
			until = begun.Add(fresh)
		}
	}
	return until
}
