// Package embedded is a durable broker of one machine that speaks the Kafka
// protocol: for development, evaluation and one small machine. It is reached
// over a private unix socket by the same client code as any broker, and is a
// package of its own so that services which use a real broker do not link it.
//
// Its parts:
//
//	internal/wire     frames, versions, one goroutine per connection
//	internal/catalog  the topics and their settings
//	internal/seglog   one partition: segments, group commit, recovery
//	internal/group    members, generations and committed offsets of groups
//
// Every partition has a writer of its own, which syncs once for all that
// queued while it synced before. So partitions, and the lanes they belong to,
// never wait for each other but for the disk itself.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/embedded/internal/catalog"
	"kurir.dev/kit/broker/embedded/internal/group"
	"kurir.dev/kit/broker/embedded/internal/wire"
	"kurir.dev/kit/broker/internal/sock"
)

const (
	// socketConns and tcpConns bound the connections by each way in.
	socketConns = 4096
	tcpConns    = 64
	// tcpIdle is how long a TCP connection may say nothing.
	tcpIdle = 10 * time.Minute

	// Bounds of what members of groups may ask for.
	minSession = 100 * time.Millisecond
	maxSession = 30 * time.Minute
	// initialDelay is how long a new group waits for more members.
	initialDelay = 0
)

// process names this process; a process id can be another's in its time.
var process = rand.Text()

// Config of the broker. Zero fields mean what [Default] says, but for Dir,
// which is needed, and Sync, which is what it says.
type Config struct {
	// Dir is where it keeps everything; made if missing, mode 0700.
	Dir string `yaml:"dir"`
	// Socket is the path of its unix socket, mode 0600; empty means
	// kafka.sock in Dir.
	Socket string `yaml:"socket"`
	// TCP is a loopback address, as 127.0.0.1:9092, at which it listens as
	// well, for tools such as kcat; empty for none. Everybody on the machine
	// can read and write all records there.
	TCP string `yaml:"tcp"`
	// Sync makes every acknowledged record survive a power cut. Without it
	// acknowledged records survive any end of the process, kill -9 included,
	// but not the machine's.
	Sync bool `yaml:"sync"`
	// MinFreeBytes of the disk under which records of lanes are refused, so
	// that what was taken before can come to its end. Under half of it all are,
	// so that there is always room for commits.
	MinFreeBytes int64 `yaml:"min_free_bytes"`
	// GuardEvery is how often the free space is looked at.
	GuardEvery time.Duration `yaml:"guard_every"`
	// TrimEvery is how often records that every group is done with are
	// deleted.
	TrimEvery time.Duration `yaml:"trim_every"`
	// Free says how many bytes are free on the disk of dir; nil asks the
	// file system.
	Free func(dir string) (int64, error) `yaml:"-"`
	// Flush syncs a partition's file to disk; nil is fdatasync.
	Flush func(f *os.File) error `yaml:"-"`
}

// Default is a configuration with every acknowledged record on disk,
// Dir left open.
func Default() Config {
	return Config{
		Sync: true, MinFreeBytes: 256 << 20, GuardEvery: time.Second, TrimEvery: 10 * time.Second, Free: freeBytes,
	}
}

// Broker is a running broker. Safe for concurrent use.
type Broker struct {
	cfg    Config
	log    *slog.Logger
	dir    *dataDir
	socket *socket
	tcp    net.Listener // nil for none
	topics *catalog.Catalog
	groups *group.Coordinator
	guard  *guard
	server *wire.Server
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	once   sync.Once
}

// Start opens the data directory, which one process may have open at
// a time ([ErrLocked]), and serves it until [Broker.Close]. ctx bounds only
// the start.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Broker, error) {
	cfg = cfg.defaulted()
	dir, err := openDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Broker{cfg: cfg, log: log, dir: dir, cancel: func() {}}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.Close(context.WithoutCancel(ctx)))
	}
	return e, nil
}

func (c Config) defaulted() Config {
	d := Default()
	if c.Socket == "" {
		c.Socket = filepath.Join(c.Dir, "kafka.sock")
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = d.MinFreeBytes
	}
	if c.GuardEvery == 0 {
		c.GuardEvery = d.GuardEvery
	}
	if c.TrimEvery == 0 {
		c.TrimEvery = d.TrimEvery
	}
	if c.Free == nil {
		c.Free = d.Free
	}
	return c
}

