// Package watch wakes those who wait for news from the store.
//
// Nothing is handed over: whoever is woken reads the store from where it
// stopped. So a slow watcher costs no memory, misses nothing and holds nobody
// up.
package watch

import "sync"

// Hub wakes all who wait; make it with NewHub. Safe for concurrent use.
type Hub struct {
	mu     sync.Mutex
	news   chan struct{}
	closed chan struct{}
	once   sync.Once
}

// NewHub returns a hub without news.
func NewHub() *Hub { return &Hub{news: make(chan struct{}), closed: make(chan struct{})} }

// News is closed with the next Tell. Take it before looking into the store, so
// that nothing falls between.
func (h *Hub) News() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.news
}

// Tell wakes everybody.
func (h *Hub) Tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.news)
	h.news = make(chan struct{})
}

// Closed is closed when the hub is.
func (h *Hub) Closed() <-chan struct{} { return h.closed }

// Close ends all watching; it may be called again.
func (h *Hub) Close() { h.once.Do(func() { close(h.closed) }) }
