package seglog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/broker/embedded/internal/seglog"
)

const (
	segmentBytes = 64 << 10
	maxBatch     = 1 << 20
)

// batch makes a whole batch of n records that are size bytes in all, the first
// of them made at ms and each a millisecond after the one before.
func batch(n, size int, ms int64) []byte {
	var records []byte
	each := max(0, size/n-12)
	for i := range n {
		r := []byte{0}
		r = binary.AppendVarint(r, int64(i)) // since the first
		r = binary.AppendVarint(r, int64(i)) // offset
		r = binary.AppendVarint(r, -1)
		r = binary.AppendVarint(r, int64(each))
		r = append(r, bytes.Repeat([]byte{byte(n)}, each)...)
		r = binary.AppendVarint(r, 0)
		records = append(binary.AppendVarint(records, int64(len(r))), r...)
	}
	b := make([]byte, 61, 61+len(records))
	b = append(b, records...)
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	be.PutUint32(b[23:], uint32(n-1))
	be.PutUint64(b[27:], uint64(ms))
	be.PutUint64(b[35:], uint64(ms+int64(n)-1))
	be.PutUint64(b[43:], ^uint64(0))
	be.PutUint16(b[51:], ^uint16(0))
	be.PutUint32(b[53:], ^uint32(0))
	be.PutUint32(b[57:], uint32(n))
	seal(b)
	return b
}

func seal(b []byte) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func config(tb testing.TB) seglog.Config {
	tb.Helper()
	return seglog.Config{
		Dir: filepath.Join(tb.TempDir(), "t", "0"), SegmentBytes: segmentBytes, MaxBatch: maxBatch, Sync: true,
		Log: slog.New(slog.DiscardHandler),
	}
}

func open(tb testing.TB, cfg seglog.Config) *seglog.Log {
	tb.Helper()
	l, err := seglog.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("Open() = %v", err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

func put(l *seglog.Log, b []byte) (int64, error) {
	var wait sync.WaitGroup
	a := seglog.Append{Batch: b, Done: &wait}
	l.Append(&a)
	wait.Wait()
	return a.Base, a.Err
}

// fill appends count batches of 3 records and says what a reader should get.
func fill(tb testing.TB, l *seglog.Log, count, size int) (all []byte) {
	tb.Helper()
	for range count {
		_, end := l.Bounds()
		b := batch(3, size, end)
		if base, err := put(l, b); err != nil || base != end {
			tb.Fatalf("Append() = %d, %v, want %d", base, err, end)
		}
		all = append(all, b...)
	}
	return all
}

// contents reads the log from an offset on, most bytes at a time.
func contents(tb testing.TB, l *seglog.Log, from int64, most int) []byte {
	tb.Helper()
	var all []byte
	for {
		mark := len(all)
		var err error
		if all, err = l.Read(tb.Context(), all, from, most, true, nil); err != nil {
			tb.Fatalf("Read(%d) = %v", from, err)
		}
		got := all[mark:]
		if len(got) == 0 {
			return all
		}
		for len(got) > 0 {
			base, size := int64(binary.BigEndian.Uint64(got)), 12+binary.BigEndian.Uint32(got[8:])
			if base > from {
				tb.Fatalf("Read(%d) goes on at offset %d", from, base)
			}
			from = base + int64(binary.BigEndian.Uint32(got[23:])) + 1
			got = got[size:]
		}
	}
}

func segments(tb testing.TB, cfg seglog.Config) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*.log"))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// killed is the configuration of a log as a killed process would leave it:
// what is in the files of one that is still open.
func killed(tb testing.TB, cfg seglog.Config) seglog.Config {
	tb.Helper()
	left := cfg
	left.Dir = filepath.Join(tb.TempDir(), "t", "0")
	if err := os.CopyFS(left.Dir, os.DirFS(cfg.Dir)); err != nil {
		tb.Fatal(err)
	}
	return left
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	for _, synced := range []bool{true, false} {
		cfg := config(t)
		cfg.Sync = synced
		l := open(t, cfg)
		want := fill(t, l, 200, 3000)
		if n := len(segments(t, cfg)); n < 5 {
			t.Fatalf("%d segments, want several", n)
		}
		for _, most := range []int{1, 5000, 1 << 20} {
			if got := contents(t, l, 0, most); !bytes.Equal(got, want) {
				t.Errorf("sync %v: reading %d bytes at a time gives %d bytes, want the %d written", synced, most, len(got), len(want))
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, cfg) // segments are learnt when they are read
		for _, from := range []int64{599, 300, 301, 302, 1, 0} {
			got := contents(t, l, from, 7000)
			if at := int(from / 3); !bytes.Equal(got, want[at*len(want)/200:]) {
				t.Errorf("sync %v: reading from %d after a restart gives %d bytes", synced, from, len(got))
			}
		}
	}
}

func TestReadBounds(t *testing.T) {
	t.Parallel()
	l := open(t, config(t))
	fill(t, l, 10, 1000)
	if err := l.Trim(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int64]error{
		-1: &seglog.RangeError{Start: 7, End: 30}, 6: &seglog.RangeError{Start: 7, End: 30}, 31: &seglog.RangeError{Start: 7, End: 30},
		7: nil, 29: nil, 30: nil,
	} {
		got, err := l.Read(t.Context(), nil, offset, 1, true, nil)
		if diff := cmp.Diff(want, err); diff != "" || want == nil && (len(got) == 0) != (offset == 30) {
			t.Errorf("Read(%d) = %d bytes, %v, want %v", offset, len(got), err, want)
		}
	}
	if got, err := l.Read(t.Context(), nil, 8, 1, false, nil); len(got) != 0 || err != nil {
		t.Errorf("Read() of one byte = %d bytes, %v, want none when the first is not owed", len(got), err)
	}
}

// Trimmed to nothing, a log keeps its offsets across any restart.
func TestTrimEmpty(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(strconv.FormatBool(kill), func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			l := open(t, cfg)
			fill(t, l, 100, 3000)
			if err := l.Trim(t.Context(), 300); err != nil {
				t.Fatalf("Trim() = %v", err)
			}
			if files := segments(t, cfg); len(files) != 1 {
				t.Errorf("segments after trimming all = %q, want a new one alone", files)
			}
			if kill {
				cfg = killed(t, cfg)
			} else if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, cfg)
			if start, last := l.Bounds(); start != 300 || last != 300 {
				t.Errorf("Bounds() = %d, %d after trimming all and a restart, want 300, 300", start, last)
			}
			want := fill(t, l, 50, 3000)
			if got := contents(t, l, 300, 1<<20); !bytes.Equal(got, want) {
				t.Errorf("log holds %d bytes after trimming all, want the %d written since", len(got), len(want))
			}
		})
	}
}

