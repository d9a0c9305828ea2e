package offsets_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

func open(tb testing.TB, dir string, sync bool) *offsets.Store {
	tb.Helper()
	s, err := offsets.Open(dir, sync, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatalf("Open(%s) = %v", dir, err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close() = %v", err)
		}
	})
	return s
}

func put(t *testing.T, s *offsets.Store, k offsets.Key, offset int64) {
	t.Helper()
	if err := s.Put(offsets.Entry{Key: k, Commit: offsets.Commit{Offset: offset}}).Wait(); err != nil {
		t.Fatalf("Put(%v) = %v", k, err)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	s := open(t, dir, true)
	want := offsets.Commit{Offset: 1 << 40, LeaderEpoch: -1, Metadata: strings.Repeat("m", offsets.MaxMetadata), At: 99}
	kept := offsets.Key{Group: "a", Topic: "t", Partition: 2}
	if err := s.Put(offsets.Entry{Key: kept, Commit: want}).Wait(); err != nil {
		t.Fatal(err)
	}
	part, topic, group := offsets.Key{Group: "a", Topic: "t"}, offsets.Key{Group: "b", Topic: "gone"}, offsets.Key{Group: "c", Topic: "t"}
	for _, k := range []offsets.Key{part, topic, group} {
		put(t, s, k, 1)
	}
	for _, b := range []*offsets.Batch{s.Drop(part), s.DropTopic("gone"), s.DropGroup("c"), s.Raise(42), s.Raise(7)} {
		if err := b.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(offsets.Entry{Key: kept}).Wait(); err == nil {
		t.Error("Put() after Close = nil, want an error")
	}
	again := open(t, dir, true)
	for name, st := range map[string]*offsets.Store{"before": s, "after": again} {
		if diff := cmp.Diff([]offsets.Entry{{Key: kept, Commit: want}}, st.Of("a")); diff != "" {
			t.Errorf("%s: Of(a) (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff([]string{"a"}, st.Groups()); diff != "" {
			t.Errorf("%s: Groups() (-want +got)\n%s", name, diff)
		}
		if got := st.Ceiling(); got != 42 {
			t.Errorf("%s: Ceiling() = %d, want 42", name, got)
		}
		if diff := cmp.Diff(map[string]int64{"a": want.Offset}, st.Committed("t", 2)); diff != "" {
			t.Errorf("%s: Committed() (-want +got)\n%s", name, diff)
		}
	}
}

func TestTornTailIsCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, true)
	k := offsets.Key{Group: "g", Topic: "t"}
	put(t, s, k, 1)
	put(t, s, k, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "offsets.log")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	torn := open(t, dir, true)
	if got, _ := torn.Get(k); got.Offset != 1 {
		t.Fatalf("Get() = %d, want 1", got.Offset)
	}
	put(t, torn, k, 3)
	if got, _ := open(t, dir, true).Get(k); got.Offset != 3 {
		t.Errorf("Get() after a commit behind the cut = %d, want 3", got.Offset)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "offsets.log"), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := offsets.Open(dir, true, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("Open() = nil, want an error: the file is not ours to overwrite")
	}
}

func TestDeals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, true)
	large := strings.Repeat("m", offsets.MaxDeal)
	for _, b := range []*offsets.Batch{
		s.Deal("a", "1"), s.Deal("b", "1"), s.Deal("c", "1"), s.Deal("a", large), s.Deal("b", ""), s.DropGroup("c"),
	} {
		if err := b.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Deal("a", large+"m").Wait(); !errors.Is(err, offsets.ErrTooLarge) {
		t.Errorf("Deal() beyond its bound = %v, want %v", err, offsets.ErrTooLarge)
	}
	for range 12 { // compacts on the way
		if err := s.Deal("a", large).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "offsets.log"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 25<<20 {
		t.Errorf("journal grew to %d bytes, want at most 25 MB", info.Size())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": large}, open(t, dir, true).Deals()); diff != "" {
		t.Errorf("Deals() (-want +got)\n%s", diff)
	}
}

// TestBounded commits far more than the file may hold.
func TestBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, false)
	k, metadata := offsets.Key{Group: "g", Topic: "t"}, strings.Repeat("m", offsets.MaxMetadata)
	var largest int64
	for i := range int64(4000) { // 16 MB
		if err := s.Put(offsets.Entry{Key: k, Commit: offsets.Commit{Offset: i, Metadata: metadata}}).Wait(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "offsets.log"))
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
	}
	if largest > 5<<20 {
		t.Errorf("journal grew to %d bytes, want at most 5 MB", largest)
	}
	if got, _ := open(t, dir, false).Get(k); got.Offset != 3999 {
		t.Errorf("Get() after compactions = %d, want 3999", got.Offset)
	}
}

func TestCommittersConcurrent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, true)
	var work sync.WaitGroup
	for p := range int32(16) {
		work.Go(func() {
			for i := range int64(50) {
				e := offsets.Entry{Key: offsets.Key{Group: "g", Topic: "t", Partition: p}, Commit: offsets.Commit{Offset: i}}
				if err := s.Put(e).Wait(); err != nil {
					t.Errorf("Put() = %v", err)
				}
				if got, _ := s.Get(e.Key); got.Offset != i {
					t.Errorf("Get(%d) = %d, want %d", p, got.Offset, i)
				}
			}
		})
	}
	work.Wait()
	all := open(t, dir, true).Of("g")
	if slices.ContainsFunc(all, func(e offsets.Entry) bool { return e.Offset != 49 }) || len(all) != 16 {
		t.Errorf("Of() after reopening = %v, want 16 partitions at 49", all)
	}
}

// BenchmarkCommit is commits per second, each durable, by the number of
// committers: syncs are shared.
func BenchmarkCommit(b *testing.B) {
	for _, committers := range []int{1, 32} {
		b.Run(fmt.Sprintf("committers=%d", committers), func(b *testing.B) {
			s := open(b, b.TempDir(), true)
			metadata := strings.Repeat("m", 300)
			var work sync.WaitGroup
			b.ResetTimer()
			for p := range committers {
				work.Go(func() {
					k := offsets.Key{Group: "g", Topic: "t", Partition: int32(p)}
					for i := range b.N/committers + 1 {
						if err := s.Put(offsets.Entry{Key: k, Commit: offsets.Commit{Offset: int64(i), Metadata: metadata}}).Wait(); err != nil {
							b.Errorf("Put() = %v", err)
						}
					}
				})
			}
			work.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
