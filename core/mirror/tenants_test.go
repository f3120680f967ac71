package mirror_test

import "github.com/avhub/avhub/core/event"

var tenantCases = []effectCase{
	{
		name: "tenant.created of the first form",
		then: told(2, event.TypeTenantCreated, data{"tenant_id": "t2", "name": "Dal", "slug": "dal", "owner_email": "o@a.example", "created_by_sub": "p1", "settings": data{"color": data{"b": 2, "a": 1}, "plan": "starter"}}),
		changes: []string{
			`organization t2 exists false → true`, `organization t2 name null → "Dal"`, `organization t2 slug null → "dal"`,
			`organization t2 plan null → "starter"`, `organization t2 owner_email null → "o@a.example"`, `organization t2 created_by_sub null → "p1"`,
			`organization t2 status null → "active"`, `organization t2 settings.color null → {"a":1,"b":2}`, `organization t2 settings.plan null → "starter"`,
		},
	},
	{
		name: "tenant.updated of the first form applies name, slug and settings whatever it lists", before: []said{tenant},
		then: told(2, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Dal", "slug": "fjord", "settings": data{"require_mfa": true}, "changed_fields": []string{"members"}}),
		changes: []string{
			`organization t1 name "Fjord" → "Dal"`, `organization t1 settings.require_mfa false → true`,
			`organization t1 settings.allow_signups true → null`, `organization t1 settings.theme "dark" → null`,
		},
	},
	{
		name: "tenant.updated of the second form applies the listed alone", before: []said{tenant},
		then: about(2, event.TypeTenantUpdated, "t1", data{
			"tenant_id": "t1", "name": "No", "slug": "no", "plan": "free", "settings": data{"require_mfa": true, "allow_signups": false},
			"changed_fields": []string{"plan", "settings.require_mfa"},
		}),
		changes: []string{`organization t1 plan "pro" → "free"`, `organization t1 settings.require_mfa false → true`},
	},
	{
		name: "a dotted name makes it the second form on any channel", before: []said{tenant},
		then:    told(2, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "No", "settings": data{"theme": "light"}, "changed_fields": []string{"settings.theme.deep.er"}}),
		changes: []string{`organization t1 settings.theme "dark" → "light"`},
	},
	{
		name: "a listed setting that was not sent stays", before: []said{tenant},
		then: about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "settings": data{}, "changed_fields": []string{"settings.theme", "slug"}}),
	},
	{
		name: "settings that are listed as a whole replace the whole", before: []said{tenant},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "settings": data{"theme": "light"}, "changed_fields": []string{"settings"}}),
		changes: []string{`organization t1 settings.theme "dark" → "light"`, `organization t1 settings.require_mfa false → null`, `organization t1 settings.allow_signups true → null`},
	},
	{
		name:    "older settings as a whole end only what is older",
		before:  []said{tenant, about(5, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "settings": data{"require_mfa": true}, "changed_fields": []string{"settings.require_mfa"}})},
		then:    told(2, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Fjord", "settings": data{"require_mfa": false, "theme": "red"}}),
		changes: []string{`organization t1 settings.theme "dark" → "red"`, `organization t1 settings.allow_signups true → null`},
	},
	{
		name: "members alone say nothing in the second form", before: []said{tenant},
		then: about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "name": "No", "plan": "free", "changed_fields": []string{"members"}}),
	},
	{
		name: "the plan may stand in the settings", before: []said{tenant},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "settings": data{"plan": "enterprise"}, "changed_fields": []string{"settings.plan"}}),
		changes: []string{`organization t1 plan "pro" → "enterprise"`, `organization t1 settings.plan null → "enterprise"`},
	},
	{
		name: "data.plan goes before settings.plan", before: []said{tenant},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": "free", "settings": data{"plan": "enterprise"}, "changed_fields": []string{"plan"}}),
		changes: []string{`organization t1 plan "pro" → "free"`},
	},
	{
		name: "a plan of nothing is the free one", before: []said{tenant},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": nil, "changed_fields": []string{"plan"}}),
		changes: []string{`organization t1 plan "pro" → "free"`},
	},
	{
		name: "an unlisted plan stays", before: []said{tenant},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": "free", "name": "Dal", "changed_fields": []string{"name"}}),
		changes: []string{`organization t1 name "Fjord" → "Dal"`},
	},
	{
		name: "tenant.suspended", before: []said{tenant}, then: suspended,
		changes: []string{
			`organization t1 status "active" → "suspended"`, `organization t1 suspended_at null → "2026-03-01T09:00:00.000000Z"`,
			`organization t1 suspended_by_sub null → "root"`, `organization t1 suspended_reason null → "unpaid"`,
		},
	},
	{
		name: "tenant.suspended again, without telling who and why", before: []said{tenant, suspended},
		then: told(4, event.TypeTenantSuspended, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord"}),
		changes: []string{
			`organization t1 suspended_at "2026-03-01T09:00:00.000000Z" → "2026-03-01T08:00:04.000000Z"`,
			`organization t1 suspended_by_sub "root" → null`, `organization t1 suspended_reason "unpaid" → null`,
		},
	},
	{
		name: "no update reactivates a tenant by the way", before: []said{tenant, suspended},
		then:    told(4, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Dal", "is_active": true, "status": "active", "changed_fields": []string{"name"}}),
		changes: []string{`organization t1 name "Fjord" → "Dal"`},
	},
	reactivation("status that is sent", data{"status": "ACTIVE", "changed_fields": []string{"status"}}),
	reactivation("is_active that is sent", data{"is_active": true, "changed_fields": []string{"is_active"}}),
	reactivation("the previous status", data{"previous_values": data{"status": "SUSPENDED"}, "changed_fields": []string{"status"}}),
	reactivation("the previous is_active", data{"previous_values": data{"is_active": false}, "changed_fields": []string{"is_active"}}),
	reactivation("nothing but the name of the field", data{"changed_fields": []string{"status"}}),
	{
		name: "a status that was active before is suspended now", before: []said{tenant},
		then:    told(4, event.TypeTenantUpdated, data{"tenant_id": "t1", "previous_values": data{"is_active": true}, "changed_fields": []string{"is_active"}}),
		changes: []string{`organization t1 status "active" → "suspended"`, `organization t1 suspended_at null → "2026-03-01T08:00:04.000000Z"`},
	},
	{
		name: "a status that nobody knows is poison", before: []said{tenant},
		then:   told(4, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Dal", "status": "paused", "changed_fields": []string{"status"}}),
		failed: "field status",
	},
	{
		name: "tenant.deleted takes its applications and login providers along", before: []said{tenant, ownApp, okta},
		then: told(4, event.TypeTenantDeleted, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord"}),
		changes: []string{
			`organization t1 exists true → false`, `organization t1 name "Fjord" → null`, `organization t1 slug "fjord" → null`,
			`organization t1 plan "pro" → null`, `organization t1 status "active" → null`, `organization t1 settings.require_mfa false → null`,
			`organization t1 settings.allow_signups true → null`, `organization t1 settings.theme "dark" → null`,
			`application a1 exists true → false`, `sso_provider t1/ok%2Fta exists true → false`,
		},
	},
	{
		name: "a child of a deleted tenant comes too late", before: []said{tenant, about(4, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"})},
		then: ownApp, superseded: true,
	},
	{
		name: "a child of a tenant that is yet unknown has its row",
		then: about(1, event.TypeSSOProviderAdded, "t9", data{"provider_id": "x"}),
		changes: []string{
			`sso_provider t9/x exists false → true`, `sso_provider t9/x provider_id null → "x"`,
			`sso_provider t9/x organization_id null → "t9"`, `sso_provider t9/x is_enabled null → true`,
		},
	},
	{
		name: "a child outlives its tenant's deletion with what is newer", before: []said{tenant, ownApp, about(6, event.TypeApplicationUpdated, "t1", data{"application_id": "a1", "tenant_id": "t1", "name": "Books", "changed_fields": []string{"name"}})},
		then: about(4, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}),
		changes: []string{
			`organization t1 exists true → false`, `organization t1 name "Fjord" → null`, `organization t1 slug "fjord" → null`,
			`organization t1 plan "pro" → null`, `organization t1 status "active" → null`, `organization t1 settings.require_mfa false → null`,
			`organization t1 settings.allow_signups true → null`, `organization t1 settings.theme "dark" → null`,
			`application a1 client_id "c1" → null`, `application a1 redirect_uris ["https://a.example/cb"] → null`, `application a1 access_token_ttl_seconds 60 → null`,
		},
	},
}

func reactivation(by string, d data) effectCase {
	d["tenant_id"] = "t1"
	return effectCase{
		name:   "a suspended tenant is active again by " + by,
		before: []said{tenant, suspended},
		then:   told(4, event.TypeTenantUpdated, d),
		changes: []string{
			`organization t1 status "suspended" → "active"`, `organization t1 suspended_at "2026-03-01T09:00:00.000000Z" → null`,
			`organization t1 suspended_by_sub "root" → null`, `organization t1 suspended_reason "unpaid" → null`,
		},
	}
}
