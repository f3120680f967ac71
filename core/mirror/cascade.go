package mirror

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
)

// What belongs to an organization or a person is deleted with it, by the same
// clock. Nothing is stored in the children for that: a child's row is projected
// with the tombstones of its parents, see project. So a deletion has to look at
// all children that are there; those that come later look at it.

// A tenant may have a hundred thousand children. Their keys are read some at a
// time, and each time passes over all that are left, so the times should be few;
// their states, which are larger, are read in smaller parts.
const (
	sweepKeys = 20_000
	sweepRows = 1000
)

// fall is a deletion of an entity that others belong to.
type fall struct {
	event *event.Event
	of    Ref
	at    clock
}

// cascade takes along the children that the batch knows. Those that it does not
// know are left to sweep.
func (b *batch) cascade(f fall) {
	b.falls = append(b.falls, f)
	for _, ent := range b.order {
		if ent.broken != nil || !ent.belongsTo(f.of) {
			continue
		}
		before := ent.now
		ent.now = ent.model.project(&ent.state, b.parentDeleted(ent))
		reportFell(f.event, ent, &before)
	}
}

func (e *entity) belongsTo(of Ref) bool {
	for i := range e.model.parents {
		if p := &e.model.parents[i]; p.kind == of.Kind && e.state.parent(p.field) == of.ID {
			return true
		}
	}
	return false
}

func (e *entity) belongsToAny(of map[Ref]bool) bool {
	for i := range e.model.parents {
		if p := &e.model.parents[i]; of[Ref{p.kind, e.state.parent(p.field)}] {
			return true
		}
	}
	return false
}

// reportFell reports the fate of a child: the row alone if it is gone. What
// outlives the deletion may still have lost fields.
func reportFell(ev *event.Event, ent *entity, before *row) {
	if ent.now.exists {
		report(ev, ent.model, ent.id, before, &ent.now)
		return
	}
	reportExists(ev, ent.model, ent.id, before, &ent.now)
}

// sweep takes along the children that no event of the batch touched, some at a
// time. It comes after write, so that what it reads is up to date.
func (b *batch) sweep(ctx context.Context, now time.Time) error {
	done := map[Ref]bool{}
	for _, f := range b.falls {
		if done[f.of] {
			continue // all its falls are looked at with the first
		}
		for _, m := range b.models.list {
			for i := range m.parents {
				if m.parents[i].kind != f.of.Kind {
					continue
				}
				if err := b.sweepModel(ctx, m, m.parents[i].statement, f.of, done, now); err != nil {
					return fmt.Errorf("table %s: %w", m.table, err)
				}
			}
		}
		done[f.of] = true
	}
	return nil
}

// sweepModel takes along the children of one parent that are in one table, but
// for those that also belong to one whose children are done: with these, all
// falls were looked at.
func (b *batch) sweepModel(ctx context.Context, m *model, statement string, of Ref, done map[Ref]bool, now time.Time) error {
	most := b.models.sweepKeys
	for last, more := "", true; more; {
		keys := make([]string, 0, 64)
		err := b.db.Query(ctx, func(rows *sql.Rows) error {
			if err := rows.Scan(&last); err != nil {
				return err
			}
			keys = append(keys, last)
			return nil
		}, statement, of.ID, last, most)
		if err != nil {
			return err
		}
		more = len(keys) == most
		// Of those that the batch knows cascade has seen to it.
		keys = slices.DeleteFunc(keys, func(id string) bool { return b.entities[Ref{m.kind, id}] != nil })
		for part := range slices.Chunk(keys, sweepRows) {
			if err := b.sweepPart(ctx, m, part, done, now); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) sweepPart(ctx context.Context, m *model, keys []string, done map[Ref]bool, now time.Time) error {
	some := batch{
		models: b.models, db: b.db, log: b.log,
		entities: make(map[Ref]*entity, len(keys)), orphans: map[string]struct{}{},
	}
	for _, id := range keys {
		some.add(m, id, false)
	}
	if err := some.rows(ctx, m, m.selectByKey, keys); err != nil {
		return err
	}
	some.order = slices.DeleteFunc(some.order, func(ent *entity) bool { return ent.belongsToAny(done) })
	if err := some.fall(ctx, b); err != nil {
		return err
	}
	return some.write(ctx, now)
}

// fall replays all deletions of the batch from on the children in b.
func (b *batch) fall(ctx context.Context, from *batch) error {
	children := b.order
	tombs := map[Ref]clock{} // of parents, as they were before the batch
	others := batch{models: b.models, db: b.db, log: b.log, entities: map[Ref]*entity{}}
	wanted := map[*model][]string{}
	for _, ent := range children {
		for i := range ent.model.parents {
			p := &ent.model.parents[i]
			of := Ref{p.kind, ent.state.parent(p.field)}
			if known := from.entities[of]; known != nil {
				tombs[of] = known.buriedAt
			} else if m := b.models.byKind(p.kind); of.ID != "" && others.add(m, of.ID, true) {
				wanted[m] = append(wanted[m], of.ID)
			}
		}
	}
	for m, ids := range wanted {
		if err := others.rows(ctx, m, m.selectByKey, ids); err != nil {
			return err
		}
	}
	if err := others.graves(ctx); err != nil {
		return err
	}
	for _, ent := range others.order {
		tombs[Ref{ent.model.kind, ent.id}] = ent.state.deleted
	}
	for _, ent := range children {
		if ent.broken != nil {
			continue
		}
		var floor clock
		for i := range ent.model.parents {
			p := &ent.model.parents[i]
			floor = latest(floor, tombs[Ref{p.kind, ent.state.parent(p.field)}])
		}
		ent.loaded = ent.model.project(&ent.state, floor)
		ent.now = ent.loaded
		for _, f := range from.falls {
			if !ent.belongsTo(f.of) || !f.at.after(floor) {
				continue
			}
			floor = f.at
			before := ent.now
			ent.now = ent.model.project(&ent.state, floor)
			reportFell(f.event, ent, &before)
		}
	}
	return nil
}
