package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// lookEvery is how often it is asked whether who inherits has done.
const lookEvery = 10 * time.Millisecond

// presence tells those who have a SQLite file open of each other, by a lock on
// a file beside it: shared by all, or had by one alone who found nobody. It ends
// with its process, however that ends. The store itself cannot be asked: SQLite
// locks it for moments only, and closing a second descriptor of it would undo
// these locks.
type presence struct {
	file *os.File
	left sync.Once
}

// enter notes that the store at path is open, and says whether nobody else has
// it open. If so, others wait until share.
func enter(ctx context.Context, path string) (p *presence, alone bool, err error) {
	file, err := os.OpenFile(path+"-lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("opening store %s: %w", path, err)
	}
	p = &presence{file: file}
	if p.lock(syscall.LOCK_EX) == nil {
		return p, true, nil
	}
	if err := p.share(ctx); err != nil {
		return nil, false, errors.Join(fmt.Errorf("locking store %s: %w", path, err), file.Close())
	}
	return p, false, nil
}

// share has the store in common with others, after whoever has it alone. Who
// had it alone gives it up for a moment: whom others find then is nobody, which
// is as good as true until something is claimed.
func (p *presence) share(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := p.lock(syscall.LOCK_SH); !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *presence) lock(how int) error {
	for {
		err := syscall.Flock(int(p.file.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// leave ends it, once; nil has nothing to end. Closing the file alone would not unlock
// it while a child of this process, between fork and exec, holds it open.
func (p *presence) leave() (err error) {
	if p == nil {
		return nil
	}
	p.left.Do(func() { err = errors.Join(p.lock(syscall.LOCK_UN), p.file.Close()) })
	return err
}
