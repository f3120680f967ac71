package entry

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/avhub/avhub/sdk/plugin"
)

// said is what an event tells by itself, without the mirror.
type said struct {
	actor     Actor
	name      string // of the target
	nameField string // whose secrecy the name shares
	claims    []claim
}

var nobody = Actor{Kind: "unknown", AssertedBy: "none"}

func person(id string) Actor {
	if id == "" {
		return nobody
	}
	return Actor{ID: id, Kind: "person", AssertedBy: "event"}
}

// read goes by the type's family. Data that is not what its type promises is no
// reason to keep an event out of the trail: it is told as an unknown type's is.
func read(ev plugin.Event) said {
	family, rest, _ := strings.Cut(ev.Type, ".")
	if strings.HasPrefix(ev.Subject, "type:") {
		family = ""
	}
	var s said
	var err error
	switch {
	case family == "subject":
		s, err = readAs(ev, readSubject)
	case family == "member":
		s, err = readAs(ev, readMember)
	case family == "app_access":
		s, err = readAs(ev, readAppAccess)
	case family == "invite":
		s, err = readAs(ev, readInvite)
	case family == "license":
		s, err = readAs(ev, readLicense)
	case family == "tenant" && strings.HasPrefix(rest, "app."):
		s, err = readAs(ev, readTenantApp)
	case family == "tenant":
		s, err = readAs(ev, readTenant)
	case family == "application":
		s, err = readAs(ev, readApplication)
	case family == "sso":
		s, err = readAs(ev, readSSO)
	default:
		return unread(ev)
	}
	if err != nil {
		return unread(ev)
	}
	return s
}

func readAs[T any](ev plugin.Event, f func(plugin.Event, T) said) (said, error) {
	var data T
	if err := json.Unmarshal(ev.Raw, &data); err != nil {
		return said{}, fmt.Errorf("data of event %s: %w", ev.ID, err)
	}
	return f(ev, data), nil
}

func unread(ev plugin.Event) said {
	return said{actor: nobody, claims: []claim{{field: "data", new: ev.Raw}}}
}

// columns are the mirror's names of what the provider calls otherwise.
var columns = map[string]string{
	"preferred_username": "username", "name": "display_name", "picture": "picture_url",
	"phone_number": "phone", "phone_number_verified": "phone_verified",
}

func readSubject(ev plugin.Event, d plugin.SubjectData) said {
	s := said{actor: nobody, nameField: "email", name: d.Email}
	switch ev.Type {
	case "subject.created":
		s.claims = []claim{{field: "exists", new: yes}}
	case "subject.deleted":
		s.claims = []claim{{field: "exists", new: no}}
	case "subject.deactivated":
		s.claims = []claim{{field: "is_active", new: no}}
	}
	if ev.Type == "subject.deleted" || ev.Type == "subject.deactivated" {
		return s
	}
	values := object(ev.Raw)
	fields := d.ChangedFields
	if len(fields) == 0 {
		for name := range values {
			if name != "sub" && name != "changed_fields" {
				fields = append(fields, name)
			}
		}
	}
	for _, name := range fields {
		column := name
		if other, ok := columns[name]; ok {
			column = other
		}
		s.claims = append(s.claims, claim{field: column, new: values[name]})
	}
	return s
}

func readMember(ev plugin.Event, d plugin.MemberData) said {
	row := "membership:" + d.MembershipID
	s := said{actor: nobody, name: d.Email, nameField: "email"}
	status := map[string]string{
		"member.joined": "active", "member.left": "left", "member.suspended": "suspended", "member.activated": "active",
	}[ev.Type]
	if status != "" {
		s.claims = append(s.claims, claim{row: row, field: "status", new: text(status)})
	}
	values := object(ev.Raw)
	roles := values["tenant_roles"]
	if len(roles) == 0 && d.Role != "" {
		roles, _ = encode([]string{d.Role})
	}
	if ev.Type == "member.role_changed" || len(roles) > 0 && ev.Type == "member.joined" {
		s.claims = append(s.claims, claim{row: row, field: "roles", old: values["previous_roles"], new: roles})
	}
	return s
}

