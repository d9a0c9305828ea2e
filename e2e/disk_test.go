package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// diskEnv marks the process that has a disk of its own.
const diskEnv = "KURIR_TEST_DISK"

const (
	diskBytes = 400 << 20
	// guarded is the free space under which the embedded broker refuses records.
	guarded = 256 << 20
)

// ownDisk runs the test again in a process with user and mount namespaces of its
// own, where it may mount what it likes, and is false in the one that only waits
// for it.
func ownDisk(t *testing.T) bool {
	t.Helper()
	if os.Getenv(diskEnv) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), diskEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) && os.Getenv("CI") != "true" {
		t.Skipf("no namespaces here: %v", err)
	}
	if err != nil {
		t.Errorf("with a disk of its own: %v", err)
	}
	t.Logf("%s", out)
	return false
}

// disk is a small file system and the file that takes what others shall not
// have.
type disk struct{ dir string }

func mount(t *testing.T) disk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskBytes)); err != nil {
		if os.Getenv("CI") != "true" {
			t.Skipf("nothing can be mounted here: %v", err)
		}
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return disk{dir}
}

// free says how much room there is.
func (d disk) free(t *testing.T) int64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// leave takes all room but so many bytes.
func (d disk) leave(t *testing.T, bytes int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for size := info.Size(); ; { // others write as well
		more := d.free(t) - bytes
		if more <= 0 {
			return
		}
		err := syscall.Fallocate(int(f.Fd()), 0, size, more)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err == nil {
			size += more
		}
	}
}

// relieve gives it back.
func (d disk) relieve(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		t.Fatal(err)
	}
}

// knocks are mails that somebody sends to a mesh with a full disk, each under
// a key of its own.
type knocks struct {
	mesh     *harness.Mesh
	accepted []string
	refused  []*mailv1.SendRequest
}

// send sends a mail once.
func (k *knocks) send(t *testing.T, req *mailv1.SendRequest) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	res, err := k.mesh.Mail.Send(ctx, req)
	if err == nil {
		k.accepted = append(k.accepted, res.GetReceipt().GetMailId())
	}
	return err
}

// full is why mails are refused: by the broker's disk, or the store's.
var full = regexp.MustCompile(`disk takes no records|disk is full`)

// until sends mails, for now or for later, until one is refused as it should
// be, and with these words. A connection that is not there yet has no RetryInfo.
func (k *knocks) until(t *testing.T, wait time.Duration, words *regexp.Regexp) {
	t.Helper()
	harness.Eventually(t, func() error {
		req := &mailv1.SendRequest{
			IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: "knock@disk.example"},
			Content: &mailv1.Content{Subject: "Kabar", Text: strings.Repeat("Halo.\n", 3000)},
			Options: &mailv1.Options{SendAt: timestamppb.New(time.Now().Add(wait))},
		}
		err := k.send(t, req)
		if err == nil {
			return errors.New("mails are taken")
		}
		k.refused = append(k.refused, req)
		var f *fault.Error
		switch {
		case !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Reason != faultv1.Reason_REASON_UNSPECIFIED && f.RetryAfter <= 0:
			t.Errorf("Send on a full disk = %v, want UNAVAILABLE with RetryInfo", err)
		case !words.MatchString(err.Error()):
			return err
		}
		return nil
	})
}

// again sends what was refused, until it is taken.
func (k *knocks) again(t *testing.T) {
	t.Helper()
	for _, req := range k.refused {
		harness.Eventually(t, func() error { return k.send(t, req) })
	}
	k.refused = nil
}

// crowded is a mesh on a small disk, with a stream of mail to it.
type crowded struct {
	disk
	*harness.Instance
	*knocks
	mx     *mxsim.Host
	stream *stream
	lives  []*harness.Process
}

// crowd makes one. It is nil when the test is not to go on here.
func crowd(t *testing.T) *crowded {
	t.Helper()
	if !ownDisk(t) {
		return nil
	}
	d := mount(t)
	in, m := harness.UpMX(t, harness.Settings{"data": filepath.Join(d.dir, "data"), "telemetry.log.level": "warn"})
	c := &crowded{disk: d, Instance: in, knocks: &knocks{mesh: m}}
	c.mx = m.Host(t, "mx.disk.example", mxsim.HostConfig{Script: mxsim.Tarpit(5 * time.Millisecond), Keep: 100_000})
	m.DNS.MX("disk.example", "mx.disk.example")
	c.stream = startStream(t, m, "disk.example")
	c.stream.mails.More(t, 100)
	return c
}

// shut waits until the service says that it cannot work, for the broker takes
// nothing.
func (c *crowded) shut(t *testing.T, service string) {
	t.Helper()
	harness.Eventually(t, func() error {
		ready, why, err := c.Readiness(service)
		if err == nil && (ready || !strings.Contains(why, "broker does not take records")) {
			err = fmt.Errorf("readiness of %s is %t, %q", service, ready, why)
		}
		return err
	})
}

// settle checks that every mail that was taken ended once, but for so many that
// were on the wire at a kill, and that the logs are fit to be read.
func (c *crowded) settle(t *testing.T, bound int) {
	t.Helper()
	c.again(t)
	t.Logf("%d connections at most", c.mx.Stats().Peak)
	allEnded(t, c.mesh, c.mx, append(c.stream.end(), c.accepted...), bound)
	for i, life := range append(c.lives, c.Process) {
		log := life.Stderr()
		t.Logf("life %d wrote:\n%s", i, log)
		if lines := strings.Count(log, "\n"); lines > 100 {
			t.Errorf("life %d wrote %d lines, want no flood", i, lines)
		}
		if strings.Contains(log, "@disk.example") {
			t.Errorf("life %d wrote addresses", i)
		}
	}
}

// TestDiskFull fills the disk below what the broker keeps free, and then to the
// last byte.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	c := crowd(t)
	if c == nil {
		return
	}
	c.leave(t, guarded+1<<20)
	c.until(t, 0, full)
	c.shut(t, "router")
	c.stream.mu.Lock()
	taken := slices.Clone(c.stream.accepted)
	c.stream.mu.Unlock()
	for _, id := range append(taken, c.accepted...) { // what was taken comes to its end meanwhile
		c.mesh.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	c.until(t, 0, full)
	c.relieve(t)
	c.stream.mails.More(t, 60)
	c.again(t)

	c.leave(t, 0)
	c.until(t, 0, full)
	c.until(t, time.Second, full)
	c.shut(t, "router")
	c.shut(t, "dispatcher") // what cannot be written down is not sent
	c.relieve(t)
	c.stream.mails.More(t, 60)
	c.settle(t, 0)
}

// TestDiskFullKill kills the mesh while its disk is full and starts it again,
// before there is room and after.
func TestDiskFullKill(t *testing.T) {
	t.Parallel()
	c := crowd(t)
	if c == nil {
		return
	}
	for _, early := range []bool{true, false} {
		c.leave(t, 0)
		c.until(t, 0, full)
		c.lives = append(c.lives, c.Process)
		c.Process.Kill()
		c.leave(t, 0)
		if early {
			c.Launch(t) // it is not ready before there is room
			c.until(t, 0, full)
			c.shut(t, "router")
			c.relieve(t)
		} else {
			c.relieve(t)
			c.Begin(t)
		}
		c.stream.mails.More(t, 60)
		c.again(t)
	}
	c.settle(t, 2*c.mx.Stats().Peak)
}