// Segments that were trimmed are written again; what they held does not come
// back, whatever byte the writing ended at.
func TestReuse(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	l := open(t, cfg)
	fill(t, l, 100, 3000)
	if err := l.Trim(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "spare")); err != nil {
		t.Fatalf("no segment lies ready after trimming: %v", err)
	}
	fill(t, l, 20, 6000) // beyond the first segment: the spare is in use
	_, want := l.Bounds()
	again := open(t, killed(t, cfg))
	if start, end := again.Bounds(); start != 300 || end != want {
		t.Errorf("Bounds() = %d, %d after a kill, want 300, %d", start, end, want)
	}
	contents(t, again, 300, 1<<20)
}

func TestStart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	l := open(t, cfg)
	fill(t, l, 10, 1000)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ start, wantStart, wantEnd int64 }{{0, 0, 30}, {12, 12, 30}, {30, 30, 30}, {77, 77, 77}} {
		cfg := killed(t, cfg)
		cfg.Start = tt.start
		if start, end := open(t, cfg).Bounds(); start != tt.wantStart || end != tt.wantEnd {
			t.Errorf("opened to start at %d: Bounds() = %d, %d, want %d, %d", tt.start, start, end, tt.wantStart, tt.wantEnd)
		}
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	l := open(t, cfg)
	fill(t, l, 100, 3000) // the record at an offset was made at that millisecond
	_ = l.Close()
	l = open(t, cfg)
	for ms, want := range map[int64]int64{-5: 0, 0: 0, 1: 1, 150: 150, 299: 299, 300: -1} {
		if offset, at, err := l.Since(t.Context(), ms); offset != want || at != want || err != nil {
			t.Errorf("Since(%d) = %d at %d, %v, want %d", ms, offset, at, err, want)
		}
	}
}

// flaky fails syncs when told to.
type flaky struct{ bad atomic.Bool }

func (f *flaky) flush(*os.File) error {
	if f.bad.Load() {
		return syscall.EIO
	}
	return nil
}

func TestSyncFails(t *testing.T) {
	t.Parallel()
	var disk flaky
	cfg := config(t)
	cfg.Flush = disk.flush
	l := open(t, cfg)
	want := fill(t, l, 3, 1000)
	disk.bad.Store(true)
	if _, err := put(l, batch(1, 100, 0)); !errors.Is(err, seglog.ErrOffline) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Append() = %v while syncs fail, want ErrOffline and why", err)
	}
	disk.bad.Store(false) // a later success says nothing of what was dropped
	if _, err := put(l, batch(1, 100, 0)); !errors.Is(err, seglog.ErrOffline) || l.Err() == nil {
		t.Errorf("Append() = %v after a sync failed, want ErrOffline until opened again", err)
	}
	if got := contents(t, l, 0, 1<<20); !bytes.Equal(got, want) {
		t.Errorf("log holds %d bytes, want the %d that were synced", len(got), len(want))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, open(t, cfg), 1, 1000)
}

