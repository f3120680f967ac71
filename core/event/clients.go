package event

import (
	"encoding/json"
	"time"
)

// ApplicationData is the data of application.*: an OAuth client. In form 1 it
// is global (tenant_id null), in form 2 it belongs to a tenant.
type ApplicationData struct {
	ApplicationID   Opt[string]            `json:"application_id,omitzero"`
	TenantID        Opt[string]            `json:"tenant_id,omitzero"`
	Name            Opt[string]            `json:"name,omitzero"`
	Slug            Opt[string]            `json:"slug,omitzero"` // form 1
	Description     Opt[string]            `json:"description,omitzero"`
	ClientID        Opt[string]            `json:"client_id,omitzero"`
	ApplicationType Opt[string]            `json:"application_type,omitzero"` // "web", "spa", "native", "machine"; open
	IsActive        Opt[bool]              `json:"is_active,omitzero"`
	CreatedAt       Opt[time.Time]         `json:"created_at,omitzero"`
	CreatedBySub    Opt[string]            `json:"created_by_sub,omitzero"`
	UpdatedBySub    Opt[string]            `json:"updated_by_sub,omitzero"`
	DeletedAt       Opt[time.Time]         `json:"deleted_at,omitzero"`
	DeletedBySub    Opt[string]            `json:"deleted_by_sub,omitzero"`
	Config          Opt[ApplicationConfig] `json:"config,omitzero"`

	// Licensing is kept as it was sent; form 1.
	Licensing Opt[map[string]json.RawMessage] `json:"licensing,omitzero"`

	// ChangedFields, in application.updated: dotted names reach into config.
	ChangedFields []string `json:"changed_fields,omitzero"`
	// PreviousValues are keyed like ChangedFields.
	PreviousValues map[string]json.RawMessage `json:"previous_values,omitzero"`
}

// ApplicationConfig is the nested object config of ApplicationData.
type ApplicationConfig struct {
	RedirectURIs            Opt[[]string] `json:"redirect_uris,omitzero"`
	PostLogoutRedirectURIs  Opt[[]string] `json:"post_logout_redirect_uris,omitzero"`
	InitiateLoginURI        Opt[string]   `json:"initiate_login_uri,omitzero"` // form 1
	AllowedScopes           Opt[[]string] `json:"allowed_scopes,omitzero"`     // form 2, as the next two
	GrantTypes              Opt[[]string] `json:"grant_types,omitzero"`
	TokenEndpointAuthMethod Opt[string]   `json:"token_endpoint_auth_method,omitzero"`
	AccessTokenTTLSeconds   Opt[int64]    `json:"access_token_ttl_seconds,omitzero"`
	RefreshTokenTTLSeconds  Opt[int64]    `json:"refresh_token_ttl_seconds,omitzero"`
}

func (d *ApplicationData) slot(name []byte) slot {
	switch string(name) {
	case "application_id":
		return (*key)(&d.ApplicationID)
	case "tenant_id":
		return (*key)(&d.TenantID)
	case "name":
		return &d.Name
	case "slug":
		return (*key)(&d.Slug)
	case "description":
		return &d.Description
	case "client_id":
		return (*key)(&d.ClientID)
	case "application_type":
		return &d.ApplicationType
	case "is_active":
		return &d.IsActive
	case "created_at":
		return &d.CreatedAt
	case "created_by_sub":
		return (*key)(&d.CreatedBySub)
	case "updated_by_sub":
		return (*key)(&d.UpdatedBySub)
	case "deleted_at":
		return &d.DeletedAt
	case "deleted_by_sub":
		return (*key)(&d.DeletedBySub)
	case "config":
		return &d.Config
	case "licensing":
		return &d.Licensing
	case "changed_fields":
		return (*list)(&d.ChangedFields)
	case "previous_values":
		return (*object)(&d.PreviousValues)
	}
	return nil
}

func (d *ApplicationData) check() error { return need(idField{"application_id", d.ApplicationID}) }