// start goes through these steps; on failure Close undoes those taken.
//
//  1. bind the socket and the port, nobody is let in yet
//  2. open the logs and what groups committed
//  3. compare the two
//  4. let clients in
//  5. watch the disk and trim
func (e *Broker) start(ctx context.Context) error {
	var err error
	if e.socket, err = bind(ctx, e.cfg.Socket); err != nil {
		return err
	}
	if e.cfg.TCP != "" {
		if e.tcp, err = listenTCP(ctx, e.cfg.TCP); err != nil {
			return err
		}
	}
	if e.topics, err = catalog.Open(ctx, catalog.Config{
		Dir: e.dir.data(), Sync: e.cfg.Sync, MaxBatch: broker.MaxBatchBytes, Log: e.log, Flush: e.cfg.Flush,
	}); err != nil {
		return fmt.Errorf("loading topics in %q: %w", e.cfg.Dir, err)
	}
	if e.groups, err = group.Open(group.Config{
		Dir: e.dir.groups(), Sync: e.cfg.Sync, MinSession: minSession, MaxSession: maxSession, InitialDelay: initialDelay, Process: process, Log: e.log,
		Writable: func() error { return nil }, // the guard keeps room for commits
	}); err != nil {
		return fmt.Errorf("loading groups in %q: %w", e.cfg.Dir, err)
	}
	if err := e.verify(ctx); err != nil {
		return fmt.Errorf("checking committed offsets in %q: %w", e.cfg.Dir, err)
	}
	e.guard = newGuard(e.cfg, e.topics, e.log)
	e.guard.check(ctx)
	if err := e.open(ctx); err != nil {
		return err
	}

	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.tasks.Go(func() { every(life, e.cfg.GuardEvery, e.guard.check) })
	e.tasks.Go(func() {
		every(life, e.cfg.TrimEvery, func(ctx context.Context) {
			if err := e.Trim(ctx); err != nil && ctx.Err() == nil {
				e.log.WarnContext(ctx, "trimming failed", slog.Any("error", err))
			}
		})
	})
	return nil
}

// open lets clients in.
func (e *Broker) open(ctx context.Context) error {
	doors := make([]wire.Door, 0, 2)
	for _, d := range []struct {
		listener net.Listener
		addr     string
		conns    int
		idle     time.Duration
	}{{e.socket, sock.Host, socketConns, 0}, {e.tcp, e.TCPAddr(), tcpConns, tcpIdle}} {
		if d.addr == "" {
			continue
		}
		host, text, err := net.SplitHostPort(d.addr)
		if err != nil {
			return fmt.Errorf("naming broker: %w", err)
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("naming broker: %w", err)
		}
		doors = append(doors, wire.Door{Listener: d.listener, Host: host, Port: int32(port), Conns: d.conns, Idle: d.idle})
	}
	e.server = wire.NewServer(ctx, wire.Config{APIs: e.apis(), Log: e.log})
	for _, d := range doors {
		e.server.Open(d)
	}
	return nil
}

// every calls do at each tick until ctx ends.
func every(ctx context.Context, d time.Duration, do func(context.Context)) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			do(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// Addr is its address for the addresses of broker.Config.
func (e *Broker) Addr() string { return sock.Prefix + e.cfg.Socket }

// TCPAddr is where it listens for tools, empty for nowhere.
func (e *Broker) TCPAddr() string {
	if e.tcp == nil {
		return ""
	}
	return e.tcp.Addr().String()
}

// Part ends the broker. It comes before all parts that use it.
func (e *Broker) Part() app.Part { return app.Part{Name: "embedded broker", Stop: e.Close} }

// Close stops serving, writes what was taken and unlocks the directory. It
// waits until all is on disk even when ctx ends before, which it then reports.
// Safe to call twice.
func (e *Broker) Close(ctx context.Context) error {
	var err error
	e.once.Do(func() {
		e.cancel()
		e.tasks.Wait()
		if e.server != nil {
			e.server.Close()
		}
		if e.groups != nil {
			err = errors.Join(err, e.groups.Close())
		}
		if e.topics != nil {
			err = errors.Join(err, e.topics.Close())
		}
		if e.tcp != nil {
			_ = e.tcp.Close()
		}
		if e.socket != nil {
			e.socket.remove()
		}
		err = errors.Join(err, e.dir.close(), ctx.Err())
	})
	return err
}
