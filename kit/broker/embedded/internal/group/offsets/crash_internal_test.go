package offsets

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// errDisk is what a disk answers that has had enough.
var errDisk = errors.New("no space left on device")

// memDisk is a disk in memory that knows what a power cut leaves: what was
// synced, and as much of the rest as it likes.
type memDisk struct {
	rng     *rand.Rand
	names   map[string]*inode
	durable map[string]*inode // the names, as last synced
	fail    func() bool       // whether the next operation fails
}

type inode struct {
	data, durable []byte
}

func newMemDisk(seed uint64) *memDisk {
	return &memDisk{
		rng:   rand.New(rand.NewPCG(seed, 2)),
		names: make(map[string]*inode), durable: make(map[string]*inode),
		fail: func() bool { return false },
	}
}

// cut takes the power away. Each file keeps what was synced, or any mixture of
// that and of what was written since; the names are those of one of the two
// moments.
func (d *memDisk) cut() {
	if d.rng.IntN(2) == 0 {
		d.names = maps.Clone(d.durable)
	}
	d.durable = maps.Clone(d.names)
	for _, f := range d.names {
		kept := append([]byte(nil), f.durable...)
		if n := len(f.data); n > len(kept) && d.rng.IntN(2) == 0 {
			from := len(kept)
			kept = append(kept, f.data[from:from+d.rng.IntN(n-from+1)]...)
			if torn := len(kept) - from; torn > 0 && d.rng.IntN(2) == 0 {
				kept[from+d.rng.IntN(torn)] ^= 0xff
			}
		}
		f.data, f.durable = kept, append([]byte(nil), kept...)
	}
}

// kill ends the process: nothing of what was written is lost.
func (d *memDisk) kill() {}

