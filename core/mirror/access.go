package mirror

import (
	"net/url"
	"strconv"

	"github.com/avhub/avhub/core/event"
)

// What tenants and people were given: access, licenses, subscriptions,
// invitations.

// maxKey bounds keys that are put together of several ids, in bytes. The parts
// are at most 512 bytes long, but escaping can treble them, and Postgres refuses
// index entries of about 2,700 bytes.
const maxKey = 2048

// accessID returns the key of a row of av_app_access. The escapes keep the parts
// apart.
func accessID(person, application, tenant string) string {
	return url.PathEscape(person) + "/" + url.PathEscape(application) + "/" + url.PathEscape(tenant)
}

// accessOf begins an effect on one person's access to one application as one of
// a tenant.
func (ms *models) accessOf(person, application, tenant string) (*effect, error) {
	e := &effect{model: ms.appAccess, id: accessID(person, application, tenant)}
	if len(e.id) > maxKey {
		return nil, &event.DataError{
			Field: "application_id", Want: "together with person and tenant at most " + strconv.Itoa(maxKey) + " bytes when escaped",
			Got: "more",
		}
	}
	e.text(personField, event.Some(person))
	e.text("application_id", event.Some(application))
	e.parent(organizationField, tenant)
	return e, nil
}

func (e *effect) granted(roleID, roleName, roleSlug event.Opt[string]) {
	e.alive = true
	e.flag("has_access", event.Some(true))
	e.text("role_id", roleID)
	e.text("role_name", roleName)
	e.text("role_slug", roleSlug)
}

func (e *effect) revoked() {
	e.ends()
	e.flag("has_access", event.Some(false))
}

// parent assigns a parent, if there is one.
func (e *effect) parent(field, id string) {
	if id != "" {
		e.text(field, event.Some(id))
	}
}

// tenantApp tells of access of a tenant's person to an application, or of a
// tenant's subscription to it.
func (ms *models) tenantApp(ev *event.Event) ([]*effect, error) {
	d, err := ev.TenantAppData()
	if err != nil {
		return nil, err
	}
	tenant, application := d.TenantID.Value, d.ApplicationID.Value
	if d.IsSubscription() {
		return ms.subscription(&d, tenant, application), nil
	}
	e, err := ms.accessOf(d.UserID.Value, application, tenant)
	if err != nil {
		return nil, err
	}
	if ev.Type == event.TypeTenantAppRevoked {
		e.revoked()
		return one(e), nil
	}
	e.granted(d.RoleID, d.RoleName, d.RoleSlug)
	e.text("access_type", d.AccessType)
	return one(e), nil
}

func (ms *models) subscription(d *event.TenantAppData, tenant, application string) []*effect {
	e := &effect{model: ms.subscriptions, id: d.SubscriptionID.Value, alive: true}
	e.parent(organizationField, tenant)
	e.parent("application_id", application)
	e.text("license_type_id", d.LicenseTypeID)
	e.text("license_type_name", d.LicenseTypeName)
	e.number("quantity", d.QuantityPurchased)
	e.text("status", d.Status)
	told := one(e)
	if application == ms.planApplication {
		told = append(told, ms.planOf(tenant, d))
	}
	return told
}

// license tells of a seat that a person was given.
func (ms *models) license(ev *event.Event) ([]*effect, error) {
	d, err := ev.LicenseData()
	if err != nil {
		return nil, err
	}
	e := &effect{model: ms.licenses, id: d.AssignmentID.Value}
	e.text(personField, d.Sub)
	e.parent(organizationField, ev.TenantID)
	e.parent("application_id", ev.ApplicationID)
	e.text("license_type_id", d.LicenseTypeID)
	e.text("license_type_name", d.LicenseTypeName)
	if ev.Type == event.TypeLicenseRevoked {
		e.ends()
		e.text("status", event.Some("revoked"))
		return one(e), nil
	}
	e.alive = true
	e.text("status", event.Some(statusActive))
	if ev.Type == event.TypeLicenseAssigned {
		e.created(event.Some(ev.Time))
	}
	return one(e), nil
}

// invitation tells of an invitation into a tenant.
func (ms *models) invitation(ev *event.Event) ([]*effect, error) {
	d, err := ev.InviteData()
	if err != nil {
		return nil, err
	}
	e := &effect{model: ms.invitations, id: d.InviteID.Value}
	e.parent(organizationField, ev.TenantID)
	e.text("membership_id", d.MembershipID)
	e.text("email", d.Email)
	e.list("roles", d.TenantRoles)
	e.text("invited_by_sub", d.InvitedBySub)
	e.moment("expires_at", d.ExpiresAt)
	status := "pending"
	switch ev.Type {
	case event.TypeInviteCreated:
		e.alive = true
		e.created(event.Some(ev.Time))
	case event.TypeInviteAccepted:
		e.alive = true
		status = "accepted"
	case event.TypeInviteDeleted:
		e.ends()
		status = "deleted"
	case event.TypeInviteExpired:
		e.ends()
		status = "expired"
	}
	e.text("status", event.Some(status))
	return one(e), nil
}
