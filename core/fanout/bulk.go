package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/store"
)

// bulkChunk rows are changed by one transaction: few enough that the journal,
// which shares SQLite's one writer, hardly notices.
const bulkChunk = 500

// Affected counts what an operation is about.
type Affected struct {
	Lanes       int64 `json:"lanes"`
	DeadLetters int64 `json:"dead_letters"`
}

// Pace says how an operation on many rows goes about it. The zero value goes as
// fast as the database takes it.
type Pace struct {
	// Rate is how many lanes and dead letters are changed in a second; 0: no
	// limit.
	Rate int
	// Progress, if set, is told after each transaction what was done so far.
	Progress func(Affected)
}

// chunk is how many rows one transaction may take.
func (p Pace) chunk() int {
	if p.Rate <= 0 {
		return bulkChunk
	}
	return min(max(p.Rate/4, 1), bulkChunk)
}

// wait lets as much time pass as n rows are worth.
func (p Pace) wait(ctx context.Context, n int64) error {
	if p.Rate <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(n) * time.Second / time.Duration(p.Rate))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Count tells how many lanes and dead letters f selects.
func Count(ctx context.Context, st *store.Store, f Filter) (a Affected, err error) {
	if w, any := f.lanes(); any {
		if a.Lanes, err = countRows(ctx, st, "avhub_lanes", w); err != nil {
			return a, fmt.Errorf("count blocked lanes: %w", err)
		}
	}
	if a.DeadLetters, err = countRows(ctx, st, "avhub_dead_letters", f.letters()); err != nil {
		return a, fmt.Errorf("count dead letters: %w", err)
	}
	return a, nil
}

func countRows(ctx context.Context, st *store.Store, table string, w clause) (n int64, err error) {
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) },
		`SELECT COUNT(*) FROM `+table+` WHERE `+w.String(), w.args...)
	return n, err
}

// Retry makes lanes due at once and has dead letters delivered again, as fast as
// the database takes it.
func Retry(ctx context.Context, st *store.Store, f Filter) (Affected, error) {
	return RetryAt(ctx, st, f, Pace{})
}

// RetryAt is Retry at a pace. It works in small transactions. What it has done
// when it fails or ctx ends is done; the same call again does the rest.
func RetryAt(ctx context.Context, st *store.Store, f Filter, pace Pace) (Affected, error) {
	letters := f.letters()
	letters.and("retry = ?", false)
	return operate(ctx, st, f, letters, pace,
		`UPDATE avhub_lanes SET next_at = 0 WHERE `,
		`UPDATE avhub_dead_letters SET retry = true WHERE `)
}

// Discard gives up the first event of each lane, whose key then goes on, and
// deletes dead letters. The events stay in the journal.
func Discard(ctx context.Context, st *store.Store, f Filter) (Affected, error) {
	return DiscardAt(ctx, st, f, Pace{})
}

// DiscardAt is Discard at a pace, as RetryAt is Retry.
func DiscardAt(ctx context.Context, st *store.Store, f Filter, pace Pace) (Affected, error) {
	return operate(ctx, st, f, f.letters(), pace,
		`UPDATE avhub_lanes SET discard = head WHERE `,
		`DELETE FROM avhub_dead_letters WHERE `)
}

func operate(ctx context.Context, st *store.Store, f Filter, letters clause, pace Pace, laneSQL, letterSQL string) (a Affected, err error) {
	// What comes while this works was not asked for.
	var newest int64
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&newest) },
		`SELECT COALESCE(MAX(id), 0) FROM avhub_dead_letters`)
	if err != nil {
		return a, fmt.Errorf("read dead letters: %w", err)
	}
	letters.and("id <= ?", newest)
	if w, any := f.lanes(); any {
		err := inChunks(ctx, st, "avhub_lanes", w, "", pace, laneSQL, func(n int64) {
			a.Lanes += n
			pace.report(a)
		})
		if err != nil {
			return a, fmt.Errorf("change blocked lanes: %w", err)
		}
	}
	err = inChunks(ctx, st, "avhub_dead_letters", letters, int64(0), pace, letterSQL, func(n int64) {
		a.DeadLetters += n
		pace.report(a)
	})
	if err != nil {
		return a, fmt.Errorf("change dead letters: %w", err)
	}
	return a, nil
}

func (p Pace) report(a Affected) {
	if p.Progress != nil {
		p.Progress(a)
	}
}

// inChunks runs a statement, which ends in WHERE, on all rows that w selects, in
// the order of their ids and a few at a time.
func inChunks[ID int64 | string](ctx context.Context, st *store.Store, table string, w clause, after ID, pace Pace, statement string, did func(int64)) error {
	size := pace.chunk()
	for {
		page := w
		page.parts, page.args = append(w.parts[:len(w.parts):len(w.parts)], "id > ?"), append(w.args[:len(w.args):len(w.args)], after)
		var ids []any
		err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
			if err := rows.Scan(&after); err != nil {
				return err
			}
			ids = append(ids, after)
			return nil
		}, fmt.Sprintf(`SELECT id FROM %s WHERE %s ORDER BY id LIMIT %d`, table, page.String(), size), page.args...)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		var n int64
		err = st.InTx(ctx, func(ctx context.Context) error {
			n = 0
			return store.Chunks(len(ids), 1, func(from, to int) error {
				changed, err := st.SQL(ctx).Exec(ctx, statement+`id IN `+store.Tuples(1, to-from), ids[from:to]...)
				n += changed
				return err
			})
		})
		if err != nil {
			return err
		}
		did(n)
		if len(ids) < size {
			return nil
		}
		if err := pace.wait(ctx, int64(len(ids))); err != nil {
			return err
		}
	}
}
