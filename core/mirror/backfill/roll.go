package backfill

import (
	"context"
	"fmt"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/appaccess"
	"github.com/avhub/avhub/ent/membership"
)

// roll is who was in an answer, to find out who was not.
type roll struct {
	of   Options
	u    integration.Unit
	seen *keys
	// blind: somebody came of whom not even the id is known, so nobody can be
	// said to be missing.
	blind bool
}

func newRoll(o Options, u integration.Unit) *roll { return &roll{of: o, u: u, seen: newKeys()} }

func (r *roll) key(tenant, membership, person string) string {
	return keyOf(r.of.Source.Name, r.u, tenant, membership, person)
}

// came notes a member; false: he came before.
func (r *roll) came(head integration.Head, m *integration.Member) bool {
	return r.seen.add(r.key(tenantOf(r.u, head, m).ID, m.ID, m.Person.ID))
}

// unread notes somebody who could not be read.
func (r *roll) unread(id string) {
	if id == "" || r.u.Kind == integration.Application {
		r.blind = true
		return
	}
	r.seen.add(r.key(r.u.ID, id, ""))
}

// complete tells whether who is not in the answer can be said to be missing. An
// empty answer is not believed that much.
func (r *roll) complete(a integration.Answer) bool {
	if a.Total > int64(a.Members) {
		r.of.Log.Warn().Stringer("unit", r.u).Int64("total", a.Total).Int("members", a.Members).
			Msg("the provider says that there are more members than it sent; who is missing is not taken for gone")
		return false
	}
	return !r.blind && a.Members > 0
}

// absentee is somebody whom the mirror shows and the answer does not.
type absentee struct {
	key    string // of the fact about him
	id     string // of the mirror's row
	status string // of the membership that the row is
	// Of a row of av_app_access:
	person, tenant string
	role           bool // one is known
}

// absent hands out, some at a time, those whom the mirror shows in the tenant, or
// in the application, and who were not in the answer.
func (r *roll) absent(ctx context.Context, id string, take func([]absentee) error) error {
	page := r.memberships
	if r.u.Kind == integration.Application {
		page = r.accesses
	}
	for last := ""; ; {
		missing, next, err := page(ctx, id, last)
		if err != nil {
			return fmt.Errorf("look for members who are not listed any more: %w", err)
		}
		if len(missing) > 0 {
			if err := take(missing); err != nil {
				return err
			}
		}
		if last = next; last == "" {
			return nil
		}
	}
}

// memberships is a page of the tenant's, and where the next one begins; empty:
// there is none.
func (r *roll) memberships(ctx context.Context, tenant, after string) (missing []absentee, next string, err error) {
	list, err := r.of.Store.Read().Membership.Query().
		Where(membership.OrganizationID(tenant), membership.IDGT(after), membership.StatusNEQ(mirror.MembershipLeft)).
		Order(ent.Asc(membership.FieldID)).Limit(factsPerWrite).
		Select(membership.FieldID, membership.FieldStatus).All(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, m := range list {
		if key := r.key(tenant, m.ID, ""); !r.seen.has(key) {
			missing = append(missing, absentee{key: key, id: m.ID, status: m.Status})
		}
	}
	if len(list) == factsPerWrite {
		next = list[len(list)-1].ID
	}
	return missing, next, nil
}

// accesses is a page of the access to an application.
func (r *roll) accesses(ctx context.Context, application, after string) (missing []absentee, next string, err error) {
	list, err := r.of.Store.Read().AppAccess.Query().
		Where(appaccess.ApplicationID(application), appaccess.IDGT(after), appaccess.HasAccess(true)).
		Order(ent.Asc(appaccess.FieldID)).Limit(factsPerWrite).All(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, a := range list {
		if a.IdentityID == nil || a.OrganizationID == nil {
			continue // the API tells of access within tenants alone
		}
		if key := r.key(*a.OrganizationID, "", *a.IdentityID); !r.seen.has(key) {
			missing = append(missing, absentee{key: key, id: a.ID, person: *a.IdentityID, tenant: *a.OrganizationID, role: hasRole(a)})
		}
	}
	if len(list) == factsPerWrite {
		next = list[len(list)-1].ID
	}
	return missing, next, nil
}

// hasRole tells whether the row is about somebody whom the API lists: it lists
// who has a role.
func hasRole(a *ent.AppAccess) bool { return text(a.RoleID) != "" || text(a.RoleSlug) != "" }

// text is a column's value, empty for NULL.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
