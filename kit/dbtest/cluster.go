package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"kurir.dev/kit/backoff"
)

// cluster starts the process's own PostgreSQL at the first call. Nothing tells a library that a test process ends, so the server is
// held by a shell that reads a pipe of ours: when we end, however we end, the
// pipe closes and the shell stops the server and removes its directory.
var cluster = sync.OnceValues(start)

type server struct {
	url  string
	hold io.Closer // the pipe; unreachable it would be closed
}

// watchdog runs as: sh -c watchdog sh BIN DIR.
const watchdog = `
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= \
	-c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	-c max_connections=300 -c shared_buffers=32MB >"$2/log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
kill -INT $pid
wait $pid
cd /
rm -rf "$2"
`

func start() (*server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kurirpg")
	if err != nil {
		return nil, err
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// The cluster belongs to the process, not to the test that came first.
	ctx := context.Background()
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"),
		"-D", filepath.Join(dir, "data"), "-U", "kurir", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	sh := exec.CommandContext(ctx, "/bin/sh", "-c", watchdog, "sh", bin, dir)
	sh.Dir, sh.SysProcAttr = dir, attr
	hold, err := sh.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := sh.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	address := "postgres://kurir@/postgres?host=" + url.QueryEscape(dir)
	if err := answer(ctx, address); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, fmt.Errorf("private cluster: %w\n%s", err, log)
	}
	return &server{url: address, hold: hold}, nil
}

// binaries finds the newest installed server.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("no /usr/lib/postgresql/*/bin/initdb")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged hands dir to the user the server runs as: PostgreSQL refuses
// root, so root lends it to postgres or nobody. The shell leads a process
// group of its own, so that an interrupt of the test run stops the server
// through the pipe, in order.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("finding a user for PostgreSQL: %w", err)
		}
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("uid of %s: %w", account.Username, err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("gid of %s: %w", account.Username, err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}

// answer waits until the server takes connections.
func answer(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	pool, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	var last error
	wait := backoff.Policy{Base: 20 * time.Millisecond, Max: 200 * time.Millisecond}
	err = wait.Retry(ctx, func(ctx context.Context, _ int) error {
		last = pool.PingContext(ctx)
		return last
	}, nil)
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}
