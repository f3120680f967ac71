package isolated

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
)

// facts applies the tenant's next facts, up to one that the dispatcher knows, and
// returns the last one of them. First comes what events say that name no tenant
// about the people of these facts, as far as the database is with events: the
// facts tie them. The later ones come with the others.
func (d *Databases) facts(ctx context.Context, db *database, at progress, until int64) (progress, int, error) {
	read, cancel := d.bound(ctx)
	facts, err := mirror.KeptFacts(read, d.deps.Store, mirror.FactSpan{Tenant: db.tenant, After: at.facts, Until: until, Limit: d.sizes.group})
	cancel()
	if err != nil {
		return at, 0, err
	}
	to := at
	if to.facts = until; len(facts) == d.sizes.group {
		to.facts = facts[len(facts)-1].ID
	}
	if len(facts) == 0 {
		return to, 0, nil // the cursor can wait
	}
	g := &group{d: d, db: db}
	if err := d.tiedByFacts(ctx, g, facts, at.events); err != nil {
		return at, g.applied, err
	}
	if err := g.commit(ctx, at, at); err != nil {
		return at, g.applied, err
	}
	if err := d.applyFacts(ctx, db, facts, at, to); err != nil {
		return at, g.applied, err
	}
	return to, g.applied, nil
}

// tiedByFacts collects events about people whom only facts tie to the tenant.
func (d *Databases) tiedByFacts(ctx context.Context, g *group, facts []mirror.KeptFact, until int64) error {
	if until == 0 {
		return nil
	}
	seen := map[string]struct{}{}
	var subs []string
	for i := range facts {
		sub := facts[i].Person.ID
		if _, ok := seen[sub]; !ok && sub != "" {
			seen[sub] = struct{}{}
			subs = append(subs, sub)
		}
	}
	ties, err := d.tiesOf(ctx, g.db.tenant, subs)
	if err != nil {
		return err
	}
	for _, t := range ties {
		if t.since > 0 || t.latest == 0 {
			continue // an event ties them, or there is nothing about them
		}
		if err := d.collect(ctx, g, personKey(t.who), 0, until); err != nil {
			return err
		}
	}
	return nil
}

// applyFacts applies facts in one transaction, as apply does events.
func (d *Databases) applyFacts(ctx context.Context, db *database, facts []mirror.KeptFact, from, to progress) error {
	err := d.transact(ctx, db, func(ctx context.Context) error {
		if err := db.mirror.ApplyFacts(ctx, facts); err != nil {
			return err
		}
		return d.move(ctx, db, from, to)
	})
	switch {
	case err == nil || !store.IsDataError(err) || len(facts) == 0:
		return err
	case len(facts) > 1:
		half := len(facts) / 2
		if err := d.applyFacts(ctx, db, facts[:half], from, from); err != nil {
			return err
		}
		return d.applyFacts(ctx, db, facts[half:], from, to)
	}
	d.deps.Log.Warn().Str("tenant", db.tenant).Int64("fact", facts[0].ID).Err(err).
		Msg("a tenant's own database refused what a first fill has read, which is left out there")
	return d.applyFacts(ctx, db, nil, from, to)
}

// tiesOf returns the ties of these people to a tenant.
func (d *Databases) tiesOf(ctx context.Context, tenant string, subs []string) (ties []known, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	ids := make([]string, 0, len(subs))
	for _, sub := range subs {
		ids = append(ids, tieID(tieKey{tenant, sub}))
	}
	err = d.deps.Store.ReadSQL().In(ctx, func(rows *sql.Rows) error {
		var t known
		err := rows.Scan(&t.who, &t.since, &t.latest)
		ties = append(ties, t)
		return err
	}, `SELECT sub, since, latest FROM avhub_tenant_people WHERE id IN %s`, ids)
	if err != nil {
		return nil, fmt.Errorf("read who is tied to the tenant: %w", err)
	}
	return ties, nil
}
