package isolated

import (
	"context"
	"fmt"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// group collects events for one transaction on a tenant's database.
type group struct {
	d       *Databases
	db      *database
	events  []*event.Event
	bytes   int
	applied int
}

// add adds events, and applies what there is when it is enough for a
// transaction. The cursor does not move with it: should the rest not follow, all
// of it is applied again, which changes nothing.
func (g *group) add(ctx context.Context, events []*event.Event) error {
	for _, ev := range events {
		g.events = append(g.events, ev)
		g.bytes += len(ev.Evidence.Body)
		if len(g.events) >= g.d.sizes.group || g.bytes >= groupBytes {
			if err := g.commit(ctx, progress{}, progress{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit applies what there is and moves the cursor, unless both are the same.
func (g *group) commit(ctx context.Context, from, to progress) error {
	err := g.d.apply(ctx, g.db, g.events, from, to)
	if err == nil {
		g.applied += len(g.events)
	}
	g.events, g.bytes = nil, 0
	return err
}

// apply applies events in one transaction. Of events that the database refuses
// each costs only itself.
func (d *Databases) apply(ctx context.Context, db *database, events []*event.Event, from, to progress) error {
	if len(events) == 0 && from == to {
		return nil
	}
	err := d.transact(ctx, db, func(ctx context.Context) error {
		if err := db.mirror.Apply(ctx, events); err != nil {
			return err
		}
		return d.move(ctx, db, from, to)
	})
	switch {
	case err == nil || !store.IsDataError(err):
		return err
	case len(events) > 1:
		half := len(events) / 2
		if err := d.apply(ctx, db, events[:half], to, to); err != nil {
			return err
		}
		return d.apply(ctx, db, events[half:], from, to)
	case len(events) == 1:
		d.deps.Log.Warn().Str("tenant", db.tenant).Str("event", events[0].ID).Int64("position", events[0].Position).Err(err).
			Msg("a tenant's own database refused an event, which is left out there")
		return d.apply(ctx, db, nil, from, to)
	}
	return err
}

// transact runs fn in the only transaction that writes the tenant's mirror.
func (d *Databases) transact(ctx context.Context, db *database, fn func(ctx context.Context) error) error {
	bounded, cancel := db.store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	return db.store.InTx(bounded, func(ctx context.Context) error {
		if err := db.store.TakeTurn(ctx); err != nil {
			return err
		}
		return fn(ctx)
	})
}

// move moves the cursor, if it is where it is thought to be: two hubs may feed
// one database.
func (d *Databases) move(ctx context.Context, db *database, from, to progress) error {
	if from == to {
		return nil
	}
	n, err := db.store.SQL(ctx).Exec(ctx, `UPDATE avhub_tenant_databases SET position = ?, facts = ?, reapplied = ?, updated_at = ?
 WHERE tenant_id = ? AND position = ? AND facts = ? AND reapplied = ?`,
		to.events, to.facts, to.reapplied, d.deps.Now().UnixMicro(), db.tenant, from.events, from.facts, from.reapplied)
	if err != nil {
		return fmt.Errorf("move the cursor: %w", err)
	}
	if n == 0 {
		return errMoved
	}
	return nil
}

// mirrored are the tables that events fill. Sessions are not among them: they
// are the team's.
func mirrored() []string {
	return []string{
		"av_identities", "av_organizations", "av_applications", "av_sso_providers", "av_memberships",
		"av_app_access", "av_licenses", "av_subscriptions", "av_invitations", "avhub_mirror_graves",
	}
}

// empty takes everything out of a database that is to be filled anew.
func (d *Databases) empty(ctx context.Context, db *database, at progress) error {
	err := d.transact(ctx, db, func(ctx context.Context) error {
		for _, table := range mirrored() {
			if _, err := db.store.SQL(ctx).Exec(ctx, "DELETE FROM "+table); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		return d.move(ctx, db, at, progress{})
	})
	if err != nil {
		return fmt.Errorf("empty the database, to fill it anew: %w", err)
	}
	return nil
}
