package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Tenant is a tenant as the mirror shows it.
type Tenant struct {
	ID, Slug, Name, Plan string
	// Status is Allowed for a tenant that is active, or else TenantSuspended or
	// TenantDeleted. Of one that is deleted, and whose row is not kept, only the
	// id is known.
	Status Reason
}

// Active tells whether the tenant is neither suspended nor deleted.
func (t Tenant) Active() bool { return t.Status == Allowed }

// Errors of Tenant and TenantBySlug.
var (
	// ErrUnknownTenant: the mirror has not heard of it.
	ErrUnknownTenant = errors.New("the tenant is not known")
	// ErrAmbiguousTenant: several tenants have this slug. Nothing makes slugs
	// unique; in the moment in which two tenants swap theirs, both have the same.
	ErrAmbiguousTenant = errors.New("several tenants have this slug")
)

// name is how a tenant is called.
type name struct {
	text string
	slug bool
}

// Tenant returns the tenant with an id. Its error is ErrUnknownTenant if there
// is none; any other means that the database could not be asked.
func (c *Checker) Tenant(ctx context.Context, id string) (Tenant, error) {
	found, err := c.find(ctx, name{text: id})
	switch {
	case err != nil:
		return Tenant{}, err
	case len(found) == 0:
		return Tenant{}, ErrUnknownTenant
	}
	return found[0], nil
}

// TenantBySlug returns the tenant with a slug. Tenants that are deleted count
// only if no other one has it.
func (c *Checker) TenantBySlug(ctx context.Context, slug string) (Tenant, error) {
	found, err := c.find(ctx, name{text: slug, slug: true})
	if err != nil {
		return Tenant{}, err
	}
	switch {
	case len(found) == 0:
		return Tenant{}, ErrUnknownTenant
	case len(found) > 1 && found[1].Status != TenantDeleted:
		return Tenant{}, ErrAmbiguousTenant
	}
	return found[0], nil
}

const (
	selectTenant = `SELECT tenant_id, slug, name, plan, status, NULL FROM av_organizations WHERE tenant_id = ?
 UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, sync_state FROM avhub_mirror_graves WHERE id = ?`

	selectTenantBySlug = `SELECT tenant_id, slug, name, plan, status, NULL FROM av_organizations
 WHERE slug = ? ORDER BY CASE status WHEN 'deleted' THEN 1 ELSE 0 END, tenant_id LIMIT 3`
)

// maxNamesakes is how many tenants of one slug are read. Of as many, another one
// may have been left out, so they are not kept.
const maxNamesakes = 3

// find returns the tenants of a name: one at most of an id, maxNamesakes at most
// of a slug, those that are deleted last.
func (c *Checker) find(ctx context.Context, n name) ([]Tenant, error) {
	if !storable(n.text) {
		return nil, nil
	}
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	if found, ok := c.tenants.get(n); ok {
		return found, nil
	}
	since := c.stamps.now() // before the database is read
	query, args := selectTenant, []any{n.text, "organization/" + n.text}
	if n.slug {
		query, args = selectTenantBySlug, []any{n.text}
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var found []Tenant
	err := c.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var id, slug, title, plan, status sql.NullString
		var grave []byte
		if err := rows.Scan(&id, &slug, &title, &plan, &status, &grave); err != nil {
			return err
		}
		if !id.Valid {
			id.String = n.text
		}
		is, err := standingOf(id.String, status, grave)
		if err != nil || is == unheard {
			return err
		}
		t := Tenant{ID: id.String, Slug: slug.String, Name: title.String, Plan: plan.String, Status: Allowed}
		switch is {
		case suspended:
			t.Status = TenantSuspended
		case deleted:
			t.Status = TenantDeleted
		}
		found = append(found, t)
		return nil
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read a tenant: %w", err)
	}
	if len(n.text) <= maxKey && len(found) < maxNamesakes {
		c.tenants.put(n, found, since, c.tenantTags(n, found))
	}
	return found, nil
}

func (c *Checker) tenantTags(n name, found []Tenant) []tag {
	if !n.slug {
		return []tag{c.stamps.tag(kindOrganization, n.text)}
	}
	tags := []tag{c.stamps.tag(kindSlug, n.text)}
	for _, t := range found {
		tags = append(tags, c.stamps.tag(kindOrganization, t.ID))
	}
	return tags
}
