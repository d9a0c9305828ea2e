package gate_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/services/dispatcher/internal/gate"
)

func TestRush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r gate.Rush
		took := func() time.Duration {
			begin := time.Now()
			r.StandAside(t.Context())
			return time.Since(begin)
		}
		if d := took(); d != 0 {
			t.Errorf("stood aside for %v without a rush", d)
		}
		end, other := r.Begin(), r.Begin()
		if d := took(); d != 3*time.Millisecond {
			t.Errorf("stood aside for %v, want the bound", d)
		}
		end()
		end() // once is enough
		go func() { <-time.After(time.Millisecond); other() }()
		if d := took(); d != time.Millisecond {
			t.Errorf("stood aside for %v, want until the rush ended", d)
		}
		slow := r.Begin()
		<-time.After(time.Second)
		if d := took(); d != 0 {
			t.Errorf("stood aside for %v for what is urgent and slow", d)
		}
		slow()
	})
}
