package offsets

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
)

// MaxMetadata bounds the metadata of a commit, in bytes; it is Kafka's default
// of offset.metadata.max.bytes.
const MaxMetadata = 4096

// MaxName bounds the names of groups and topics, in bytes.
const MaxName = 1024

// MaxDeal bounds what Deal keeps of a group, in bytes.
const MaxDeal = maxPayload - MaxName - 64

var (
	// ErrClosed is the fate of what is queued after Close.
	ErrClosed = errors.New("offsets are closed")
	// ErrTooLarge is the fate of a deal beyond MaxDeal.
	ErrTooLarge = errors.New("group has too much to say of its members")
)

// Store keeps the offsets. It is safe for concurrent use.
type Store struct {
	log  *slog.Logger
	turn chan struct{} // held by who uses the journal
	file *journal

	mu     sync.RWMutex
	state  state
	next   *Batch // takes what is queued; nil when nothing is
	closed bool
}

// Open loads what dir holds, and makes dir if it is missing. With sync each
// change is durable before it counts.
func Open(dirName string, sync bool, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dirName, 0o700); err != nil {
		return nil, fmt.Errorf("opening offsets: %w", err)
	}
	return open(dir(dirName), sync, log)
}

func open(d disk, sync bool, log *slog.Logger) (*Store, error) {
	s := &Store{log: log, turn: make(chan struct{}, 1), state: newState()}
	j, cut, err := openJournal(d, sync, &s.state)
	if err != nil {
		return nil, fmt.Errorf("opening offsets: %w", err)
	}
	s.file = j
	if cut > 0 {
		s.log.Warn("journal of offsets ends in a torn write, cut off", slog.Int64("bytes", cut))
	}
	return s, nil
}

// Close writes what is queued and closes the journal.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if b := s.next; b != nil { // queued since
		s.next, b.err = nil, ErrClosed
		close(b.done)
	}
	if err := s.file.file.Close(); err != nil {
		return fmt.Errorf("closing offsets: %w", err)
	}
	return nil
}

// Batch is a set of changes that is written at once.
type Batch struct {
	store   *Store
	records []record
	frames  []byte
	done    chan struct{} // closed when written, or not
	err     error         // why not; read after done
}

// Put queues commits. Changes take effect in the order in which they are
// queued.
func (s *Store) Put(entries ...Entry) *Batch {
	records := make([]record, 0, len(entries))
	for _, e := range entries {
		records = append(records, record{kind: put, key: e.Key, commit: e.Commit})
	}
	return s.queue(records...)
}

// Drop queues taking back the commits of partitions.
func (s *Store) Drop(keys ...Key) *Batch {
	records := make([]record, 0, len(keys))
	for _, k := range keys {
		records = append(records, record{kind: dropPart, key: k})
	}
	return s.queue(records...)
}

// DropGroup queues forgetting all that a group has committed.
func (s *Store) DropGroup(group string) *Batch {
	return s.queue(record{kind: dropGroup, key: Key{Group: group}})
}

// DropTopic queues forgetting all that was committed for a topic.
func (s *Store) DropTopic(topic string) *Batch {
	return s.queue(record{kind: dropTopic, key: Key{Topic: topic}})
}

// Raise queues raising the ceiling; it never sinks.
func (s *Store) Raise(height int32) *Batch { return s.queue(record{kind: ceiling, height: height}) }

// Deal queues keeping a group's last deal in the place of the one before; empty
// when it has no members any more. What it says is the caller's.
func (s *Store) Deal(group, deal string) *Batch {
	if len(deal) > MaxDeal {
		b := &Batch{store: s, done: make(chan struct{}), err: ErrTooLarge}
		close(b.done)
		return b
	}
	return s.queue(record{kind: members, key: Key{Group: group}, deal: deal})
}

func (s *Store) queue(records ...record) *Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.next
	if b == nil {
		b = &Batch{store: s, done: make(chan struct{})}
		if s.closed {
			b.err = ErrClosed
			close(b.done)
			return b
		}
		s.next = b
	}
	b.records = append(b.records, records...)
	for _, r := range records {
		b.frames = appendFrame(b.frames, r)
	}
	return b
}

// Wait returns when the batch is written, or says why it is not: then none of
// it took effect. The first to wait writes for all.
func (b *Batch) Wait() error {
	select {
	case <-b.done:
		return b.err
	case b.store.turn <- struct{}{}:
	}
	b.store.flush()
	<-b.store.turn
	<-b.done
	return b.err
}

// flush writes the batch that is queued, if any. The caller has the turn.
func (s *Store) flush() {
	s.mu.Lock()
	b := s.next
	s.next = nil
	s.mu.Unlock()
	if b == nil {
		return
	}
	b.err = s.write(b.frames)
	if b.err == nil {
		s.mu.Lock()
		for _, r := range b.records {
			s.state.apply(r)
		}
		s.mu.Unlock()
	}
	close(b.done)
	if s.file.size > s.file.limit {
		s.compact()
	}
}

func (s *Store) write(frames []byte) error {
	if s.file.broken {
		if err := s.file.rewrite(&s.state); err != nil { // only who has the turn changes state
			return err
		}
	}
	return s.file.append(frames)
}

// compact writes the journal anew. What was acknowledged stays safe in the old
// one when that fails.
func (s *Store) compact() {
	if err := s.file.rewrite(&s.state); err != nil {
		s.file.limit = s.file.size + slack
		s.log.Warn("journal of offsets could not be compacted", slog.Any("error", err))
	}
}

// Get is the last commit of a partition.
func (s *Store) Get(k Key) (Commit, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.state.groups[k.Group][part{k.Topic, k.Partition}]
	return c, ok
}

// Has says whether the group has committed anything.
func (s *Store) Has(group string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.state.groups[group]) > 0
}

// Groups names the groups that have committed anything, in no order.
func (s *Store) Groups() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.state.groups))
	for name := range s.state.groups {
		names = append(names, name)
	}
	return names
}

// Of is all that a group has committed, in no order.
func (s *Store) Of(group string) []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]Entry, 0, len(s.state.groups[group]))
	for p, c := range s.state.groups[group] {
		all = append(all, Entry{Key{Group: group, Topic: p.topic, Partition: p.id}, c})
	}
	return all
}

// Committed is how far each group has come on a partition.
func (s *Store) Committed(topic string, partition int32) map[string]int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := make(map[string]int64)
	for name, g := range s.state.groups {
		if c, ok := g[part{topic, partition}]; ok {
			at[name] = c.Offset
		}
	}
	return at
}

// Deals is the last deal of each group that has members.
func (s *Store) Deals() map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.state.deals)
}

// Ceiling is a number that no generation before this run has reached.
func (s *Store) Ceiling() int32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.ceiling
}
