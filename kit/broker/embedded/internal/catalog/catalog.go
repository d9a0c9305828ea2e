// Package catalog keeps the topics: which there are, how they are configured,
// where their logs begin, and the logs themselves.
//
//	topics.json             names, partition counts, configuration
//	starts.json             first offsets of logs that were trimmed
//	topics/NAME/PARTITION/  segments, see package seglog
//
// Both files are replaced whole. A topic is there when topics.json says so:
// its directory is made before and removed after.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kurir.dev/kit/broker/embedded/internal/durable"
	"kurir.dev/kit/broker/embedded/internal/seglog"
)

// mostPartitions a topic can have; each costs a goroutine and a file.
const mostPartitions = 1024

// Errors of topics.
var (
	ErrExists     = errors.New("topic exists")
	ErrUnknown    = errors.New("topic does not exist")
	ErrName       = errors.New("a topic has a name of 1 to 249 letters a-z A-Z 0-9 . _ - that is not dots alone")
	ErrPartitions = fmt.Errorf("a topic has 1 to %d partitions and never fewer than before", mostPartitions)
)

// Config of a catalog. Dir and Log are needed.
type Config struct {
	// Dir holds everything; it must exist.
	Dir string
	// Sync makes every acknowledged batch survive a power cut.
	Sync bool
	// MaxBatch is the largest batch any topic may take.
	MaxBatch int
	// Log is told what goes wrong.
	Log *slog.Logger
	// Flush is for logs, see seglog.Config.
	Flush func(f *os.File) error
}

// Catalog is the open topics. Safe for concurrent use; whoever opened it
// closes it.
type Catalog struct {
	cfg    Config
	change sync.Mutex // one change of topics at a time
	starts map[string][]int64

	mu     sync.RWMutex
	topics map[string]*topic
}

// topic that is open. The logs and the settings are replaced, not changed.
type topic struct {
	logs     []*seglog.Log
	settings Settings
}

// Open opens all topics.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	c := &Catalog{cfg: cfg, topics: make(map[string]*topic)}
	if err := c.load(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Catalog) path(parts ...string) string {
	return filepath.Join(append([]string{c.cfg.Dir}, parts...)...)
}

