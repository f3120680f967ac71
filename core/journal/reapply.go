package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

const (
	// reapplyEvents are applied in one transaction, for which appends wait.
	reapplyEvents = 100
	reapplyBytes  = 1 << 20
	// reasonsKept are told of those that still fail.
	reasonsKept = 1000
)

// Reapplication says which of the events that failed Reapply takes. The zero
// value means all.
type Reapplication struct {
	// Positions are those of single events; nil: all. One that has not failed is
	// passed over.
	Positions []int64
	Types     []string // patterns, see event.Match
	Since     time.Time
	// DryRun tries, and keeps nothing.
	DryRun bool
	// Changed, if set, is called in every transaction that applied something.
	Changed func(ctx context.Context) error
	// Progress, if set, is told how many events were tried.
	Progress func(tried int64)
}

// StillFailed is an event that could not be applied again.
type StillFailed struct {
	Position int64  `json:"position"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	TenantID string `json:"tenant_id,omitempty"`
	Reason   string `json:"reason"`
}

// Outcomes of a Reapplication.
type Outcomes struct {
	Applied int64 `json:"applied"`
	Failed  int64 `json:"failed"`
	// StillFailed are the first thousand of Failed.
	StillFailed []StillFailed `json:"still_failed"`
}

func (o *Outcomes) add(other Outcomes) {
	o.Applied += other.Applied
	o.Failed += other.Failed
	o.StillFailed = append(o.StillFailed, other.StillFailed[:min(len(other.StillFailed), reasonsKept-len(o.StillFailed))]...)
}

// Reapply applies events again that the mirror could not apply when they came,
// oldest first and some at a time, and notes in the journal what came of it. The
// mirror does not depend on order, so what they say counts as if they had been
// applied then. They are not delivered again. Appends may go on.
//
// If it fails, Outcomes tell what was committed before.
func (j *Journal) Reapply(ctx context.Context, r Reapplication) (Outcomes, error) {
	var all Outcomes
	last, err := j.Last(ctx)
	if err != nil {
		return all, fmt.Errorf("reapply events: %w", err)
	}
	positions := slices.Clone(r.Positions)
	slices.Sort(positions)
	positions = slices.Compact(positions)
	for after := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return all, fmt.Errorf("reapply events: %w", err)
		}
		queries := []Query{{
			After: after, Until: last, Failed: true, Types: r.Types, Since: r.Since, Limit: reapplyEvents, MaxBytes: reapplyBytes,
		}}
		if r.Positions != nil {
			some := positions[:min(len(positions), reapplyEvents)]
			positions = positions[len(some):]
			queries = queries[:0]
			for _, p := range some {
				queries = append(queries, Query{After: p - 1, Until: p, Failed: true, Types: r.Types, Since: r.Since})
			}
		}
		done, reached, err := j.reapplySome(ctx, queries, &r)
		all.add(done)
		if err != nil {
			return all, fmt.Errorf("reapply events: %w", err)
		}
		if reached == 0 && len(positions) == 0 {
			return all, nil
		}
		after = reached
		if r.Progress != nil {
			r.Progress(all.Applied + all.Failed)
		}
	}
}

// reapplySome applies what the queries select in one transaction, or each for
// itself if the database refuses a value. It returns the last position.
func (j *Journal) reapplySome(ctx context.Context, queries []Query, r *Reapplication) (done Outcomes, reached int64, err error) {
	var events []*event.Event
	done, events, err = j.reapplyGroup(ctx, queries, r)
	if len(events) > 0 {
		reached = events[len(events)-1].Position
	}
	if err == nil || !poisonous(err) {
		return done, reached, err
	}
	done = Outcomes{}
	for _, ev := range events {
		one := []Query{{After: ev.Position - 1, Until: ev.Position, Failed: true}}
		outcome, _, err := j.reapplyGroup(ctx, one, r)
		if err != nil && poisonous(err) {
			ev.Failed = refused(err)
			outcome, err = stillFailed(ev), j.noteFailure(ctx, ev, r)
		}
		if err != nil {
			return done, reached, err
		}
		done.add(outcome)
	}
	return done, reached, nil
}

var errDryRun = errors.New("only tried")

func (j *Journal) reapplyGroup(ctx context.Context, queries []Query, r *Reapplication) (done Outcomes, events []*event.Event, err error) {
	defer recoverInto(&err)
	bounded, cancel := j.store.Bound(context.WithoutCancel(ctx), j.timeout)
	defer cancel()
	err = j.store.InTx(bounded, func(ctx context.Context) error {
		if err := j.store.TakeTurn(ctx); err != nil {
			return err
		}
		db := j.store.SQL(ctx)
		done, events = Outcomes{}, nil
		for _, q := range queries {
			some, err := j.read(ctx, db, q)
			if err != nil {
				return err
			}
			events = append(events, some...)
		}
		if len(events) == 0 {
			return nil
		}
		before := make([]string, len(events))
		for i, ev := range events {
			before[i] = ev.Failed
		}
		if err := j.projector.Apply(ctx, events); err != nil {
			return fmt.Errorf("update the mirror: %w", err)
		}
		for i, ev := range events {
			if ev.Failed == "" {
				done.Applied++
			} else {
				done.add(stillFailed(ev))
			}
			if ev.Failed == before[i] {
				continue
			}
			if err := note(ctx, db, ev); err != nil {
				return err
			}
		}
		switch {
		case r.DryRun:
			return errDryRun
		case done.Applied == 0:
			return nil
		}
		if err := noteReapplied(ctx, db, events); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, ?)
 ON CONFLICT (name) DO UPDATE SET value = avhub_counters.value + 1`, reappliedCounter, 1); err != nil {
			return fmt.Errorf("note that events were reapplied: %w", err)
		}
		if r.Changed != nil {
			return r.Changed(ctx)
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return done, events, err
}

