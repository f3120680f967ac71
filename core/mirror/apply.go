package mirror

import (
	"context"
	"fmt"
	"slices"

	"github.com/avhub/avhub/core/event"
)

// Apply applies events, in the order given, within the transaction that ctx
// carries, and sets what they changed: Changes, ChangesOmitted, Superseded and
// Failed. Whatever these held before is overwritten, so the same events can be
// applied again after a rollback.
//
// An event whose data cannot be used, or that is about a row which cannot be
// read, is marked Failed with the reason, changes nothing, and costs only
// itself. An error means that the database failed or refused a value
// (store.IsDataError tells); then the transaction must be rolled back.
func (m *Mirror) Apply(ctx context.Context, events []*event.Event) error {
	b := batch{
		models: m.models, db: m.store.SQL(ctx), log: m.log,
		entities: make(map[Ref]*entity, len(events)), orphans: map[string]struct{}{},
	}
	told := make([][]*effect, len(events))
	for i, ev := range events {
		ev.Changes, ev.ChangesOmitted, ev.Superseded, ev.Failed = nil, 0, false, ""
		var err error
		if told[i], err = m.models.effects(ev); err != nil {
			m.fail(ev, err)
		}
	}
	if err := b.load(ctx, told); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	for i, ev := range events {
		if len(told[i]) == 0 {
			continue
		}
		if err := b.readable(told[i]); err != nil {
			m.fail(ev, err)
			continue
		}
		b.apply(ev, told[i])
	}
	now := m.now()
	if err := b.write(ctx, now); err != nil {
		return fmt.Errorf("write the mirror: %w", err)
	}
	if err := b.sweep(ctx, now); err != nil {
		return fmt.Errorf("delete with an organization or a person what belongs to it: %w", err)
	}
	return nil
}

func (m *Mirror) fail(ev *event.Event, reason error) {
	ev.Failed = reason.Error()
	m.log.Warn().Str("source", ev.Source).Str("event", ev.ID).Str("type", ev.Type).Err(reason).
		Msg("the mirror could not apply an event; it is journaled and delivered all the same")
}

// apply merges what one event says and notes what became of it.
func (b *batch) apply(ev *event.Event, told []*effect) {
	stands := false
	for _, e := range told {
		if b.merge(ev, e) {
			stands = true
		}
	}
	ev.Superseded = !stands
}

// merge takes one effect into its entity and reports the changes. It tells
// whether any of it stands: it does not if all of it lost to strictly newer
// events or lies at or below a deletion.
func (b *batch) merge(ev *event.Event, e *effect) bool {
	ent := b.entities[Ref{e.model.kind, e.id}]
	before, buried, reported := ent.now, ent.state.deleted, len(ev.Changes)
	changed, stands := ent.state.merge(e)
	if changed {
		ent.dirty = true
		ent.now = ent.model.project(&ent.state, b.parentDeleted(ent))
		report(ev, ent.model, ent.id, &before, &ent.now)
	}
	fell := ent.state.deleted.after(buried)
	if fell && b.models.isParent(ent.model) {
		b.cascade(fall{ev, Ref{ent.model.kind, ent.id}, ent.state.deleted})
	}
	if ent.model == b.models.identities && !ent.now.exists && (before.exists || fell) {
		b.orphans[ent.id] = struct{}{}
	}
	if e.deletes {
		// A deletion that found everything newer than itself says nothing that
		// still counts.
		newer := ent.now.exists && ent.state.alive.after(ent.state.deleted)
		return stands && (!newer || len(ev.Changes) > reported)
	}
	return stands && (e.at.after(b.floor(ent)) || len(ev.Changes) > reported)
}

// parentDeleted returns when an entity that this one belongs to was last
// deleted.
func (b *batch) parentDeleted(ent *entity) clock {
	var last clock
	for i := range ent.model.parents {
		p := &ent.model.parents[i]
		if of := b.entities[Ref{p.kind, ent.state.parent(p.field)}]; of != nil {
			last = latest(last, of.state.deleted)
		}
	}
	return last
}

// floor is the clock at and below which nothing of the entity is visible.
func (b *batch) floor(ent *entity) clock {
	return latest(ent.state.deleted, b.parentDeleted(ent))
}

// readable tells whether all that the effects touch was read.
func (b *batch) readable(told []*effect) error {
	for _, e := range told {
		ent := b.entities[Ref{e.model.kind, e.id}]
		if ent.broken != nil {
			return fmt.Errorf("apply to %s: %w", e.model.kind, ent.broken)
		}
		for i := range e.model.parents {
			p := &e.model.parents[i]
			of := []string{ent.state.parent(p.field)}
			if j := slices.IndexFunc(e.set, func(r register) bool { return r.field == p.field }); j >= 0 {
				of = append(of, unquote(e.set[j].value))
			}
			for _, id := range of {
				if parent := b.entities[Ref{p.kind, id}]; parent != nil && parent.broken != nil {
					return fmt.Errorf("apply to %s: its %s: %w", e.model.kind, p.kind, parent.broken)
				}
			}
		}
	}
	return nil
}
