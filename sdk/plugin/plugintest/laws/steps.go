package laws

import (
	"fmt"
	"slices"
	"strings"
)

// step is one thing that happens at the provider: the type of its event, the
// tenant, the person or other thing, and which field gets which value.
type step struct {
	typ           string
	tenant, thing int
	field, value  int
}

// catalog are the types that histories are made of, of all that a provider
// sends. Deletions come less often than they are named here.
func catalog() []string {
	return []string{
		"tenant.created", "tenant.updated", "tenant.updated", "tenant.suspended", "tenant.deleted",
		"subject.created", "subject.updated", "subject.deactivated", "subject.deleted",
		"member.joined", "member.role_changed", "member.suspended", "member.activated", "member.left",
		"app_access.granted", "app_access.role_changed", "app_access.revoked",
		"invite.created", "invite.accepted", "invite.deleted", "invite.expired",
		"license.assigned", "license.changed", "license.revoked",
		"tenant.app.granted", "tenant.app.revoked",
		"application.created", "application.updated", "application.deleted",
		"sso.provider_added", "sso.provider_updated", "sso.provider_removed",
	}
}

// matches tells whether a pattern of Info.Events selects a type.
func matches(patterns []string, typ string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if family, ok := strings.CutSuffix(p, ".*"); ok {
			return strings.HasPrefix(typ, family+".")
		}
		return p == "*" || p == typ
	})
}

// hostile enough to be realistic
func names() []string {
	return []string{"Acme", "Acme & Söhne", `O'Brien "Ltd"`, "株式会社 北", "A/B <c>"}
}
func plans() []string { return []string{"free", "starter", "pro", "enterprise"} }
func roles() []string { return []string{"member", "admin", "owner", "billing"} }

// pickOther takes the value-th of a list, or the next if that is how it stands.
func pickOther(list []string, value int, now any) string {
	v := list[value%len(list)]
	if v == now {
		v = list[(value+1)%len(list)]
	}
	return v
}

// draft says what a step does; nil if it makes no sense.
func (p *provider) draft(s step) *draft {
	family, what, _ := strings.Cut(s.typ, ".")
	switch family {
	case "tenant":
		if strings.HasPrefix(what, "app.") {
			return p.tenantApp(s)
		}
		return p.tenant(s, what)
	case "subject":
		return p.person(s, what)
	case "member", "app_access", "license":
		return p.relation(s, family, what)
	case "invite":
		return p.invite(s, what)
	case "application":
		return p.application(s, what)
	case "sso":
		return p.sso(s, what)
	default:
		t := p.haveTenant(s.tenant)
		if t == nil {
			return nil
		}
		at := tenantRef(s.tenant)
		return &draft{subject: ref{"type", s.typ}, tenant: at.id, data: row{"tenant_id": at.id, "n": s.value}, note: at.id}
	}
}

// haveTenant is the row of a tenant, made without a word if the connector was
// never told of it, as it may be older than the connector; nil if it is gone.
func (p *provider) haveTenant(i int) row {
	at := tenantRef(i)
	if p.gone[at] {
		return nil
	}
	if p.rows[at] == nil {
		p.rows[at] = p.newTenant(i)
	}
	return p.rows[at]
}

func (p *provider) newTenant(i int) row {
	name := names()[i%len(names())]
	return changed(blank("organization"), row{
		"tenant_id": tenantRef(i).id, "name": name, "slug": fmt.Sprintf("tenant-%d", i), "plan": "free", "status": "active",
		"owner_email": fmt.Sprintf("owner%d@example.com", i), "settings": row{"require_mfa": false}, "require_mfa": false,
		"created_at": p.clock, "updated_at": p.clock, "created_by_sub": "usr_1",
	})
}

