package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
)

const childEnv = "KURIR_TEST_BROKER_DIR"

// TestMain is also the child process that tests kill: it serves the directory
// in the environment until then.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		cfg := embedded.Default()
		cfg.Dir, cfg.MinFreeBytes, cfg.TrimEvery = dir, 1<<20, time.Hour
		if _, err := embedded.Start(context.Background(), cfg, slog.Default()); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("ready\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone
		return
	}
	m.Run()
}

// remote is a broker in another process.
type remote struct{ cfg broker.Config }

func outside(_ *testing.T, dir string) remote {
	cfg := broker.Default()
	cfg.Addrs = []string{"unix:" + filepath.Join(dir, "kafka.sock")}
	return remote{cfg}
}

func (r remote) dial(t *testing.T) *broker.Client {
	t.Helper()
	c, err := broker.Dial(r.cfg, telemetry.Discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (remote) producer(t *testing.T, c *broker.Client) *broker.Producer {
	t.Helper()
	p := broker.NewProducer(c, telemetry.Discard())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
		defer cancel()
		_ = p.Part().Stop(ctx)
	})
	return p
}

// child serves dir in a process of its own and returns what kills it.
func child(t *testing.T, dir string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("child broker says %q, %v", line, err)
	}
	return func() {
		if err := cmd.Process.Kill(); err != nil { // SIGKILL
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
}

func TestEmbeddedRestart(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 0, 100)
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 0, 42, "k11;0;")
	b.Stop()
	b.Start()
	brokertest.Expect(t, b.Client(nil), "kurir.lane.otp", 0, 100)
	if offset, meta := brokertest.Committed(t, b.Client(nil), "g", "kurir.lane.otp", 0); offset != 42 || meta != "k11;0;" {
		t.Errorf("committed = %d, %q after a restart, want 42, k11;0;", offset, meta)
	}
}

func TestEmbeddedKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		kill := child(t, dir)
		b := outside(t, dir)
		c := b.dial(t)
		if round == 0 {
			if err := c.EnsureTopics(t.Context(), []string{"otp"}); err != nil {
				t.Fatal(err)
			}
		}
		brokertest.Expect(t, c, "kurir.lane.otp", 1, 100*round)
		brokertest.Fill(t, b.producer(t, c), "kurir.lane.otp", 1, 100)
		brokertest.Commit(t, c, "g", "kurir.lane.otp", 1, int64(100*round+50), "")
		kill()
	}
	defer child(t, dir)()
	c := outside(t, dir).dial(t)
	brokertest.Expect(t, c, "kurir.lane.otp", 1, 300)
	if offset, _ := brokertest.Committed(t, c, "g", "kurir.lane.otp", 1); offset != 250 {
		t.Errorf("committed = %d after kills, want 250", offset)
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	used := strings.TrimSuffix(strings.TrimPrefix(b.Config().Addrs[0], "unix:"), "/kafka.sock")

	file := filepath.Join(t.TempDir(), "file")
	newer, foreign := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		file: "", filepath.Join(newer, "VERSION"): "kurir-broker 99\n", filepath.Join(foreign, "VERSION"): "something",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, dir string
		want      error
	}{
		{"locked", used, embedded.ErrLocked},
		{"not writable", filepath.Join(file, "below"), syscall.ENOTDIR},
		{"no directory", "", fs.ErrNotExist},
		{"newer", newer, embedded.ErrNewer},
		{"foreign", foreign, embedded.ErrForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := embedded.Start(t.Context(), embedded.Config{Dir: tt.dir}, slog.New(slog.DiscardHandler))
			if !errors.Is(err, tt.want) {
				t.Errorf("Start(%q) = %v, want %v", tt.dir, err, tt.want)
			}
		})
	}
}

func TestEmbeddedSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	b := brokertest.New(t, func(cfg *embedded.Config) { cfg.Dir = dir })
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "kafka.sock"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q = %v, want %v", filepath.Base(path), got, want)
		}
	}
	if err := b.Client(nil).Ping(t.Context()); err != nil {
		t.Errorf("Ping() over a long path = %v", err)
	}
}

func TestEmbeddedHostileFrames(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	for name, frame := range map[string][]byte{
		"unknown key": {0, 0, 0, 10, 0x7f, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0},
		"huge":        {0xff, 0xff, 0xff, 0xff, 0, 18, 0, 0, 0, 0, 0, 1, 0, 0},
		"tiny":        {0, 0, 0, 1, 0, 18, 0, 0},
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", strings.TrimPrefix(b.Config().Addrs[0], "unix:"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: connection answers, want it cut", name)
		}
		_ = conn.Close()
	}
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 0, 1)
}

