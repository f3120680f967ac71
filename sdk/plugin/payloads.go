package plugin

import (
	"encoding/json"
	"time"
)

// What the provider sends as an event's data, one struct for each family of
// types, named as on the wire. The provider sends several types in more than
// one form: a field that a form does not have stays empty, or nil where empty
// would mean something. Connectors that work from the state of things read the
// entities instead, which are the same whatever form was sent.

// SubjectData comes with subject.created, .updated, .deleted and .deactivated.
type SubjectData struct {
	Sub                 string   `json:"sub"`
	Email               string   `json:"email,omitempty"`
	EmailVerified       *bool    `json:"email_verified,omitempty"`
	GivenName           string   `json:"given_name,omitempty"`
	FamilyName          string   `json:"family_name,omitempty"`
	SubjectType         string   `json:"subject_type,omitempty"`
	PreferredUsername   string   `json:"preferred_username,omitempty"`
	Name                string   `json:"name,omitempty"`
	MiddleName          string   `json:"middle_name,omitempty"`
	Nickname            string   `json:"nickname,omitempty"`
	Picture             string   `json:"picture,omitempty"`
	Website             string   `json:"website,omitempty"`
	Gender              string   `json:"gender,omitempty"`
	Birthdate           string   `json:"birthdate,omitempty"`
	Zoneinfo            string   `json:"zoneinfo,omitempty"`
	Locale              string   `json:"locale,omitempty"`
	PhoneNumber         string   `json:"phone_number,omitempty"`
	PhoneNumberVerified *bool    `json:"phone_number_verified,omitempty"`
	Groups              []string `json:"groups,omitempty"`
	AppRole             string   `json:"app_role,omitempty"`
	TenantID            string   `json:"tenant_id,omitempty"`
	ChangedFields       []string `json:"changed_fields,omitempty"`
}

// MemberData comes with member.joined, .left, .role_changed, .suspended and
// .activated.
type MemberData struct {
	MembershipID  string   `json:"membership_id"`
	Sub           string   `json:"sub"`
	Email         string   `json:"email,omitempty"`
	TenantRoles   []string `json:"tenant_roles,omitempty"`
	PreviousRoles []string `json:"previous_roles,omitempty"`
	Role          string   `json:"role,omitempty"`
	Groups        []string `json:"groups,omitempty"`
	GivenName     string   `json:"given_name,omitempty"`
	FamilyName    string   `json:"family_name,omitempty"`
	TenantID      string   `json:"tenant_id,omitempty"`
}

// AppAccessData comes with app_access.granted, .revoked and .role_changed. The
// application is the event's ApplicationID.
type AppAccessData struct {
	MembershipID     string `json:"membership_id"`
	Sub              string `json:"sub"`
	Email            string `json:"email,omitempty"`
	RoleID           string `json:"role_id,omitempty"`
	RoleName         string `json:"role_name,omitempty"`
	RoleSlug         string `json:"role_slug,omitempty"`
	PreviousRoleID   string `json:"previous_role_id,omitempty"`
	PreviousRoleName string `json:"previous_role_name,omitempty"`
	PreviousRoleSlug string `json:"previous_role_slug,omitempty"`
	GivenName        string `json:"given_name,omitempty"`
	FamilyName       string `json:"family_name,omitempty"`
}

// InviteData comes with invite.created, .accepted, .deleted and .expired. Sub
// is set once the invitation is accepted.
type InviteData struct {
	InviteID     string     `json:"invite_id"`
	MembershipID string     `json:"membership_id"`
	Email        string     `json:"email"`
	TenantRoles  []string   `json:"tenant_roles,omitempty"`
	InvitedBySub string     `json:"invited_by_sub,omitempty"`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	Sub          string     `json:"sub,omitempty"`
	GivenName    string     `json:"given_name,omitempty"`
	FamilyName   string     `json:"family_name,omitempty"`
}

// LicenseData comes with license.assigned, .revoked and .changed.
type LicenseData struct {
	AssignmentID            string `json:"assignment_id"`
	Sub                     string `json:"sub"`
	Email                   string `json:"email,omitempty"`
	LicenseTypeID           string `json:"license_type_id,omitempty"`
	LicenseTypeName         string `json:"license_type_name,omitempty"`
	PreviousLicenseTypeID   string `json:"previous_license_type_id,omitempty"`
	PreviousLicenseTypeName string `json:"previous_license_type_name,omitempty"`
}

// TenantData comes with tenant.created, .updated, .deleted and .suspended.
type TenantData struct {
	TenantID   string `json:"tenant_id"`
	Name       string `json:"name"`
	Slug       string `json:"slug"`
	Plan       string `json:"plan,omitempty"`
	OwnerEmail string `json:"owner_email,omitempty"`
	// Settings are free-form in one form; the other has allow_signups,
	// require_mfa, allowed_email_domains, session_lifetime_minutes and
	// password_policy.
	Settings       map[string]json.RawMessage `json:"settings,omitempty"`
	ChangedFields  []string                   `json:"changed_fields,omitempty"` // may be dotted: "settings.require_mfa"
	PreviousValues map[string]json.RawMessage `json:"previous_values,omitempty"`
	Reason         string                     `json:"reason,omitempty"`
	CreatedAt      *time.Time                 `json:"created_at,omitempty"`
	CreatedBySub   string                     `json:"created_by_sub,omitempty"`
	UpdatedBySub   string                     `json:"updated_by_sub,omitempty"`
	SuspendedAt    *time.Time                 `json:"suspended_at,omitempty"`
	SuspendedBySub string                     `json:"suspended_by_sub,omitempty"`
	DeletedAt      *time.Time                 `json:"deleted_at,omitempty"`
	DeletedBySub   string                     `json:"deleted_by_sub,omitempty"`
}

