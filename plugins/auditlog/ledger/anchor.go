package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
)

// ErrRolledBack: somebody remembers more of this trail than it has, or remembers
// it otherwise.
var ErrRolledBack = errors.New("this trail is not the one that is remembered")

// knownHeads bounds how many heads are remembered as proved.
const knownHeads = 4096

// Extends tells whether the trail goes on from a head that was remembered
// outside of it, and has the entry at index. What is remembered and not under a
// checkpoint yet is waited for.
func (l *Ledger) Extends(ctx context.Context, head tiles.Head, index int64) error {
	switch {
	case head.Origin != l.Origin():
		return fmt.Errorf("%w: it was called %q and is %q now", ErrRolledBack, head.Origin, l.Origin())
	case index >= l.Size() || head.Size > l.Size():
		return fmt.Errorf("%w: it had %d entries at least, and has %d now: it was rolled back to a copy of before", ErrRolledBack, max(index+1, head.Size), l.Size())
	case head.Size == 0:
		return nil
	}
	head.Rest = ""
	l.mu.Lock()
	known := l.known[head]
	l.mu.Unlock()
	if known {
		return nil
	}
	if err := l.Published(ctx, head.Size-1); err != nil {
		return err
	}
	if err := l.trail.Files().Consistent(head, l.Head().Head); err != nil {
		if errors.Is(err, tiles.ErrFork) {
			return fmt.Errorf("%w: %w", ErrRolledBack, err)
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= knownHeads {
		clear(l.known)
	}
	l.known[head] = true
	return nil
}
