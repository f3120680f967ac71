package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/backfillrun"
)

// lifetime is how long an interrupted run can be gone on with. What it read
// before is too old then.
const lifetime = 6 * time.Hour

// run reads everything into the mirror.
type run struct {
	o       Options
	tour    *tour
	sum     Summary
	tally   *tally
	shown   map[uint64]struct{} // changes of a dry run that were counted
	started time.Time           // of the run, also if it was gone on with
	kept    bool                // its progress is kept
	before  map[string]bool     // units that it read before it was interrupted
}

// Run reads members into the mirror. A run that was interrupted is gone on with:
// units that were read to their end are not read again. Units that cannot be read
// are in the summary; an error is what kept it from reading on. The summary counts
// what was done until then, so it is worth showing beside an error.
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.Now == nil {
		o.Now = store.Now
	}
	began := o.Now()
	r := &run{o: o, tour: newTour(o), tally: newTally(), started: began, before: map[string]bool{}, shown: map[uint64]struct{}{}}
	r.kept = !o.DryRun && !r.tour.only
	r.sum = Summary{
		Source: o.Source.Name, DryRun: o.DryRun, Skipped: map[string]int64{},
		Unknown: []string{}, Failed: []Failure{}, Problems: []Problem{},
	}
	err := r.resume(ctx)
	if err == nil {
		err = r.tour.walk(ctx, r.unit)
	}
	if err == nil && r.kept && len(r.tour.failures) == 0 {
		err = r.note(ctx, "", o.Now(), int(r.tour.members))
	}
	r.sum.Rows, r.sum.Members = r.tally.rows, r.tour.members
	r.sum.Failed = append(r.sum.Failed, r.tour.failures...)
	r.sum.Unknown = append(r.sum.Unknown, r.tour.unknown...)
	r.sum.Took = o.Now().Sub(began)
	return r.sum, err
}

// resume finds out what an interrupted run has read. A run is over when its own
// row, that of no unit, says so.
func (r *run) resume(ctx context.Context) error {
	if !r.kept {
		return nil
	}
	open, err := r.o.Store.Read().BackfillRun.Get(ctx, r.rowID(""))
	if err != nil && !ent.IsNotFound(err) {
		return fmt.Errorf("look for an interrupted run: %w", err)
	}
	if open == nil || open.DoneAt != 0 || r.o.Restart || time.UnixMicro(open.StartedAt).Before(r.o.Now().Add(-lifetime)) {
		return r.note(ctx, "", time.Time{}, 0)
	}
	r.started = time.UnixMicro(open.StartedAt).UTC()
	r.sum.ResumedFrom = &r.started
	ids, err := r.o.Store.Read().BackfillRun.Query().
		Where(backfillrun.StartedAt(open.StartedAt), backfillrun.DoneAtGT(0)).IDs(ctx)
	if err != nil {
		return fmt.Errorf("look for what an interrupted run has read: %w", err)
	}
	for _, id := range ids {
		r.before[id] = true // ids of other sources are none of this one's units
	}
	return nil
}

// rowID is the key of a unit's row, or with no unit that of the run itself. The
// name of a source has no slash.
func (r *run) rowID(unit string) string { return r.o.Source.Name + "/" + unit }

// note keeps how far a unit, or the run, has come.
func (r *run) note(ctx context.Context, unit string, done time.Time, members int) error {
	at := int64(0)
	if !done.IsZero() {
		at = done.UnixMicro()
	}
	ctx, cancel := r.o.Store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	_, err := r.o.Store.SQL(ctx).Exec(ctx, `INSERT INTO avhub_backfill_runs (id, started_at, done_at, members) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, done_at = excluded.done_at, members = excluded.members`,
		r.rowID(unit), r.started.UnixMicro(), at, members)
	if err != nil {
		return fmt.Errorf("note how far the run has come: %w", err)
	}
	return nil
}

// unit reads one unit into the mirror.
func (r *run) unit(ctx context.Context, u integration.Unit) (int, error) {
	if r.before[r.rowID(u.String())] {
		r.sum.Earlier++
		return 0, nil
	}
	v := &visit{run: r, u: u}
	answer, err := r.o.Client.Read(ctx, u, integration.Sink{
		Begin:  v.begin,
		Member: func(h integration.Head, m integration.Member) error { return v.member(ctx, h, m) },
		Bad:    v.bad,
	})
	if err == nil {
		err = v.flush(ctx)
	}
	if err == nil {
		err = v.departed(ctx, answer)
	}
	v.account()
	if err != nil {
		return answer.Members, err
	}
	r.sum.Units++
	if r.kept {
		return answer.Members, r.note(ctx, u.String(), r.o.Now(), answer.Members)
	}
	return answer.Members, nil
}

const (
	// factsPerWrite bounds how long one transaction keeps the journal waiting.
	factsPerWrite = 200
	bytesPerWrite = 256 << 10 // as sent
	// maxYield bounds the pause behind a transaction.
	maxYield = 100 * time.Millisecond
	// writeTries is how often a transaction is tried that fails for a reason which
	// may pass, such as another process that holds SQLite's lock for long.
	writeTries = 4
)

// store brings facts into the mirror, or tells what that would change.
func (r *run) store(ctx context.Context, facts []mirror.Fact) ([]mirror.FactOutcome, error) {
	if r.o.DryRun {
		return r.o.Mirror.Preview(ctx, facts)
	}
	for tries := 1; ; tries++ {
		began := time.Now()
		outcomes, err := r.write(ctx, facts)
		if err == nil {
			// The journal's turn: SQLite's lock is no queue, and whoever takes it
			// again at once may keep others from it for seconds.
			return outcomes, pause(ctx, min(time.Since(began), maxYield))
		}
		if store.IsDataError(err) {
			return r.halves(ctx, facts)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if tries == writeTries {
			return nil, err
		}
		r.o.Log.Warn().Err(err).Int("attempt", tries).Msg("members could not be written; trying again")
		if err := pause(ctx, time.Duration(tries)*time.Second); err != nil {
			return nil, err
		}
	}
}

// write is one transaction. It is not interrupted: it is short.
func (r *run) write(ctx context.Context, facts []mirror.Fact) (outcomes []mirror.FactOutcome, err error) {
	ctx, cancel := r.o.Store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	err = r.o.Store.InTx(ctx, func(ctx context.Context) error {
		if err := r.o.Store.TakeTurn(ctx); err != nil {
			return err
		}
		outcomes, err = r.o.Mirror.Fill(ctx, facts)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write members: %w", err)
	}
	return outcomes, nil
}

// halves finds the fact that the database refuses.
func (r *run) halves(ctx context.Context, facts []mirror.Fact) ([]mirror.FactOutcome, error) {
	if len(facts) == 1 {
		return []mirror.FactOutcome{{Refused: errors.New("the database refuses it")}}, nil
	}
	first, err := r.store(ctx, facts[:len(facts)/2])
	if err != nil {
		return nil, err
	}
	second, err := r.store(ctx, facts[len(facts)/2:])
	return append(first, second...), err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
