package access

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
)

// Each is one statement, so that what it reads is of one moment.
const (
	factColumns = `SELECT i.is_active, o.status, g.sync_state, m.membership_id, m.status,
 a.id, a.organization_id, a.has_access, a.role_id, a.role_slug, a.role_name FROM av_identities i`

	selectAnywhere = factColumns + `
 LEFT JOIN av_app_access a ON a.identity_id = i.sub AND a.application_id = ?
 LEFT JOIN av_organizations o ON o.tenant_id = a.organization_id
 LEFT JOIN avhub_mirror_graves g ON g.id = 'organization/' || a.organization_id
 LEFT JOIN av_memberships m ON m.identity_id = a.identity_id AND m.organization_id = a.organization_id
 WHERE i.sub = ?`

	selectWithin = factColumns + `
 LEFT JOIN av_app_access a ON a.identity_id = i.sub AND a.application_id = ? AND a.organization_id = ?
 LEFT JOIN av_organizations o ON o.tenant_id = ?
 LEFT JOIN avhub_mirror_graves g ON g.id = ?
 LEFT JOIN av_memberships m ON m.identity_id = i.sub AND m.organization_id = ?
 WHERE i.sub = ?`
)

// read reads the facts. They hold a place for the tenant of a question within
// one, and else one for each access.
func (c *Checker) read(ctx context.Context, q question) (facts, error) {
	application, tenant := q.application, q.tenant
	if !storable(application) {
		application = "" // like these there are none
	}
	if !storable(tenant) {
		tenant = ""
	}
	query, args := selectAnywhere, []any{application, q.identity}
	if q.within {
		query, args = selectWithin, []any{application, tenant, tenant, "organization/" + tenant, tenant, q.identity}
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	f := facts{}
	index := map[string]int{} // of places, by the id of the access
	err := c.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var r factRow
		if err := r.scan(rows); err != nil {
			return err
		}
		f.known, f.active = true, r.active
		if !q.within && !r.access.Valid {
			return nil
		}
		i, ok := index[r.access.String]
		if !ok {
			p, err := r.place(q)
			if err != nil {
				return err
			}
			i = len(f.places)
			index[r.access.String] = i
			f.places = append(f.places, p)
		}
		if r.membership.Valid {
			f.places[i].join(r.membership.String, r.membershipStatus.String)
		}
		return nil
	}, query, args...)
	if err != nil {
		return facts{}, fmt.Errorf("read who has access: %w", err)
	}
	if application == "" || q.within && tenant == "" {
		f.places = nil
	}
	return f, nil
}

type factRow struct {
	active                       bool
	tenantStatus                 sql.NullString
	grave                        []byte
	membership, membershipStatus sql.NullString
	access, tenant               sql.NullString
	has                          sql.NullBool
	roleID, roleSlug, roleName   sql.NullString
}

func (r *factRow) scan(rows *sql.Rows) error {
	return rows.Scan(&r.active, &r.tenantStatus, &r.grave, &r.membership, &r.membershipStatus,
		&r.access, &r.tenant, &r.has, &r.roleID, &r.roleSlug, &r.roleName)
}

func (r *factRow) place(q question) (place, error) {
	p := place{access: r.has.Bool, role: Grant{
		Tenant: r.tenant.String, RoleID: r.roleID.String, RoleSlug: r.roleSlug.String, RoleName: r.roleName.String,
	}}
	switch {
	case q.within:
		p.tenant = &q.tenant
	case r.tenant.Valid:
		p.tenant = &r.tenant.String
	}
	var err error
	if p.tenant != nil {
		p.standing, err = standingOf(*p.tenant, r.tenantStatus, r.grave)
	}
	return p, err
}

func standingOf(tenant string, status sql.NullString, grave []byte) (standing, error) {
	switch {
	case status.Valid && status.String == statusActive:
		return running, nil
	case status.Valid && status.String == statusDeleted:
		return deleted, nil
	case status.Valid:
		return suspended, nil
	case grave == nil:
		return unheard, nil
	}
	gone, err := mirror.Deleted(grave)
	if err != nil {
		return unheard, fmt.Errorf("read the grave of organization %s: %w", tenant, err)
	}
	if gone {
		return deleted, nil
	}
	return unheard, nil
}

// bound gives a question to a database over a network an end. On SQLite, whose
// waits are bounded, the caller's cancellation is kept away from the driver,
// which would start a goroutine for each statement to watch for it.
func (c *Checker) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.store.Dialect() == store.SQLite {
		return context.WithoutCancel(ctx), func() {}
	}
	return context.WithTimeout(ctx, store.Patience)
}
