package isolated

import (
	"context"
	"errors"
	"fmt"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/organization"
	"github.com/avhub/avhub/ent/tenantdatabase"
)

// choose finds a place for a tenant's database and stores it, once and for all:
// it stays when the slug changes. The database itself is made later.
func (d *Databases) choose(ctx context.Context, tenant string) (string, error) {
	slug, err := d.slug(ctx, tenant)
	if err != nil {
		return "", err
	}
	for n := range candidates {
		place := d.place.candidate(n, tenant, slug)
		if d.place.reserved(place) {
			continue
		}
		if occupied, err := d.occupied(ctx, place, tenant); err != nil {
			return "", fmt.Errorf("look whether a name for its database is free: %w", err)
		} else if occupied {
			continue
		}
		stored, err := d.claim(ctx, tenant, place)
		if err != nil || stored != "" {
			return stored, err
		}
	}
	return "", errNoName
}

// slug is the tenant's, as far as the hub knows it.
func (d *Databases) slug(ctx context.Context, tenant string) (string, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	org, err := d.deps.Store.Read().Organization.Query().
		Where(organization.ID(tenant)).Select(organization.FieldSlug).Only(ctx)
	if ent.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the tenant's slug: %w", err)
	}
	return org.Slug, nil
}

// claim stores a place unless another tenant has it. It returns the place that
// the tenant has now, empty if this one is taken.
func (d *Databases) claim(ctx context.Context, tenant, place string) (stored string, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	st := d.deps.Store
	err = st.InTx(ctx, func(ctx context.Context) error {
		if err := st.TakeTurn(ctx); err != nil { // two hubs must not give one place to two tenants
			return err
		}
		taken, err := st.Ent(ctx).TenantDatabase.Query().Where(tenantdatabase.Place(place)).Exist(ctx)
		if err != nil {
			return err
		}
		if taken {
			return nil
		}
		if _, err := st.SQL(ctx).Exec(ctx,
			`UPDATE avhub_tenant_databases SET place = ? WHERE tenant_id = ? AND place = ''`, place, tenant); err != nil {
			return err
		}
		row, err := st.Ent(ctx).TenantDatabase.Get(ctx, tenant)
		if err == nil {
			stored = row.Place
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("store the place of its database: %w", err)
	}
	return stored, nil
}

// database is an open one.
type database struct {
	tenant string
	store  *store.Store
	mirror *mirror.Mirror
}

// open opens a tenant's database, makes it if there is none, brings its schema
// up to date and sees that it is this tenant's.
func (d *Databases) open(ctx context.Context, tenant, place string) (_ *database, err error) {
	st, there, err := d.tryOpen(ctx, place)
	if err == nil && !there {
		d.forget(tenant)
		st, err = d.create(ctx, place)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.forget(tenant)
			err = errors.Join(err, st.Close())
		}
	}()
	work, cancel := st.Bound(context.WithoutCancel(ctx), makeTime)
	defer cancel()
	if !d.seen(tenant) {
		if err := d.prepare(work, st); err != nil {
			return nil, err
		}
	}
	if err := d.own(work, st, tenant); err != nil {
		return nil, err
	}
	d.remember(tenant)
	return &database{tenant, st, mirror.New(st, d.deps.Mirror)}, nil
}

// prepare brings the schema up to date. What is new gets its schema always:
// there is nothing in it that a migration could hurt.
func (d *Databases) prepare(ctx context.Context, st *store.Store) error {
	if d.cfg.Manual {
		migrated, err := hasTable(ctx, st, "avhub_migrations")
		if err != nil {
			return err
		}
		if migrated {
			return st.CheckSchema(ctx)
		}
	}
	_, err := st.Migrate(ctx)
	return err
}

// own sees that the database is the tenant's, or makes it so if it is nobody's.
func (d *Databases) own(ctx context.Context, st *store.Store, tenant string) error {
	is, _, err := owner(ctx, st)
	switch {
	case err != nil || is == tenant:
		return err
	case is != "":
		return fmt.Errorf("it is the database of tenant %q; do two hubs share one folder or server? Give each its own mirror.tenants.url", is)
	}
	// A hub's own database has counted something before it had any tenant.
	counters, err := number(ctx, st, `SELECT COUNT(*) FROM avhub_counters`)
	if err != nil {
		return err
	}
	if counters > 0 {
		return errors.New("it is a hub's own database; no tenant's rows are put there")
	}
	_, err = st.SQL(ctx).Exec(ctx, `INSERT INTO avhub_tenant_databases (tenant_id, state, updated_at) VALUES (?, ?, ?)
 ON CONFLICT (tenant_id) DO NOTHING`, tenant, stateOwn, d.deps.Now().UnixMicro())
	if err != nil {
		return fmt.Errorf("note whose database it is: %w", err)
	}
	return nil
}

func (d *Databases) seen(tenant string) bool {
	d.checkedMu.Lock()
	defer d.checkedMu.Unlock()
	_, ok := d.checked[tenant]
	return ok
}

func (d *Databases) remember(tenant string) {
	d.checkedMu.Lock()
	defer d.checkedMu.Unlock()
	if len(d.checked) >= maxChecked {
		clear(d.checked)
	}
	d.checked[tenant] = struct{}{}
}

func (d *Databases) forget(tenant string) {
	d.checkedMu.Lock()
	defer d.checkedMu.Unlock()
	delete(d.checked, tenant)
}

// bound gives work on the hub's database an end, and takes its caller's away: a
// step that has begun is finished.
func (d *Databases) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return d.deps.Store.Bound(context.WithoutCancel(ctx), store.Patience)
}