func TestEmbeddedTrim(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	lane, outcome := "kurir.lane.otp", "kurir.outcome.otp"
	p := b.Producer(c)
	for _, name := range []string{lane, outcome, "kurir.control"} {
		brokertest.Fill(t, p, name, 0, 100)
	}
	trimmed := func(step string, want map[string]int64) {
		t.Helper()
		if err := b.Embedded().Trim(t.Context()); err != nil {
			t.Fatalf("%s: Trim() = %v", step, err)
		}
		for name, start := range want {
			ends, err := c.Ends(t.Context(), name, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ends[0], (broker.Bounds{First: start, Last: 100}); got != want {
				t.Errorf("%s: %s holds %v, want %v", step, name, got, want)
			}
		}
	}
	trimmed("nobody committed", map[string]int64{lane: 0, outcome: 0, "kurir.control": 0})
	brokertest.Commit(t, c, "dispatcher", lane, 0, 60, mark.Mark{Low: 60, Journal: 30, Limit: 90}.Encode())
	trimmed("one group", map[string]int64{lane: 60, outcome: 0})
	brokertest.Commit(t, c, "tracker", outcome, 0, 80, "")
	trimmed("journal behind its reader", map[string]int64{lane: 60, outcome: 30})
	brokertest.Commit(t, c, "mirror", lane, 0, 70, "")
	brokertest.Commit(t, c, "dispatcher", lane, 0, 100, mark.Mark{Low: 100, Journal: 100, Limit: 100}.Encode())
	trimmed("slowest group", map[string]int64{lane: 70, outcome: 30}) // mirror's metadata may need all of the journal
	brokertest.Commit(t, c, "mirror", lane, 0, 100, mark.Mark{Low: 100, Journal: 100, Limit: 100}.Encode())
	brokertest.Commit(t, c, "tracker", outcome, 0, 100, "")
	trimmed("all done, nothing stays", map[string]int64{lane: 100, outcome: 100, "kurir.control": 0})

	b.Stop()
	b.Start()
	c = b.Client(nil)
	if ends, err := c.Ends(t.Context(), lane, 1); err != nil || ends[0].Last != 100 {
		t.Errorf("log end = %v, %v after trimming and restart, want 100", ends[0], err)
	}
}

func TestEmbeddedCommitBeyondLog(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 2, 10)
	brokertest.Commit(t, c, "lost", "kurir.lane.otp", 2, 500, "k11;0;")
	brokertest.Commit(t, c, "fine", "kurir.lane.otp", 2, 10, "k11;0;")
	b.Stop()
	b.Start()
	c = b.Client(nil)
	if offset, meta := brokertest.Committed(t, c, "lost", "kurir.lane.otp", 2); offset != 0 || meta != "" {
		t.Errorf("committed beyond the log = %d, %q after restart, want 0 and no metadata", offset, meta)
	}
	if offset, _ := brokertest.Committed(t, c, "fine", "kurir.lane.otp", 2); offset != 10 {
		t.Errorf("committed at the log's end = %d after restart, want 10", offset)
	}
}

// inSync says how many replicas of the topics' first partitions are in sync.
func inSync(t *testing.T, b *brokertest.Broker, names ...string) []int {
	t.Helper()
	q := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		q.Topics = append(q.Topics, kmsg.MetadataRequestTopic{Topic: new(name)})
	}
	counts := make([]int, 0, len(names))
	for _, topic := range ask[*kmsg.MetadataResponse](call(t, b), q, 5).Topics {
		counts = append(counts, len(topic.Partitions[0].ISR))
	}
	return counts
}

func TestEmbeddedDiskGuard(t *testing.T) {
	t.Parallel()
	const lane, outcome, least = "kurir.lane.otp", "kurir.outcome.otp", 1 << 20
	var free atomic.Int64
	free.Store(1 << 30)
	b := brokertest.New(t, func(cfg *embedded.Config) {
		cfg.TCP, cfg.MinFreeBytes, cfg.GuardEvery = "127.0.0.1:0", least, time.Millisecond
		cfg.Free = func(string) (int64, error) { return free.Load(), nil }
	})
	c := b.Client(func(cfg *broker.Config) { cfg.ProduceTimeout = 100 * time.Millisecond }, "otp")
	p := b.Producer(c)
	brokertest.Fill(t, p, lane, 0, 1)
	taken := func(name string) bool {
		_, err := p.Produce(t.Context(), brokertest.Message(name, 0, 1))
		if err != nil && !errors.Is(err, fault.Unavailable) {
			t.Fatalf("Produce(%q) = %v, want it taken or fault.Unavailable", name, err)
		}
		return err == nil
	}

	free.Store(least - 1)
	brokertest.Eventually(t, func() bool { return !taken(lane) })
	if _, err := p.Produce(t.Context(), brokertest.Message(lane, 0, 1)); err == nil || !strings.Contains(err.Error(), "disk takes no records") {
		t.Errorf("Produce() on a disk nearly full = %v, want it refused for the disk", err)
	}
	brokertest.Fill(t, p, outcome, 0, 1) // what was taken comes to its end
	// So the client knows that there is no use in another try.
	if got, want := inSync(t, b, lane, outcome), []int{0, 1}; !slices.Equal(got, want) || p.Healthy() {
		t.Errorf("replicas in sync = %v, healthy %t, want %v, false", got, p.Healthy(), want)
	}

	free.Store(least/2 - 1)
	brokertest.Eventually(t, func() bool { return !taken(outcome) })
	brokertest.Commit(t, c, "g", lane, 0, 1, "") // still finds room

	free.Store(least/2 + least/16)
	brokertest.Eventually(t, func() bool { return taken(outcome) })
	if taken(lane) {
		t.Error("Produce() = nil with room for outcomes alone")
	}
	free.Store(least + least/8)
	brokertest.Eventually(t, func() bool { return taken(lane) && p.Healthy() })
}
