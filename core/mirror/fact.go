package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
)

// Fact is what the provider's integration API said about one member: that
// somebody is in a tenant, as what, and what he may use.
//
// A fact is merged like an event, but with a clock that is older than that of
// every event, so that it only ever fills in what no event has told: see
// factClock. Among facts the one that was read last counts.
type Fact struct {
	// Key is what the fact is about, at most 2,048 bytes. Of facts with one key
	// the newest is what the provider said last.
	Key string `json:"-"`
	// ReadAt is when it was read, in Unix seconds by the hub's clock.
	ReadAt int64 `json:"-"`

	Tenant     FactTenant     `json:"tenant"`
	Membership FactMembership `json:"membership,omitzero"`
	Person     FactPerson     `json:"person"`
	Access     []FactAccess   `json:"access,omitempty"` // each application once
	// Gone are the ids of applications that an earlier fact of this key gave
	// access to, and this one does not. Fill sets them.
	Gone []string `json:"gone,omitempty"`
}

// FactTenant is a tenant as the API told it. What was not told is empty.
type FactTenant struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Slug string `json:"slug,omitempty"`
}

// FactMembership is somebody's place in the tenant; without an ID, nothing was
// told about it.
type FactMembership struct {
	ID string `json:"id,omitempty"`
	// Status is active, suspended or left.
	Status string `json:"status,omitempty"`
	// Roles are those in the tenant; nil: they were not told.
	Roles []string  `json:"roles,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

// The statuses of memberships.
const (
	MembershipActive    = "active"
	MembershipSuspended = "suspended"
	MembershipLeft      = "left"
)

// FactPerson is who it is. What was not told is empty.
type FactPerson struct {
	ID         string `json:"id"`
	Email      string `json:"email,omitempty"`
	GivenName  string `json:"given_name,omitempty"`
	FamilyName string `json:"family_name,omitempty"`
}

// FactAccess is access to an application, and the role there.
type FactAccess struct {
	ApplicationID   string `json:"application_id"`
	ApplicationName string `json:"application_name,omitempty"`
	ClientID        string `json:"client_id,omitempty"`
	RoleID          string `json:"role_id,omitempty"`
	RoleName        string `json:"role_name,omitempty"`
	RoleSlug        string `json:"role_slug,omitempty"`
}

// Stored is the fact as it is kept: JSON without its key and its time.
func (f *Fact) Stored() ([]byte, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write a fact: %w", err)
	}
	return text, nil
}

// ParseFact reads a fact as it is kept.
func ParseFact(key string, readAt int64, stored []byte) (Fact, error) {
	f := Fact{}
	if err := json.Unmarshal(stored, &f); err != nil {
		return Fact{}, errors.New("read a fact: it was changed by hand or written by a newer avhub")
	}
	f.Key, f.ReadAt = key, readAt
	return f, nil
}

// says tells whether two facts of one key say the same. The order of roles says
// nothing, and neither does what either says about the one before it.
func (f *Fact) says(other *Fact) bool {
	return f.Tenant == other.Tenant && f.Person == other.Person &&
		f.Membership.ID == other.Membership.ID && f.Membership.Status == other.Membership.Status &&
		f.Membership.Since.Equal(other.Membership.Since) &&
		sameSet(f.Membership.Roles, other.Membership.Roles, strings.Compare) &&
		sameSet(f.Access, other.Access, func(a, b FactAccess) int { return strings.Compare(a.ApplicationID, b.ApplicationID) })
}

func sameSet[T comparable](a, b []T, compare func(T, T) int) bool {
	if slices.Equal(a, b) {
		return true
	}
	if len(a) != len(b) {
		return false
	}
	return slices.Equal(slices.SortedFunc(slices.Values(a), compare), slices.SortedFunc(slices.Values(b), compare))
}

// factPrefix begins the ids of facts' clocks.
const factPrefix = "backfill/"

// factHorizon is where the clocks of facts end: no event is older. As seconds it
// is in the year 2286.
const factHorizon = 10_000_000_000

// factClock is the clock of a fact: the seconds of its time, taken as
// microseconds. So every fact lies in the first hours of 1970, before all
// events, and one that was read later is still newer than one before it.
func factClock(key string, readAt int64) clock { return clock{readAt, factPrefix + key} }

// shown is the clock as a point in time that people can be told, in Unix
// microseconds.
func (c clock) shown() int64 {
	if c.micros < factHorizon && strings.HasPrefix(c.id, factPrefix) {
		return c.micros * int64(time.Second/time.Microsecond)
	}
	return c.micros
}

// factEffects takes a fact apart, as effects does an event. It depends on the
// fact and the rules alone, so that the mirror can be built anew from the facts
// and the journal.
func (ms *models) factEffects(f *Fact) ([]*effect, error) {
	if f.Key == "" || len(f.Key) > maxKey || f.Tenant.ID == "" || f.Person.ID == "" || f.ReadAt <= 0 || f.ReadAt >= factHorizon {
		return nil, fmt.Errorf("its ids are missing, or longer than %d bytes together when escaped", maxKey)
	}
	org := &effect{model: ms.organizations, id: f.Tenant.ID, alive: true}
	org.told("name", f.Tenant.Name)
	org.told("slug", f.Tenant.Slug)
	person := &effect{model: ms.identities, id: f.Person.ID, tenant: f.Tenant.ID}
	told := []*effect{org, person}
	if f.Membership.ID != "" {
		told = append(told, ms.factMembership(f))
	}
	if f.Membership.Status == MembershipLeft {
		person.leaves = []string{"app_role", "groups", "tenant_id"}
	} else {
		person.alive = true
		person.told("email", f.Person.Email)
		person.told("given_name", f.Person.GivenName)
		person.told("family_name", f.Person.FamilyName)
		if f.Membership.ID != "" {
			person.told("tenant_id", f.Tenant.ID)
		}
	}
	access, err := ms.factAccess(f, person)
	if err != nil {
		return nil, err
	}
	told = append(told, access...)
	at := factClock(f.Key, f.ReadAt)
	for _, e := range told {
		e.finish(at)
	}
	return told, nil
}

func (ms *models) factMembership(f *Fact) *effect {
	e := &effect{model: ms.memberships, id: f.Membership.ID, alive: f.Membership.Status != MembershipLeft}
	e.text(personField, event.Some(f.Person.ID))
	e.text(organizationField, event.Some(f.Tenant.ID))
	e.text("status", event.Some(f.Membership.Status))
	if f.Membership.Roles != nil {
		e.list("roles", event.Some(f.Membership.Roles))
	}
	if !f.Membership.Since.IsZero() {
		e.created(event.Some(f.Membership.Since))
	}
	return e
}

// factAccess tells what the person may use, and what no more; into the person's
// own row goes the flat view of it.
func (ms *models) factAccess(f *Fact, person *effect) ([]*effect, error) {
	var told []*effect
	var role string // in an application that the flat view follows
	has, had := false, false
	flat := func(application string) bool { return ms.applicationID == "" || application == ms.applicationID }
	for i := range f.Access {
		is := &f.Access[i]
		app := &effect{model: ms.applications, id: is.ApplicationID, alive: true}
		app.told("name", is.ApplicationName)
		app.told("client_id", is.ClientID)
		a, err := ms.accessOf(f.Person.ID, is.ApplicationID, f.Tenant.ID)
		if err != nil {
			return nil, err
		}
		a.granted(known(is.RoleID), known(is.RoleName), known(is.RoleSlug))
		told = append(told, app, a)
		if flat(is.ApplicationID) {
			if !has {
				role = is.RoleSlug
			}
			has = true
		}
	}
	for _, application := range f.Gone {
		a, err := ms.accessOf(f.Person.ID, application, f.Tenant.ID)
		if err != nil {
			return nil, err
		}
		a.flag("has_access", event.Some(false))
		told = append(told, a)
		had = had || flat(application)
	}
	if has || had {
		person.flag("has_app_access", event.Some(has))
	}
	switch {
	case person.leaves != nil:
	case role != "":
		person.told("app_role", role)
	case len(f.Membership.Roles) > 0:
		person.told("app_role", f.Membership.Roles[0])
	case had:
		person.put("app_role", null)
	}
	return told, nil
}

// known is null for a text that there is none of.
func known(value string) event.Opt[string] {
	return event.Opt[string]{Set: true, Null: value == "", Value: value}
}

// told assigns a text if there is one.
func (e *effect) told(field, value string) {
	if value != "" {
		e.text(field, event.Some(value))
	}
}