func (d *memDisk) open(name string) (file, error) {
	f, ok := d.names[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return memFile{d, f}, nil
}

func (d *memDisk) create(name string) (file, error) {
	if d.fail() {
		return nil, errDisk
	}
	f := &inode{}
	d.names[name] = f
	return memFile{d, f}, nil
}

func (d *memDisk) rename(from, to string) error {
	if d.fail() {
		return errDisk
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *memDisk) sync() error {
	if d.fail() {
		return errDisk
	}
	d.durable = maps.Clone(d.names)
	return nil
}

type memFile struct {
	disk  *memDisk
	inode *inode
}

// ReadAt implements io.ReaderAt.
func (f memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes a part of p when it fails.
func (f memFile) WriteAt(p []byte, off int64) (int, error) {
	var err error
	if f.disk.fail() {
		p, err = p[:f.disk.rng.IntN(len(p)+1)], errDisk
	}
	if grow := int(off) + len(p) - len(f.inode.data); grow > 0 {
		f.inode.data = append(f.inode.data, make([]byte, grow)...)
	}
	copy(f.inode.data[off:], p)
	return len(p), err
}

// Truncate implements file.
func (f memFile) Truncate(size int64) error {
	if f.disk.fail() {
		return errDisk
	}
	f.inode.data = f.inode.data[:size]
	return nil
}

// Sync loses what it should have synced when it fails, as page caches do.
func (f memFile) Sync() error {
	if f.disk.fail() {
		return errDisk
	}
	f.inode.durable = append([]byte(nil), f.inode.data...)
	return nil
}

// Size implements file.
func (f memFile) Size() (int64, error) { return int64(len(f.inode.data)), nil }

// Close implements io.Closer.
func (memFile) Close() error { return nil }

// TestCrashes commits on a disk that fails now and then, ends the process or
// cuts the power at any moment, and looks whether what was acknowledged is
// there: the last commit acknowledged of each partition, or a later one that
// was tried.
func TestCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		d := newMemDisk(seed)
		low, high := make(map[Key]int64), make(map[Key]int64) // acknowledged, tried
		var ceiling int32
		var deal, dealt int // of "g": tried, acknowledged
		for range 6 {       // lives
			d.fail = func() bool { return false }
			s, err := open(d, true, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("seed %d: open() = %v", seed, err)
			}
			if got := s.Ceiling(); got < ceiling {
				t.Fatalf("seed %d: Ceiling() = %d, want at least %d", seed, got, ceiling)
			}
			for k, want := range low {
				got, ok := s.Get(k)
				if !ok || got.Offset < want || got.Offset > high[k] {
					t.Fatalf("seed %d: Get(%v) = %v, %v, want %d to %d", seed, k, got.Offset, ok, want, high[k])
				}
			}
			held, _ := strconv.Atoi(strings.TrimLeft(s.Deals()["g"], "-"))
			if held < dealt || held > deal {
				t.Fatalf("seed %d: deal %d is kept, want %d to %d", seed, held, dealt, deal)
			}
			live := make(map[Key]int64) // acknowledged in this life
			faults := rng.IntN(3) * 10  // percent
			d.fail = func() bool { return rng.IntN(100) < faults }
			if rng.IntN(2) == 0 {
				s.file.limit = 2000 // compact often
			}
			for range rng.IntN(60) {
				var entries []Entry // of one size at times, so that frames can lie on one another's places
				size := rng.IntN(2) * rng.IntN(300)
				for p := range 1 + rng.Int32N(3) {
					k := Key{Group: "g", Topic: "t", Partition: (p + rng.Int32N(2)) % 3}
					high[k]++
					entries = append(entries, Entry{k, Commit{Offset: high[k], Metadata: string(make([]byte, size))}})
				}
				before := s.Of("g")
				if err := s.Put(entries...).Wait(); err == nil {
					for _, e := range entries {
						low[e.Key], live[e.Key] = e.Offset, e.Offset
					}
				}
				for _, e := range before {
					want := max(e.Offset, live[e.Key])
					if got, _ := s.Get(e.Key); got.Offset != want {
						t.Fatalf("seed %d: Get(%v) = %d, want %d", seed, e.Key, got.Offset, want)
					}
				}
				if rng.IntN(4) == 0 {
					deal++
					text := strings.Repeat("-", rng.IntN(500)) + strconv.Itoa(deal)
					if s.Deal("g", text).Wait() == nil {
						dealt, held = deal, deal
					}
					if got := strings.TrimLeft(s.Deals()["g"], "-"); got != strconv.Itoa(held) && (held > 0 || got != "") {
						t.Fatalf("seed %d: deal %s counts, want %d", seed, got, held)
					}
				}
				if rng.IntN(20) == 0 {
					if s.Raise(ceiling+1).Wait() == nil {
						ceiling++
					}
				}
				if s.file.limit > 2000 && faults > 0 {
					s.file.limit = 2000
				}
			}
			if rng.IntN(2) == 0 {
				d.cut()
			} else {
				d.kill()
			}
		}
	}
}

// TestCrashAtEveryStep ends the process or cuts the power after each single
// operation of a compaction.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	k := Key{Group: "g", Topic: "t"}
	for step := range 12 {
		for seed := range uint64(16) {
			d := newMemDisk(seed)
			s, err := open(d, true, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Put(Entry{k, Commit{Offset: 1}}).Wait(); err != nil {
				t.Fatal(err)
			}
			left := step
			d.fail = func() bool { left--; return left < 0 } // all that comes later never happens
			s.file.limit = 0
			_ = s.Put(Entry{k, Commit{Offset: 2}}).Wait()
			if seed%2 == 0 {
				d.cut()
			}
			d.fail = func() bool { return false }
			if s, err = open(d, true, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatalf("step %d, seed %d: open() = %v", step, seed, err)
			}
			if got, ok := s.Get(k); !ok || got.Offset < 1 {
				t.Fatalf("step %d, seed %d: Get() = %v, %v, want 1 or 2", step, seed, got.Offset, ok)
			}
		}
	}
}

// TestLaterKind opens a journal that a later version wrote.
func TestLaterKind(t *testing.T) {
	t.Parallel()
	d := newMemDisk(0)
	data := appendFrame([]byte(magic), record{kind: 99})
	d.names[journalName] = &inode{data: data}
	if _, err := open(d, true, slog.New(slog.DiscardHandler)); !errors.Is(err, errKind) {
		t.Errorf("open() = %v, want %v", err, errKind)
	}
	if got := len(d.names[journalName].data); got != len(data) {
		t.Errorf("%d bytes are left, want all %d", got, len(data))
	}
}

// FuzzLoad reads any bytes as a journal: what it understands it can write and
// understand again, and whatever follows a damaged frame is cut off.
func FuzzLoad(f *testing.F) {
	whole := []byte(magic)
	for _, r := range []record{
		{kind: ceiling, height: 7},
		{kind: put, key: Key{"g", "t", 3}, commit: Commit{Offset: 9, LeaderEpoch: -1, Metadata: "m", At: 5}},
		{kind: dropPart, key: Key{"g", "t", 3}},
		{kind: dropTopic, key: Key{Topic: "t"}},
		{kind: dropGroup, key: Key{Group: "g"}},
		{kind: members, key: Key{Group: "g"}, deal: "{}"},
	} {
		whole = appendFrame(whole, r)
		f.Add(append([]byte(nil), whole...))
	}
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(magic + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("another file"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newMemDisk(0)
		d.names[journalName] = &inode{data: append([]byte(nil), data...)}
		s, err := open(d, true, slog.New(slog.DiscardHandler))
		if err != nil {
			return
		}
		if int(s.file.size) > len(data) {
			t.Fatalf("size %d of %d bytes", s.file.size, len(data))
		}
		k := Key{Group: "new", Topic: "t"}
		if err := s.Put(Entry{k, Commit{Offset: 1}}).Wait(); err != nil {
			t.Fatal(err)
		}
		want, deals := len(s.Groups()), s.Deals()
		if s, err = open(d, true, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatalf("open() of what was written = %v", err)
		}
		if got, ok := s.Get(k); !ok || got.Offset != 1 {
			t.Fatalf("Get() = %v, %v, want 1", got, ok)
		}
		if got := len(s.Groups()); got != want {
			t.Fatalf("%d groups, want %d", got, want)
		}
		if got := s.Deals(); !maps.Equal(got, deals) {
			t.Fatalf("Deals() = %v, want %v", got, deals)
		}
	})
}
