package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what the members of a unit belong to.
type Kind string

// The kinds of units.
const (
	Tenant      Kind = "tenant"      // its ID is the tenant's
	Application Kind = "application" // its ID is the application's client id
)

// Unit is one answer of the API.
type Unit struct {
	Kind Kind
	ID   string
}

// String names the unit in one word; no other has the same.
func (u Unit) String() string { return string(u.Kind) + "/" + url.PathEscape(u.ID) }

// asked names the unit in errors.
func (u Unit) asked() string {
	if u.Kind == Tenant {
		return fmt.Sprintf("the members of tenant %q", u.ID)
	}
	return fmt.Sprintf("the members of the application with client id %q", u.ID)
}

func (u Unit) path() string {
	if u.Kind == Tenant {
		// Of every status, so that one answer tells who is there and who is not.
		return "/api/integration/tenant-memberships?" + url.Values{"tenantId": {u.ID}, "includeRoles": {"true"}}.Encode()
	}
	return "/api/integration/application-memberships?" + url.Values{"clientId": {u.ID}}.Encode()
}

// Head is what an answer says of the tenant or application as a whole.
type Head struct {
	ID   string // the tenant's, or the application's
	Name string
	Slug string // the tenant's
}

// Answer is what was read of a unit.
type Answer struct {
	Head
	Members int   // that came, usable or not
	Total   int64 // how many the provider says there are; negative: it does not say
}

// Sink takes what an answer holds.
type Sink struct {
	// Begin comes before the first member of each attempt: forget the one before.
	Begin func()
	// Member takes a member that can be used.
	Member func(Head, Member) error
	// Bad hears of one that cannot: the number in the answer, from 0, its id if it
	// is known, and why.
	Bad func(index int, id, reason string)
}

// Member is somebody's place in a tenant, and what it lets him do.
type Member struct {
	ID     string // the membership's
	Status string // ACTIVE, INVITED, SUSPENDED; as sent
	Since  time.Time
	Person Person
	Tenant Head // of an answer about an application; else empty
	Roles  []Role
	Size   int // bytes as sent
}

// Person is who it is. What was not sent is empty.
type Person struct {
	ID, Email, GivenName, FamilyName string
}

// Role is a role in the tenant, or in an application.
type Role struct {
	ID, Name, Slug string
	// ApplicationID and ApplicationName are empty for a role in the tenant, and in
	// the answer about an application, whose own all roles are.
	ApplicationID, ApplicationName string
}

// wire is a member as sent. Null and absent are the same.
type wire struct {
	ID        *string `json:"id"`
	Status    *string `json:"status"`
	JoinedAt  *string `json:"joinedAt"`
	CreatedAt *string `json:"createdAt"`
	User      *struct {
		ID         *string `json:"id"`
		Email      *string `json:"email"`
		GivenName  *string `json:"givenName"`
		FamilyName *string `json:"familyName"`
	} `json:"user"`
	Tenant *struct {
		ID   *string `json:"id"`
		Name *string `json:"name"`
		Slug *string `json:"slug"`
	} `json:"tenant"`
	Roles []struct {
		ID              *string `json:"id"`
		Name            *string `json:"name"`
		Slug            *string `json:"slug"`
		ApplicationID   *string `json:"applicationId"`
		ApplicationName *string `json:"applicationName"`
	} `json:"roles"`
}

const (
	maxKey = 512 // bytes of an id, as of those of events
	// maxRoles bounds what one member can make of rows.
	maxRoles = 1000
)

// Invited tells of somebody who has not come yet. Who it is may be unknown.
func (m *Member) Invited() bool { return strings.EqualFold(m.Status, "INVITED") }

// parseMember reads one member. The id is returned as far as it could be read,
// also with an error, which names the member's fields but none of their values.
func parseMember(raw []byte, kind Kind) (Member, string, error) {
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		id := ""
		if w.ID != nil && legible(*w.ID) == *w.ID {
			id = *w.ID
		}
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			what, _, _ := strings.Cut(te.Value, " ") // "number 7" would show the value
			if te.Field == "" {
				return Member{}, id, fmt.Errorf("it is a JSON %s instead of an object", what)
			}
			return Member{}, id, fmt.Errorf("its field %s is a JSON %s", te.Field, what)
		}
		return Member{}, id, errors.New("it cannot be read")
	}
	var r fieldReader
	m := Member{ID: r.key("id", w.ID), Status: r.text("status", w.Status), Size: len(raw)}
	if len(w.Roles) > maxRoles {
		r.fail("roles", fmt.Sprintf("has more than %d elements", maxRoles))
	}
	id := m.ID
	person := r.key
	if m.Invited() {
		person = r.short // somebody who has not come yet may have no account
	}
	switch {
	case w.User != nil:
		m.Person = Person{person("user.id", w.User.ID), r.short("user.email", w.User.Email), r.text("user.givenName", w.User.GivenName), r.text("user.familyName", w.User.FamilyName)}
	case !m.Invited():
		r.fail("user", "is missing")
	}
	if kind == Application {
		if w.Tenant == nil {
			r.fail("tenant", "is missing")
		} else {
			m.Tenant = Head{r.key("tenant.id", w.Tenant.ID), r.text("tenant.name", w.Tenant.Name), r.short("tenant.slug", w.Tenant.Slug)}
		}
	}
	if m.Since = r.time("joinedAt", w.JoinedAt); m.Since.IsZero() {
		m.Since = r.time("createdAt", w.CreatedAt)
	}
	for _, w := range w.Roles {
		role := Role{ID: r.text("roles.id", w.ID), Name: r.text("roles.name", w.Name), Slug: r.text("roles.slug", w.Slug)}
		if kind == Tenant {
			role.ApplicationID, role.ApplicationName = r.short("roles.applicationId", w.ApplicationID), r.text("roles.applicationName", w.ApplicationName)
		}
		m.Roles = append(m.Roles, role)
	}
	return m, id, r.err
}

// fieldReader takes fields out of a member and keeps the first complaint.
type fieldReader struct{ err error }

func (r *fieldReader) fail(field, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("its field %s %s", field, what)
	}
}

// text is one that both databases can hold. The decoder has made it valid UTF-8.
func (r *fieldReader) text(field string, s *string) string {
	if s == nil {
		return ""
	}
	if strings.IndexByte(*s, 0) >= 0 {
		r.fail(field, "has a U+0000 in it")
		return ""
	}
	return *s
}

// short is an optional text that rows are looked up by.
func (r *fieldReader) short(field string, s *string) string {
	if s == nil {
		return ""
	}
	if len(*s) > maxKey || strings.ContainsFunc(*s, unicode.IsControl) || !utf8.ValidString(*s) {
		r.fail(field, "is longer than 512 bytes or has control characters")
		return ""
	}
	return *s
}

// key is one that must be there.
func (r *fieldReader) key(field string, s *string) string {
	if s == nil || *s == "" {
		r.fail(field, "is missing")
		return ""
	}
	return r.short(field, s)
}

func (r *fieldReader) time(field string, s *string) time.Time {
	if s == nil || *s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	if t = t.UTC().Truncate(time.Microsecond); err != nil || t.Year() < 1 || t.Year() > 9999 {
		r.fail(field, "is no RFC 3339 time")
		return time.Time{}
	}
	return t
}
