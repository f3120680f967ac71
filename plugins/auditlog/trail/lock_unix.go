//go:build unix

package trail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// held are the trails of this process, by real path: the system's lock keeps
// other processes out, but on some file systems not another opening of this one.
var (
	heldMu sync.Mutex
	held   = map[string]bool{}
)

// Lock makes sure that nobody else writes to the trail in dir, until unlock.
func Lock(dir string) (unlock func(), err error) {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the trail: %w", err)
	}
	heldMu.Lock()
	defer heldMu.Unlock()
	if held[real] {
		return nil, ErrInUseHere
	}
	f, err := os.OpenFile(filepath.Join(real, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the trail: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: by another process", ErrInUse)
		}
		return nil, fmt.Errorf("lock the trail: %w", err)
	}
	held[real] = true
	return func() {
		heldMu.Lock()
		defer heldMu.Unlock()
		delete(held, real)
		_ = f.Close() // ends the lock
	}, nil
}
