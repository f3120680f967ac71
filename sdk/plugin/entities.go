package plugin

import (
	"encoding/json"
	"time"
)

// The rows of the hub's mirror. Field names in JSON are the column names. A
// text that is not known is empty; a flag or number that is not known is nil.

// Identity is a person or machine that can log in.
type Identity struct {
	Sub           string   `json:"sub"`
	Username      string   `json:"username"`
	DisplayName   string   `json:"display_name"`
	GivenName     string   `json:"given_name"`
	FamilyName    string   `json:"family_name"`
	MiddleName    string   `json:"middle_name"`
	Nickname      string   `json:"nickname"`
	PictureURL    string   `json:"picture_url"`
	Website       string   `json:"website"`
	Gender        string   `json:"gender"`
	Birthdate     string   `json:"birthdate"`
	Zoneinfo      string   `json:"zoneinfo"`
	Locale        string   `json:"locale"`
	Email         string   `json:"email"`
	EmailVerified *bool    `json:"email_verified"`
	Phone         string   `json:"phone"`
	PhoneVerified *bool    `json:"phone_verified"`
	SubjectType   string   `json:"subject_type"` // "user", "service_account", "machine"
	TenantID      string   `json:"tenant_id"`
	AppRole       string   `json:"app_role"`
	Groups        []string `json:"groups"`
	// IsActive tells whether the identity may log in anywhere.
	IsActive bool `json:"is_active"`
	// HasAppAccess tells whether it may use the application that the hub's
	// configuration names.
	HasAppAccess bool      `json:"has_app_access"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// Organization is a tenant.
type Organization struct {
	TenantID               string   `json:"tenant_id"`
	Name                   string   `json:"name"`
	Slug                   string   `json:"slug"`
	Plan                   string   `json:"plan"`
	OwnerEmail             string   `json:"owner_email"`
	AllowSignups           *bool    `json:"allow_signups"`
	RequireMFA             *bool    `json:"require_mfa"`
	AllowedEmailDomains    []string `json:"allowed_email_domains"`
	SessionLifetimeMinutes *int64   `json:"session_lifetime_minutes"`
	// PasswordPolicy is a text or an object; providers send either.
	PasswordPolicy json.RawMessage            `json:"password_policy"`
	Settings       map[string]json.RawMessage `json:"settings"` // everything that was sent
	// Status is "active", "suspended" or "deleted".
	Status          string     `json:"status"`
	SuspendedAt     *time.Time `json:"suspended_at"`
	SuspendedBySub  string     `json:"suspended_by_sub"`
	SuspendedReason string     `json:"suspended_reason"`
	CreatedBySub    string     `json:"created_by_sub"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`

	// What belongs to the tenant at the moment of delivery. It comes to
	// connectors whose Info.Counts asks for it; all three are nil elsewhere.

	// Subscriptions are those whose status is "active", in whatever case.
	Subscriptions []ActiveSubscription `json:"subscriptions"`
	// Licenses are the active licenses, counted by application and license type.
	Licenses []LicenseCount `json:"licenses"`
	// Members are the active memberships, counted by the person's subject_type:
	// "user", "service_account", "machine". Somebody of unknown type is a "user".
	Members map[string]int64 `json:"members"`
}

// ActiveSubscription is what a tenant pays for.
type ActiveSubscription struct {
	SubscriptionID  string `json:"subscription_id"`
	ApplicationID   string `json:"application_id"`
	LicenseTypeID   string `json:"license_type_id"`
	LicenseTypeName string `json:"license_type_name"`
	Quantity        int64  `json:"quantity"` // seats
	Status          string `json:"status"`   // as the provider writes it
}

// LicenseCount tells how many licenses of one type a tenant has given out.
type LicenseCount struct {
	ApplicationID   string `json:"application_id"`
	LicenseTypeID   string `json:"license_type_id"`
	LicenseTypeName string `json:"license_type_name"`
	Count           int64  `json:"count"`
}

// Application is an OIDC client. OrganizationID is empty for one that belongs
// to no tenant.
type Application struct {
	ApplicationID           string          `json:"application_id"`
	OrganizationID          string          `json:"organization_id"`
	Name                    string          `json:"name"`
	Slug                    string          `json:"slug"`
	Description             string          `json:"description"`
	ClientID                string          `json:"client_id"`
	ApplicationType         string          `json:"application_type"`
	IsActive                *bool           `json:"is_active"`
	RedirectURIs            []string        `json:"redirect_uris"`
	PostLogoutRedirectURIs  []string        `json:"post_logout_redirect_uris"`
	AllowedScopes           []string        `json:"allowed_scopes"`
	GrantTypes              []string        `json:"grant_types"`
	TokenEndpointAuthMethod string          `json:"token_endpoint_auth_method"`
	InitiateLoginURI        string          `json:"initiate_login_uri"`
	AccessTokenTTLSeconds   *int64          `json:"access_token_ttl_seconds"`
	RefreshTokenTTLSeconds  *int64          `json:"refresh_token_ttl_seconds"`
	Licensing               json.RawMessage `json:"licensing"`
	CreatedBySub            string          `json:"created_by_sub"`
	CreatedAt               time.Time       `json:"created_at"`
	UpdatedAt               time.Time       `json:"updated_at"`
}

// SSOProvider is a way to log in through another identity provider.
// OrganizationID is empty for a global one. ID is the row's own key; ProviderID
// is unique only within the organization.
type SSOProvider struct {
	ID                    string          `json:"id"`
	ProviderID            string          `json:"provider_id"`
	OrganizationID        string          `json:"organization_id"`
	ProviderType          string          `json:"provider_type"`
	DisplayName           string          `json:"display_name"`
	IsEnabled             *bool           `json:"is_enabled"`
	ClientID              string          `json:"client_id"`
	Issuer                string          `json:"issuer"`
	AuthorizationEndpoint string          `json:"authorization_endpoint"`
	TokenEndpoint         string          `json:"token_endpoint"`
	UserinfoEndpoint      string          `json:"userinfo_endpoint"`
	Domains               []string        `json:"domains"`
	AttributeMapping      json.RawMessage `json:"attribute_mapping"`
	CreatedBySub          string          `json:"created_by_sub"`
	CreatedAt             time.Time       `json:"created_at"`
	UpdatedAt             time.Time       `json:"updated_at"`
}

// Membership is a person's place in a tenant. It comes with member.*.
type Membership struct {
	MembershipID   string   `json:"membership_id"`
	IdentityID     string   `json:"identity_id"` // the person's sub
	OrganizationID string   `json:"organization_id"`
	Roles          []string `json:"roles"`
	// Status is "active", "suspended" or "left".
	Status    string    `json:"status"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// AppAccess is what a person may do in an application as a member of a tenant.
// It comes with app_access.*, and with tenant.app.* that name a person.
// OrganizationID is empty for access outside of any tenant. The role is the last
// one, also when HasAccess is false.
type AppAccess struct {
	ID             string    `json:"id"`
	IdentityID     string    `json:"identity_id"` // the person's sub
	ApplicationID  string    `json:"application_id"`
	OrganizationID string    `json:"organization_id"`
	RoleID         string    `json:"role_id"`
	RoleName       string    `json:"role_name"`
	RoleSlug       string    `json:"role_slug"`
	HasAccess      bool      `json:"has_access"`
	AccessType     string    `json:"access_type"` // "GRANTED", "INVITED", "AUTO_FREE", …
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
}

// License is a seat that a person was given. It comes with license.*.
type License struct {
	AssignmentID    string    `json:"assignment_id"`
	IdentityID      string    `json:"identity_id"` // the person's sub
	OrganizationID  string    `json:"organization_id"`
	ApplicationID   string    `json:"application_id"`
	LicenseTypeID   string    `json:"license_type_id"`
	LicenseTypeName string    `json:"license_type_name"`
	Status          string    `json:"status"` // "active" or "revoked"
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

// Subscription is what a tenant bought of an application. It comes with
// tenant.app.granted that names no person.
type Subscription struct {
	SubscriptionID  string    `json:"subscription_id"`
	OrganizationID  string    `json:"organization_id"`
	ApplicationID   string    `json:"application_id"`
	LicenseTypeID   string    `json:"license_type_id"`
	LicenseTypeName string    `json:"license_type_name"`
	Quantity        int64     `json:"quantity"` // seats
	Status          string    `json:"status"`   // as the provider writes it, such as "ACTIVE"
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
}

// Invitation is an invitation into a tenant. It comes with invite.*.
type Invitation struct {
	InviteID       string   `json:"invite_id"`
	MembershipID   string   `json:"membership_id"` // the membership that it leads to
	OrganizationID string   `json:"organization_id"`
	Email          string   `json:"email"`
	Roles          []string `json:"roles"`
	// Status is "pending", "accepted", "deleted" or "expired".
	Status       string     `json:"status"`
	InvitedBySub string     `json:"invited_by_sub"`
	ExpiresAt    *time.Time `json:"expires_at"`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
}
