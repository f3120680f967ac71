package laws

import (
	"fmt"
	"time"
)

func (p *provider) havePerson(i int) row {
	at := personRef(i)
	if p.gone[at] {
		return nil
	}
	if p.rows[at] == nil {
		p.rows[at] = p.newPerson(i)
	}
	return p.rows[at]
}

func (p *provider) newPerson(i int) row {
	return changed(blank("identity"), row{
		"sub": personRef(i).id, "email": fmt.Sprintf("person%d@example.com", i), "given_name": []string{"Ada", "Zoë", "Łukasz"}[i%3],
		"family_name": "O'Neil", "subject_type": "user", "is_active": true, "has_app_access": true, "email_verified": true,
		"created_at": p.clock, "updated_at": p.clock,
	})
}

func (p *provider) person(s step, what string) *draft {
	at := personRef(s.thing)
	d := &draft{subject: at, note: at.id, rows: map[ref]row{}}
	if what == "created" {
		if p.rows[at] != nil || p.gone[at] {
			return nil
		}
		r := p.newPerson(s.thing)
		d.rows[at] = r
		d.data = row{"sub": at.id, "email": r["email"], "given_name": r["given_name"], "family_name": r["family_name"], "subject_type": "user"}
		return d
	}
	now := p.havePerson(s.thing)
	if now == nil {
		return nil
	}
	d.data = row{"sub": at.id, "email": now["email"]}
	switch what {
	case "updated":
		field, value := "given_name", pickOther(names(), s.value, now["given_name"])
		if s.field%2 == 1 {
			field, value = "email", fmt.Sprintf("person%d.%d@example.com", s.thing, s.value)
			if value == now["email"] {
				return nil
			}
		}
		d.rows[at] = changed(now, row{field: value})
		d.data = row{"sub": at.id, "email": d.rows[at]["email"], "given_name": d.rows[at]["given_name"],
			"family_name": now["family_name"], "subject_type": "user", "changed_fields": []string{field}}
		d.note += fmt.Sprintf(" %s=%q", field, value)
	case "deactivated":
		if now["is_active"] == false {
			return nil
		}
		d.rows[at] = changed(now, row{"is_active": false})
	case "deleted":
		d.rows[at] = nil
	default:
		return nil
	}
	return d
}

// between says whose a membership, an access or a license is.
func between(r row, tenant, person ref) row {
	r["organization_id"], r["identity_id"] = tenant.id, person.id
	return r
}

// relation is a membership, an access or a license: between a person and a
// tenant, and the application of the envelope.
func (p *provider) relation(s step, family, what string) *draft {
	tenant, who := p.haveTenant(s.tenant), p.havePerson(s.thing)
	if tenant == nil || who == nil {
		return nil
	}
	org, person := tenantRef(s.tenant), personRef(s.thing)
	id := fmt.Sprintf("%s_%s_%s", family, org.id, person.id)
	at := ref{map[string]string{"member": "membership", "app_access": "app_access", "license": "license"}[family], id}
	now := p.rows[at]
	d := &draft{subject: person, tenant: org.id, rows: map[ref]row{}, note: person.id + " in " + org.id,
		data: row{"sub": person.id, "email": who["email"]}}
	idName := map[string]string{"member": "membership_id", "app_access": "membership_id", "license": "assignment_id"}[family]
	d.data[idName] = id
	if family != "member" {
		d.app = appRef(1).id
		if p.haveApp(s.tenant, 1) == nil {
			return nil
		}
	}
	switch what {
	case "joined", "granted", "assigned":
		if now != nil {
			return nil
		}
		now = row{"status": "active", "value": roles()[s.value%len(roles())]}
		d.rows[at] = between(now, org, person)
	case "role_changed", "changed":
		if now == nil {
			now = row{"status": "active", "value": "member"}
		}
		next := pickOther(roles(), s.value, now["value"])
		relationData(d.data, "previous_", family, now["value"])
		d.rows[at] = between(changed(now, row{"value": next}), org, person)
	case "suspended", "activated":
		want := map[string]string{"suspended": "suspended", "activated": "active"}[what]
		if now == nil || now["status"] == want {
			return nil
		}
		d.rows[at] = changed(now, row{"status": want})
	case "left", "revoked":
		if now == nil {
			return nil
		}
		d.rows[at] = nil
		return d
	default:
		return nil
	}
	value := d.rows[at]["value"]
	relationData(d.data, "", family, value)
	d.note += fmt.Sprintf(" %v", value)
	return d
}

func relationData(data row, prefix, family string, value any) {
	switch family {
	case "member":
		if prefix == "" {
			data["tenant_roles"] = []any{value}
		} else {
			data["previous_roles"] = []any{value}
		}
	case "app_access":
		data[prefix+"role_id"], data[prefix+"role_name"], data[prefix+"role_slug"] = fmt.Sprintf("rol_%v", value), value, value
	case "license":
		data[prefix+"license_type_id"], data[prefix+"license_type_name"] = fmt.Sprintf("lt_%v", value), value
	}
}

