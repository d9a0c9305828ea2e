package custody

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// followEvery is how often it is asked whether an answer that is late comes
// from where it should.
const followEvery = 500 * time.Millisecond

// follow gives a request up, with cancel, once the node that it was sent to
// has not the say any more: one that hangs answers nobody, and its connections
// stay. node tells who has the say; negative while nobody knows. done ends
// following, and waits for it.
func follow(ctx context.Context, cancel context.CancelFunc, node func(context.Context) int) (done func()) {
	ctx, stop := context.WithCancel(ctx)
	asked := node(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			asking, end := context.WithTimeout(ctx, 2*followEvery)
			now := node(asking)
			end()
			if now >= 0 && now != asked {
				cancel()
				return
			}
		}
	})
	return func() {
		stop()
		looking.Wait()
	}
}

// complaints are logged sparingly: what goes wrong again and again is told
// once in a while. The zero value is ready; safe for concurrent use.
type complaints struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// complainEvery is how often the same is told.
const complainEvery = 10 * time.Second

// due says whether a complaint of a kind is to be logged now.
func (c *complaints) due(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if last, ok := c.told[kind]; ok && now.Sub(last) < complainEvery {
		return false
	}
	if c.told == nil {
		c.told = map[string]time.Time{}
	}
	c.told[kind] = now
	return true
}

// settling says that err is of a cluster that finds out who leads or coordinates
// what, as one does when topics or groups are new, and has not taken longer than
// that takes since somebody began to ask.
func settling(err error, began time.Time) bool {
	if time.Since(began) >= complainEvery {
		return false
	}
	for _, passing := range []kafka.Error{
		kafka.NotCoordinatorForGroup, kafka.GroupCoordinatorNotAvailable, kafka.GroupLoadInProgress,
		kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.UnknownTopicOrPartition,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}