// TenantAppData comes with tenant.app.granted and .revoked. A grant without
// UserID is a purchase: it has SubscriptionID and QuantityPurchased.
type TenantAppData struct {
	TenantID        string `json:"tenant_id"`
	ApplicationID   string `json:"application_id"`
	TenantSlug      string `json:"tenant_slug,omitempty"`
	ApplicationName string `json:"application_name,omitempty"`
	ApplicationSlug string `json:"application_slug,omitempty"`

	UserID              string `json:"user_id,omitempty"`
	UserEmail           string `json:"user_email,omitempty"`
	AccessType          string `json:"access_type,omitempty"` // GRANTED, INVITED, AUTO_FREE, AUTO_TENANT, AUTO_OWNER
	GrantedByID         string `json:"granted_by_id,omitempty"`
	RevokedByID         string `json:"revoked_by_id,omitempty"`
	LicenseAssignmentID string `json:"license_assignment_id,omitempty"`
	RoleID              string `json:"role_id,omitempty"`
	RoleName            string `json:"role_name,omitempty"`
	RoleSlug            string `json:"role_slug,omitempty"`

	SubscriptionID    string `json:"subscription_id,omitempty"`
	LicenseTypeID     string `json:"license_type_id,omitempty"`
	LicenseTypeName   string `json:"license_type_name,omitempty"`
	QuantityPurchased *int64 `json:"quantity_purchased,omitempty"`
	Status            string `json:"status,omitempty"`
}

// ApplicationData comes with application.created, .updated and .deleted.
// TenantID is empty for an application that belongs to no tenant.
type ApplicationData struct {
	ApplicationID   string                     `json:"application_id"`
	TenantID        string                     `json:"tenant_id,omitempty"`
	Name            string                     `json:"name"`
	Slug            string                     `json:"slug,omitempty"`
	Description     string                     `json:"description,omitempty"`
	ClientID        string                     `json:"client_id,omitempty"`
	ApplicationType string                     `json:"application_type,omitempty"`
	IsActive        *bool                      `json:"is_active,omitempty"`
	Config          *ApplicationConfig         `json:"config,omitempty"`
	Licensing       *ApplicationLicensing      `json:"licensing,omitempty"`
	ChangedFields   []string                   `json:"changed_fields,omitempty"` // may be dotted
	PreviousValues  map[string]json.RawMessage `json:"previous_values,omitempty"`
	CreatedAt       *time.Time                 `json:"created_at,omitempty"`
	CreatedBySub    string                     `json:"created_by_sub,omitempty"`
	UpdatedBySub    string                     `json:"updated_by_sub,omitempty"`
	DeletedAt       *time.Time                 `json:"deleted_at,omitempty"`
	DeletedBySub    string                     `json:"deleted_by_sub,omitempty"`
}

// ApplicationConfig is the OIDC part of ApplicationData.
type ApplicationConfig struct {
	RedirectURIs            []string `json:"redirect_uris,omitempty"`
	PostLogoutRedirectURIs  []string `json:"post_logout_redirect_uris,omitempty"`
	InitiateLoginURI        string   `json:"initiate_login_uri,omitempty"`
	AllowedScopes           []string `json:"allowed_scopes,omitempty"`
	GrantTypes              []string `json:"grant_types,omitempty"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty"`
	AccessTokenTTLSeconds   *int64   `json:"access_token_ttl_seconds,omitempty"`
	RefreshTokenTTLSeconds  *int64   `json:"refresh_token_ttl_seconds,omitempty"`
}

// ApplicationLicensing is the licensing part of ApplicationData.
type ApplicationLicensing struct {
	Mode                  string `json:"mode,omitempty"`
	AllowMixed            *bool  `json:"allow_mixed,omitempty"`
	DefaultSeatCount      *int64 `json:"default_seat_count,omitempty"`
	AutoProvisionOnSignup *bool  `json:"auto_provision_on_signup,omitempty"`
	AutoGrantToOwner      *bool  `json:"auto_grant_to_owner,omitempty"`
}

// SSOProviderData comes with sso.provider_added, .provider_updated and
// .provider_removed. One form of provider_updated names the changed fields
// without their values: read the SSOProvider entity.
type SSOProviderData struct {
	ProviderID     string                     `json:"provider_id"`
	TenantID       string                     `json:"tenant_id,omitempty"`
	ProviderType   string                     `json:"provider_type,omitempty"`
	DisplayName    string                     `json:"display_name,omitempty"`
	IsEnabled      *bool                      `json:"is_enabled,omitempty"`
	Config         *SSOProviderConfig         `json:"config,omitempty"`
	ChangedFields  []string                   `json:"changed_fields,omitempty"`
	PreviousValues map[string]json.RawMessage `json:"previous_values,omitempty"`
	CreatedAt      *time.Time                 `json:"created_at,omitempty"`
	CreatedBySub   string                     `json:"created_by_sub,omitempty"`
	UpdatedBySub   string                     `json:"updated_by_sub,omitempty"`
	RemovedAt      *time.Time                 `json:"removed_at,omitempty"`
	RemovedBySub   string                     `json:"removed_by_sub,omitempty"`
}

// SSOProviderConfig is the protocol part of SSOProviderData. It never holds the
// client's secret.
type SSOProviderConfig struct {
	ClientID              string          `json:"client_id,omitempty"`
	Issuer                string          `json:"issuer,omitempty"`
	AuthorizationEndpoint string          `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string          `json:"token_endpoint,omitempty"`
	UserinfoEndpoint      string          `json:"userinfo_endpoint,omitempty"`
	Domains               []string        `json:"domains,omitempty"`
	AttributeMapping      json.RawMessage `json:"attribute_mapping,omitempty"`
}
