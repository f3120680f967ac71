package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/store"
)

// firstCounter is the name of the counter that holds the first position which was
// not pruned. From there on positions are gapless. Without it, that is 1.
const firstCounter = "journal_first"

// ErrPruned says that the journal no longer holds what was asked for.
var ErrPruned = errors.New("the journal no longer holds that")

// PrunedError is an ErrPruned with what is known about it.
type PrunedError struct {
	What  string    // was asked for
	First int64     // position that the journal begins with
	Since time.Time // when that event was received; zero if there is none
}

func (e *PrunedError) Error() string {
	begins := fmt.Sprintf("the journal begins at position %d", e.First)
	if !e.Since.IsZero() {
		begins += ", received " + e.Since.Format(time.RFC3339)
	}
	return fmt.Sprintf("%s was pruned: %s (journal.retain tells how long events stay)", e.What, begins)
}

// Is makes it an ErrPruned.
func (e *PrunedError) Is(target error) bool { return target == ErrPruned }

// First returns the position that the journal in st begins with: what came before
// was pruned. It reads in the transaction that ctx carries.
func First(ctx context.Context, st *store.Store) (int64, error) { return first(ctx, st.SQL(ctx)) }

// First returns the position that the journal begins with: what came before was
// pruned. It is that of the next event if all were.
func (j *Journal) First(ctx context.Context) (int64, error) { return first(ctx, j.store.ReadSQL()) }

func first(ctx context.Context, db store.SQL) (int64, error) {
	position := int64(1)
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&position) },
		`SELECT value FROM avhub_counters WHERE name = ?`, firstCounter)
	if err != nil {
		return 0, fmt.Errorf("read where the journal begins: %w", err)
	}
	return position, nil
}

// SetFirst notes, in the transaction that ctx carries, that the journal begins at a
// position. Whoever prunes calls it, with the lock of TryPrune.
func SetFirst(ctx context.Context, st *store.Store, position int64) error {
	if _, err := st.SQL(ctx).Exec(ctx, setPosition, firstCounter, position); err != nil {
		return fmt.Errorf("note where the journal begins: %w", err)
	}
	return nil
}

// pruneLock is the key of Postgres's advisory lock between those who prune and
// those who must not be overtaken by it.
const pruneLock = 0x6176687563 // beside that of the journal's turn

// Hold keeps the journal as it is until the transaction that ctx carries ends, and
// returns the position that it begins with. Whoever makes a cursor, or moves one
// back, calls it first: what it then writes is seen by the next one who prunes.
func Hold(ctx context.Context, st *store.Store) (first int64, err error) {
	if st.Dialect() == store.Postgres {
		// On SQLite a transaction that writes is alone anyway.
		if _, err := st.SQL(ctx).Exec(ctx, `SELECT pg_advisory_xact_lock_shared(?)`, int64(pruneLock)); err != nil {
			return 0, fmt.Errorf("keep the journal from being pruned: %w", err)
		}
	}
	return First(ctx, st)
}

// TryPrune makes the transaction that ctx carries the only one that prunes, with
// nobody in Hold, and reports whether that worked. It does not wait.
func TryPrune(ctx context.Context, st *store.Store) (ok bool, err error) {
	if st.Dialect() != store.Postgres {
		return true, nil
	}
	err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&ok) }, `SELECT pg_try_advisory_xact_lock(?)`, int64(pruneLock))
	if err != nil {
		return false, fmt.Errorf("take the turn to prune: %w", err)
	}
	return ok, nil
}

// pruned makes the error for something that lies before the journal's beginning.
func (j *Journal) pruned(ctx context.Context, what string, first int64) error {
	e := &PrunedError{What: what, First: first}
	var at int64
	err := j.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&at) },
		`SELECT received_at FROM avhub_events WHERE position = ?`, first)
	if err != nil {
		return fmt.Errorf("read where the journal begins: %w", err)
	}
	if at > 0 {
		e.Since = time.UnixMicro(at).UTC()
	}
	return e
}
