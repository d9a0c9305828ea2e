package watch_test

import (
	"sync"
	"testing"

	"kurir.dev/services/tracker/internal/watch"
)

func TestHubConcurrent(t *testing.T) {
	t.Parallel()
	h := watch.NewHub()
	var all, ready sync.WaitGroup
	for range 50 {
		ready.Add(1)
		all.Go(func() {
			news := h.News()
			ready.Done()
			<-news
			<-h.Closed()
		})
	}
	ready.Wait()
	h.Tell()
	select {
	case <-h.News():
		t.Error("old news are told again")
	default:
	}
	h.Close()
	h.Close()
	all.Wait()
}
