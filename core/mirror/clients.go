package mirror

import (
	"net/url"
	"strconv"

	"github.com/avhub/avhub/core/event"
)

// What happens to applications and login providers. Both come in a global form
// and in one that belongs to a tenant, and updates often lack the part that
// changed; what was not sent stays.

func (ms *models) application(ev *event.Event) ([]*effect, error) {
	d, err := ev.ApplicationData()
	if err != nil {
		return nil, err
	}
	e := &effect{model: ms.applications, id: d.ApplicationID.Value, alive: true}
	var changed selection
	switch ev.Type {
	case event.TypeApplicationDeleted:
		e.deletes = true
		return one(e), nil
	case event.TypeApplicationCreated:
		d.CreatedAt = event.Some(d.CreatedAt.Or(ev.Time))
	case event.TypeApplicationUpdated:
		changed = d.ChangedFields
	}
	// Whose it is is no change but part of what it is. The form that is global
	// by nature sends a constant null, which says nothing about an application
	// that a tenant owns.
	owner := d.TenantID.Value
	if owner == "" && !ev.SystemForm {
		owner = ev.TenantID
	}
	if owner != "" {
		e.text(organizationField, event.Some(owner))
	}
	e.created(d.CreatedAt)
	for _, f := range [...]struct {
		field string
		value *event.Opt[string]
	}{
		{"name", &d.Name}, {"slug", &d.Slug}, {"description", &d.Description},
		{"client_id", &d.ClientID}, {"application_type", &d.ApplicationType},
		{"created_by_sub", &d.CreatedBySub},
	} {
		if f.value.Set && changed.exactly(f.field) {
			e.text(f.field, *f.value)
		}
	}
	if changed.exactly("is_active") {
		e.flag("is_active", d.IsActive)
	}
	if changed.within("licensing") {
		e.object("licensing", d.Licensing)
	}
	c, in := &d.Config.Value, changed.inConfig
	for _, f := range [...]struct {
		field string
		value *event.Opt[[]string]
	}{
		{"redirect_uris", &c.RedirectURIs}, {"post_logout_redirect_uris", &c.PostLogoutRedirectURIs},
		{"allowed_scopes", &c.AllowedScopes}, {"grant_types", &c.GrantTypes},
	} {
		if f.value.Set && in(f.field) {
			e.list(f.field, *f.value)
		}
	}
	if in("initiate_login_uri") {
		e.text("initiate_login_uri", c.InitiateLoginURI)
	}
	if in("token_endpoint_auth_method") {
		e.text("token_endpoint_auth_method", c.TokenEndpointAuthMethod)
	}
	if in("access_token_ttl_seconds") {
		e.number("access_token_ttl_seconds", c.AccessTokenTTLSeconds)
	}
	if in("refresh_token_ttl_seconds") {
		e.number("refresh_token_ttl_seconds", c.RefreshTokenTTLSeconds)
	}
	return one(e), nil
}

// inConfig tells whether a field of the nested object config is selected: by
// its dotted name, by its bare one, or with the object as a whole.
func (s selection) inConfig(field string) bool {
	return s.exactly("config") || s.within(field, "config."+field)
}

func (ms *models) ssoProvider(ev *event.Event) ([]*effect, error) {
	d, err := ev.SSOProviderData()
	if err != nil {
		return nil, err
	}
	provider, tenant := d.ProviderID.Value, d.TenantID.Value
	e := &effect{model: ms.ssoProviders, id: providerID(tenant, provider)}
	if len(e.id) > maxKey {
		return nil, &event.DataError{
			Field: "provider_id", Want: "together with tenant_id at most " + strconv.Itoa(maxKey) + " bytes when escaped",
			Got: "more",
		}
	}
	var changed selection
	switch ev.Type {
	case event.TypeSSOProviderRemoved:
		e.deletes = true
		return one(e), nil
	case event.TypeSSOProviderUpdated:
		changed = d.ChangedFields
	}
	e.provider(&d, changed)
	if ev.Type == event.TypeSSOProviderUpdated && len(e.set) == 0 {
		return one(e), nil // the global form: something changed, nobody says to what
	}
	e.alive = true
	e.created(d.CreatedAt)
	e.text("provider_id", event.Some(provider))
	if tenant != "" {
		e.text(organizationField, event.Some(tenant))
	}
	return one(e), nil
}

func (e *effect) provider(d *event.SSOProviderData, changed selection) {
	for _, f := range [...]struct {
		field string
		value *event.Opt[string]
	}{
		{"provider_type", &d.ProviderType}, {"display_name", &d.DisplayName}, {"created_by_sub", &d.CreatedBySub},
	} {
		if f.value.Set && changed.exactly(f.field) {
			e.text(f.field, *f.value)
		}
	}
	if changed.exactly("is_enabled") {
		e.flag("is_enabled", d.IsEnabled)
	}
	c := &d.Config.Value
	for _, f := range [...]struct {
		field string
		value *event.Opt[string]
	}{
		{"client_id", &c.ClientID}, {"issuer", &c.Issuer},
		{"authorization_endpoint", &c.AuthorizationEndpoint},
		{"token_endpoint", &c.TokenEndpoint}, {"userinfo_endpoint", &c.UserinfoEndpoint},
	} {
		if f.value.Set && changed.inConfig(f.field) {
			e.text(f.field, *f.value)
		}
	}
	if changed.inConfig("domains") {
		e.list("domains", c.Domains)
	}
	if changed.inConfig("attribute_mapping") {
		e.object("attribute_mapping", c.AttributeMapping)
	}
}

// providerID returns the key of a login provider's row. A provider's id is
// unique within its tenant only; the escapes keep the parts apart.
func providerID(tenant, provider string) string {
	if tenant == "" {
		return url.PathEscape(provider)
	}
	return url.PathEscape(tenant) + "/" + url.PathEscape(provider)
}
