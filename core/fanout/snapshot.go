package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
)

// Rows is where the mirror's rows come from, of which snapshots are made.
type Rows interface {
	Page(ctx context.Context, kind, after string, limit int) ([]mirror.Row, error)
}

// snapshotSource stands in the place of a source in the events of a snapshot,
// which nobody sent.
const snapshotSource = "snapshot"

// told is how rows of a kind are told as events.
type told struct {
	kind string
	// types under which a row can be told; the first that the plugin gets is
	// taken. Those with a condition are for rows that meet it.
	types []toldType
	// fields of the data, by the names of events, and the columns that fill them.
	fields [][2]string
	// config holds those of the nested object of this name.
	config [][2]string
	tenant string // column of the envelope's tenant
	app    string // column of the envelope's application
	// here tells whether there is anything to tell; nil: always.
	here func(row map[string]json.RawMessage) bool
}

type toldType struct {
	name string
	when func(row map[string]json.RawMessage) bool // nil: always
	// fields replace those of the row's kind; nil: they do not.
	fields [][2]string
}

// is makes a condition on a column's JSON.
func is(column, value string) func(map[string]json.RawMessage) bool {
	return func(row map[string]json.RawMessage) bool { return string(row[column]) == value }
}

// snapshotKinds are in the order of a snapshot: a tenant before what belongs to
// it, a person before what he has.
func snapshotKinds() []told {
	profile := [][2]string{
		{"sub", "sub"}, {"email", "email"}, {"email_verified", "email_verified"}, {"given_name", "given_name"},
		{"family_name", "family_name"}, {"subject_type", "subject_type"}, {"preferred_username", "username"},
		{"name", "display_name"}, {"middle_name", "middle_name"}, {"nickname", "nickname"}, {"picture", "picture_url"},
		{"website", "website"}, {"gender", "gender"}, {"birthdate", "birthdate"}, {"zoneinfo", "zoneinfo"}, {"locale", "locale"},
		{"phone_number", "phone"}, {"phone_number_verified", "phone_verified"}, {"groups", "groups"}, {"app_role", "app_role"},
		{"tenant_id", "tenant_id"},
	}
	return []told{
		{
			kind: event.KindOrganization, tenant: "tenant_id",
			types: []toldType{
				{name: event.TypeTenantCreated}, {name: event.TypeTenantUpdated},
				{name: event.TypeTenantSuspended, when: is("status", `"suspended"`)},
			},
			fields: [][2]string{
				{"tenant_id", "tenant_id"}, {"name", "name"}, {"slug", "slug"}, {"plan", "plan"}, {"owner_email", "owner_email"},
				{"settings", "settings"}, {"created_by_sub", "created_by_sub"},
				{"suspended_at", "suspended_at"}, {"suspended_by_sub", "suspended_by_sub"}, {"reason", "suspended_reason"},
			},
			here: func(row map[string]json.RawMessage) bool { return string(row["status"]) != `"deleted"` },
		},
		{
			kind: event.KindApplication, tenant: "organization_id", app: "application_id",
			types: []toldType{{name: event.TypeApplicationCreated}, {name: event.TypeApplicationUpdated}},
			fields: [][2]string{
				{"application_id", "application_id"}, {"tenant_id", "organization_id"}, {"name", "name"}, {"slug", "slug"},
				{"description", "description"}, {"client_id", "client_id"}, {"application_type", "application_type"},
				{"is_active", "is_active"}, {"licensing", "licensing"}, {"created_by_sub", "created_by_sub"},
			},
			config: [][2]string{
				{"redirect_uris", "redirect_uris"}, {"post_logout_redirect_uris", "post_logout_redirect_uris"},
				{"initiate_login_uri", "initiate_login_uri"}, {"allowed_scopes", "allowed_scopes"}, {"grant_types", "grant_types"},
				{"token_endpoint_auth_method", "token_endpoint_auth_method"},
				{"access_token_ttl_seconds", "access_token_ttl_seconds"}, {"refresh_token_ttl_seconds", "refresh_token_ttl_seconds"},
			},
		},
		{
			kind: event.KindSSOProvider, tenant: "organization_id",
			types: []toldType{{name: event.TypeSSOProviderAdded}, {name: event.TypeSSOProviderUpdated}},
			fields: [][2]string{
				{"provider_id", "provider_id"}, {"tenant_id", "organization_id"}, {"provider_type", "provider_type"},
				{"display_name", "display_name"}, {"is_enabled", "is_enabled"}, {"created_by_sub", "created_by_sub"},
			},
			config: [][2]string{
				{"client_id", "client_id"}, {"issuer", "issuer"}, {"authorization_endpoint", "authorization_endpoint"},
				{"token_endpoint", "token_endpoint"}, {"userinfo_endpoint", "userinfo_endpoint"}, {"domains", "domains"},
				{"attribute_mapping", "attribute_mapping"},
			},
		},
		{
			kind: event.KindIdentity, tenant: "tenant_id",
			types: []toldType{
				{name: event.TypeSubjectCreated}, {name: event.TypeSubjectUpdated},
				{name: event.TypeSubjectDeactivated, when: is("is_active", "false")},
			},
			fields: profile,
		},
		{
			kind: event.KindMembership, tenant: "organization_id",
			types: []toldType{
				{name: event.TypeMemberJoined}, {name: event.TypeMemberRoleChanged},
				{name: event.TypeMemberSuspended, when: is("status", `"suspended"`)},
				{name: event.TypeMemberActivated, when: is("status", `"active"`)},
			},
			fields: [][2]string{{"membership_id", "membership_id"}, {"sub", "identity_id"}, {"tenant_roles", "roles"}},
			here:   func(row map[string]json.RawMessage) bool { return string(row["status"]) != `"left"` },
		},
		{
			kind: event.KindAppAccess, tenant: "organization_id", app: "application_id",
			types: []toldType{
				{name: event.TypeAppAccessGranted}, {name: event.TypeAppAccessRoleChanged},
				{name: event.TypeTenantAppGranted, fields: [][2]string{
					{"tenant_id", "organization_id"}, {"application_id", "application_id"}, {"user_id", "identity_id"},
					{"access_type", "access_type"}, {"role_id", "role_id"}, {"role_name", "role_name"}, {"role_slug", "role_slug"},
				}},
			},
			fields: [][2]string{{"sub", "identity_id"}, {"role_id", "role_id"}, {"role_name", "role_name"}, {"role_slug", "role_slug"}},
			here:   is("has_access", "true"),
		},
		{
			kind: event.KindLicense, tenant: "organization_id", app: "application_id",
			types: []toldType{{name: event.TypeLicenseAssigned}, {name: event.TypeLicenseChanged}},
			fields: [][2]string{
				{"assignment_id", "assignment_id"}, {"sub", "identity_id"},
				{"license_type_id", "license_type_id"}, {"license_type_name", "license_type_name"},
			},
			here: is("status", `"active"`),
		},
		{
			kind: event.KindSubscription, tenant: "organization_id", app: "application_id",
			types: []toldType{{name: event.TypeTenantAppGranted}},
			fields: [][2]string{
				{"tenant_id", "organization_id"}, {"application_id", "application_id"}, {"subscription_id", "subscription_id"},
				{"license_type_id", "license_type_id"}, {"license_type_name", "license_type_name"},
				{"quantity_purchased", "quantity"}, {"status", "status"},
			},
		},
		{
			kind: event.KindInvitation, tenant: "organization_id",
			types: []toldType{{name: event.TypeInviteCreated}},
			fields: [][2]string{
				{"invite_id", "invite_id"}, {"membership_id", "membership_id"}, {"email", "email"}, {"tenant_roles", "roles"},
				{"invited_by_sub", "invited_by_sub"}, {"expires_at", "expires_at"},
			},
			here: is("status", `"pending"`),
		},
	}
}

