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
	if err := b.write(ctx, m.now()); err != nil {
		return fmt.Errorf("write the mirror: %w", err)
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
	if fell && ent.model == b.models.organizations {
		b.cascade(ev, ent)
	}
	if ent.model == b.models.identities && !ent.now.exists && (before.exists || fell) {
		b.orphans[ent.id] = struct{}{}
	}
	if e.deletes {
		// A deletion that found everything newer than itself says nothing that
		// still counts.
		return stands && (!ent.now.exists || len(ev.Changes) > reported)
	}
	return stands && e.at.after(b.floor(ent))
}

// cascade takes the organization's children along after its tombstone grew.
func (b *batch) cascade(ev *event.Event, org *entity) {
	for _, ent := range b.order {
		if !ent.model.child || ent.broken != nil || ent.state.parent() != org.id {
			continue
		}
		before := ent.now
		ent.now = ent.model.project(&ent.state, org.state.deleted)
		reportFell(ev, ent, &before)
	}
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

// parentDeleted returns when the entity's organization was last deleted.
func (b *batch) parentDeleted(ent *entity) clock {
	if !ent.model.child {
		return clock{}
	}
	if org := b.entities[Ref{event.KindOrganization, ent.state.parent()}]; org != nil {
		return org.state.deleted
	}
	return clock{}
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
		if !e.model.child {
			continue
		}
		parents := []string{ent.state.parent()}
		if i := slices.IndexFunc(e.set, func(r register) bool { return r.field == parentField }); i >= 0 {
			parents = append(parents, unquote(e.set[i].value))
		}
		for _, id := range parents {
			if org := b.entities[Ref{event.KindOrganization, id}]; org != nil && org.broken != nil {
				return fmt.Errorf("apply to %s: its organization: %w", e.model.kind, org.broken)
			}
		}
	}
	return nil
}
