package isolated

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/organization"
)

// slice is how long a feeder stays with one tenant while others wait.
const slice = 2 * time.Second

// statusDeleted is what the mirror marks a deleted organization with.
const statusDeleted = "deleted"

// row is a tenant's database as the hub's own one knows it.
type row struct {
	Tenant           string
	Place            string
	Position, Target int64
	Attempts         int
	NextAt           int64
	LastError        string
	State            string
	UpdatedAt        int64
}

// fed is what became of feeding a tenant.
type fed struct {
	row      row // as it was
	position int64
	applied  int  // events
	dropped  bool // the database is gone, as the tenant is
	err      error
}

// feed brings a tenant's database towards its target.
func (d *Databases) feed(ctx context.Context, r row) fed {
	f := fed{row: r, position: r.Position}
	if f.err = d.settle(ctx, &f.row); f.err != nil {
		return f
	}
	db, release, err := d.pool.acquire(ctx, r.Tenant, f.row.Place)
	if err != nil {
		f.err = err
		return f
	}
	gone, err := d.fill(ctx, db, &f)
	release()
	if err != nil {
		d.forget(r.Tenant) // its schema may be what is wrong
		f.err = err
		return f
	}
	if gone && f.position >= r.Target {
		if err := d.pool.discard(r.Tenant, func() error { return d.drop(ctx, f.row.Place) }); err != nil {
			f.err = fmt.Errorf("drop the database of a deleted tenant: %w", err)
			return f
		}
		f.dropped = true
		d.forget(r.Tenant)
	}
	return f
}

// settle sees that the tenant's database has a place.
func (d *Databases) settle(ctx context.Context, r *row) (err error) {
	if r.Place == "" {
		r.Place, err = d.choose(ctx, r.Tenant)
	}
	return err
}

// fill applies what the database lacks, and tells whether the tenant is deleted
// and its database to be dropped.
func (d *Databases) fill(ctx context.Context, db *database, f *fed) (gone bool, err error) {
	begin := time.Now()
	_, at, err := d.cursor(ctx, db)
	if err != nil {
		return false, err
	}
	if f.row.Position == positionRebuild {
		if err := d.empty(ctx, db, at); err != nil {
			return false, err
		}
		at = 0
	} else if err := d.ahead(ctx, f.row.Tenant, at); err != nil {
		return false, err
	}
	for at < f.row.Target && ctx.Err() == nil && time.Since(begin) < slice {
		to, n, err := d.chunk(ctx, db, at, f.row.Target)
		f.applied += n
		if err != nil {
			return false, err
		}
		at = to
	}
	f.position = at
	if err := ctx.Err(); err != nil && at < f.row.Target {
		return false, err
	}
	return d.deleted(ctx, db, at)
}

