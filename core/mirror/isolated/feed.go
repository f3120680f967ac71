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
	Calls, Answered  int64 // reasons to look at it that are no new events
	Attempts         int
	NextAt           int64
	LastError        string
	State            string
	UpdatedAt        int64
}

// due tells whether the database has to be looked at.
func (r *row) due() bool { return r.Target > r.Position || r.Calls > r.Answered }

// fed is what became of feeding a tenant.
type fed struct {
	row      row // as it was
	position int64
	answered int64
	applied  int  // events
	dropped  bool // the database is gone, as the tenant is
	err      error
}

// feed brings a tenant's database towards its target.
func (d *Databases) feed(ctx context.Context, r row) fed {
	f := fed{row: r, position: r.Position, answered: r.Answered}
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
	at, known, err := d.cursor(ctx, db)
	if err != nil {
		return false, err
	}
	if f.row.Position == positionRebuild {
		if err := d.empty(ctx, db, at); err != nil {
			return false, err
		}
		at = progress{}
	} else if err := ahead(f.row.Tenant, at, known); err != nil {
		return false, err
	}
	if at, err = d.rewind(ctx, db, at, known); err != nil {
		return false, err
	}
	for n := 0; at.events < f.row.Target && ctx.Err() == nil && time.Since(begin) < slice; {
		at.events, n, err = d.chunk(ctx, db, at, f.row.Target)
		if f.applied += n; err != nil {
			return false, err
		}
	}
	for n := 0; at.facts < known.facts && ctx.Err() == nil && time.Since(begin) < slice; {
		at, n, err = d.facts(ctx, db, at, known.facts)
		if f.applied += n; err != nil {
			return false, err
		}
	}
	f.position = at.events
	if at.facts >= known.facts {
		f.answered = f.row.Calls
	}
	if err := ctx.Err(); err != nil && (at.events < f.row.Target || at.facts < known.facts) {
		return false, err
	}
	return d.deleted(ctx, db, at.events)
}

// ahead refuses a database that knows what the hub does not: the hub's own one
// was restored from a backup, and the positions after it have other events now.
func ahead(tenant string, at, known progress) error {
	what, has, most := "events up to position", at.events, known.events
	switch {
	case at.events > known.events:
	case at.facts > known.facts:
		what, has, most = "facts of first fills up to number", at.facts, known.facts
	case at.reapplied > known.reapplied:
		what, has, most = "reapplied events up to number", at.reapplied, known.reapplied
	default:
		return nil
	}
	return fmt.Errorf("it holds %s %d, and those of the hub were read only up to %d: "+
		"was the hub's database restored, or is this another hub's? Fill it anew with: avhub tenant rebuild %q", what, has, most, tenant)
}

// cursor returns up to where the database holds everything, and then up to where
// the dispatcher has looked.
func (d *Databases) cursor(ctx context.Context, db *database) (at, known progress, err error) {
	bounded, cancel := db.store.Bound(context.WithoutCancel(ctx), store.Patience)
	defer cancel()
	if _, at, err = owner(bounded, db.store); err != nil {
		return at, known, err
	}
	bounded, done := d.bound(ctx)
	defer done()
	known, err = d.dispatched(bounded)
	return at, known, err
}

// chunk applies the tenant's next events, and what goes with them, and returns
// up to where the database holds everything then, and how many events that took.
func (d *Databases) chunk(ctx context.Context, db *database, at progress, target int64) (to int64, n int, err error) {
	from := at.events
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
	if err := g.commit(ctx, at, progress{to, at.facts, at.reapplied}); err != nil {
		return from, g.applied, err
	}
	return to, g.applied, nil
}

// tied adds events that name no tenant: those about everybody's applications and
// login providers, or those about the tenant's people.
func (d *Databases) tied(ctx context.Context, g *group, tenant string, from, to int64) error {
	for last := (known{latest: from + 1}); ; {
		ties, err := d.ties(ctx, tenant, last)
		if err != nil || len(ties) == 0 {
			return err
		}
		for _, t := range ties {
			last = t
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

func (d *Databases) ties(ctx context.Context, tenant string, after known) (ties []known, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	err = d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var t known
		if err := rows.Scan(&t.who, &t.since, &t.latest); err != nil {
			return err
		}
		ties = append(ties, t)
		return nil
	}, `SELECT sub, since, latest FROM avhub_tenant_people WHERE tenant_id = ? AND latest >= ? AND (latest > ? OR sub > ?) ORDER BY latest, sub LIMIT ?`,
		tenant, after.latest, after.latest, after.who, d.sizes.group)
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
