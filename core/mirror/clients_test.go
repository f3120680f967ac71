package mirror_test

import (
	"testing"

	"github.com/avhub/avhub/core/event"
)

var clientCases = []effectCase{
	{
		name: "application.created of the first form is global",
		then: told(2, event.TypeApplicationCreated, data{"application_id": "a2", "tenant_id": nil, "name": "Ledger", "slug": "ledger", "client_id": nil, "is_active": false, "licensing": data{"mode": "SEAT"}}),
		changes: []string{
			`application a2 exists false → true`, `application a2 name null → "Ledger"`, `application a2 slug null → "ledger"`,
			`application a2 is_active null → false`, `application a2 licensing null → {"mode":"SEAT"}`,
		},
	},
	{
		name: "the constant null of the first form takes no application from its tenant, and what it does not send stays", before: []said{ownApp},
		then:    told(2, event.TypeApplicationUpdated, data{"application_id": "a1", "tenant_id": nil, "name": "Books", "is_active": false, "changed_fields": []string{"name"}}),
		changes: []string{`application a1 name "Ledger" → "Books"`},
	},
	{
		name: "application.updated reaches into config by dotted and by bare names", before: []said{ownApp},
		then: about(2, event.TypeApplicationUpdated, "t1", data{
			"application_id": "a1", "name": "No", "config": data{"redirect_uris": []string{}, "access_token_ttl_seconds": 90, "allowed_scopes": []string{"openid"}},
			"changed_fields": []string{"config.redirect_uris", "access_token_ttl_seconds"},
		}),
		changes: []string{`application a1 redirect_uris ["https://a.example/cb"] → []`, `application a1 access_token_ttl_seconds 60 → 90`},
	},
	{
		name: "config as a whole is what was sent of it", before: []said{ownApp},
		then:    about(2, event.TypeApplicationUpdated, "t1", data{"application_id": "a1", "config": data{"access_token_ttl_seconds": nil}, "changed_fields": []string{"config"}}),
		changes: []string{`application a1 access_token_ttl_seconds 60 → null`},
	},
	{
		name: "licensing.mode takes the whole of licensing", before: []said{ownApp},
		then:    told(2, event.TypeApplicationUpdated, data{"application_id": "a1", "licensing": data{"mode": "SEAT", "allow_mixed": true}, "changed_fields": []string{"licensing.mode"}}),
		changes: []string{`application a1 licensing null → {"allow_mixed":true,"mode":"SEAT"}`},
	},
	{
		name: "application.deleted", before: []said{ownApp},
		then: told(2, event.TypeApplicationDeleted, data{"application_id": "a1", "tenant_id": nil}),
		changes: []string{
			`application a1 exists true → false`, `application a1 organization_id "t1" → null`, `application a1 name "Ledger" → null`,
			`application a1 client_id "c1" → null`, `application a1 is_active true → null`,
			`application a1 redirect_uris ["https://a.example/cb"] → null`, `application a1 access_token_ttl_seconds 60 → null`,
		},
	},

	{
		name: "sso.provider_added of the first form is global, also as an upsert",
		before: []said{
			told(1, event.TypeSSOProviderAdded, data{"provider_id": "GOOGLE", "provider_type": "google", "display_name": "Google", "is_enabled": true}),
		},
		then:    told(2, event.TypeSSOProviderAdded, data{"provider_id": "GOOGLE", "provider_type": "google", "display_name": "Google", "is_enabled": false}),
		changes: []string{`sso_provider GOOGLE is_enabled true → false`},
	},
	{
		name: "sso.provider_updated of the first form tells no values", before: []said{told(1, event.TypeSSOProviderAdded, data{"provider_id": "GOOGLE", "is_enabled": true})},
		then: told(2, event.TypeSSOProviderUpdated, data{"provider_id": "GOOGLE", "provider_type": "google", "changed_fields": []string{"is_enabled"}}),
	},
	{
		name: "sso.provider_updated without values makes no row",
		then: told(2, event.TypeSSOProviderUpdated, data{"provider_id": "GOOGLE", "provider_type": "google", "changed_fields": []string{"is_enabled"}}),
	},
	{
		name: "sso.provider_updated of the second form", before: []said{okta},
		then: about(2, event.TypeSSOProviderUpdated, "t1", data{
			"provider_id": "ok/ta", "tenant_id": "t1", "display_name": "No", "is_enabled": false, "config": data{"client_id": "no", "issuer": "https://i.example", "domains": nil, "attribute_mapping": data{}},
			"changed_fields": []string{"is_enabled", "config.issuer", "domains", "config.attribute_mapping.mail"},
		}),
		changes: []string{
			`sso_provider t1/ok%2Fta is_enabled true → false`, `sso_provider t1/ok%2Fta issuer null → "https://i.example"`,
			`sso_provider t1/ok%2Fta domains ["a.example"] → []`, `sso_provider t1/ok%2Fta attribute_mapping {"mail":"email"} → {}`,
		},
	},
	{
		name: "sso.provider_removed of another tenant's", before: []said{okta},
		then: about(2, event.TypeSSOProviderRemoved, "t2", data{"provider_id": "ok/ta", "tenant_id": "t2"}),
	},
}

// The global form says nothing of an owner, even if the message is filed under
// a tenant.
func TestGlobalApplicationsOnPubSubHaveNoOwner(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ev, err := event.DecodePubSub([]byte(`{"id":"e1","source":"authvital","event_type":"application.created","event_source":"system_webhook",
			"timestamp":"2026-03-01T08:00:00Z","tenant_id":"t1","application_id":"a1","data":{"application_id":"a1","tenant_id":null,"name":"Ledger"}}`))
		if err != nil {
			t.Fatal(err)
		}
		b.apply(t, ev)
		expectChanges(t, ev, `application a1 exists false → true`, `application a1 name null → "Ledger"`, `application a1 is_active null → true`)
	})
}
