package retention

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
)

const (
	// A chunk is deleted in one transaction, which on SQLite appends wait for. Its
	// size is chosen so that it takes about chunkTime.
	chunkStart = 32
	chunkMost  = 512
	chunkTime  = 4 * time.Millisecond
	// restShare is how many times as long as a chunk has taken nothing is done
	// afterwards, so that appends have most of the time for themselves.
	restShare = 3
	restLeast = time.Millisecond
	restMost  = time.Second
)

// Done is what was removed.
type Done struct {
	Events int64 `json:"events"`
	IDs    int64 `json:"ids"`
	// First is the position that the journal begins with now.
	First int64 `json:"first"`
}

// Prune removes all that can be removed now, some at a time; appends and deliveries
// go on. progress, if set, is told now and then. What was done before an error is
// done.
func (r *Retention) Prune(ctx context.Context, progress func(Done)) (Done, error) {
	_, now, err := r.clock(ctx, 0)
	if err != nil {
		return Done{}, err
	}
	return r.prune(ctx, now, progress)
}

func (r *Retention) prune(ctx context.Context, now time.Time, progress func(Done)) (done Done, err error) {
	r.missed = 0
	for _, step := range []func(context.Context, time.Time, *Done) (more bool, err error){r.events, r.reapplied, r.ids} {
		for more := true; more; {
			begin := time.Now()
			if more, err = step(ctx, now, &done); err != nil {
				return done, err
			}
			if !more {
				break
			}
			if progress != nil {
				progress(done)
			}
			took := time.Since(begin)
			r.adapt(took)
			if ok, _ := r.deps.Wait(ctx, min(max(restShare*took, restLeast), restMost)); !ok {
				return done, fmt.Errorf("prune the journal: %w", ctx.Err())
			}
		}
	}
	if done.First, err = r.deps.Journal.First(ctx); err != nil {
		return done, err
	}
	return done, nil
}

// adapt makes chunks larger or smaller, so that they take about as long as they may.
func (r *Retention) adapt(took time.Duration) {
	switch {
	case took > 2*chunkTime:
		r.size = max(r.size/2, chunkStart)
	case took < chunkTime:
		r.size = min(r.size*3/2, chunkMost)
	}
}

// events removes a chunk of events.
func (r *Retention) events(ctx context.Context, now time.Time, done *Done) (more bool, err error) {
	if r.cfg.Retain == 0 {
		return false, nil
	}
	var removed int64
	again, err := r.inTx(ctx, "prune the journal", func(ctx context.Context) error {
		removed, more = 0, false
		first, err := journal.First(ctx, r.deps.Store)
		if err != nil {
			return err
		}
		until, _, err := r.free(ctx)
		if err != nil || until < first {
			return err
		}
		cut, err := r.expired(ctx, first, until, now)
		if err != nil || cut < first {
			return err
		}
		removed, err = r.deps.Store.SQL(ctx).Exec(ctx,
			`DELETE FROM avhub_events WHERE position >= ? AND position <= ? AND failed = ''`, first, cut)
		if err != nil {
			return fmt.Errorf("delete events: %w", err)
		}
		more = true
		return journal.SetFirst(ctx, r.deps.Store, cut+1)
	})
	if err != nil {
		return false, err
	}
	done.Events += removed
	return more || again, nil
}

// inTx runs fn in a transaction that is the only one that prunes. When another hub
// prunes, or somebody moves a cursor back, it does nothing, and tells whether to try
// again.
func (r *Retention) inTx(ctx context.Context, what string, fn func(context.Context) error) (again bool, err error) {
	bounded, cancel := r.deps.Store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	err = r.deps.Store.InTx(bounded, func(ctx context.Context) error {
		ok, err := journal.TryPrune(ctx, r.deps.Store)
		if err != nil {
			return err
		}
		if !ok {
			r.missed++
			again = r.missed < mostMissed
			return nil
		}
		r.missed = 0
		return fn(ctx)
	})
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	return again, nil
}

// mostMissed is how many times in a row a turn may be missed before it is left for
// the next look.
const mostMissed = 100

// free returns the position up to which nobody needs anything, and who needs what.
func (r *Retention) free(ctx context.Context) (until int64, holds []Hold, err error) {
	until = math.MaxInt64
	for _, holder := range r.deps.Holders {
		some, err := holder(ctx)
		if err != nil {
			return 0, nil, fmt.Errorf("ask what is still needed: %w", err)
		}
		for _, h := range some {
			until = min(until, h.Position)
		}
		holds = append(holds, some...)
	}
	return until, holds, nil
}

