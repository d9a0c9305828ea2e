package tracker_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker"
	"kurir.dev/services/tracker/internal/store"
)

// childEnv tells the test binary to be a tracker until it is killed: broker,
// keyring and store, with commas between.
const childEnv = "KURIR_TRACKER_TEST_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		app.Main("tracker", func(ctx context.Context, _ []string) error { return child(ctx, strings.Split(spec, ",")) })
		return
	}
	os.Exit(m.Run())
}

func child(ctx context.Context, spec []string) error {
	tel := telemetry.Discard()
	keys, err := seal.Load(spec[1])
	if err != nil {
		return err
	}
	cfg := broker.Default()
	cfg.Addrs = spec[:1]
	client, err := broker.Dial(cfg, tel)
	if err != nil {
		return err
	}
	c := tracker.Default()
	c.Store.URL, c.HTTP.Listen, c.Ingest.Batch = spec[2], "127.0.0.1:0", 50
	c.Ingest.Lease, c.Ingest.MaxWait = 600*time.Millisecond, 100*time.Millisecond
	svc, err := tracker.New(ctx, tracker.Deps{
		Telemetry: tel, Listener: rpc.Memory(), Broker: client, Keyring: keys, Tokens: token.Generate(),
	}, c)
	if err != nil {
		return err
	}
	return app.Run(ctx, tel.Log, time.Second, svc.Part())
}

// TestKilledTrackerCountsOnce kills trackers in the middle of their work, as
// processes, and looks whether every event counted once in the end.
func TestKilledTrackerCountsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ring := filepath.Join(t.TempDir(), "keyring")
	keys, err := seal.LoadOrCreate(ring)
	if err != nil {
		t.Fatalf("LoadOrCreate() = %v", err)
	}
	w.setKeys(keys)
	db, err := store.Open(t.Context(), w.cfg.Store.URL)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	const mails = 1500
	for n := range mails {
		l := bill(n)
		w.enqueue(l.accepted(), l.delivered())
	}
	for kill := range 4 {
		head, err := db.Head(t.Context())
		if err != nil {
			t.Fatalf("Head() = %v", err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{w.broker.Config().Addrs[0], ring, w.cfg.Store.URL}, ","))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatalf("starting the tracker: %v", err)
		}
		eventually(t, "progress of the tracker", func() (int64, error) { return db.Head(t.Context()) },
			func(now int64) bool { return now > head+int64(100*kill) || now >= 2*mails })
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatalf("killing the tracker: %v", err)
		}
		_ = cmd.Wait() // it was killed
	}
	if err := db.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	h := w.start()
	w.await(h, 2*mails)
	res, err := h.api.GetReport(t.Context(), &trackerv1.GetReportRequest{})
	if err != nil || len(res.GetRows()) != 1 || res.GetRows()[0].GetAccepted() != mails || res.GetRows()[0].GetDelivered() != mails {
		t.Errorf("GetReport = %v, %v, want %d accepted and delivered", res, err, mails)
	}
	inv, err := h.api.GetInvoice(t.Context(), &trackerv1.GetInvoiceRequest{InvoiceId: bill(7).invoice})
	if err != nil || inv.GetInvoice().GetMails() != 1 || len(inv.GetLife()) != 1 {
		t.Errorf("GetInvoice = %v, %v, want 1 mail and 1 step", inv, err)
	}
}