// Everything that queued while a sync ran shares the next one.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	var syncs atomic.Int64
	cfg := config(t)
	main := ""
	cfg.Flush = func(f *os.File) error {
		if syncs.Add(1) == 1 {
			main = f.Name()
			close(began)
			<-goOn
		}
		return nil
	}
	l := open(t, cfg)
	var wait sync.WaitGroup
	appends := make([]seglog.Append, 100)
	for i := range appends {
		appends[i] = seglog.Append{Batch: batch(1, 100, 0), Done: &wait}
		l.Append(&appends[i])
		if i == 0 {
			<-began
		}
	}
	close(goOn)
	wait.Wait()
	for i := range appends {
		if appends[i].Base != int64(i) || appends[i].Err != nil {
			t.Errorf("append %d is at %d, %v", i, appends[i].Base, appends[i].Err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := syncs.Load(); n > 3 { // the first, the rest, and one for space ahead
		t.Errorf("%d syncs of %q for 100 appends behind one, want at most 3", n, main)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	l := open(t, cfg)
	const writers, each = 8, 50
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for range each {
				if _, err := put(l, batch(1+w%3, 1500, 0)); err != nil {
					t.Errorf("Append() = %v", err)
				}
			}
		})
	}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		more := make(chan struct{}, 1)
		l.Watch(more)
		defer l.Unwatch(more)
		for from := int64(0); ; {
			b, err := l.Read(t.Context(), nil, from, 4000, true, nil)
			if gone := (*seglog.RangeError)(nil); errors.As(err, &gone) {
				from = gone.Start
				continue
			}
			if err != nil {
				t.Errorf("Read(%d) = %v", from, err)
				return
			}
			if len(b) > 0 {
				from = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
				if err := l.Trim(t.Context(), from-20); err != nil {
					t.Errorf("Trim() = %v", err)
				}
				continue
			}
			select {
			case <-more:
			case <-stop:
				return
			}
		}
	})
	work.Wait()
	close(stop)
	reading.Wait()
	if _, end := l.Bounds(); end != (3*1+3*2+2*3)*each {
		t.Errorf("log ends at %d", end)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	change := func(do func(b []byte), seals bool) []byte {
		b := batch(2, 100, 0)
		do(b)
		if seals {
			seal(b)
		}
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"whole", batch(2, 100, 0), nil},
		{"empty", nil, seglog.ErrCorrupt},
		{"short", batch(2, 100, 0)[:90], seglog.ErrCorrupt},
		{"two", append(batch(1, 50, 0), batch(1, 50, 0)...), seglog.ErrCorrupt},
		{"old format", change(func(b []byte) { b[16] = 1 }, true), seglog.ErrCorrupt},
		{"bit flipped", change(func(b []byte) { b[70] ^= 4 }, false), seglog.ErrCorrupt},
		{"negative length", change(func(b []byte) { b[8] = 0xff }, true), seglog.ErrCorrupt},
		{"count differs", change(func(b []byte) { b[60] = 9 }, true), seglog.ErrInvalid},
		{"unknown codec", change(func(b []byte) { b[22] = 5 }, true), seglog.ErrInvalid},
		{"transaction", change(func(b []byte) { b[22] = 0x10 }, true), seglog.ErrInvalid},
		{"control", change(func(b []byte) { b[22] = 0x20 }, true), seglog.ErrInvalid},
	} {
		if err := seglog.Check(tt.b); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("Check(%s) = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(batch(1, 10, 0))
	f.Add(batch(20, 500, 5))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg := config(t)
		cfg.Sync = false
		if len(b) >= 61 {
			seal(b)
		}
		if seglog.Check(b) != nil || len(b) > maxBatch {
			return
		}
		l := open(t, cfg)
		if _, err := put(l, b); err != nil {
			t.Fatal(err)
		}
		want := contents(t, l, 0, 1)
		if _, _, err := l.Since(context.Background(), 1); err != nil { // nothing in it may trip the search
			t.Fatal(err)
		}
		if got := contents(t, open(t, cfg), 0, 1); !bytes.Equal(got, want) {
			t.Errorf("a batch that was taken is not there after a restart")
		}
	})
}

