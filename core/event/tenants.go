package event

import (
	"encoding/json"
	"time"
)

// TenantData is the data of tenant.created, .updated, .deleted and .suspended.
type TenantData struct {
	TenantID        Opt[string]    `json:"tenant_id,omitzero"`
	Name            Opt[string]    `json:"name,omitzero"`
	Slug            Opt[string]    `json:"slug,omitzero"`
	Plan            Opt[string]    `json:"plan,omitzero"` // form 2
	Status          Opt[string]    `json:"status,omitzero"`
	IsActive        Opt[bool]      `json:"is_active,omitzero"`
	OwnerEmail      Opt[string]    `json:"owner_email,omitzero"` // form 1
	CreatedAt       Opt[time.Time] `json:"created_at,omitzero"`
	CreatedBySub    Opt[string]    `json:"created_by_sub,omitzero"`
	UpdatedBySub    Opt[string]    `json:"updated_by_sub,omitzero"`
	SuspendedAt     Opt[time.Time] `json:"suspended_at,omitzero"`
	SuspendedBySub  Opt[string]    `json:"suspended_by_sub,omitzero"`
	SuspendedReason Opt[string]    `json:"reason,omitzero"`
	DeletedAt       Opt[time.Time] `json:"deleted_at,omitzero"`
	DeletedBySub    Opt[string]    `json:"deleted_by_sub,omitzero"`

	// Settings are free-form in form 1; KnownSettings reads those that have a
	// meaning to the hub.
	Settings Opt[map[string]json.RawMessage] `json:"settings,omitzero"`

	// ChangedFields, in tenant.updated: dotted names reach into settings, and
	// "members" alone tells that somebody joined or left.
	ChangedFields []string `json:"changed_fields,omitzero"`
	// PreviousValues are keyed like ChangedFields.
	PreviousValues map[string]json.RawMessage `json:"previous_values,omitzero"`
}

// TenantSettings are the settings of a tenant that have a meaning to the hub.
type TenantSettings struct {
	AllowSignups           Opt[bool]            `json:"allow_signups,omitzero"`
	RequireMFA             Opt[bool]            `json:"require_mfa,omitzero"`
	AllowedEmailDomains    Opt[[]string]        `json:"allowed_email_domains,omitzero"`
	SessionLifetimeMinutes Opt[int64]           `json:"session_lifetime_minutes,omitzero"`
	PasswordPolicy         Opt[json.RawMessage] `json:"password_policy,omitzero"` // a string or an object
	Plan                   Opt[string]          `json:"plan,omitzero"`
}

// KnownSettings reads the settings that the hub knows. A known setting of
// another JSON type is a *DataError ("settings.require_mfa"); unknown ones are
// left alone. Absent and null settings know nothing.
func (d *TenantData) KnownSettings() (TenantSettings, error) {
	var known TenantSettings
	if len(d.Settings.Value) == 0 {
		return known, nil
	}
	for _, s := range []struct {
		name string
		slot slot
	}{
		{"allow_signups", &known.AllowSignups},
		{"require_mfa", &known.RequireMFA},
		{"allowed_email_domains", &known.AllowedEmailDomains},
		{"session_lifetime_minutes", &known.SessionLifetimeMinutes},
		{"password_policy", (*policy)(&known.PasswordPolicy)},
		{"plan", &known.Plan},
	} {
		raw := d.Settings.Value[s.name]
		if len(raw) == 0 {
			continue
		}
		if err := s.slot.read(raw); err != nil {
			err.Field = join("settings."+s.name, err.Field)
			return TenantSettings{}, err
		}
	}
	return known, nil
}

// policy is a password policy: its name or the rules themselves.
type policy Opt[json.RawMessage]

func (p *policy) read(raw []byte) *DataError {
	if raw[0] != '"' && raw[0] != '{' && raw[0] != 'n' {
		return &DataError{Want: "a string or an object", Got: kindOf(raw)}
	}
	return (*Opt[json.RawMessage])(p).read(raw)
}

