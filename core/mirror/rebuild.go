package mirror

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/store"
)

const (
	// rebuildRows are written in one transaction, so that the journal waits for
	// milliseconds only.
	rebuildRows = 500
	// rebuildRounds bound how often rows are compared and written. A second round
	// finds what events changed meanwhile on the ground of rows that were still
	// wrong; after that nothing is wrong any more.
	rebuildRounds = 5
	// rebuildStarts bound how often the journal is folded anew because failed
	// events were applied meanwhile.
	rebuildStarts = 3
)

// RebuildOptions of Rebuild. The zero value rebuilds everything.
type RebuildOptions struct {
	// Entities are the kinds whose tables are rebuilt, see Kinds; nil: all.
	Entities []string
	// DryRun only tells what would be done.
	DryRun bool
	// Progress, if set, is called now and then. It must not block.
	Progress func(Progress)
}

// Rebuilt is what Rebuild did, or would do.
type Rebuilt struct {
	// Position is that of the last event which the rows were brought up to.
	Position int64 `json:"position"`
	Tally
	DryRun bool            `json:"dry_run"`
	Tables []*RebuiltTable `json:"tables"`
}

// RebuiltTable counts the rows of a table that were wrong.
type RebuiltTable struct {
	Table    string `json:"table"`
	Inserted int64  `json:"inserted"`
	Replaced int64  `json:"replaced"`
	Deleted  int64  `json:"deleted"`
}

// Changed is the number of rows that were wrong.
func (r *Rebuilt) Changed() (n int64) {
	for _, t := range r.Tables {
		n += t.Inserted + t.Replaced + t.Deleted
	}
	return n
}

func (r *Rebuilt) count(found []*TableReport) {
	for i, t := range found {
		if len(r.Tables) == i {
			r.Tables = append(r.Tables, &RebuiltTable{Table: t.Table})
		}
		r.Tables[i].Inserted += t.Missing
		r.Tables[i].Replaced += t.Different
		r.Tables[i].Deleted += t.Unexpected
	}
}

// Rebuild brings every row and every grave to what the journal says, while hubs
// go on. It folds all events beside the tables, and replaces in place the rows
// that differ, in small transactions that take turns with the journal. Readers
// see each row as it was or as it has to be. It can be interrupted anywhere: what
// was replaced is right, and the next run does the rest.
//
// Events that the journal has as failed are left out; the journal's Reapply is
// for those. The sessions of people whose rows go are deleted with them.
func (m *Mirror) Rebuild(ctx context.Context, log Log, opts RebuildOptions) (*Rebuilt, error) {
	kinds, err := selectKinds(opts.Entities)
	if err != nil {
		return nil, fmt.Errorf("rebuild the mirror: %w", err)
	}
	for start := 1; ; start++ {
		done, err := m.rebuild(ctx, log, kinds, opts)
		switch {
		case errors.Is(err, errReapplied) && start < rebuildStarts:
		case errors.Is(err, errReapplied):
			return nil, fmt.Errorf("rebuild the mirror: %w; run it again when `avhub event reapply` is done", err)
		case err != nil:
			return nil, fmt.Errorf("rebuild the mirror: %w", err)
		default:
			return done, nil
		}
	}
}