// noteReapplied writes down which events have been applied after all, for those
// who passed over them when they came.
func noteReapplied(ctx context.Context, db store.SQL, events []*event.Event) error {
	var rows [][]any
	for _, ev := range events {
		if ev.Failed == "" {
			rows = append(rows, []any{ev.Position, ev.TenantID, ev.TenantKey()})
		}
	}
	if err := db.Insert(ctx, `INSERT INTO avhub_reapplied_events (position, tenant_id, tenant_key)`, rows, ""); err != nil {
		return fmt.Errorf("note which events were reapplied: %w", err)
	}
	return nil
}

func stillFailed(ev *event.Event) Outcomes {
	return Outcomes{Failed: 1, StillFailed: []StillFailed{{ev.Position, ev.ID, ev.Type, ev.TenantID, ev.Failed}}}
}

// noteFailure notes a new reason for which an event failed.
func (j *Journal) noteFailure(ctx context.Context, ev *event.Event, r *Reapplication) error {
	if r.DryRun {
		return nil
	}
	ev.Changes, ev.ChangesOmitted, ev.Superseded = nil, 0, false
	bounded, cancel := j.store.Bound(context.WithoutCancel(ctx), j.timeout)
	defer cancel()
	return j.store.InTx(bounded, func(ctx context.Context) error { return note(ctx, j.store.SQL(ctx), ev) })
}

// note writes what the mirror made of an event.
func note(ctx context.Context, db store.SQL, ev *event.Event) error {
	var changes []byte
	if len(ev.Changes) > 0 {
		var err error
		if changes, err = json.Marshal(ev.Changes); err != nil {
			return fmt.Errorf("encode changes: %w", err)
		}
	}
	_, err := db.Exec(ctx, `UPDATE avhub_events SET failed = ?, changes = ?, changes_omitted = ?, superseded = ? WHERE position = ?`,
		ev.Failed, changes, ev.ChangesOmitted, ev.Superseded, ev.Position)
	if err != nil {
		return fmt.Errorf("note what became of the event at position %d: %w", ev.Position, err)
	}
	return nil
}
