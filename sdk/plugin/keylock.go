package plugin

import (
	"context"
	"sync"
	"time"
)

// keyLocks keeps Deliver from running twice at a time for one key, whatever
// calls arrive. A hub sends a key in one batch at a time, but a Deliver that
// ignored its deadline is still running when the hub sends the key again.
// Memory is that of the keys in flight.
type keyLocks struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the key is released
}

// lock waits for the key for at most wait, and tells whether it got it.
func (k *keyLocks) lock(ctx context.Context, key string, wait time.Duration) bool {
	var timeout <-chan time.Time
	for {
		k.mu.Lock()
		free, taken := k.busy[key]
		if !taken {
			if k.busy == nil {
				k.busy = map[string]chan struct{}{}
			}
			k.busy[key] = make(chan struct{})
			k.mu.Unlock()
			return true
		}
		k.mu.Unlock()
		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-free:
		case <-ctx.Done():
			return false
		case <-timeout:
			return false
		}
	}
}

func (k *keyLocks) unlock(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.busy[key])
	delete(k.busy, key)
}