func (p *provider) tenant(s step, what string) *draft {
	at := tenantRef(s.tenant)
	d := &draft{subject: at, tenant: at.id, note: at.id, rows: map[ref]row{}}
	if what == "created" {
		if p.rows[at] != nil || p.gone[at] {
			return nil
		}
		r := p.newTenant(s.tenant)
		d.rows[at] = r
		d.data = row{"tenant_id": at.id, "name": r["name"], "slug": r["slug"], "plan": r["plan"], "created_at": p.clock,
			"created_by_sub": "usr_1", "owner_email": r["owner_email"], "settings": r["settings"]}
		return d
	}
	now := p.haveTenant(s.tenant)
	if now == nil {
		return nil
	}
	base := row{"tenant_id": at.id, "name": now["name"], "slug": now["slug"]}
	switch what {
	case "updated":
		field, value := "plan", pickOther(plans(), s.value, now["plan"])
		if s.field%2 == 1 {
			field, value = "name", pickOther(names(), s.value, now["name"])
		}
		set := row{field: value}
		fields, previous := []string{field}, row{field: now[field]}
		if now["status"] == "suspended" && s.field%4 == 2 {
			set = row{"status": "active", "suspended_at": nil, "suspended_reason": "", "suspended_by_sub": ""}
			fields, previous = []string{"status"}, row{"status": "suspended"}
			field, value = "status", "active"
		}
		r := changed(now, set)
		d.rows[at] = r
		d.data = changed(base, row{"name": r["name"], "plan": r["plan"], "settings": r["settings"],
			"changed_fields": fields, "previous_values": previous, "updated_by_sub": "usr_1"})
		if field == "status" {
			d.data["status"], d.data["is_active"] = "active", true
		}
		d.note += fmt.Sprintf(" %s=%q", field, value)
	case "suspended":
		if now["status"] == "suspended" {
			return nil
		}
		d.rows[at] = changed(now, row{"status": "suspended", "suspended_at": p.clock, "suspended_reason": "unpaid", "suspended_by_sub": "usr_1"})
		d.data = changed(base, row{"suspended_at": p.clock, "suspended_by_sub": "usr_1", "reason": "unpaid"})
	case "deleted":
		d.rows[at] = nil
		d.data = changed(base, row{"deleted_at": p.clock, "deleted_by_sub": "usr_1"})
	default:
		return nil
	}
	return d
}

func (p *provider) tenantApp(s step) *draft {
	at, app := tenantRef(s.tenant), appRef(s.thing)
	if p.haveTenant(s.tenant) == nil || p.haveApp(s.tenant, s.thing) == nil {
		return nil
	}
	base := row{"tenant_id": at.id, "application_id": app.id, "application_name": p.rows[app]["name"]}
	if s.typ == "tenant.app.granted" && s.field%2 == 0 {
		seats := 5 + s.value
		return &draft{subject: at, tenant: at.id, app: app.id, note: fmt.Sprintf("%s buys %s seats=%d", at.id, app.id, seats),
			data: changed(base, row{"subscription_id": "sub_" + at.id + app.id, "license_type_id": "lt_pro", "license_type_name": "Pro",
				"quantity_purchased": seats, "status": "ACTIVE"}),
			rows: map[ref]row{{"subscription", "sub_" + at.id + app.id}: {"status": "ACTIVE", "quantity_purchased": seats,
				"organization_id": at.id, "application_id": app.id}}}
	}
	who := p.havePerson(s.thing)
	if who == nil {
		return nil
	}
	grant := ref{"app_access", personRef(s.thing).id + "/" + app.id + "/" + at.id}
	d := &draft{subject: personRef(s.thing), tenant: at.id, app: app.id, rows: map[ref]row{},
		data: changed(base, row{"user_id": who["sub"], "user_email": who["email"]}), note: fmt.Sprintf("%s %s %s", who["sub"], app.id, at.id)}
	if s.typ == "tenant.app.granted" {
		d.data["access_type"], d.data["role_slug"] = "GRANTED", pickOther(roles(), s.value, nil)
		d.rows[grant] = row{"status": "granted", "role_slug": d.data["role_slug"]}
		return d
	}
	if s.typ != "tenant.app.revoked" || p.rows[grant] == nil {
		return nil
	}
	d.rows[grant] = nil
	delete(p.gone, grant)
	return d
}
