package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/avhub/avhub/core/event"
)

// Log is the journal, as the mirror reads it to be verified and built anew. All
// of it reads in the transaction that ctx carries.
type Log interface {
	// Span returns the positions of the oldest event that is still there and of
	// the newest that ever was, 0 if there never was one.
	Span(ctx context.Context) (first, last int64, err error)
	// Each calls fn for the events at after < position ≤ until, in that order,
	// with Failed as it was noted.
	Each(ctx context.Context, after, until int64, fn func(*event.Event) error) error
	// Reapplied returns a number that changes whenever events that had failed
	// were applied after all.
	Reapplied(ctx context.Context) (int64, error)
}

// ErrPruned says that the journal no longer holds its oldest events. What they
// said is in the mirror alone, so that can neither be proven nor built anew.
var ErrPruned = errors.New("the journal no longer holds its oldest events")

// ErrGap says that events are missing in the middle of the journal.
var ErrGap = errors.New("the journal has a gap; was the table changed by hand? Restore it from a backup")

// wholeJournal returns the last position of a journal that begins with its first event.
func wholeJournal(ctx context.Context, log Log) (int64, error) {
	first, last, err := log.Span(ctx)
	switch {
	case err != nil:
		return 0, err
	case last > 0 && first != 1:
		begins := fmt.Sprintf("it begins at position %d", first)
		if first == 0 {
			begins = "it is empty"
		}
		return 0, fmt.Errorf("%w: %s. What those before it said is in the mirror alone, and would be lost if it were built anew", ErrPruned, begins)
	}
	return last, nil
}

// readAhead is how many batches wait to be folded.
const readAhead = 4

// ahead reads events in a goroutine of its own, so that reading and decoding
// overlap with what use does with them, some at a time.
func ahead(ctx context.Context, log Log, after, until int64, size int, use func([]*event.Event) error) error {
	ctx, stop := context.WithCancel(ctx)
	batches := make(chan []*event.Event, readAhead)
	read := make(chan error, 1)
	go func() {
		defer close(batches)
		var batch []*event.Event
		send := func() error {
			select {
			case batches <- batch:
				batch = make([]*event.Event, 0, size)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		next := after
		err := log.Each(ctx, after, until, func(ev *event.Event) error {
			if next++; ev.Position != next {
				return fmt.Errorf("%w: position %d is missing", ErrGap, next)
			}
			if batch = append(batch, ev); len(batch) == size {
				return send()
			}
			return nil
		})
		if err == nil && next != until && after < until {
			err = fmt.Errorf("%w: position %d is missing", ErrGap, next+1)
		}
		if err == nil && len(batch) > 0 {
			err = send()
		}
		read <- err
	}()
	var err error
	for batch := range batches {
		if err == nil {
			if err = use(batch); err != nil {
				stop()
			}
		}
	}
	// The reader has ended by then: nothing uses the transaction any more.
	readErr := <-read
	stop()
	if err != nil {
		return err
	}
	return readErr
}