// accessRow names a row of the mirror's table of access to applications.
func accessRow(person, application, tenant string) string {
	return "app_access:" + url.PathEscape(person) + "/" + url.PathEscape(application) + "/" + url.PathEscape(tenant)
}

func readAppAccess(ev plugin.Event, d plugin.AppAccessData) said {
	row := accessRow(d.Sub, ev.ApplicationID, ev.TenantID)
	s := said{actor: nobody, name: d.Email, nameField: "email"}
	if ev.Type == "app_access.revoked" {
		s.claims = []claim{{row: row, field: "has_access", new: no}}
		return s
	}
	if ev.Type == "app_access.granted" {
		s.claims = []claim{{row: row, field: "has_access", new: yes}}
	}
	values := object(ev.Raw)
	for _, field := range []string{"role_id", "role_name", "role_slug"} {
		if c := (claim{row: row, field: field, old: values["previous_"+field], new: values[field]}); len(c.old)+len(c.new) > 0 {
			s.claims = append(s.claims, c)
		}
	}
	return s
}

func readInvite(ev plugin.Event, d plugin.InviteData) said {
	status := map[string]string{
		"invite.created": "pending", "invite.accepted": "accepted", "invite.deleted": "deleted", "invite.expired": "expired",
	}[ev.Type]
	s := said{actor: nobody, name: d.Email, nameField: "email", claims: []claim{{field: "status", new: text(status)}}}
	switch ev.Type {
	case "invite.created":
		s.actor = person(d.InvitedBySub)
		values := object(ev.Raw)
		for field, column := range map[string]string{"email": "email", "tenant_roles": "roles", "expires_at": "expires_at"} {
			if v := values[field]; len(v) > 0 {
				s.claims = append(s.claims, claim{field: column, new: v})
			}
		}
	case "invite.accepted":
		s.actor = person(d.Sub)
	case "invite.expired":
		s.actor = Actor{Kind: "system", AssertedBy: "event"}
	}
	return s
}

func readLicense(ev plugin.Event, d plugin.LicenseData) said {
	row := "license:" + d.AssignmentID
	s := said{actor: nobody, name: d.Email, nameField: "email"}
	switch ev.Type {
	case "license.assigned":
		s.claims = []claim{{row: row, field: "status", new: text("active")}}
	case "license.revoked":
		s.claims = []claim{{row: row, field: "status", new: text("revoked")}}
		return s
	}
	values := object(ev.Raw)
	for _, field := range []string{"license_type_id", "license_type_name"} {
		if c := (claim{row: row, field: field, old: values["previous_"+field], new: values[field]}); len(c.old)+len(c.new) > 0 {
			s.claims = append(s.claims, c)
		}
	}
	return s
}

func readTenantApp(ev plugin.Event, d plugin.TenantAppData) said {
	tenant, application := d.TenantID, d.ApplicationID
	if tenant == "" {
		tenant = ev.TenantID
	}
	if application == "" {
		application = ev.ApplicationID
	}
	values := object(ev.Raw)
	if d.UserID == "" {
		s := said{actor: nobody}
		row := "subscription:" + d.SubscriptionID
		for field, column := range map[string]string{
			"status": "status", "quantity_purchased": "quantity",
			"license_type_id": "license_type_id", "license_type_name": "license_type_name",
		} {
			if v := values[field]; len(v) > 0 {
				s.claims = append(s.claims, claim{row: row, field: column, new: v})
			}
		}
		return s
	}
	row := accessRow(d.UserID, application, tenant)
	s := said{actor: person(d.GrantedByID + d.RevokedByID), name: d.UserEmail, nameField: "email"}
	if strings.HasPrefix(d.AccessType, "AUTO_") && d.GrantedByID == "" {
		s.actor = Actor{Kind: "system", AssertedBy: "event"}
	}
	if ev.Type == "tenant.app.revoked" {
		s.claims = []claim{{row: row, field: "has_access", new: no}}
		return s
	}
	s.claims = []claim{{row: row, field: "has_access", new: yes}}
	for _, field := range []string{"access_type", "role_id", "role_name", "role_slug"} {
		if v := values[field]; len(v) > 0 {
			s.claims = append(s.claims, claim{row: row, field: field, new: v})
		}
	}
	return s
}