// ahead refuses a database that knows what the hub does not: the hub's own one
// was restored from a backup, and the positions after it have other events now.
func (d *Databases) ahead(ctx context.Context, tenant string, at int64) error {
	if at == 0 {
		return nil
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	known, err := d.dispatched(ctx)
	if err != nil {
		return err
	}
	if at > known {
		return fmt.Errorf("it holds events up to position %d, and the hub's journal was read only up to %d: "+
			"was the hub's database restored, or is this another hub's? Fill it anew with: avhub tenant rebuild %q", at, known, tenant)
	}
	return nil
}

// cursor returns whose the database is, and up to where it holds everything.
func (d *Databases) cursor(ctx context.Context, db *database) (string, int64, error) {
	ctx, cancel := db.store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	return owner(ctx, db.store)
}

// chunk applies the tenant's next events, and what goes with them, and returns
// up to where the database holds everything then, and how many events that took.
func (d *Databases) chunk(ctx context.Context, db *database, from, target int64) (to int64, n int, err error) {
	g := &group{d: d, db: db}
	own, full, err := d.read(ctx, Span{Key: tenantKey(db.tenant), After: from, Until: target})
	if err != nil {
		return from, 0, err
	}
	if to = target; full {
		to = own[len(own)-1].Position
	}
	// What belongs there by a tie first: if this takes several transactions, the
	// cursor moves with the last one. Until then it is as if nothing had happened.
	for _, tenant := range []string{"", db.tenant} {
		if err := d.tied(ctx, g, tenant, from, to); err != nil {
			return from, g.applied, err
		}
	}
	for _, ev := range own {
		if home(ev) == db.tenant {
			g.events = append(g.events, ev)
		}
	}
	if err := g.commit(ctx, from, to); err != nil {
		return from, g.applied, err
	}
	return to, g.applied, nil
}

// tied adds events that name no tenant: those about everybody's applications and
// login providers, or those about the tenant's people.
func (d *Databases) tied(ctx context.Context, g *group, tenant string, from, to int64) error {
	for last := from; ; {
		ties, err := d.ties(ctx, tenant, last)
		if err != nil || len(ties) == 0 {
			return err
		}
		for _, t := range ties {
			last = t.latest
			if t.since > to {
				continue // they are not tied yet
			}
			key, after := t.who, from
			if tenant != "" {
				key = personKey(t.who)
				if t.since > from {
					after = 0 // nothing about them is there yet
				}
			}
			if err := d.collect(ctx, g, key, after, to); err != nil {
				return err
			}
		}
	}
}

// known is a tie as it is stored.
type known struct {
	who           string
	since, latest int64
}

// tiesAtOnce are read at a time. Each event ties or moves one person of a
// tenant, so positions tell them apart.
const tiesAtOnce = 500

func (d *Databases) ties(ctx context.Context, tenant string, after int64) (ties []known, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	err = d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var t known
		if err := rows.Scan(&t.who, &t.since, &t.latest); err != nil {
			return err
		}
		ties = append(ties, t)
		return nil
	}, `SELECT sub, since, latest FROM avhub_tenant_people WHERE tenant_id = ? AND latest > ? ORDER BY latest LIMIT ?`,
		tenant, after, tiesAtOnce)
	if err != nil {
		return nil, fmt.Errorf("read who is tied to the tenant: %w", err)
	}
	return ties, nil
}

// collect adds all events under a key to the group.
func (d *Databases) collect(ctx context.Context, g *group, key string, after, until int64) error {
	for more := true; more; {
		events, full, err := d.read(ctx, Span{Key: key, After: after, Until: until})
		if err != nil {
			return err
		}
		if more = full; full {
			after = events[len(events)-1].Position
		}
		if err := g.add(ctx, events); err != nil {
			return err
		}
	}
	return nil
}

// read reads as much as fits into a group, and tells whether there may be more.
func (d *Databases) read(ctx context.Context, s Span) (events []*event.Event, full bool, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	s.Limit, s.MaxBytes = d.sizes.group, groupBytes
	events, err = d.deps.Journal.Read(ctx, s)
	return events, len(events) == s.Limit || bytesOf(events) >= s.MaxBytes, err
}

func bytesOf(events []*event.Event) (n int) {
	for _, ev := range events {
		n += len(ev.Evidence.Body)
	}
	return n
}

// deleted tells whether the tenant is deleted for all that the database knows
// up to a position, where that means that the database is dropped: it has no
// organization, or one that is marked, and there was a deletion.
func (d *Databases) deleted(ctx context.Context, db *database, at int64) (bool, error) {
	if !d.cfg.Drop {
		return false, nil
	}
	bounded, cancel := db.store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	org, err := db.store.Read().Organization.Query().
		Where(organization.ID(db.tenant)).Select(organization.FieldStatus).Only(bounded)
	switch {
	case ent.IsNotFound(err):
	case err != nil:
		return false, fmt.Errorf("read whether the tenant is deleted: %w", err)
	case org.Status != statusDeleted:
		return false, nil
	}
	events, _, err := d.read(ctx, Span{
		Subject: event.KindOrganization + ":" + db.tenant, Type: event.TypeTenantDeleted, Until: at,
	})
	return slices.ContainsFunc(events, func(ev *event.Event) bool { return home(ev) == db.tenant }), err
}