func (d *TenantData) slot(name []byte) slot {
	switch string(name) {
	case "tenant_id":
		return (*key)(&d.TenantID)
	case "name":
		return &d.Name
	case "slug":
		return (*key)(&d.Slug)
	case "plan":
		return &d.Plan
	case "status":
		return &d.Status
	case "is_active":
		return &d.IsActive
	case "owner_email":
		return (*key)(&d.OwnerEmail)
	case "created_at":
		return &d.CreatedAt
	case "created_by_sub":
		return (*key)(&d.CreatedBySub)
	case "updated_by_sub":
		return (*key)(&d.UpdatedBySub)
	case "suspended_at":
		return &d.SuspendedAt
	case "suspended_by_sub":
		return (*key)(&d.SuspendedBySub)
	case "reason":
		return &d.SuspendedReason
	case "deleted_at":
		return &d.DeletedAt
	case "deleted_by_sub":
		return (*key)(&d.DeletedBySub)
	case "settings":
		return &d.Settings
	case "changed_fields":
		return (*list)(&d.ChangedFields)
	case "previous_values":
		return (*object)(&d.PreviousValues)
	}
	return nil
}

// The tenant may stand in the envelope alone, so Event.TenantData checks it.
func (d *TenantData) check() error { return nil }

// TenantAppData is the data of tenant.app.*: a tenant's access to an
// application, either for one of its people (UserID) or as a subscription.
type TenantAppData struct {
	TenantID            Opt[string] `json:"tenant_id,omitzero"`
	ApplicationID       Opt[string] `json:"application_id,omitzero"`
	UserID              Opt[string] `json:"user_id,omitzero"`     // the person's sub
	AccessType          Opt[string] `json:"access_type,omitzero"` // "GRANTED", "INVITED", "AUTO_FREE", "AUTO_TENANT", "AUTO_OWNER"; open
	TenantSlug          Opt[string] `json:"tenant_slug,omitzero"`
	UserEmail           Opt[string] `json:"user_email,omitzero"`
	ApplicationName     Opt[string] `json:"application_name,omitzero"`
	ApplicationSlug     Opt[string] `json:"application_slug,omitzero"`
	GrantedByID         Opt[string] `json:"granted_by_id,omitzero"`
	RevokedByID         Opt[string] `json:"revoked_by_id,omitzero"`
	LicenseAssignmentID Opt[string] `json:"license_assignment_id,omitzero"`
	RoleID              Opt[string] `json:"role_id,omitzero"`
	RoleName            Opt[string] `json:"role_name,omitzero"`
	RoleSlug            Opt[string] `json:"role_slug,omitzero"`

	// The subscription form of tenant.app.granted.

	SubscriptionID    Opt[string] `json:"subscription_id,omitzero"`
	LicenseTypeID     Opt[string] `json:"license_type_id,omitzero"`
	LicenseTypeName   Opt[string] `json:"license_type_name,omitzero"`
	QuantityPurchased Opt[int64]  `json:"quantity_purchased,omitzero"` // seats
	Status            Opt[string] `json:"status,omitzero"`
}

// IsSubscription tells that the data names no person: the tenant bought the
// application.
func (d *TenantAppData) IsSubscription() bool {
	return d.UserID.Value == ""
}

func (d *TenantAppData) slot(name []byte) slot {
	switch string(name) {
	case "tenant_id":
		return (*key)(&d.TenantID)
	case "application_id":
		return (*key)(&d.ApplicationID)
	case "user_id":
		return (*key)(&d.UserID)
	case "access_type":
		return &d.AccessType
	case "tenant_slug":
		return (*key)(&d.TenantSlug)
	case "user_email":
		return (*key)(&d.UserEmail)
	case "application_name":
		return &d.ApplicationName
	case "application_slug":
		return (*key)(&d.ApplicationSlug)
	case "granted_by_id":
		return &d.GrantedByID
	case "revoked_by_id":
		return &d.RevokedByID
	case "license_assignment_id":
		return (*key)(&d.LicenseAssignmentID)
	case "role_id":
		return &d.RoleID
	case "role_name":
		return &d.RoleName
	case "role_slug":
		return &d.RoleSlug
	case "subscription_id":
		return (*key)(&d.SubscriptionID)
	case "license_type_id":
		return (*key)(&d.LicenseTypeID)
	case "license_type_name":
		return &d.LicenseTypeName
	case "quantity_purchased":
		return &d.QuantityPurchased
	case "status":
		return &d.Status
	}
	return nil
}

// What is required depends on the form and on the envelope, so
// Event.TenantAppData checks it.
func (d *TenantAppData) check() error { return nil }
