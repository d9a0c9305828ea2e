// Package embedded is an in-process broker that speaks the Kafka protocol and
// keeps its records on disk: franz-go's kfake behind a layer that takes off
// its sharp edges. It serves development, evaluation and one small machine, is
// reached over a private unix socket by the same client code as any broker,
// and is a package of its own so that services which use a real broker do not
// link it.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/internal/sock"
)

const (
	// metadataTTL bounds how long the broker's own client routes by an old
	// layout.
	metadataTTL = 2 * time.Second
	// requestTimeout bounds one of its requests where no other bound is set.
	requestTimeout = 10 * time.Second
)

// Config of the in-process broker. Zero fields mean what
// [Default] says, but for Dir, which is needed, and Sync, which is
// what it says.
type Config struct {
	// Dir is where it keeps everything; made if missing, mode 0700.
	Dir string `yaml:"dir"`
	// Socket is the path of its unix socket, mode 0600; empty means
	// kafka.sock in Dir.
	Socket string `yaml:"socket"`
	// Sync makes every acknowledged record survive a power cut. Without it
	// acknowledged records survive any end of the process, kill -9 included,
	// but not the machine's.
	Sync bool `yaml:"sync"`
	// MinFreeBytes of the disk under which records are refused, so that there
	// is always room for the commits of those taken.
	MinFreeBytes int64 `yaml:"min_free_bytes"`
	// GuardEvery is how often the free space is looked at.
	GuardEvery time.Duration `yaml:"guard_every"`
	// TrimEvery is how often records that every group is done with are
	// deleted.
	TrimEvery time.Duration `yaml:"trim_every"`
	// Free says how many bytes are free on the disk of dir; nil asks the
	// file system.
	Free func(dir string) (int64, error) `yaml:"-"`
}

// Default is a configuration with every acknowledged record on disk,
// Dir left open.
func Default() Config {
	return Config{
		Sync: true, MinFreeBytes: 256 << 20, GuardEvery: time.Second, TrimEvery: 10 * time.Second, Free: freeBytes,
	}
}

// Broker is an in-process broker that speaks the Kafka protocol over a
// private unix socket: for development, evaluation and one small machine.
type Broker struct {
	cfg     Config
	log     *slog.Logger
	dir     *dataDir
	listen  *listener
	cluster *kfake.Cluster
	kafka   *kafka.Client    // over in-memory connections
	memory  *kafka.Transport // below it
	guard   *guard
	cancel  context.CancelFunc
	tasks   sync.WaitGroup
	once    sync.Once
}

// brokerConfigs turn off everything in kfake that deletes by itself. Its
// compaction loses data when killed and its retention eats what is not done.
func brokerConfigs() map[string]string {
	return map[string]string{
		"log.retention.ms":               "-1",
		"log.retention.bytes":            "-1",
		"offsets.retention.minutes":      "5256000", // ten years
		"log.cleaner.backoff.ms":         "86400000",
		"message.max.bytes":              strconv.Itoa(broker.MaxBatchBytes),
		"group.min.session.timeout.ms":   "100",
		"transactional.id.expiration.ms": "604800000",
	}
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
//  1. bind the socket, nobody is let in yet
//  2. load the log
//  3. compare what was committed with what is there
//  4. let clients in
//  5. watch the disk and trim
func (e *Broker) start(ctx context.Context) error {
	var err error
	if e.listen, err = bind(ctx, e.cfg.Socket, e.log); err != nil {
		return err
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.DataDir(e.dir.data()), kfake.ListenFn(e.listen.listenFn),
		kfake.BrokerConfigs(brokerConfigs()), kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.WithLogger(clusterLog{e.log}),
	}
	if e.cfg.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	if e.cluster, err = kfake.NewCluster(opts...); err != nil {
		return fmt.Errorf("loading broker data in %q: %w", e.cfg.Dir, err)
	}
	e.memory = &kafka.Transport{Dial: e.listen.pipe, ClientID: "kurir-embedded", MetadataTTL: metadataTTL}
	e.kafka = &kafka.Client{Addr: kafka.TCP(sock.Host), Timeout: requestTimeout, Transport: e.memory}
	if err := e.verify(ctx); err != nil {
		return fmt.Errorf("checking committed offsets in %q: %w", e.cfg.Dir, err)
	}
	e.guard = newGuard(e.cfg, e.cluster, e.log)
	e.guard.check(ctx)
	e.listen.open()

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

// Part ends the broker. It comes before all parts that use it.
func (e *Broker) Part() app.Part { return app.Part{Name: "embedded broker", Stop: e.Close} }

// Close stops serving, stores the state and unlocks the directory. It waits
// until all is on disk even when ctx ends before, which it then reports. Safe
// to call twice.
func (e *Broker) Close(ctx context.Context) error {
	var err error
	e.once.Do(func() {
		e.cancel()
		e.tasks.Wait()
		if e.cluster != nil {
			e.cluster.Close()
		}
		if e.memory != nil {
			e.memory.CloseIdleConnections()
		}
		if e.listen != nil {
			e.listen.shut()
		}
		err = errors.Join(e.dir.close(), ctx.Err())
	})
	return err
}

// clusterLog passes on what kfake complains about.
type clusterLog struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l clusterLog) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelWarn
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
	default: // chatter
		return
	}
	l.log.Log(context.Background(), to, "embedded broker", //nolint:forbidigo // kfake logs without a context
		slog.String("detail", fmt.Sprintf(format, args...)))
}
