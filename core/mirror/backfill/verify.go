package backfill

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/appaccess"
	"github.com/avhub/avhub/ent/identity"
	"github.com/avhub/avhub/ent/membership"
	"github.com/avhub/avhub/ent/organization"
)

// maxDrifts are listed; the rest is counted.
const maxDrifts = 10_000

// Drift is a difference between provider and mirror.
type Drift struct {
	Unit   string `json:"unit"`   // the answer that it was found in first
	Entity string `json:"entity"` // organization, identity, membership or app_access
	ID     string `json:"id"`
	// Field is the column that differs; "exists" for the row.
	Field string `json:"field"`
	// Provider and Mirror are what either says; empty: nothing.
	Provider string `json:"provider"`
	Mirror   string `json:"mirror"`
}

// Comparison is what Verify found.
type Comparison struct {
	Source  string           `json:"source"`
	Units   int              `json:"units"`
	Unknown []string         `json:"unknown_to_provider"`
	Failed  []Failure        `json:"failed"`
	Members int64            `json:"members"`
	Skipped map[string]int64 `json:"skipped"`

	Drifts       int64   `json:"drifts"` // all of them
	Drift        []Drift `json:"drift"`
	DriftOmitted int64   `json:"drift_omitted"`

	Took time.Duration `json:"-"`
}

// verification compares unit by unit.
type verification struct {
	o    Options
	tour *tour
	c    Comparison
	told *keys // differences that were found, each once
}

// Verify compares the mirror with the provider and writes nothing. What changes
// while it is being read may show up as a difference. Units that cannot be read
// are in the comparison; an error is what kept it from reading on.
func Verify(ctx context.Context, o Options) (Comparison, error) {
	if o.Now == nil {
		o.Now = store.Now
	}
	began := o.Now()
	v := &verification{o: o, tour: newTour(o), told: newKeys(), c: Comparison{
		Source: o.Source.Name, Skipped: map[string]int64{}, Unknown: []string{}, Failed: []Failure{}, Drift: []Drift{},
	}}
	err := v.tour.walk(ctx, v.visit)
	v.c.Members = v.tour.members
	v.c.Failed = append(v.c.Failed, v.tour.failures...)
	v.c.Unknown = append(v.c.Unknown, v.tour.unknown...)
	v.c.DriftOmitted = v.c.Drifts - int64(len(v.c.Drift))
	v.c.Took = o.Now().Sub(began)
	return v.c, err
}

// comparing is the comparison of one unit.
type comparing struct {
	*verification
	*roll
	number  int
	head    integration.Head
	waiting []integration.Member
	size    int // of those that wait, in bytes as sent
	skipped map[string]int64
	found   []Drift
	new     *keys // differences that were found in this unit
}

func (v *verification) visit(ctx context.Context, u integration.Unit) (int, error) {
	c := &comparing{verification: v}
	answer, err := v.o.Client.Read(ctx, u, integration.Sink{
		Begin: func() {
			*c = comparing{verification: v, roll: newRoll(v.o, u), skipped: map[string]int64{}, new: &keys{v.told.seed, map[uint64]struct{}{}}}
		},
		Member: func(h integration.Head, m integration.Member) error { return c.member(ctx, h, m) },
		Bad: func(_ int, id, _ string) {
			c.number++
			c.skipped[skipUnusable]++
			c.unread(id)
		},
	})
	if err == nil {
		err = c.flush(ctx)
	}
	if err == nil && c.complete(answer) {
		err = c.absent(ctx, answer.ID, func(all []absentee) error { return c.gone(ctx, all) })
	}
	if err != nil {
		return answer.Members, err
	}
	for reason, n := range c.skipped {
		v.c.Skipped[reason] += n
	}
	v.c.Units++
	v.c.Drifts += int64(len(c.new.in))
	maps.Copy(v.told.in, c.new.in)
	v.c.Drift = append(v.c.Drift, c.found[:min(len(c.found), maxDrifts-len(v.c.Drift))]...)
	return answer.Members, nil
}