func (m *Mirror) rebuild(ctx context.Context, log Log, kinds []string, opts RebuildOptions) (done *Rebuilt, err error) {
	f, err := m.newFold(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	done = &Rebuilt{DryRun: opts.DryRun}
	all := len(kinds) == len(m.models.list)
	for round := 1; ; round++ {
		found, differing, err := m.findDiffering(ctx, log, f, kinds, opts)
		if err != nil {
			return nil, err
		}
		done.count(found)
		done.Position, done.Tally = f.position, f.tally
		if differing == 0 && all && !opts.DryRun {
			return done, m.store.InTx(ctx, m.noteRules)
		}
		if differing == 0 || opts.DryRun {
			return done, nil
		}
		if round == rebuildRounds {
			return nil, fmt.Errorf("%d rows differ again after %d rounds: somebody else writes to the tables, "+
				"or a hub runs with another configuration; restart the hubs with this one, and run it again", differing, round-1)
		}
		if err := m.replace(ctx, log, f, differing, telling(opts.Progress, StageWrite)); err != nil {
			return nil, err
		}
	}
}

// findDiffering folds what the journal holds by now, compares, and notes what
// differs in the scratch database.
func (m *Mirror) findDiffering(ctx context.Context, log Log, f *fold, kinds []string, opts RebuildOptions) (found []*TableReport, differing int64, err error) {
	if err := f.differing(nil); err != nil {
		return nil, 0, err
	}
	err = m.store.InSnapshot(ctx, func(ctx context.Context) error {
		if err := f.catchUp(ctx, log, telling(opts.Progress, StageFold)); err != nil {
			return err
		}
		var some []string
		c := &comparison{
			mirror: m, fold: f, kinds: kinds, all: len(kinds) == len(m.models.list),
			differs: func(grave string) error {
				differing++
				if some = append(some, grave); len(some) < pageRows {
					return nil
				}
				err := f.differing(some)
				some = some[:0]
				return err
			},
			progress: telling(opts.Progress, StageCompare),
		}
		if found, err = c.run(ctx); err != nil || len(some) == 0 {
			return err
		}
		return f.differing(some)
	})
	return found, differing, err
}

// differing notes entities that differ, by their graves; nil forgets all.
func (f *fold) differing(graves []string) error {
	return f.within(func(ctx context.Context, db store.SQL) error {
		if graves == nil {
			_, err := db.Exec(ctx, `DELETE FROM differing`)
			return err
		}
		rows := make([][]any, len(graves))
		for i, g := range graves {
			rows[i] = []any{g}
		}
		return db.Insert(ctx, `INSERT INTO differing (id)`, rows, "")
	})
}

func (f *fold) differingAfter(after string) (graves []string, err error) {
	err = f.within(func(ctx context.Context, db store.SQL) error {
		return db.Query(ctx, func(rows *sql.Rows) error {
			var g string
			err := rows.Scan(&g)
			graves = append(graves, g)
			return err
		}, `SELECT id FROM differing WHERE id > ? ORDER BY id LIMIT ?`, after, rebuildRows)
	})
	return graves, err
}

// replace writes what was noted as differing, some at a time.
func (m *Mirror) replace(ctx context.Context, log Log, f *fold, total int64, progress func(done, total int64)) error {
	after := ""
	for done := int64(0); ; {
		graves, err := f.differingAfter(after)
		if err != nil || len(graves) == 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// Most of what came since the last time is folded before the turn, which
		// the journal waits for.
		err = m.store.InSnapshot(ctx, func(ctx context.Context) error { return f.catchUp(ctx, log, quietly) })
		if err != nil {
			return err
		}
		start := time.Now()
		if err := m.replaceSome(ctx, log, f, graves); err != nil {
			return err
		}
		done += int64(len(graves))
		after = graves[len(graves)-1]
		progress(done, total)
		if err := m.makeWay(ctx, time.Since(start)); err != nil {
			return err
		}
	}
}

// makeWay lets others write. SQLite's lock has no queue: a hub in another process
// looks for it now and then, and would find it taken again.
func (m *Mirror) makeWay(ctx context.Context, as time.Duration) error {
	if m.store.Dialect() != store.SQLite {
		return nil
	}
	select {
	case <-time.After(min(as, 100*time.Millisecond)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replaceSome brings entities to what the journal says, in one transaction.
func (m *Mirror) replaceSome(ctx context.Context, log Log, f *fold, graves []string) error {
	bounded, cancel := m.store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	err := m.store.InTx(bounded, func(ctx context.Context) error {
		if err := m.store.TakeTurn(ctx); err != nil {
			return err
		}
		// From here on the journal stands still.
		if err := f.catchUp(ctx, log, quietly); err != nil {
			return err
		}
		list, err := f.at(graves)
		if err != nil {
			return err
		}
		if err := m.put(ctx, list); err != nil {
			return err
		}
		return Touch(ctx, m.store)
	})
	if err != nil {
		return fmt.Errorf("replace rows: %w", err)
	}
	return nil
}

// put makes the tables hold what entities are shown as.
func (m *Mirror) put(ctx context.Context, list []*shown) error {
	b := batch{models: m.models, db: m.store.SQL(ctx), log: m.log, entities: map[Ref]*entity{}, orphans: map[string]struct{}{}}
	var nobody []string // graves of which nothing is known
	var people []string // who have no row any more
	gone := map[*model][]string{}
	for _, s := range list {
		if !s.row.exists && s.model == m.models.identities {
			people = append(people, s.id)
		}
		if !s.known {
			nobody = append(nobody, grave(s.model, s.id))
			gone[s.model] = append(gone[s.model], s.id)
			continue
		}
		b.add(s.model, s.id, false)
		ent := b.entities[Ref{s.model.kind, s.id}]
		ent.state, ent.now = s.state, s.row
		// As if there were a row and a grave, and both looked otherwise: so it is
		// written where it has to be, and removed where not.
		ent.live, ent.buried, ent.dirty = true, true, true
	}
	err := b.db.In(ctx, func(rows *sql.Rows) error {
		var sub string
		var encoded []byte
		err := rows.Scan(&sub, &encoded)
		b.orphans[sub] = struct{}{}
		return err
	}, m.models.identities.selectByKey, people)
	if err != nil {
		return fmt.Errorf("look for people who go: %w", err)
	}
	if err := b.write(ctx, m.now()); err != nil {
		return err
	}
	for mod, ids := range gone {
		if mod.table == "" {
			continue // a grave of no kind that there is
		}
		if err := b.remove(ctx, mod.remove, ids); err != nil {
			return fmt.Errorf("table %s: %w", mod.table, err)
		}
	}
	if err := b.remove(ctx, removeGraves, nobody); err != nil {
		return fmt.Errorf("graves: %w", err)
	}
	return nil
}
