package journal

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/avhub/avhub/core/store"
)

const (
	// Events are received a little earlier than they get their position, each by
	// its own: by so many positions their order in time may differ.
	seekMargin = 4 * groupEvents
	// seekSamples are looked at before the place that a search by halves has
	// found, for times that do not fit.
	seekSamples = 64
)

// Seek returns a position such that what was received at or after a time stands
// beyond it, and not much of what was received before. It looks at about a hundred
// events, however many there are.
//
// Positions have the order of commits, and times that of the hubs' clocks. Where a
// clock was set back for a while, the events of that while may be taken for older
// than they are; a while that holds a sixty-fourth of the journal or more is
// always noticed, and the position is the lower for it.
func (j *Journal) Seek(ctx context.Context, since time.Time) (after int64, err error) {
	db := j.store.ReadSQL()
	first, err := first(ctx, db)
	if err != nil {
		return 0, err
	}
	last, err := lastPosition(ctx, db)
	if err != nil {
		return 0, err
	}
	at := since.UnixMicro()
	low, high := first, last+1 // the answer's event is in low ≤ … ≤ high
	for low < high {
		middle := low + (high-low)/2
		received, err := receivedAt(ctx, db, middle, high)
		if err != nil {
			return 0, err
		}
		if received >= at {
			high = middle
		} else {
			low = middle + 1
		}
	}
	step := max((low-first)/seekSamples, 1)
	for p := first; p < low && low-first > seekMargin; p += step {
		received, err := receivedAt(ctx, db, p, low)
		if err != nil {
			return 0, err
		}
		if received >= at && received != never {
			low = max(p-step, first)
			break
		}
	}
	return max(low-seekMargin, first) - 1, nil
}

// never is later than all events.
const never = math.MaxInt64

// receivedAt returns when the first event from position on, and before another
// one, was received.
func receivedAt(ctx context.Context, db store.SQL, position, before int64) (int64, error) {
	at := int64(never)
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&at) },
		`SELECT received_at FROM avhub_events WHERE position >= ? AND position < ? ORDER BY position LIMIT 1`, position, before)
	if err != nil {
		return 0, fmt.Errorf("look for a time in the journal: %w", err)
	}
	return at, nil
}
