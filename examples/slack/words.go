package main

import (
	"slices"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// words are the texts for routes without a template, by type, and for types
// that are not here by family.
var words = map[string]string{
	"subject.created":     `New account: {{.Person}}{{with .Data.email}} ({{.}}){{end}}`,
	"subject.updated":     `{{.Person}} has a changed profile` + changed,
	"subject.deleted":     `The account of {{.Person}} is deleted`,
	"subject.deactivated": `{{.Person}} can no longer log in`,

	"member.joined":       `{{.Person}} has joined *{{.Tenant}}*{{with .Data.tenant_roles}} as {{join . ", "}}{{end}}`,
	"member.left":         `{{.Person}} has left *{{.Tenant}}*`,
	"member.role_changed": `{{.Person}} has a new role in *{{.Tenant}}*{{with .Data.tenant_roles}}: {{join . ", "}}{{end}}`,
	"member.suspended":    `{{.Person}} is suspended in *{{.Tenant}}*`,
	"member.activated":    `{{.Person}} is active again in *{{.Tenant}}*`,

	"app_access.granted":      `{{.Person}} may use {{.App}}{{with .Data.role_name}} as {{.}}{{end}}`,
	"app_access.revoked":      `{{.Person}} may no longer use {{.App}}`,
	"app_access.role_changed": `{{.Person}} has a new role in {{.App}}{{with .Data.role_name}}: {{.}}{{end}}`,

	"invite.created":  `{{.Data.email}} is invited to *{{.Tenant}}*`,
	"invite.accepted": `{{.Data.email}} has accepted the invitation to *{{.Tenant}}*`,
	"invite.deleted":  `The invitation of {{.Data.email}} to *{{.Tenant}}* is withdrawn`,
	"invite.expired":  `The invitation of {{.Data.email}} to *{{.Tenant}}* has expired`,

	"license.assigned": `{{.Person}} of *{{.Tenant}}* has a license{{with .Data.license_type_name}}: {{.}}{{end}}`,
	"license.revoked":  `{{.Person}} of *{{.Tenant}}* has lost a license{{with .Data.license_type_name}}: {{.}}{{end}}`,
	"license.changed": `{{.Person}} of *{{.Tenant}}* has another license{{with .Data.license_type_name}}: {{.}}{{end}}` +
		`{{with .Data.previous_license_type_name}} instead of {{.}}{{end}}`,

	"tenant.created":   `New tenant *{{.Tenant}}*{{with .Organization.Plan}}, plan {{.}}{{end}}{{with .Organization.OwnerEmail}}, owner {{.}}{{end}}`,
	"tenant.updated":   `Tenant *{{.Tenant}}* has changed` + changed,
	"tenant.deleted":   `Tenant *{{.Tenant}}* is gone`,
	"tenant.suspended": `Tenant *{{.Tenant}}* is suspended{{with .Data.reason}}: {{.}}{{end}}`,

	"tenant.app.granted": `{{if .Data.subscription_id}}*{{.Tenant}}* has subscribed to {{.App}}{{with .Data.quantity_purchased}}: {{.}} ×{{end}}` +
		`{{with .Data.license_type_name}} {{.}}{{end}}{{else}}{{.Person}} of *{{.Tenant}}* may use {{.App}}{{end}}`,
	"tenant.app.revoked": `{{.Person}} of *{{.Tenant}}* may no longer use {{.App}}`,

	"application.created": `New application {{.App}}{{with .Tenant}} of *{{.}}*{{end}}`,
	"application.updated": `Application {{.App}}{{with .Tenant}} of *{{.}}*{{end}} has changed` + changed,
	"application.deleted": `Application {{.App}}{{with .Tenant}} of *{{.}}*{{end}} is deleted`,

	"sso.provider_added":   `{{with .Tenant}}*{{.}}*{{else}}Everybody{{end}} can log in with {{.Data.display_name}}`,
	"sso.provider_updated": `The login with {{.Data.display_name}}{{with .Tenant}} of *{{.}}*{{end}} has changed` + changed,
	"sso.provider_removed": `The login with {{or .Data.display_name .Data.provider_type}}{{with .Tenant}} of *{{.}}*{{end}} is removed`,

	"": `{{.Event.Type}}{{with .Tenant}} in *{{.}}*{{end}}{{with .Person}}: {{.}}{{end}}`,
}

// changed lists an event's changes, ten at most.
const changed = `{{range $i, $c := .Changes}}{{if lt $i 10}}{{if $i}}, {{else}}: {{end}}{{$c.Field}} ` +
	`{{if $c.Before}}{{$c.Before}} → {{end}}{{or $c.After "nothing"}}{{else if eq $i 10}} and more{{end}}{{end}}`

var parsedWords = sync.OnceValue(func() map[string]*texttemplate.Template {
	parsed := map[string]*texttemplate.Template{}
	for typ, text := range words {
		t, err := newTemplate("template", text)
		if err != nil {
			panic(err) // the texts above are tried by a test
		}
		parsed[typ] = t
	}
	return parsed
})

func wordsFor(typ string) *texttemplate.Template {
	if t := parsedWords()[typ]; t != nil {
		return t
	}
	return parsedWords()[""]
}

// knownTypes are those that have a text of their own.
func knownTypes() []string {
	var types []string
	for typ := range words {
		if typ != "" {
			types = append(types, typ)
		}
	}
	slices.Sort(types)
	return types
}

// fullSample is an event that has everything, for trying templates.
func fullSample(typ string) view {
	at, yes, n := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true, int64(5)
	data := map[string]any{"settings": map[string]any{}, "quantity_purchased": 5, "is_enabled": true, "is_active": true, "email_verified": true,
		"config": map[string]any{}, "licensing": map[string]any{}, "previous_values": map[string]any{}}
	for name := range strings.FieldsSeq(sampleText) {
		data[name] = "sample"
	}
	for name := range strings.FieldsSeq("tenant_roles previous_roles groups changed_fields") {
		data[name] = []any{"sample"}
	}
	return view{
		Event:  eventView{"evt_1", typ, "ten_1", "app_1", "organization:ten_1", "authvital", at, true, true},
		Tenant: "Acme", Person: "Ada", App: "Notes", Data: data,
		Organization: plugin.Organization{TenantID: "ten_1", Name: "Acme", Slug: "acme", Plan: "pro", OwnerEmail: "ada@example.com", RequireMFA: &yes,
			AllowSignups: &yes, SessionLifetimeMinutes: &n, AllowedEmailDomains: []string{"example.com"}, Status: "active", SuspendedAt: &at, CreatedAt: at, UpdatedAt: at},
		Identity:    plugin.Identity{Sub: "usr_1", DisplayName: "Ada", Email: "ada@example.com", EmailVerified: &yes, Groups: []string{"crew"}, IsActive: true, CreatedAt: at, UpdatedAt: at},
		Application: plugin.Application{ApplicationID: "app_1", Name: "Notes", Slug: "notes", IsActive: &yes, AccessTokenTTLSeconds: &n, CreatedAt: at, UpdatedAt: at},
		Changes:     []change{{"plan", "free", "pro"}, {"name", "", "Acme"}},
	}
}

// bareSample is an event that has next to nothing.
func bareSample(typ string) view {
	return view{Event: eventView{ID: "evt_1", Type: typ, Source: "authvital", Time: time.Unix(0, 0)}, Data: map[string]any{}}
}

// sampleText names the members of data that are text.
const sampleText = `sub email given_name family_name subject_type preferred_username name middle_name nickname picture website gender
birthdate zoneinfo locale phone_number app_role tenant_id membership_id role role_id role_name role_slug previous_role_id
previous_role_name previous_role_slug invite_id invited_by_sub expires_at assignment_id license_type_id license_type_name
previous_license_type_id previous_license_type_name slug plan owner_email reason created_at created_by_sub updated_by_sub
suspended_at suspended_by_sub deleted_at deleted_by_sub application_id tenant_slug application_name application_slug user_id
user_email access_type granted_by_id revoked_by_id license_assignment_id subscription_id status description client_id
application_type provider_id provider_type display_name removed_by_sub removed_at`
