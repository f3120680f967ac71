// Package verify says whether anything was lost, doubled or put out of order. It
// reads the journal, how far each plugin has come, and, where there is one, what
// the receiver's side has counted, and compares what they say of each other.
//
// It shares as little as it can with the rooms that it judges: it reads the rows
// themselves and works out anew what must stand in them. It writes nothing, looks
// at one moment of the database however long it takes, and needs no more memory
// for a million events than for one.
package verify

import (
	"context"
	"crypto/rsa"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// Plugin is what must be known of one to judge its deliveries.
type Plugin struct {
	Name     string
	Order    plugin.Order
	Events   []string // patterns of the types that it gets
	Coalesce bool     // of several waiting events of a key it gets the newest
}

// Options of Run. The zero value looks at everything in the database.
type Options struct {
	// Plugins are those whose order and events are known. What is only known of
	// from the database is judged by less.
	Plugins []Plugin
	// Only, if set, are the names of the plugins to look at.
	Only []string
	// Receivers are logs of receivers: files in the format of Delivery, or folders
	// of such files, whose names end in .jsonl.
	Receivers []string
	// From is the first position whose deliveries the logs must show; 0: all.
	From int64
	// Discarded: operators gave up events, so that one whose last delivery failed
	// and that waits nowhere is no finding.
	Discarded bool
	// Keys verify the signatures of the journal's events, by key id; nil: they are
	// not verified.
	Keys map[string]*rsa.PublicKey
	// Examples are told of each kind of finding; 0: 10. All are counted.
	Examples int
	// Progress, if set, is called now and then. It must not block.
	Progress func(Progress)
}

// Stage is a part of the work of Run.
type Stage string

// The stages, in this order. Their totals are bytes, events and rows.
const (
	StageReceivers  Stage = "receivers"
	StageJournal    Stage = "journal"
	StageIDs        Stage = "ids"
	StageDeliveries Stage = "deliveries"
)

// Progress of Run. A total of 0 is not known.
type Progress struct {
	Stage       Stage
	Done, Total int64
}

// run is one verification.
type run struct {
	store   *store.Store
	scratch *store.Store
	opts    Options
	report  *Report
	now     time.Time // the hub's clock here

	plugins     map[string]*followed
	first, last int64 // of the journal in the snapshot
	judged      []*followed
	logs        *judge // nil: there are no logs
}

// followed is a plugin that is being looked at.
type followed struct {
	Plugin
	known   bool // its order and events are
	matcher event.Matcher
	cursors []int64 // by partition: everything at or below is settled, or a lane's
	start   int64   // it gets events beyond that position
	report  *PluginReport
	number  int // in the scratch database
}

// Run looks at everything and reports. An error means that it could not look;
// what it found wrong stands in the report.
func Run(ctx context.Context, st *store.Store, opts Options) (report *Report, err error) {
	if opts.Examples == 0 {
		opts.Examples = 10
	}
	r := &run{store: st, opts: opts, now: store.Now(), plugins: map[string]*followed{}}
	r.report = &Report{Findings: []Finding{}, Plugins: []*PluginReport{}, Notes: []string{}, examples: opts.Examples, counts: map[Kind]int64{}}
	if r.scratch, err = store.OpenScratch(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, r.scratch.Close()) }()
	err = st.InSnapshot(ctx, func(ctx context.Context) error {
		return r.scratch.InTx(ctx, r.everything)
	})
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	r.report.finish()
	return r.report, nil
}

func (r *run) everything(ctx context.Context) error {
	if err := r.span(ctx); err != nil {
		return err
	}
	if err := r.readCursors(ctx); err != nil {
		return err
	}
	for _, name := range r.opts.Only {
		if p, err := r.follow(name); err != nil {
			return err
		} else if !p.known && p.cursors == nil {
			return fmt.Errorf("neither the configuration nor the database has a plugin %q", name)
		}
	}
	// After the snapshot, so that what it has as settled stands in the logs.
	if len(r.opts.Receivers) > 0 {
		if err := r.readReceivers(ctx); err != nil {
			return err
		}
	}
	if err := r.walkJournal(ctx); err != nil {
		return err
	}
	if err := r.walkIDs(ctx); err != nil {
		return err
	}
	if err := r.walkLanes(ctx); err != nil {
		return err
	}
	if err := r.walkStates(ctx); err != nil {
		return err
	}
	if err := r.walkLetters(ctx); err != nil {
		return err
	}
	if r.logs != nil {
		return r.logs.close(ctx)
	}
	return nil
}

// sql reads in the snapshot.
func (r *run) sql(ctx context.Context) store.SQL { return r.store.SQL(ctx) }

func (r *run) tell(stage Stage, done, total int64) {
	if r.opts.Progress != nil {
		r.opts.Progress(Progress{stage, done, total})
	}
}

// one runs a query for a single row.
func (r *run) one(ctx context.Context, query string, args []any, into ...any) (found bool, err error) {
	err = r.sql(ctx).Query(ctx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	}, query, args...)
	return found, err
}