// wanted tells whether a plugin gets any of the types.
func (t told) wanted(wants func(string) bool) bool {
	for _, typ := range t.types {
		if wants(typ.name) {
			return true
		}
	}
	return false
}

// event tells a row as it stands; nil: there is nothing to tell the plugin. It has
// the position at which the snapshot was taken, and no evidence.
func (t told) event(row mirror.Row, position int64, wants func(string) bool) (*event.Event, error) {
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(row.JSON, &columns); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", row.Kind, row.ID, err)
	}
	if t.here != nil && !t.here(columns) {
		return nil, nil
	}
	for _, typ := range t.types {
		if !wants(typ.name) || typ.when != nil && !typ.when(columns) {
			continue
		}
		fields := t.fields
		if typ.fields != nil {
			fields = typ.fields
		}
		data := said(columns, fields)
		if config := said(columns, t.config); len(config) > 0 {
			raw, err := json.Marshal(config)
			if err != nil {
				return nil, fmt.Errorf("tell %s %s: %w", row.Kind, row.ID, err)
			}
			data["config"] = raw
		}
		return synthetic(envelope{
			ID: fmt.Sprintf("snapshot:%s:%s:%d", row.Kind, row.ID, row.Revision), Type: typ.name,
			Time: time.UnixMicro(row.Revision).UTC(), Tenant: columns[t.tenant], Application: columns[t.app], Data: data,
		}, position)
	}
	return nil, nil
}

// said picks columns that hold something.
func said(columns map[string]json.RawMessage, fields [][2]string) map[string]json.RawMessage {
	data := make(map[string]json.RawMessage, len(fields))
	for _, f := range fields {
		if raw := columns[f[1]]; len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
			data[f[0]] = raw
		}
	}
	return data
}

// envelope is the form in which an event that nobody sent is made and kept. It is
// that of a webhook, so that it is read by the same rules.
type envelope struct {
	ID          string                     `json:"id"`
	Type        string                     `json:"type"`
	Time        time.Time                  `json:"timestamp"`
	Tenant      json.RawMessage            `json:"tenant_id,omitempty"`
	Application json.RawMessage            `json:"application_id,omitempty"`
	Data        map[string]json.RawMessage `json:"data"`
}

func synthetic(e envelope, position int64) (*event.Event, error) {
	if len(e.ID) > maxSyntheticID { // an id of a row may be long, and escaped
		e.ID = e.ID[:maxSyntheticID-17] + fmt.Sprintf("#%016x", uint64(journal.LaneHash(e.ID)))
		e.ID = strings.ToValidUTF8(e.ID, "")
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("tell %s: %w", e.ID, err)
	}
	ev, err := decodeSynthetic(body)
	if err != nil {
		return nil, fmt.Errorf("tell %s: %w", e.ID, err)
	}
	ev.Position, ev.Source = position, snapshotSource
	return ev, nil
}

// maxSyntheticID bytes are what an event's id may have.
const maxSyntheticID = 512

// decodeSynthetic reads back what synthetic made. Such an event has no channel,
// which tells it from those that were sent.
func decodeSynthetic(body []byte) (*event.Event, error) {
	ev, err := event.DecodeWebhook(body)
	if err != nil {
		return nil, err
	}
	ev.Channel, ev.Evidence.Body = "", body
	return ev, nil
}