// expired returns the last position of the next chunk, from first on and not beyond
// until, whose events are all old enough; first-1 if there is none.
//
// An event is as old as the newest before it at least, so one whose clock was slow
// is not removed before its neighbours. A time in the future says nothing; then the
// neighbours' count.
func (r *Retention) expired(ctx context.Context, first, until int64, now time.Time) (cut int64, err error) {
	latest, oldest := now.UnixMicro(), now.Add(-r.cfg.Retain).UnixMicro()
	cut = first - 1
	until = min(until, first+futureAll)
	for from, size := first, r.size; from <= until; from, size = from+int64(size), min(2*size, futureMost) {
		next := from
		decided := false
		err := r.deps.Store.SQL(ctx).Query(ctx, func(rows *sql.Rows) error {
			var position, received int64
			if err := rows.Scan(&position, &received); err != nil {
				return err
			}
			next = position + 1
			switch {
			case decided || received > latest:
			case received <= oldest:
				cut = position
			default:
				decided = true
			}
			return nil
		}, `SELECT position, received_at FROM avhub_events WHERE position >= ? AND position <= ? ORDER BY position LIMIT ?`, from, until, size)
		if err != nil {
			return cut, fmt.Errorf("read when events were received: %w", err)
		}
		if decided || cut >= first || next-from < int64(size) {
			break
		}
	}
	// What came from the future may have made for more than a chunk.
	return min(cut, first+int64(r.size)-1), nil
}

// Events from the future are passed over, so many at once and so many in all. A
// longer row of them stays until its time has come.
const (
	futureMost = 8192
	futureAll  = 100_000
)

// reapplied removes events before the journal's beginning that had stayed because
// the mirror could not apply them, and that have been reapplied.
func (r *Retention) reapplied(ctx context.Context, _ time.Time, done *Done) (more bool, err error) {
	if r.cfg.Retain == 0 {
		return false, nil
	}
	var removed int64
	again, err := r.inTx(ctx, "prune reapplied events", func(ctx context.Context) error {
		removed = 0
		first, err := journal.First(ctx, r.deps.Store)
		if err != nil {
			return err
		}
		until, _, err := r.free(ctx)
		if err != nil {
			return err
		}
		removed, err = r.deps.Store.SQL(ctx).Exec(ctx, `DELETE FROM avhub_events WHERE position IN
 (SELECT position FROM avhub_events WHERE position < ? AND position <= ? AND failed = '' ORDER BY position LIMIT ?)`, first, until, r.size)
		return err
	})
	done.Events += removed
	return again || removed == int64(r.size) && err == nil, err
}

// ids forgets ids of events that are gone and that came long ago.
func (r *Retention) ids(ctx context.Context, now time.Time, done *Done) (more bool, err error) {
	var forgotten int64
	again, err := r.inTx(ctx, "forget ids", func(ctx context.Context) error {
		forgotten = 0
		db := r.deps.Store.SQL(ctx)
		first, err := journal.First(ctx, r.deps.Store)
		if err != nil || first <= 1 {
			return err
		}
		latest, oldest := now.UnixMicro(), now.Add(-r.cfg.DedupeFor).UnixMicro()
		var old []string
		decided := false
		var maybe []string // seen in the future, so as old as those that follow
		err = db.Query(ctx, func(rows *sql.Rows) error {
			var id string
			var seen int64
			if err := rows.Scan(&id, &seen); err != nil {
				return err
			}
			switch {
			case decided:
			case seen > latest:
				maybe = append(maybe, id)
			case seen <= oldest:
				old, maybe = append(append(old, maybe...), id), nil
			default:
				decided = true
			}
			return nil
		}, `SELECT id, seen_at FROM avhub_seen_events s WHERE position < ?
 AND NOT EXISTS (SELECT 1 FROM avhub_events e WHERE e.position = s.position) ORDER BY position LIMIT ?`, first, r.size)
		if err != nil {
			return fmt.Errorf("look for old ids: %w", err)
		}
		return store.Chunks(len(old), 1, func(from, to int) error {
			args := make([]any, 0, to-from)
			for _, id := range old[from:to] {
				args = append(args, id)
			}
			n, err := db.Exec(ctx, `DELETE FROM avhub_seen_events WHERE id IN `+store.Tuples(1, to-from), args...)
			forgotten += n
			return err
		})
	})
	if err != nil {
		return false, err
	}
	done.IDs += forgotten
	return again || forgotten > 0, nil
}
