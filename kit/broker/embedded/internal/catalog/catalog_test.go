package catalog_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/broker/embedded/internal/catalog"
	"kurir.dev/kit/broker/embedded/internal/seglog"
)

func open(t *testing.T, dir string) (*catalog.Catalog, error) {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Config{Dir: dir, Sync: true, MaxBatch: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func must(t *testing.T, dir string) *catalog.Catalog {
	t.Helper()
	c, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// again closes the catalog and opens it anew.
func again(t *testing.T, c *catalog.Catalog, dir string) *catalog.Catalog {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return must(t, dir)
}

func create(t *testing.T, c *catalog.Catalog, name string, partitions int) {
	t.Helper()
	if err := c.Create(t.Context(), name, partitions, nil, false); err != nil {
		t.Fatalf("Create(%q) = %v", name, err)
	}
}

// fill appends n batches of one record.
func fill(t *testing.T, c *catalog.Catalog, name string, partition int32, n int) {
	t.Helper()
	var done sync.WaitGroup
	appends := make([]seglog.Append, n)
	for i := range appends {
		appends[i] = seglog.Append{Batch: batch(), Done: &done}
		c.Log(name, partition).Append(&appends[i])
	}
	done.Wait()
	for _, a := range appends {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
}

// batch is a record batch (KIP-98) of one record, as far as a log looks at it.
func batch() []byte {
	b := make([]byte, 70)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	binary.BigEndian.PutUint32(b[57:], 1)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// state is what a catalog says of its topics.
func state(c *catalog.Catalog) map[string][][2]int64 {
	all := map[string][][2]int64{}
	for _, name := range c.Names() {
		for p := range c.Partitions(name) {
			start, end := c.Log(name, int32(p)).Bounds()
			all[name] = append(all[name], [2]int64{start, end})
		}
	}
	return all
}

// TestLasting changes topics in all ways; what was answered is there after
// a restart.
func TestLasting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := must(t, dir)
	create(t, c, "mail", 2)
	create(t, c, "gone", 1)
	fill(t, c, "mail", 1, 5)
	want := map[string][][2]int64{"mail": {{0, 0}, {0, 5}}, "gone": {{0, 0}}}
	for _, step := range []struct {
		name string
		do   func() error
		now  func()
	}{
		{"nothing", func() error { return nil }, func() {}},
		{"trim", func() error { return c.Trim(t.Context(), map[catalog.Place]int64{{Topic: "mail", Partition: 1}: 3}) }, func() { want["mail"][1][0] = 3 }},
		{"trim beyond the end", func() error { return c.Trim(t.Context(), map[catalog.Place]int64{{Topic: "mail", Partition: 1}: 99}) }, func() { want["mail"][1][0] = 5 }},
		{"trim backwards", func() error { return c.Trim(t.Context(), map[catalog.Place]int64{{Topic: "mail", Partition: 1}: 1}) }, func() {}},
		{"trim nowhere", func() error { return c.Trim(t.Context(), map[catalog.Place]int64{{Topic: "none"}: 1}) }, func() {}},
		{"extend", func() error { return c.Extend(t.Context(), "mail", 3, false) }, func() { want["mail"] = append(want["mail"], [2]int64{}) }},
		{"extend dry", func() error { return c.Extend(t.Context(), "mail", 4, true) }, func() {}},
		{"create dry", func() error { return c.Create(t.Context(), "dry", 1, nil, true) }, func() {}},
		{"delete", func() error { return c.Delete("gone") }, func() { delete(want, "gone") }},
		{"change", func() error { return c.Change("mail", map[string]string{"max.message.bytes": "1000"}, false) }, func() {}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s = %v", step.name, err)
		}
		step.now()
		if diff := cmp.Diff(want, state(c)); diff != "" {
			t.Errorf("%s: topics (-want +got):\n%s", step.name, diff)
		}
		c = again(t, c, dir)
		if diff := cmp.Diff(want, state(c)); diff != "" {
			t.Errorf("%s and a restart: topics (-want +got):\n%s", step.name, diff)
		}
	}
	if s, ok := c.Settings("mail"); !ok || s.MaxMessage != 1000 || s.Default("max.message.bytes") {
		t.Errorf("Settings(mail) = %+v, %t, want what was changed", s, ok)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	c := must(t, t.TempDir())
	create(t, c, "mail", 2)
	try := func(name string, n int, settings map[string]string) error {
		return c.Create(t.Context(), name, n, settings, false)
	}
	for what, tt := range map[string]struct{ got, want error }{
		"exists":        {try("mail", 1, nil), catalog.ErrExists},
		"no name":       {try("", 1, nil), catalog.ErrName},
		"a path":        {try("../mail", 1, nil), catalog.ErrName},
		"dots":          {try("..", 1, nil), catalog.ErrName},
		"long":          {try(strings.Repeat("x", 250), 1, nil), catalog.ErrName},
		"no partitions": {try("x", 0, nil), catalog.ErrPartitions},
		"partitions":    {try("x", 1025, nil), catalog.ErrPartitions},
		"fewer":         {c.Extend(t.Context(), "mail", 2, false), catalog.ErrPartitions},
		"extend none":   {c.Extend(t.Context(), "none", 2, false), catalog.ErrUnknown},
		"change none":   {c.Change("none", nil, false), catalog.ErrUnknown},
		"delete none":   {c.Delete("none"), catalog.ErrUnknown},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", what, tt.got, tt.want)
		}
	}
	for what, err := range map[string]error{
		"unknown setting": try("x", 1, map[string]string{"retention": "1"}),
		"fixed setting":   try("x", 1, map[string]string{"cleanup.policy": "compact"}),
		"bad number":      try("x", 1, map[string]string{"segment.bytes": "1"}),
		"segment size":    c.Change("mail", map[string]string{"segment.bytes": "65536"}, false),
	} {
		if _, ok := errors.AsType[*catalog.SettingError](err); !ok {
			t.Errorf("%s: %v, want a SettingError", what, err)
		}
	}
	if got := c.Names(); len(got) != 1 {
		t.Errorf("Names() = %v after refusals, want mail alone", got)
	}
}

// TestCrash opens a directory as crashes and bad disks leave it.
func TestCrash(t *testing.T) {
	t.Parallel()
	topics := func(dir string) string { return filepath.Join(dir, "topics.json") }
	starts := func(dir string) string { return filepath.Join(dir, "starts.json") }
	write := func(text string, name func(string) string) func(string) error {
		return func(dir string) error { return os.WriteFile(name(dir), []byte(text), 0o600) }
	}
	for _, tt := range []struct {
		name   string
		damage func(dir string) error
		want   error  // nil: it opens as it was
		file   string // that the error names
	}{
		{"a write cut short", write(`[{"name":"ma`, func(d string) string { return topics(d) + ".tmp" }), nil, ""},
		{"a write that was not renamed", write(`[]`, func(d string) string { return topics(d) + ".tmp" }), nil, ""},
		{"starts cut short", write(`{"mail":[`, func(d string) string { return starts(d) + ".tmp" }), nil, ""},
		{"a creation cut short", func(d string) error { return os.MkdirAll(filepath.Join(d, "topics", "half", "0"), 0o700) }, nil, ""},
		{"torn", write(`[{"name":"ma`, topics), catalog.ErrDamaged, "topics.json"},
		{"empty", write(``, topics), catalog.ErrDamaged, "topics.json"},
		{"zeroes", write("\x00\x00\x00\x00\x00\x00", topics), catalog.ErrDamaged, "topics.json"},
		{"a path for a name", write(`[{"name":"../mail","partitions":1}]`, topics), catalog.ErrDamaged, "topics.json"},
		{"no end of partitions", write(`[{"name":"mail","partitions":1000000000}]`, topics), catalog.ErrDamaged, "topics.json"},
		{"starts torn", write(`{"mail":[`, starts), catalog.ErrDamaged, "starts.json"},
		{"a start below zero", write(`{"mail":[-1]}`, starts), catalog.ErrDamaged, "starts.json"},
		{"unreadable", func(d string) error { return errors.Join(os.Remove(topics(d)), os.Mkdir(topics(d), 0o700)) }, syscall.EISDIR, "topics.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := must(t, dir)
			create(t, c, "mail", 2)
			fill(t, c, "mail", 0, 4)
			if err := errors.Join(c.Trim(t.Context(), map[catalog.Place]int64{{Topic: "mail"}: 2}), c.Close(), tt.damage(dir)); err != nil {
				t.Fatal(err)
			}
			c, err := open(t, dir)
			if tt.want != nil {
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.file) {
					t.Errorf("Open() = %v, want %v naming %s", err, tt.want, tt.file)
				}
				return
			}
			if err != nil {
				t.Fatalf("Open() = %v", err)
			}
			create(t, c, "more", 1) // over what lay there
			want := map[string][][2]int64{"mail": {{2, 4}, {0, 0}}, "more": {{0, 0}}}
			if diff := cmp.Diff(want, state(again(t, c, dir))); diff != "" {
				t.Errorf("topics (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(dir, "topics", "half")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what a creation left is still there: %v", err)
			}
		})
	}
}

// TestListLost refuses topics whose list is gone: it would delete them.
func TestListLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := must(t, dir)
	create(t, c, "mail", 1)
	if err := errors.Join(c.Close(), os.Remove(filepath.Join(dir, "topics.json"))); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("Open() without topics.json = %v, want what to do", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "topics", "mail", "0")); err != nil {
		t.Errorf("its topic is gone: %v", err)
	}
}

// TestUnwritten changes topics on a disk that takes nothing: what was refused
// is not there, before a restart and after.
func TestUnwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := must(t, dir)
	create(t, c, "mail", 1)
	obstacle := filepath.Join(dir, "topics.json.tmp") // in the way of a write
	if err := os.MkdirAll(filepath.Join(obstacle, "in", "the", "way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), "more", 1, nil, false); err == nil {
		t.Error("Create() = nil, want the write's error")
	}
	want := map[string][][2]int64{"mail": {{0, 0}}}
	if diff := cmp.Diff(want, state(c)); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	c = again(t, c, dir)
	if diff := cmp.Diff(want, state(c)); diff != "" {
		t.Errorf("topics after a restart (-want +got):\n%s", diff)
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	create(t, c, "more", 1)
}
