package entry

import "strings"

// class says what becomes of a field's values.
type class int

const (
	opaque   class = iota // not known to be harmless: a digest
	plain                 // as they are
	personal              // sealed under the key of the row's person
	address               // an e-mail address of nobody in particular: sealed under a key of its own
)

// classes are the fields that may be in the trail, by the kind of row. What is
// not listed here is opaque: a secret that a provider adds to an event tomorrow
// does not enter the trail today.
var classes = map[string]map[string]class{
	"identity": {
		"exists": plain, "subject_type": plain, "tenant_id": plain, "app_role": plain, "groups": plain,
		"is_active": plain, "has_app_access": plain, "email_verified": plain, "phone_verified": plain,
		"username": personal, "display_name": personal, "given_name": personal, "family_name": personal,
		"middle_name": personal, "nickname": personal, "picture_url": personal, "website": personal,
		"gender": personal, "birthdate": personal, "zoneinfo": personal, "locale": personal,
		"email": personal, "phone": personal,
	},
	"organization": fields(`exists name slug plan allow_signups require_mfa allowed_email_domains
		session_lifetime_minutes password_policy status suspended_at suspended_by_sub suspended_reason created_by_sub
		members`).with("owner_email", address),
	"application": fields(`exists organization_id name slug description client_id application_type is_active
		redirect_uris post_logout_redirect_uris allowed_scopes grant_types token_endpoint_auth_method initiate_login_uri
		access_token_ttl_seconds refresh_token_ttl_seconds licensing created_by_sub config`),
	"sso_provider": fields(`exists provider_id organization_id provider_type display_name is_enabled client_id issuer
		authorization_endpoint token_endpoint userinfo_endpoint domains attribute_mapping created_by_sub`),
	"membership": fields(`exists identity_id organization_id roles status`),
	"app_access": fields(`exists identity_id organization_id application_id role_id role_name role_slug has_access
		access_type`),
	"license":      fields(`exists identity_id organization_id application_id license_type_id license_type_name status`),
	"subscription": fields(`exists organization_id application_id license_type_id license_type_name quantity status`),
	"invitation": fields(`exists membership_id organization_id roles status invited_by_sub expires_at`).
		with("email", address),
}

type fieldClasses map[string]class

func fields(names string) fieldClasses {
	out := fieldClasses{}
	for _, name := range strings.Fields(names) {
		out[name] = plain
	}
	return out
}

func (f fieldClasses) with(name string, c class) map[string]class {
	f[name] = c
	return f
}

// classOf is the class of a row's field.
func classOf(kind, field string) class {
	if setting, ok := strings.CutPrefix(field, "settings."); ok && kind == "organization" {
		return settings[setting]
	}
	return classes[kind][field]
}

// settings are those of a tenant whose meaning is known. The others are
// free-form: what a team keeps there is nobody's business here.
var settings = fields("allow_signups require_mfa allowed_email_domains session_lifetime_minutes password_policy plan")
