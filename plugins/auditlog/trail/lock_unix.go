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

// open are the trails of this process, by real path: the system's lock keeps
// other processes out, but on some file systems not another opening of this one.
var (
	openMu sync.Mutex
	open   = map[string]bool{}
)

// lock makes sure that nobody else writes to the trail in dir.
func lock(dir string) (unlock func(), err error) {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the trail: %w", err)
	}
	openMu.Lock()
	defer openMu.Unlock()
	if open[real] {
		return nil, fmt.Errorf("%w: by this process", ErrInUse)
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
	open[real] = true
	return func() {
		openMu.Lock()
		defer openMu.Unlock()
		delete(open, real)
		_ = f.Close() // ends the lock
	}, nil
}
