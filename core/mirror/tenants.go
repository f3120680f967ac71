package mirror

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/avhub/avhub/core/event"
)

const (
	settings    = "settings"
	settingsDot = settings + "."

	statusActive    = "active"
	statusSuspended = "suspended"
	statusDeleted   = `"deleted"` // as a value
)

func (ms *models) tenant(ev *event.Event) ([]*effect, error) {
	d, err := ev.TenantData()
	if err != nil {
		return nil, err
	}
	e := &effect{model: ms.organizations, id: d.TenantID.Value, tenant: d.TenantID.Value, alive: true}
	switch ev.Type {
	case event.TypeTenantDeleted:
		e.deletes = true
		return one(e), nil
	case event.TypeTenantUpdated:
		return one(e), e.tenantUpdated(ev, &d)
	case event.TypeTenantCreated:
		d.CreatedAt = event.Some(d.CreatedAt.Or(ev.Time))
		e.tenantStatus(statusActive, ev, &d)
	case event.TypeTenantSuspended:
		e.tenantStatus(statusSuspended, ev, &d)
	}
	return one(e), e.organization(&d, nil)
}

// tenantUpdated reads the two forms of tenant.updated. The first, of the system
// dispatcher, sends name, slug and settings as they are now, whatever its
// changed_fields say; the second sends everything and means only the
// changed_fields, which reach into settings.
func (e *effect) tenantUpdated(ev *event.Event, d *event.TenantData) error {
	changed := selection(d.ChangedFields)
	second := !ev.SystemForm || d.Plan.Set ||
		slices.ContainsFunc(d.ChangedFields, func(name string) bool { return strings.Contains(name, ".") })
	if len(changed) > 0 && changed.exactly("status", "is_active") {
		status, err := newStatus(d)
		if err != nil {
			return err
		}
		e.tenantStatus(status, ev, d)
	}
	if !second {
		changed = nil
	}
	return e.organization(d, changed)
}

// organization assigns the selected fields.
func (e *effect) organization(d *event.TenantData, changed selection) error {
	if changed.exactly("name") {
		e.text("name", d.Name)
	}
	if changed.exactly("slug") {
		e.text("slug", d.Slug)
	}
	if changed.exactly("owner_email") {
		e.text("owner_email", d.OwnerEmail)
	}
	if changed.exactly("created_by_sub") {
		e.text("created_by_sub", d.CreatedBySub)
	}
	e.created(d.CreatedAt)
	some := d.Settings.Set && changed.within(settings)
	plan := changed.exactly("plan", settings) || changed.within(settingsDot+"plan")
	if !some && !plan {
		return nil
	}
	known, err := d.KnownSettings()
	if err != nil {
		return err
	}
	if plan {
		e.plan(d.Plan, known.Plan)
	}
	if some {
		e.settings(d, known, changed)
	}
	return nil
}

// settings assigns the selected settings: all of them as a whole, which also
// ends those that were not sent, or single keys.
func (e *effect) settings(d *event.TenantData, known event.TenantSettings, changed selection) {
	sent := d.Settings.Value
	e.keyed = true
	if changed.exactly(settings) {
		e.write(settings, func(b []byte) []byte {
			if d.Settings.Null {
				return append(b, null...)
			}
			return append(b, "{}"...)
		})
		for key, value := range sent {
			e.setting(key, value, known)
		}
		return
	}
	done := map[string]bool{}
	for _, name := range changed {
		name, ok := strings.CutPrefix(name, settingsDot)
		if !ok {
			continue
		}
		// A free-form key may have a dot itself; otherwise a deeper name takes
		// the whole key, which is sent with it.
		key := name
		if _, ok := sent[key]; !ok {
			key, _, _ = strings.Cut(name, ".")
		}
		if value, ok := sent[key]; ok && !done[key] {
			done[key] = true
			e.setting(key, value, known)
		}
	}
}

func (e *effect) setting(key string, value json.RawMessage, known event.TenantSettings) {
	field := settingsDot + key
	if n, ok := known.SessionLifetimeMinutes.Get(); ok && key == "session_lifetime_minutes" {
		e.put(field, strconv.AppendInt(nil, n, 10)) // 30.0 and 3e1 are also integers
		return
	}
	e.put(field, canonical(value))
}

// tenantStatus assigns the status and what goes with it, always together: an
// active tenant has no suspension, and of a suspension nothing older shows.
func (e *effect) tenantStatus(status string, ev *event.Event, d *event.TenantData) {
	e.text("status", event.Some(status))
	if status == statusActive {
		e.put("suspended_at", null)
		e.put("suspended_by_sub", null)
		e.put("suspended_reason", null)
		return
	}
	e.moment("suspended_at", event.Some(d.SuspendedAt.Or(ev.Time)))
	e.textOrNull("suspended_by_sub", d.SuspendedBySub)
	e.textOrNull("suspended_reason", d.SuspendedReason)
}

func (e *effect) textOrNull(field string, o event.Opt[string]) {
	if !o.Set {
		o = event.Opt[string]{Set: true, Null: true}
	}
	e.text(field, o)
}

// newStatus tells what a tenant.updated that names status or is_active makes of
// the tenant. The new value is often not sent; then it is the opposite of the
// previous one, and without that the tenant is active again, since suspensions
// have a type of their own.
func newStatus(d *event.TenantData) (string, error) {
	if s, ok := d.Status.Get(); ok {
		switch s = strings.ToLower(s); s {
		case statusActive, statusSuspended:
			return s, nil
		}
		return "", &event.DataError{Field: "status", Want: `"active" or "suspended"`, Got: "another string"}
	}
	if active, ok := d.IsActive.Get(); ok {
		return statusOf(active), nil
	}
	switch previous := d.PreviousValues["status"]; strings.ToLower(unquote(previous)) {
	case statusActive:
		return statusSuspended, nil
	case statusSuspended:
		return statusActive, nil
	}
	if string(d.PreviousValues["is_active"]) == "true" {
		return statusSuspended, nil
	}
	return statusActive, nil
}

func statusOf(active bool) string {
	if active {
		return statusActive
	}
	return statusSuspended
}
