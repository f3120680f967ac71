package simulator

import "slices"

// application returns the newest application of the tenant in form 2, and the
// newest global one in form 1.
func (d *draft) application() *application {
	if d.system() {
		for _, a := range slices.Backward(d.w.apps) {
			if a.owner == nil {
				return a
			}
		}
		return d.w.mainApp()
	}
	t := d.tenant()
	if len(t.apps) == 0 {
		t.apps = append(t.apps, d.w.newApplication(t))
	}
	return t.apps[len(t.apps)-1]
}

func (d *draft) applicationCreated() (fields, error) {
	var owner *tenant
	if !d.system() {
		owner = d.tenant()
	}
	a := d.w.newApplication(owner)
	if err := a.doc.putAll(d.set); err != nil {
		return nil, err
	}
	if owner == nil {
		d.w.apps = append(d.w.apps, a)
		return a.form1().with(a.doc.pick("created_at", "config", "licensing")), nil
	}
	owner.apps = append(owner.apps, a)
	return a.form2(), nil
}

func (a *application) form1() fields {
	return a.doc.pick("application_id", "tenant_id", "name", "slug", "client_id", "application_type", "is_active", "description")
}

func (a *application) form2() fields {
	return a.doc.pick("application_id", "tenant_id", "name", "description", "client_id", "application_type", "is_active", "created_by_sub", "created_at", "config")
}

func (d *draft) applicationUpdated() (fields, error) {
	a := d.application()
	otherwise := map[string]any{"config.access_token_ttl_seconds": 600 + d.w.rng.IntN(3000)}
	if d.system() { // form 1 has no config
		otherwise = map[string]any{"description": "Renamed on " + d.w.stamp()}
	}
	changed, previous, err := d.change(a.doc, otherwise)
	if err != nil {
		return nil, err
	}
	told := fields{"changed_fields": changed, "previous_values": previous}
	if d.system() {
		return a.form1().with(a.doc.pick("licensing")).with(told), nil
	}
	return a.form2().with(told).with(fields{"updated_by_sub": d.t.owner.sub()}), nil
}

func (d *draft) applicationDeleted() (fields, error) {
	a := d.application()
	gone := fields{"deleted_at": d.w.stamp()}
	if d.system() {
		d.w.apps = remove(d.w.apps, a)
		return a.doc.pick("application_id", "tenant_id", "name", "slug", "client_id").with(gone), nil
	}
	d.t.apps = remove(d.t.apps, a)
	return a.doc.pick("application_id", "tenant_id", "name", "client_id").with(gone).with(fields{"deleted_by_sub": d.t.owner.sub()}), nil
}

// provider returns the login provider that the event is about, as application
// does.
func (d *draft) provider() *provider {
	list := &d.w.providers
	var owner *tenant
	if !d.system() {
		owner = d.tenant()
		list = &owner.providers
	}
	if len(*list) == 0 {
		*list = append(*list, d.w.newProvider(owner))
	}
	return (*list)[len(*list)-1]
}

func (d *draft) providerAdded() (fields, error) {
	list := &d.w.providers
	var owner *tenant
	if !d.system() {
		owner = d.tenant()
		list = &owner.providers
	}
	p := d.w.newProvider(owner)
	if err := p.doc.putAll(d.set); err != nil {
		return nil, err
	}
	// Global ones go by the provider's kind: adding one again replaces it.
	*list = slices.DeleteFunc(*list, func(o *provider) bool { return o.doc.text("provider_id") == p.doc.text("provider_id") })
	*list = append(*list, p)
	return asFields(clone(p.doc)), nil
}

func (d *draft) providerUpdated() (fields, error) {
	p := d.provider()
	enabled, _ := p.doc.get("is_enabled")
	changed, previous, err := d.change(p.doc, map[string]any{"is_enabled": enabled != true})
	if err != nil {
		return nil, err
	}
	if d.system() { // tells that, but not what
		return p.doc.pick("provider_id", "provider_type").with(fields{"changed_fields": changed}), nil
	}
	return asFields(clone(p.doc)).with(fields{"changed_fields": changed, "previous_values": previous, "updated_by_sub": d.t.owner.sub()}), nil
}

func (d *draft) providerRemoved() (fields, error) {
	p := d.provider()
	gone := fields{"removed_at": d.w.stamp()}
	if d.system() {
		d.w.providers = remove(d.w.providers, p)
		return p.doc.pick("provider_id", "provider_type").with(gone), nil
	}
	d.t.providers = remove(d.t.providers, p)
	return p.doc.pick("provider_id", "tenant_id", "provider_type", "display_name").with(gone).with(fields{"removed_by_sub": d.t.owner.sub()}), nil
}

func asFields(v any) fields {
	f, _ := asObject(v)
	return f
}