// load reads both files, opens the logs and removes what is left of topics
// whose deletion was cut short.
func (c *Catalog) load(ctx context.Context) error {
	list, err := read(c.path("topics.json"), parseTopics)
	if err != nil {
		return err
	}
	if c.starts, err = read(c.path("starts.json"), parseStarts); err != nil {
		return err
	}
	if c.starts == nil {
		c.starts = make(map[string][]int64)
	}
	for _, s := range list {
		settings, err := Settings{}.with(s.Settings, c.cfg.MaxBatch)
		if err != nil {
			return fmt.Errorf("topic %q: %w", s.Name, err)
		}
		t, err := c.open(ctx, s.Name, &topic{settings: settings}, s.Partitions)
		if err != nil {
			return err
		}
		c.topics[s.Name] = t
	}
	if err := os.MkdirAll(c.path("topics"), 0o700); err != nil {
		return err
	}
	dirs, err := os.ReadDir(c.path("topics"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if c.topics[d.Name()] != nil {
			continue
		}
		if list == nil {
			return fmt.Errorf("%q has topics and no topics.json: restore it, or give the broker an empty directory", c.cfg.Dir)
		}
		c.cfg.Log.WarnContext(ctx, "removing what is left of a deleted topic", slog.String("topic", d.Name()))
		if err := os.RemoveAll(c.path("topics", d.Name())); err != nil {
			return err
		}
	}
	if list == nil {
		return c.save(nil)
	}
	return nil
}

// open opens the logs that t lacks of n and returns the larger topic.
func (c *Catalog) open(ctx context.Context, name string, t *topic, n int) (*topic, error) {
	logs := slices.Clone(t.logs)
	for p := len(logs); p < n; p++ {
		var start int64
		if s := c.starts[name]; p < len(s) {
			start = s[p]
		}
		l, err := seglog.Open(ctx, seglog.Config{
			Dir: c.path("topics", name, strconv.Itoa(p)), SegmentBytes: t.settings.SegmentBytes, MaxBatch: int64(c.cfg.MaxBatch),
			Sync: c.cfg.Sync, Start: start, Flush: c.cfg.Flush,
			Log: c.cfg.Log.With(slog.String("topic", name), slog.Int("partition", p)),
		})
		if err != nil {
			return nil, errors.Join(err, closeAll(logs[len(t.logs):]))
		}
		logs = append(logs, l)
	}
	return &topic{logs: logs, settings: t.settings}, nil
}

func closeAll(logs []*seglog.Log) error {
	var errs []error
	for _, l := range logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// save writes topics.json with one topic replaced, added, or, with no logs,
// left out; change is held.
func (c *Catalog) save(changed map[string]*topic) error {
	all := make(map[string]*topic)
	c.mu.RLock()
	maps.Copy(all, c.topics)
	c.mu.RUnlock()
	maps.Copy(all, changed)
	list := make([]stored, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if t := all[name]; t != nil {
			list = append(list, stored{name, len(t.logs), t.settings.set})
		}
	}
	raw, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	return durable.Write(c.path("topics.json"), append(raw, '\n'))
}

// commit makes a change of one topic last, and then seen; nil deletes it.
// change is held.
func (c *Catalog) commit(name string, t *topic) error {
	if err := c.save(map[string]*topic{name: t}); err != nil {
		return fmt.Errorf("writing topics: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t == nil {
		delete(c.topics, name)
	} else {
		c.topics[name] = t
	}
	return nil
}

func (c *Catalog) get(name string) *topic {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.topics[name]
}

// Log is a partition's log, nil when there is none.
func (c *Catalog) Log(name string, partition int32) *seglog.Log {
	t := c.get(name)
	if t == nil || partition < 0 || int(partition) >= len(t.logs) {
		return nil
	}
	return t.logs[partition]
}

// Settings of a topic; false when there is none.
func (c *Catalog) Settings(name string) (Settings, bool) {
	t := c.get(name)
	if t == nil {
		return Settings{}, false
	}
	return t.settings, true
}

// Partitions of a topic, zero when there is none.
func (c *Catalog) Partitions(name string) int {
	if t := c.get(name); t != nil {
		return len(t.logs)
	}
	return 0
}

// Names of all topics, sorted.
func (c *Catalog) Names() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Sorted(maps.Keys(c.topics))
}

// valid says whether a topic can have this name.
func valid(name string) bool {
	return len(name) <= 249 && strings.Trim(name, ".") != "" && regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(name)
}

// Create makes a topic: [ErrName], [ErrExists], [ErrPartitions] or
// *[SettingError] when it cannot be one. Only checks with dry.
func (c *Catalog) Create(ctx context.Context, name string, partitions int, settings map[string]string, dry bool) error {
	c.change.Lock()
	defer c.change.Unlock()
	s, err := Settings{}.with(settings, c.cfg.MaxBatch)
	switch {
	case !valid(name):
		return ErrName
	case c.get(name) != nil:
		return ErrExists
	case partitions < 1 || partitions > mostPartitions:
		return ErrPartitions
	case err != nil || dry:
		return err
	}
	if err := os.RemoveAll(c.path("topics", name)); err != nil { // what a failed creation left
		return err
	}
	t, err := c.open(ctx, name, &topic{settings: s}, partitions)
	if err != nil {
		return err
	}
	if err := c.lasting(c.path("topics")); err != nil {
		return errors.Join(err, closeAll(t.logs))
	}
	if err := c.commit(name, t); err != nil {
		return errors.Join(err, closeAll(t.logs))
	}
	return nil
}

func (c *Catalog) lasting(dir string) error {
	if !c.cfg.Sync {
		return nil
	}
	return durable.SyncDir(dir)
}

// Extend gives a topic more partitions.
func (c *Catalog) Extend(ctx context.Context, name string, partitions int, dry bool) error {
	c.change.Lock()
	defer c.change.Unlock()
	old := c.get(name)
	switch {
	case old == nil:
		return ErrUnknown
	case partitions <= len(old.logs) || partitions > mostPartitions:
		return ErrPartitions
	case dry:
		return nil
	}
	t, err := c.open(ctx, name, old, partitions)
	if err != nil {
		return err
	}
	if err := c.commit(name, t); err != nil {
		return errors.Join(err, closeAll(t.logs[len(old.logs):]))
	}
	return nil
}

// Change replaces settings of a topic; an empty value is the default again.
func (c *Catalog) Change(name string, settings map[string]string, dry bool) error {
	c.change.Lock()
	defer c.change.Unlock()
	old := c.get(name)
	if old == nil {
		return ErrUnknown
	}
	s, err := old.settings.with(settings, c.cfg.MaxBatch)
	if err != nil || dry {
		return err
	}
	if s.SegmentBytes != old.settings.SegmentBytes {
		return &SettingError{segmentBytes, "is fixed when the topic is made"}
	}
	return c.commit(name, &topic{logs: old.logs, settings: s})
}

// Delete removes a topic and its records.
func (c *Catalog) Delete(name string) error {
	c.change.Lock()
	defer c.change.Unlock()
	t := c.get(name)
	if t == nil {
		return ErrUnknown
	}
	if err := c.commit(name, nil); err != nil {
		return err
	}
	err := closeAll(t.logs)
	delete(c.starts, name)
	return errors.Join(err, c.saveStarts(), os.RemoveAll(c.path("topics", name)))
}

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

// Trim gives up the records below the offsets. What it says is deleted stays
// so after any restart.
func (c *Catalog) Trim(ctx context.Context, to map[Place]int64) error {
	c.change.Lock()
	defer c.change.Unlock()
	due := make(map[*seglog.Log]int64)
	for at, offset := range to {
		l := c.Log(at.Topic, at.Partition)
		if l == nil {
			continue
		}
		start, end := l.Bounds()
		if offset = min(offset, end); offset <= start {
			continue
		}
		s := c.starts[at.Topic]
		s = append(s, make([]int64, max(0, int(at.Partition)+1-len(s)))...)
		s[at.Partition] = offset
		c.starts[at.Topic], due[l] = s, offset
	}
	if len(due) == 0 {
		return nil
	}
	if err := c.saveStarts(); err != nil {
		return fmt.Errorf("writing starts: %w", err)
	}
	var errs []error
	for l, offset := range due {
		errs = append(errs, l.Trim(ctx, offset))
	}
	return errors.Join(errs...)
}

func (c *Catalog) saveStarts() error {
	raw, err := json.Marshal(c.starts)
	if err != nil {
		return err
	}
	return durable.Write(c.path("starts.json"), append(raw, '\n'))
}

// Failed lists the partitions that take nothing because a sync failed.
func (c *Catalog) Failed() []Place {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var failed []Place
	for name, t := range c.topics {
		for p, l := range t.logs {
			if l.Err() != nil {
				failed = append(failed, Place{name, int32(p)})
			}
		}
	}
	return failed
}

// Close writes what is queued and closes all logs.
func (c *Catalog) Close() error {
	c.change.Lock()
	defer c.change.Unlock()
	c.mu.RLock()
	defer c.mu.RUnlock()
	var errs []error
	for _, t := range c.topics {
		errs = append(errs, closeAll(t.logs))
	}
	return errors.Join(errs...)
}