func (c *comparing) member(ctx context.Context, head integration.Head, m integration.Member) error {
	c.number++
	c.head = head
	fresh := c.came(head, &m)
	c.tour.found(tenantOf(c.u, head, &m).ID)
	switch {
	case status(m.Status) == "" && !m.Invited():
		c.skipped[skipStatus]++
		return nil
	case !fresh:
		c.skipped[skipDuplicate]++
		return nil
	}
	c.waiting, c.size = append(c.waiting, m), c.size+m.Size
	if len(c.waiting) < factsPerWrite && c.size < bytesPerWrite {
		return nil
	}
	return c.flush(ctx)
}

func (c *comparing) differ(entity, id, field, provider, mirror string) {
	// Many an answer tells of one person; a difference is one all the same.
	key := strings.Join([]string{entity, id, field}, "\x00")
	if c.told.has(key) || !c.new.add(key) {
		return
	}
	if len(c.found) < maxDrifts {
		c.found = append(c.found, Drift{c.u.String(), entity, id, field, provider, mirror})
	}
}

// compare notes a field that the provider tells and the mirror shows otherwise.
// What the provider does not tell may be known from events.
func (c *comparing) compare(entity, id, field, provider, mirror string) {
	if provider != "" && provider != mirror {
		c.differ(entity, id, field, provider, mirror)
	}
}

// shown are the rows of the mirror that members are compared with.
type shown struct {
	people      map[string]*ent.Identity
	memberships map[string]*ent.Membership
	access      map[[3]string]*ent.AppAccess // person, application, tenant
	orgs        map[string]*ent.Organization
}

