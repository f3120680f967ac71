package mirror

import (
	"github.com/avhub/avhub/core/event"
)

// What happens to people. Registers that tell what a person is within a tenant
// (tenant_id, app_role, groups) are scoped to the tenant that the event is
// about, so that leaving the tenant ends these values and no others.

func (ms *models) subject(ev *event.Event) ([]*effect, error) {
	d, err := ev.SubjectData()
	if err != nil {
		return nil, err
	}
	e := &effect{model: ms.identities, id: d.Sub.Value, tenant: tenantOf(ev, d.TenantID), alive: true}
	switch ev.Type {
	case event.TypeSubjectCreated:
		e.profile(&d, nil)
		e.flag("is_active", event.Some(true))
		e.created(event.Some(ev.Time))
		if e.tenant != "" {
			d.TenantID = event.Some(e.tenant)
		}
		e.text("tenant_id", d.TenantID)
	case event.TypeSubjectUpdated:
		changed := selection(d.ChangedFields)
		e.profile(&d, changed)
		// Not from the envelope, which names the tenant of the application that
		// is told, not of the change.
		if changed.exactly("tenant_id") {
			e.scopedTenant(d.TenantID)
		}
	case event.TypeSubjectDeactivated:
		e.textIfKnown("email", d.Email)
		e.flag("is_active", event.Some(false))
	case event.TypeSubjectDeleted:
		e.deletes = true
	}
	return one(e), nil
}

// scopedTenant assigns a tenant that is its own scope.
func (e *effect) scopedTenant(o event.Opt[string]) {
	outer := e.tenant
	if id, ok := o.Get(); ok {
		e.tenant = id
	}
	e.text("tenant_id", o)
	e.tenant = outer
}

// profile assigns the selected fields of a person. Both the names of the wire
// and the names of the columns occur in changed_fields.
func (e *effect) profile(d *event.SubjectData, changed selection) {
	for _, f := range [...]struct {
		field, wire string
		value       *event.Opt[string]
	}{
		{"email", "email", &d.Email},
		{"given_name", "given_name", &d.GivenName},
		{"family_name", "family_name", &d.FamilyName},
		{"subject_type", "subject_type", &d.SubjectType},
		{"username", "preferred_username", &d.PreferredUsername},
		{"display_name", "name", &d.Name},
		{"middle_name", "middle_name", &d.MiddleName},
		{"nickname", "nickname", &d.Nickname},
		{"picture_url", "picture", &d.Picture},
		{"website", "website", &d.Website},
		{"gender", "gender", &d.Gender},
		{"birthdate", "birthdate", &d.Birthdate},
		{"zoneinfo", "zoneinfo", &d.Zoneinfo},
		{"locale", "locale", &d.Locale},
		{"phone", "phone_number", &d.PhoneNumber},
		{"app_role", "app_role", &d.AppRole},
	} {
		if f.value.Set && changed.exactly(f.field, f.wire) {
			e.text(f.field, *f.value)
		}
	}
	if changed.exactly("email_verified") {
		e.flag("email_verified", d.EmailVerified)
	}
	if changed.exactly("phone_verified", "phone_number_verified") {
		e.flag("phone_verified", d.PhoneNumberVerified)
	}
	if changed.exactly("groups") {
		e.list("groups", d.Groups)
	}
}

// member tells of a person's place in a tenant, and what the person is there.
func (ms *models) member(ev *event.Event) ([]*effect, error) {
	d, err := ev.MemberData()
	if err != nil {
		return nil, err
	}
	tenant := tenantOf(ev, d.TenantID)
	membership := &effect{model: ms.memberships, id: d.MembershipID.Value, alive: ev.Type != event.TypeMemberLeft}
	membership.text(personField, d.Sub)
	membership.parent(organizationField, tenant)
	e := &effect{model: ms.identities, id: d.Sub.Value, tenant: tenant}
	told := []*effect{e, membership}
	switch ev.Type {
	case event.TypeMemberSuspended:
		membership.text("status", event.Some(statusSuspended))
		return told, nil
	case event.TypeMemberActivated:
		membership.text("status", event.Some(statusActive))
		return told, nil
	case event.TypeMemberLeft:
		membership.ends()
		membership.text("status", event.Some(MembershipLeft))
		if tenant != "" { // else nobody knows what ended
			e.leaves = []string{"app_role", "groups", "tenant_id"}
		}
		return told, nil
	case event.TypeMemberJoined:
		membership.created(event.Some(ev.Time))
	}
	roles := d.Roles()
	membership.list("roles", roles)
	membership.text("status", event.Some(statusActive))
	e.alive = true
	e.textIfKnown("email", d.Email)
	e.textIfKnown("given_name", d.GivenName)
	e.textIfKnown("family_name", d.FamilyName)
	if tenant != "" {
		e.text("tenant_id", event.Some(tenant))
	}
	if len(roles.Value) > 0 {
		e.text("app_role", event.Some(roles.Value[0]))
	} else if roles.Set {
		e.put("app_role", null)
	}
	e.list("groups", d.Groups)
	return told, nil
}

// access tells what a person may do in the application that the envelope names.
// The flat view of it, in the person's own row, follows one application if the
// configuration names one.
func (ms *models) access(ev *event.Event) ([]*effect, error) {
	d, err := ev.AppAccessData()
	if err != nil {
		return nil, err
	}
	flat := ms.applicationID == "" || ev.ApplicationID == ms.applicationID
	e := &effect{model: ms.identities, id: d.Sub.Value, tenant: ev.TenantID}
	a, err := ms.accessOf(d.Sub.Value, ev.ApplicationID, ev.TenantID)
	if err != nil {
		return nil, err
	}
	told := []*effect{e, a}
	if ev.Type == event.TypeAppAccessRevoked {
		a.revoked()
		if flat {
			e.flag("has_app_access", event.Some(false))
			e.put("app_role", null)
		}
		return told, nil
	}
	a.granted(d.RoleID, d.RoleName, d.RoleSlug) // who changes role has access
	e.alive = true
	e.textIfKnown("email", d.Email)
	e.textIfKnown("given_name", d.GivenName)
	e.textIfKnown("family_name", d.FamilyName)
	if flat {
		e.text("app_role", d.RoleSlug)
		if ev.Type == event.TypeAppAccessGranted {
			e.flag("has_app_access", event.Some(true))
		}
	}
	return told, nil
}

// tenantOf returns the tenant that an event about a person is about.
func tenantOf(ev *event.Event, inData event.Opt[string]) string {
	if ev.TenantID != "" {
		return ev.TenantID
	}
	return inData.Value
}