func (p *provider) invite(s step, what string) *draft {
	org := tenantRef(s.tenant)
	if p.haveTenant(s.tenant) == nil {
		return nil
	}
	id := fmt.Sprintf("inv_%d_%d", s.tenant, s.thing)
	at := ref{"invitation", id}
	if p.gone[at] {
		return nil
	}
	now := p.rows[at]
	d := &draft{subject: at, tenant: org.id, note: id, rows: map[ref]row{}, data: row{
		"invite_id": id, "membership_id": "mem_" + id, "email": fmt.Sprintf("guest%d@example.com", s.thing), "tenant_roles": []string{"member"},
		"invited_by_sub": "usr_1", "expires_at": p.clock.Add(72 * time.Hour),
	}}
	switch {
	case what == "created" && now == nil:
		d.rows[at] = row{"status": "pending"}
	case now == nil || now["status"] != "pending":
		return nil
	case what == "accepted":
		d.rows[at] = row{"status": "accepted"}
		d.data["sub"] = personRef(s.thing).id
	case what == "deleted" || what == "expired":
		d.rows[at] = row{"status": what}
	default:
		return nil
	}
	return d
}

func (p *provider) haveApp(tenant, i int) row {
	at := appRef(i)
	if p.gone[at] {
		return nil
	}
	if p.rows[at] == nil {
		p.rows[at] = p.newApp(tenant, i)
	}
	return p.rows[at]
}

func (p *provider) newApp(tenant, i int) row {
	return changed(blank("application"), row{
		"application_id": appRef(i).id, "organization_id": tenantRef(tenant).id, "name": names()[i%len(names())], "slug": fmt.Sprintf("app-%d", i),
		"client_id": fmt.Sprintf("client-%d", i), "application_type": "web", "is_active": true, "redirect_uris": []string{"https://app.example.com/cb"},
		"created_at": p.clock, "updated_at": p.clock,
	})
}

func (p *provider) application(s step, what string) *draft {
	at := appRef(s.thing)
	if p.haveTenant(s.tenant) == nil {
		return nil
	}
	now, made := p.rows[at], false
	if now == nil {
		if p.gone[at] {
			return nil
		}
		now, made = p.newApp(s.tenant, s.thing), true
	}
	tenant, _ := now["organization_id"].(string)
	d := &draft{subject: at, tenant: tenant, app: at.id, note: at.id, rows: map[ref]row{}}
	switch what {
	case "created":
		if !made {
			return nil
		}
		d.rows[at] = now
	case "updated":
		p.rows[at] = now
		name := pickOther(names(), s.value, now["name"])
		d.rows[at] = changed(now, row{"name": name})
		d.note += fmt.Sprintf(" name=%q", name)
	case "deleted":
		p.rows[at] = now
		d.rows[at] = nil
		d.data = row{"application_id": at.id, "tenant_id": tenant, "name": now["name"], "client_id": now["client_id"], "deleted_at": p.clock}
		return d
	default:
		return nil
	}
	r := d.rows[at]
	d.data = row{"application_id": at.id, "tenant_id": tenant, "name": r["name"], "slug": r["slug"], "client_id": r["client_id"],
		"application_type": "web", "is_active": true, "created_at": r["created_at"], "config": row{"redirect_uris": r["redirect_uris"]}}
	if what == "updated" {
		d.data["changed_fields"], d.data["previous_values"] = []string{"name"}, row{"name": now["name"]}
	}
	return d
}

func (p *provider) sso(s step, what string) *draft {
	org := tenantRef(s.tenant)
	if p.haveTenant(s.tenant) == nil {
		return nil
	}
	provider := []string{"okta", "google", "entra"}[s.thing%3]
	at := ssoRef(org, provider)
	now := p.rows[at]
	d := &draft{subject: at, tenant: org.id, note: org.id + " " + provider, rows: map[ref]row{}}
	base := row{"provider_id": provider, "tenant_id": org.id, "provider_type": "oidc"}
	switch {
	case what == "provider_added" && now == nil:
		d.rows[at] = changed(blank("sso_provider"), row{"id": at.id, "provider_id": provider, "organization_id": org.id,
			"provider_type": "oidc", "display_name": "Login " + provider, "is_enabled": true, "created_at": p.clock})
	case now == nil:
		return nil
	case what == "provider_updated":
		name := pickOther(names(), s.value, now["display_name"])
		d.rows[at] = changed(now, row{"display_name": name})
		d.data = changed(base, row{"changed_fields": []string{"display_name"}, "previous_values": row{"display_name": now["display_name"]}})
		d.note += fmt.Sprintf(" display_name=%q", name)
	case what == "provider_removed":
		d.rows[at] = nil
		d.data = changed(base, row{"removed_at": p.clock})
		return d
	default:
		return nil
	}
	d.data = changed(base, d.data)
	d.data["display_name"], d.data["is_enabled"] = d.rows[at]["display_name"], true
	return d
}
