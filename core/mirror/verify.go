package mirror

import (
	"context"
	"errors"
	"fmt"
)

// Stage is a part of the work of Verify and Rebuild.
type Stage string

// The stages, in this order.
const (
	StageFold    Stage = "fold"    // events, of all
	StageCompare Stage = "compare" // entities, of all
	StageWrite   Stage = "write"   // rows, of those that differ
)

// Progress of Verify and Rebuild.
type Progress struct {
	Stage       Stage
	Done, Total int64
}

// VerifyOptions of Verify. The zero value verifies everything.
type VerifyOptions struct {
	// Entities are the kinds to look at, see Kinds; nil: all.
	Entities []string
	// Examples are the rows per table whose differences are told.
	Examples int
	// Progress, if set, is called now and then. It must not block.
	Progress func(Progress)
}

// Report is what Verify found.
type Report struct {
	// Position is that of the last event when the mirror was looked at.
	Position int64 `json:"position"`
	Tally
	// OtherRules: the rows were written under other rules than this mirror's.
	OtherRules bool           `json:"other_rules"`
	Tables     []*TableReport `json:"tables"`
}

// Clean tells whether the mirror is what the journal says.
func (r *Report) Clean() bool {
	for _, t := range r.Tables {
		if !t.Clean() {
			return false
		}
	}
	return true
}

// Verify proves that the mirror is what the journal says: it folds all events,
// beside the tables, and compares every row and every grave with the outcome, as
// both were at one moment. It changes nothing, holds nobody up and may run in
// another process than the hub. Events that the journal has as failed are left
// out; Report counts those that this version could apply.
//
// Sessions are the team's and are not looked at, nor is synced_at.
func (m *Mirror) Verify(ctx context.Context, log Log, opts VerifyOptions) (report *Report, err error) {
	kinds, err := selectKinds(opts.Entities)
	if err != nil {
		return nil, fmt.Errorf("verify the mirror: %w", err)
	}
	f, err := m.newFold(ctx)
	if err != nil {
		return nil, fmt.Errorf("verify the mirror: %w", err)
	}
	defer func() { err = errors.Join(err, f.close()) }()
	report = &Report{}
	err = m.store.InSnapshot(ctx, func(ctx context.Context) error {
		report.OtherRules, err = m.otherRules(ctx)
		if err != nil {
			return err
		}
		if err := f.catchUp(ctx, log, telling(opts.Progress, StageFold)); err != nil {
			return err
		}
		c := &comparison{
			mirror: m, fold: f, kinds: kinds, all: len(kinds) == len(m.models.list), examples: opts.Examples,
			differs:  func(string) error { return nil },
			progress: telling(opts.Progress, StageCompare),
		}
		report.Tables, err = c.run(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("verify the mirror: %w", err)
	}
	report.Position, report.Tally = f.position, f.tally
	return report, nil
}

// telling tells of one stage.
func telling(progress func(Progress), stage Stage) func(done, total int64) {
	return func(done, total int64) {
		if progress != nil {
			progress(Progress{stage, done, total})
		}
	}
}

func quietly(int64, int64) {}
