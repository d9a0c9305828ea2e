package router_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/lane"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/store"
	"kurir.dev/services/router/internal/waiting"
)

// BenchmarkListLanes is ListLanes with one waiting mail and one record on the
// bulk lane, and with 100,000 of both: the two must cost the same.
func BenchmarkListLanes(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			h := build(b)
			h.crowd(n)
			h.start()
			h.await(true)
			p := h.kafka.Producer(h.client)
			var acks sync.WaitGroup
			room := make(chan struct{}, 1000)
			for range n {
				room <- struct{}{}
				acks.Add(1)
				if err := p.Enqueue(broker.Message{Topic: h.client.Topics().Lane(lane.Bulk), Value: []byte("x")}, func(_ broker.Position, err error) {
					if err != nil {
						b.Error(err)
					}
					<-room
					acks.Done()
				}); err != nil {
					b.Fatal(err)
				}
			}
			acks.Wait()
			for b.Loop() {
				resp, err := h.api.ListLanes(b.Context(), &routerv1.ListLanesRequest{})
				if err != nil {
					b.Fatal(err)
				}
				if l := resp.GetLanes()[3]; l.GetDepth() != int64(n) || l.GetWaiting() != int64(n) {
					b.Fatalf("ListLanes() = %v, want depth and waiting %d", l, n)
				}
			}
		})
	}
}

// crowd puts n mails into the waiting room, due tomorrow.
func (h *house) crowd(n int) {
	h.tb.Helper()
	s, err := store.Open(h.tb.Context(), h.cfg.Store.URL, lane.Default().Names(), nil)
	if err != nil {
		h.tb.Fatal(err)
	}
	part := s.Part()
	if err := part.Start(h.tb.Context()); err != nil {
		h.tb.Fatal(err)
	}
	var g sync.WaitGroup
	for w := range 200 {
		g.Go(func() {
			for i := w; i < n; i += 200 {
				if err := s.Put(h.tb.Context(), waiting.Mail{
					ID: fmt.Sprintf("m%07d", i), Tenant: "acme", Lane: lane.Bulk, Kind: mail.KindGeneric, Attempt: 2, State: waiting.Deferred,
					DueAt: h.clock().Add(24 * time.Hour), ExpiresAt: h.clock().Add(48 * time.Hour), Envelope: make([]byte, 200),
				}); err != nil {
					h.tb.Error(err)
					return
				}
			}
		})
	}
	g.Wait()
	if err := part.Stop(h.tb.Context()); err != nil {
		h.tb.Fatal(err)
	}
}