// However a file ends, opening it finds every batch before the damage and
// nothing else, and the log goes on from there.
func FuzzTornTail(f *testing.F) {
	f.Add(uint32(10), []byte{}, false)
	f.Add(uint32(999), []byte{1, 2, 3}, false)
	f.Add(uint32(1500), make([]byte, 100), true)
	f.Add(uint32(70), batch(1, 20, 0), true)
	f.Fuzz(func(t *testing.T, cut uint32, garbage []byte, overwrite bool) {
		cfg := config(t)
		cfg.Sync = false
		l := open(t, cfg)
		want := fill(t, l, 6, 400)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		one := len(want) / 6
		at := int(cut) % (len(want) + 1)
		file, err := os.OpenFile(segments(t, cfg)[0], os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !overwrite {
			err = file.Truncate(int64(at))
		}
		_, werr := file.WriteAt(garbage, int64(at))
		if err := errors.Join(err, werr, file.Close()); err != nil {
			t.Fatal(err)
		}
		damaged := slicesPatch(want, at, garbage, overwrite)
		whole := 0
		for whole < 6 && len(damaged) >= (whole+1)*one && bytes.Equal(damaged[whole*one:(whole+1)*one], want[whole*one:(whole+1)*one]) {
			whole++
		}
		l = open(t, cfg)
		start, end := l.Bounds()
		if start != 0 || end < int64(3*whole) {
			t.Fatalf("Bounds() = %d, %d, want all of the %d whole batches", start, end, whole)
		}
		if got := contents(t, l, 0, 1<<20); !bytes.HasPrefix(got, want[:whole*one]) {
			t.Errorf("log holds other batches than were written")
		}
		for got := contents(t, l, 0, 1<<20); len(got) > 0; {
			size := 12 + binary.BigEndian.Uint32(got[8:])
			if sum := crc32.Checksum(got[21:size], crc32.MakeTable(crc32.Castagnoli)); sum != binary.BigEndian.Uint32(got[17:]) {
				t.Errorf("log kept a batch with a wrong checksum")
			}
			got = got[size:]
		}
		fill(t, l, 2, 400)
		got := contents(t, l, 0, 1<<20)
		if again := contents(t, open(t, cfg), 0, 1<<20); !bytes.Equal(again, got) {
			t.Errorf("log holds %d bytes after a restart, want %d", len(again), len(got))
		}
	})
}

func slicesPatch(b []byte, at int, patch []byte, overwrite bool) []byte {
	patched := append(bytes.Clone(b[:at]), patch...)
	if overwrite && len(patched) < len(b) {
		patched = append(patched, b[len(patched):]...)
	}
	return patched
}

// Random writes, trims and kills against a model of what must be there.
func TestProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			cfg := config(t)
			l := open(t, cfg)
			want := make(map[int64][]byte) // by base offset
			var start, end int64
			for range 150 {
				switch op := rnd.IntN(20); {
				case op < 14:
					b := batch(1+rnd.IntN(5), 1+rnd.IntN(8000), 0)
					base, err := put(l, b)
					if err != nil || base != end {
						t.Fatalf("Append() = %d, %v, want %d", base, err, end)
					}
					want[base] = bytes.Clone(b)
					end += int64(binary.BigEndian.Uint32(b[57:]))
				case op < 17:
					start = max(start, min(start+rnd.Int64N(end-start+1), end))
					cfg.Start = start // as the catalog does, before
					if err := l.Trim(t.Context(), start); err != nil {
						t.Fatalf("Trim(%d) = %v", start, err)
					}
				default:
					if rnd.IntN(2) == 0 {
						cfg = killed(t, cfg)
					} else if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					l = open(t, cfg)
				}
				if s, e := l.Bounds(); s != start || e != end {
					t.Fatalf("Bounds() = %d, %d, want %d, %d", s, e, start, end)
				}
			}
			for got := contents(t, l, start, 10_000); len(got) > 0; {
				base, size := int64(binary.BigEndian.Uint64(got)), 12+binary.BigEndian.Uint32(got[8:])
				if !bytes.Equal(got[:size], want[base]) {
					t.Errorf("batch at %d is not what was written", base)
				}
				got = got[size:]
			}
		})
	}
}

// A long log costs the same memory to open as a short one.
func TestOpenMemory(t *testing.T) { //nolint:paralleltest // it measures the process
	cfg := config(t)
	cfg.Sync, cfg.SegmentBytes = false, 16<<20
	l := open(t, cfg)
	b := batch(10, 500<<10, 0)
	var wait sync.WaitGroup
	for range 480 { // 240 MB
		l.Append(&seglog.Append{Batch: bytes.Clone(b), Done: &wait})
		wait.Wait()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l = open(t, cfg)
	if _, err := l.Read(t.Context(), nil, 10, 1, true, nil); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("opening 240 MB and reading from its start allocates %d MB in all, want at most 8", took>>20)
	}
}