func (c *comparing) load(ctx context.Context) (*shown, error) {
	var people, members, tenants []string
	for i := range c.waiting {
		m := &c.waiting[i]
		people, members = append(people, m.Person.ID), append(members, m.ID)
		if id := tenantOf(c.u, c.head, m).ID; !slices.Contains(tenants, id) {
			tenants = append(tenants, id)
		}
	}
	s := &shown{map[string]*ent.Identity{}, map[string]*ent.Membership{}, map[[3]string]*ent.AppAccess{}, map[string]*ent.Organization{}}
	db := c.o.Store.Read()
	identities, err := db.Identity.Query().Where(identity.IDIn(people...)).All(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range identities {
		s.people[p.ID] = p
	}
	memberships, err := db.Membership.Query().Where(membership.IDIn(members...)).All(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range memberships {
		s.memberships[m.ID] = m
	}
	accesses, err := db.AppAccess.Query().Where(appaccess.IdentityIDIn(people...), appaccess.OrganizationIDIn(tenants...)).All(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range accesses {
		s.access[[3]string{text(a.IdentityID), text(a.ApplicationID), text(a.OrganizationID)}] = a
	}
	orgs, err := db.Organization.Query().Where(organization.IDIn(tenants...)).All(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range orgs {
		s.orgs[o.ID] = o
	}
	return s, nil
}

// flush compares the members that wait.
func (c *comparing) flush(ctx context.Context) error {
	if len(c.waiting) == 0 {
		return ctx.Err()
	}
	s, err := c.load(ctx)
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	for i := range c.waiting {
		m := &c.waiting[i]
		if m.Invited() {
			c.skipped[skipInvited]++
			if row := s.memberships[m.ID]; row != nil && row.Status != "left" {
				c.differ("membership", m.ID, "status", "invited", row.Status)
			}
			continue
		}
		c.organization(s, tenantOf(c.u, c.head, m))
		c.person(s, m)
		c.membership(s, m)
		c.access(s, m)
	}
	c.waiting, c.size = c.waiting[:0], 0
	c.tour.progress(c.u, c.number)
	return ctx.Err()
}

func (c *comparing) organization(s *shown, is integration.Head) {
	row := s.orgs[is.ID]
	if row == nil || row.Status == "deleted" {
		c.differ("organization", is.ID, "exists", "there", "")
		return
	}
	c.compare("organization", is.ID, "name", is.Name, row.Name)
	c.compare("organization", is.ID, "slug", is.Slug, row.Slug)
}

func (c *comparing) person(s *shown, m *integration.Member) {
	row := s.people[m.Person.ID]
	if row == nil {
		c.differ("identity", m.Person.ID, "exists", "there", "")
		return
	}
	c.compare("identity", row.ID, "email", m.Person.Email, text(row.Email))
	c.compare("identity", row.ID, "given_name", m.Person.GivenName, text(row.GivenName))
	c.compare("identity", row.ID, "family_name", m.Person.FamilyName, text(row.FamilyName))
}

func (c *comparing) membership(s *shown, m *integration.Member) {
	row := s.memberships[m.ID]
	if row == nil {
		c.differ("membership", m.ID, "exists", status(m.Status), "")
		return
	}
	c.compare("membership", m.ID, "status", status(m.Status), row.Status)
	c.compare("membership", m.ID, "identity_id", m.Person.ID, text(row.IdentityID))
	if c.u.Kind != integration.Tenant {
		return
	}
	c.compare("membership", m.ID, "organization_id", c.u.ID, text(row.OrganizationID))
	told, shown := slices.Sorted(slices.Values(tenantRoles(m))), slices.Sorted(slices.Values(row.Roles))
	if !slices.Equal(told, shown) {
		c.differ("membership", m.ID, "roles", strings.Join(told, ", "), strings.Join(shown, ", "))
	}
}

func (c *comparing) access(s *shown, m *integration.Member) {
	tenant := tenantOf(c.u, c.head, m).ID
	given := map[string]bool{}
	for _, a := range accessOf(c.u, c.head, m) {
		given[a.ApplicationID] = true
		id := m.Person.ID + "/" + a.ApplicationID + "/" + tenant
		row := s.access[[3]string{m.Person.ID, a.ApplicationID, tenant}]
		if row == nil || !row.HasAccess {
			c.differ("app_access", id, "has_access", "true", map[bool]string{true: "false"}[row != nil])
			continue
		}
		c.compare("app_access", row.ID, "role_slug", a.RoleSlug, text(row.RoleSlug))
	}
	if c.u.Kind != integration.Tenant {
		return // the answer is about one application
	}
	var more []string
	for key, row := range s.access {
		if key[0] == m.Person.ID && key[2] == tenant && row.HasAccess && hasRole(row) && !given[key[1]] {
			more = append(more, row.ID)
		}
	}
	slices.Sort(more)
	for _, id := range more {
		c.differ("app_access", id, "has_access", "false", "true")
	}
}

// gone notes whom the mirror shows and the provider does not list.
func (c *comparing) gone(ctx context.Context, all []absentee) error {
	if c.u.Kind == integration.Tenant {
		for _, a := range all {
			c.differ("membership", a.id, "exists", "", a.status)
		}
		return nil
	}
	// Who has left the tenant keeps a row that says what he could use; it lets him
	// in nowhere, see the membership.
	var people []string
	for _, a := range all {
		people = append(people, a.person)
	}
	list, err := c.o.Store.Read().Membership.Query().
		Where(membership.IdentityIDIn(people...), membership.StatusNEQ("left")).
		Select(membership.FieldIdentityID, membership.FieldOrganizationID).All(ctx)
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	in := map[[2]string]bool{}
	for _, m := range list {
		in[[2]string{text(m.IdentityID), text(m.OrganizationID)}] = true
	}
	for _, a := range all {
		if a.role && in[[2]string{a.person, a.tenant}] {
			c.differ("app_access", a.id, "has_access", "false", "true")
		}
	}
	return nil
}