func (c *ApplicationConfig) slot(name []byte) slot {
	switch string(name) {
	case "redirect_uris":
		return &c.RedirectURIs
	case "post_logout_redirect_uris":
		return &c.PostLogoutRedirectURIs
	case "initiate_login_uri":
		return &c.InitiateLoginURI
	case "allowed_scopes":
		return &c.AllowedScopes
	case "grant_types":
		return &c.GrantTypes
	case "token_endpoint_auth_method":
		return &c.TokenEndpointAuthMethod
	case "access_token_ttl_seconds":
		return &c.AccessTokenTTLSeconds
	case "refresh_token_ttl_seconds":
		return &c.RefreshTokenTTLSeconds
	}
	return nil
}

// SSOProviderData is the data of sso.*: a way to log in through somebody else.
// In form 1 it is global, and ProviderID is the provider's name; in form 2 it
// belongs to a tenant.
type SSOProviderData struct {
	ProviderID   Opt[string]    `json:"provider_id,omitzero"`
	TenantID     Opt[string]    `json:"tenant_id,omitzero"`
	ProviderType Opt[string]    `json:"provider_type,omitzero"` // "google", "microsoft", "okta", "saml", "oidc"; open
	DisplayName  Opt[string]    `json:"display_name,omitzero"`
	IsEnabled    Opt[bool]      `json:"is_enabled,omitzero"`
	CreatedAt    Opt[time.Time] `json:"created_at,omitzero"`
	CreatedBySub Opt[string]    `json:"created_by_sub,omitzero"`
	UpdatedBySub Opt[string]    `json:"updated_by_sub,omitzero"`
	RemovedAt    Opt[time.Time] `json:"removed_at,omitzero"`
	RemovedBySub Opt[string]    `json:"removed_by_sub,omitzero"`
	Config       Opt[SSOConfig] `json:"config,omitzero"` // form 2

	// ChangedFields, in sso.provider_updated. In form 1 the new values are not
	// sent with it.
	ChangedFields []string `json:"changed_fields,omitzero"`
	// PreviousValues are keyed like ChangedFields.
	PreviousValues map[string]json.RawMessage `json:"previous_values,omitzero"`
}

// SSOConfig is the nested object config of SSOProviderData.
type SSOConfig struct {
	ClientID              Opt[string]                     `json:"client_id,omitzero"`
	Issuer                Opt[string]                     `json:"issuer,omitzero"`
	AuthorizationEndpoint Opt[string]                     `json:"authorization_endpoint,omitzero"`
	TokenEndpoint         Opt[string]                     `json:"token_endpoint,omitzero"`
	UserinfoEndpoint      Opt[string]                     `json:"userinfo_endpoint,omitzero"`
	Domains               Opt[[]string]                   `json:"domains,omitzero"`
	AttributeMapping      Opt[map[string]json.RawMessage] `json:"attribute_mapping,omitzero"`
}

func (d *SSOProviderData) slot(name []byte) slot {
	switch string(name) {
	case "provider_id":
		return (*key)(&d.ProviderID)
	case "tenant_id":
		return (*key)(&d.TenantID)
	case "provider_type":
		return &d.ProviderType
	case "display_name":
		return &d.DisplayName
	case "is_enabled":
		return &d.IsEnabled
	case "created_at":
		return &d.CreatedAt
	case "created_by_sub":
		return (*key)(&d.CreatedBySub)
	case "updated_by_sub":
		return (*key)(&d.UpdatedBySub)
	case "removed_at":
		return &d.RemovedAt
	case "removed_by_sub":
		return (*key)(&d.RemovedBySub)
	case "config":
		return &d.Config
	case "changed_fields":
		return (*list)(&d.ChangedFields)
	case "previous_values":
		return (*object)(&d.PreviousValues)
	}
	return nil
}

func (d *SSOProviderData) check() error { return need(idField{"provider_id", d.ProviderID}) }

func (c *SSOConfig) slot(name []byte) slot {
	switch string(name) {
	case "client_id":
		return (*key)(&c.ClientID)
	case "issuer":
		return &c.Issuer
	case "authorization_endpoint":
		return &c.AuthorizationEndpoint
	case "token_endpoint":
		return &c.TokenEndpoint
	case "userinfo_endpoint":
		return &c.UserinfoEndpoint
	case "domains":
		return &c.Domains
	case "attribute_mapping":
		return &c.AttributeMapping
	}
	return nil
}
