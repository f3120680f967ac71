package simulator

import "slices"

func anyone(*member) bool { return true }

// member returns the member that the event is about.
func (d *draft) member(ok func(*member) bool) *member {
	t := d.tenant()
	d.forApplication()
	if d.who != nil {
		for _, m := range t.members {
			if m.who == d.who {
				return m
			}
		}
	}
	return d.w.someMember(t, ok)
}

func (m *member) fields() fields {
	return fields{"membership_id": m.id}.with(m.who.doc.pick("sub", "email"))
}

func (m *member) named() fields {
	return m.fields().with(m.who.doc.pick("given_name", "family_name"))
}

// person returns the person that the event is about; not an owner, unless asked
// for.
func (d *draft) person() *person {
	if d.who != nil {
		d.tenant()
		d.forApplication()
		return d.who
	}
	return d.member(func(m *member) bool { return m.who != d.t.owner }).who
}

func (d *draft) subjectCreated() (fields, error) {
	t := d.tenant()
	d.forApplication()
	n := t.newcomer(func(n *newcomer) bool { return !n.told })
	if n == nil {
		n = &newcomer{who: d.w.newPerson(t.slug())}
		t.newcomers = append(t.newcomers, n)
	}
	n.told = true
	if err := n.who.doc.putAll(d.set); err != nil {
		return nil, err
	}
	return asFields(clone(n.who.doc)), nil
}

func (d *draft) subjectUpdated() (fields, error) {
	m := d.member(anyone)
	locales := []string{"en-GB", "de-DE", "fr-FR", "tr-TR", "ja-JP"}
	changed, _, err := d.change(m.who.doc, map[string]any{"locale": after(locales, m.who.doc.text("locale"))})
	if err != nil {
		return nil, err
	}
	return asFields(clone(m.who.doc)).with(fields{"changed_fields": changed}), nil
}

// subjectGone forgets the person everywhere.
func (d *draft) subjectGone() (fields, error) {
	p := d.person()
	for _, t := range d.w.tenants {
		t.members = slices.DeleteFunc(t.members, func(m *member) bool { return m.who == p })
		t.licenses = slices.DeleteFunc(t.licenses, func(l *license) bool { return l.who == p })
	}
	return p.doc.pick("sub", "email"), nil
}

func (d *draft) subjectDeactivated() (fields, error) {
	return d.person().doc.pick("sub", "email"), nil
}

func (d *draft) memberJoined() (fields, error) {
	t := d.tenant()
	d.forApplication()
	m := d.w.join(t)
	return m.named().with(fields{"tenant_roles": slices.Clone(m.roles)}), nil
}

func (d *draft) memberLeft() (fields, error) {
	m := d.member(func(m *member) bool { return m.who != d.t.owner })
	d.t.members = remove(d.t.members, m)
	return m.fields(), nil
}

func (d *draft) memberRoleChanged() (fields, error) {
	m := d.member(func(m *member) bool { return m.who != d.t.owner })
	previous := m.roles
	m.roles = []string{"admin"}
	if slices.Equal(previous, m.roles) {
		m.roles = []string{"member"}
	}
	return m.fields().with(fields{"tenant_roles": slices.Clone(m.roles), "previous_roles": previous}), nil
}

func (d *draft) memberSuspended() (fields, error) {
	m := d.member(func(m *member) bool { return !m.suspended && m.who != d.t.owner })
	m.suspended = true
	return m.fields(), nil
}

func (d *draft) memberActivated() (fields, error) {
	m := d.member(func(m *member) bool { return m.suspended })
	m.suspended = false
	return m.fields(), nil
}

func (r role) fields(prefix string) fields {
	return fields{prefix + "role_id": r.id, prefix + "role_name": r.name, prefix + "role_slug": r.slug}
}

func (d *draft) accessGranted() (fields, error) {
	m := d.member(anyone)
	m.grant(d.w.mainApp(), m.appRole)
	return m.named().with(m.appRole.fields("")), nil
}

func (d *draft) accessRevoked() (fields, error) {
	m := d.member(func(m *member) bool { return m.who != d.t.owner })
	m.revoke(d.w.mainApp())
	return m.fields(), nil
}

func (d *draft) accessRoleChanged() (fields, error) {
	m := d.member(anyone)
	previous := m.appRole
	m.appRole = after(appRoles, previous)
	m.grant(d.w.mainApp(), m.appRole)
	return m.named().with(m.appRole.fields("")).with(previous.fields("previous_")), nil
}

func (i *invite) fields(t *tenant) fields {
	return fields{
		"invite_id": i.id, "membership_id": i.membershipID, "email": i.email, "tenant_roles": slices.Clone(i.roles),
		"invited_by_sub": t.owner.sub(), "expires_at": i.expires.UTC().Format(timeFormat),
	}
}

func (d *draft) inviteCreated() (fields, error) {
	t := d.tenant()
	d.forApplication()
	open := t.invites
	t.invites = nil // so that a new one is made
	i := d.w.someInvite(t)
	t.invites = append(open, i)
	return i.fields(t), nil
}

// inviteAccepted makes the invited a newcomer, who will join under the
// membership that the invitation promised.
func (d *draft) inviteAccepted() (fields, error) {
	t := d.tenant()
	d.forApplication()
	i := d.w.someInvite(t)
	t.invites = remove(t.invites, i)
	p := i.who
	t.newcomers = append(t.newcomers, &newcomer{who: p, membershipID: i.membershipID})
	return i.fields(t).with(p.doc.pick("sub", "given_name", "family_name")), nil
}

func (d *draft) inviteGone() (fields, error) {
	t := d.tenant()
	d.forApplication()
	i := d.w.someInvite(t)
	t.invites = remove(t.invites, i)
	return i.fields(t), nil
}

func (l *license) fields() fields {
	return fields{"assignment_id": l.id, "license_type_id": l.kind.id, "license_type_name": l.kind.name}.with(l.who.doc.pick("sub", "email"))
}

func (d *draft) licenseAssigned() (fields, error) {
	m := d.member(anyone)
	l := &license{id: d.w.newID("lic"), who: m.who, kind: licenseTypes[0]}
	d.t.licenses = append(d.t.licenses, l)
	return l.fields(), nil
}

func (d *draft) licenseRevoked() (fields, error) {
	t := d.tenant()
	d.forApplication()
	l := d.w.someLicense(t, d.who)
	t.licenses = remove(t.licenses, l)
	return l.fields(), nil
}

func (d *draft) licenseChanged() (fields, error) {
	l := d.w.someLicense(d.tenant(), d.who)
	d.forApplication()
	previous := l.kind
	l.kind = after(licenseTypes, previous)
	return l.fields().with(fields{"previous_license_type_id": previous.id, "previous_license_type_name": previous.name}), nil
}
