package simulator

import "slices"

// documented are the fields of a tenant in form 2.
func (t *tenant) documented() fields {
	return t.doc.pick("tenant_id", "name", "slug", "plan", "created_by_sub", "created_at", "settings")
}

func (d *draft) tenantCreated() (fields, error) {
	t := d.w.newTenant()
	if err := t.doc.putAll(d.set); err != nil {
		return nil, err
	}
	d.w.tenants = append(d.w.tenants, t)
	d.t = t
	d.msg.TenantID = t.id()
	if !d.system() {
		return t.documented(), nil
	}
	return t.doc.pick("tenant_id", "name", "slug", "created_at", "settings", "created_by_sub").
		with(fields{"owner_email": t.owner.doc.text("email")}), nil
}

func (d *draft) tenantUpdated() (fields, error) {
	t := d.tenant()
	otherwise := map[string]any{"plan": after(plans, t.doc.text("plan"))}
	if d.system() {
		mfa, _ := t.doc.get("settings.require_mfa")
		otherwise = map[string]any{"settings.require_mfa": mfa != true}
	}
	changed, previous, err := d.change(t.doc, otherwise)
	if err != nil {
		return nil, err
	}
	data := t.documented()
	if d.system() {
		data = t.doc.pick("tenant_id", "name", "slug", "settings")
	}
	if slices.Contains(changed, "status") {
		data["status"] = t.doc["status"]
	}
	return data.with(fields{"changed_fields": changed, "previous_values": previous, "updated_by_sub": t.owner.sub()}), nil
}

func (d *draft) tenantDeleted() (fields, error) {
	t := d.tenant()
	d.w.tenants = remove(d.w.tenants, t)
	d.w.apps = slices.DeleteFunc(d.w.apps, func(a *application) bool { return a.owner == t })
	return t.doc.pick("tenant_id", "name", "slug").
		with(fields{"deleted_at": d.w.stamp(), "deleted_by_sub": t.owner.sub()}), nil
}

func (d *draft) tenantSuspended() (fields, error) {
	t := d.tenant()
	t.doc["status"] = "suspended"
	data := t.doc.pick("tenant_id", "name", "slug")
	if !d.system() {
		data.with(t.doc.pick("plan", "settings"))
	}
	return data.with(fields{"suspended_at": d.w.stamp(), "suspended_by_sub": t.owner.sub(), "reason": "invoice overdue"}), nil
}

// tenantAppGranted has two forms: that of a person who may use an application,
// and, if a license type or a quantity is set, that of a tenant which bought it.
func (d *draft) tenantAppGranted() (fields, error) {
	t, app := d.tenant(), d.w.mainApp()
	data := fields{"tenant_id": t.id(), "application_id": app.id(), "application_name": app.doc.text("name")}
	for _, name := range []string{"subscription_id", "license_type_id", "license_type_name", "quantity_purchased", "status"} {
		if _, asked := d.set[name]; !asked {
			continue
		}
		if t.subscribed == "" {
			t.subscribed = d.w.newID("sub")
		}
		return data.with(fields{
			"subscription_id": t.subscribed, "license_type_id": licenseTypes[0].id, "license_type_name": licenseTypes[0].name,
			"quantity_purchased": 5, "status": "ACTIVE",
		}), nil
	}
	m := d.member(anyone)
	m.grant(app, m.appRole)
	return data.with(d.user(m)).with(m.appRole.fields("")).
		with(fields{"access_type": "GRANTED", "granted_by_id": t.owner.sub()}), nil
}

func (d *draft) tenantAppRevoked() (fields, error) {
	t, app := d.tenant(), d.w.mainApp()
	m := d.member(func(m *member) bool { return m.who != t.owner })
	m.revoke(app)
	return fields{"tenant_id": t.id(), "application_id": app.id(), "application_name": app.doc.text("name")}.
		with(d.user(m)).with(fields{"revoked_by_id": t.owner.sub()}), nil
}

// user names a member and the application as the tenant.app events do.
func (d *draft) user(m *member) fields {
	return fields{
		"user_id": m.who.sub(), "user_email": m.who.doc.text("email"), "tenant_slug": d.t.slug(),
		"application_slug": d.w.mainApp().doc.text("slug"),
	}
}
