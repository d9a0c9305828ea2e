package deliver

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"kurir.dev/kit/lane"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/queue"
	"kurir.dev/services/dispatcher/internal/site"
)

// A roll is equal to a plain set after any calls, and looks at everybody in
// turns.
func TestRoll(t *testing.T) {
	t.Parallel()
	// One job has the one connection and keeps it: all others wait.
	began, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	sites := site.New(site.Config{Connections: 1, Initial: 1}, []queue.Lane{{Name: lane.OTP}, {Name: lane.Bulk, Rank: 1}},
		map[string]int{lane.OTP: 1, lane.Bulk: 1}, func(*site.Worker[*job]) { close(began); <-done }, time.Now)
	sites.Push(site.Job[*job]{Site: "x.test", Lane: lane.Bulk, Tenant: "t", Value: &job{}})
	<-began
	r, want := newRoll(), map[*job]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		switch {
		case len(want) == 0 || random.IntN(2) == 0:
			j := &job{lane: lane.Lane{Name: []string{lane.Bulk, lane.OTP}[random.IntN(2)]}, mail: &journal.Mail{Message: make([]byte, random.IntN(100))}}
			ticket, _ := sites.Push(site.Job[*job]{Site: "x.test", Lane: j.lane.Name, Tenant: "t", Value: j})
			if ticket == nil {
				t.Fatal("Push() = nil, want a ticket")
			}
			r.put(j, ticket)
			want[j] = true
		default:
			for j := range want {
				r.take(j)
				r.take(j) // not there any more
				delete(want, j)
				break
			}
		}
	}
	held := map[string]load{}
	for j := range want {
		l := held[j.lane.Name]
		held[j.lane.Name] = load{l.mails + 1, l.bytes + int64(len(j.mail.Message))}
	}
	if !maps.Equal(r.held, held) {
		t.Errorf("held %v, want %v", r.held, held)
	}
	seen := map[*job]bool{}
	for range (len(want) + 9) / 10 {
		r.withdraw(10, func(j *job) bool { seen[j] = true; return false })
	}
	if !maps.Equal(seen, want) {
		t.Errorf("looked at %d jobs in one round, want all %d", len(seen), len(want))
	}
	bulk := func(j *job) bool { return j.lane.Name == lane.Bulk }
	gone := r.withdraw(len(want), bulk)
	gone = append(gone, r.withdraw(len(want), bulk)...) // one who goes may bring somebody seen into view
	for _, j := range gone {
		if j.lane.Name != lane.Bulk {
			t.Errorf("withdrew a mail of lane %s", j.lane.Name)
		}
		delete(want, j)
	}
	for j := range want {
		if j.lane.Name == lane.Bulk {
			t.Error("left a job that was over")
			break
		}
	}
	if r.held[lane.Bulk] != (load{}) || r.held[lane.OTP].mails != len(want) {
		t.Errorf("held %v after all of bulk went, want %d of OTP", r.held, len(want))
	}
}
