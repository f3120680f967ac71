package mirror_test

import (
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// bought is a subscription of t1 to an application.
func bought(second int, id, app, plan, status string) said {
	return told(second, event.TypeTenantAppGranted, data{
		"tenant_id": "t1", "application_id": app, "subscription_id": id, "license_type_id": "lt_" + plan, "license_type_name": plan,
		"quantity_purchased": 5, "status": status,
	})
}

func newSubscription(id, app, plan, status string) []string {
	of := `subscription ` + id
	return []string{
		of + ` exists false → true`, of + ` organization_id null → "t1"`, of + ` application_id null → "` + app + `"`,
		of + ` license_type_id null → "lt_` + plan + `"`, of + ` license_type_name null → "` + plan + `"`,
		of + ` quantity null → 5`, of + ` status null → "` + status + `"`,
	}
}

var subscriptionCases = []effectCase{
	{
		name: "tenant.app.granted without a person is a subscription", before: []said{tenant}, then: bought(2, "s1", "a1", "Crew", "ACTIVE"),
		changes: newSubscription("s1", "a1", "Crew", "ACTIVE"),
	},
	{
		name: "a subscription in the envelope of a webhook", then: about(2, event.TypeTenantAppGranted, "t1", data{"subscription_id": "s1"}).in("a1"),
		changes: []string{
			`subscription s1 exists false → true`, `subscription s1 organization_id null → "t1"`,
			`subscription s1 application_id null → "a1"`, `subscription s1 quantity null → 0`,
		},
	},
	{
		name: "a subscription changes", before: []said{bought(1, "s1", "a1", "Crew", "ACTIVE")},
		then: told(2, event.TypeTenantAppGranted, data{
			"tenant_id": "t1", "application_id": "a1", "subscription_id": "s1", "license_type_id": "lt_Lead", "license_type_name": "Lead",
			"quantity_purchased": 25, "status": "PAST_DUE",
		}),
		changes: []string{
			`subscription s1 license_type_id "lt_Crew" → "lt_Lead"`, `subscription s1 license_type_name "Crew" → "Lead"`,
			`subscription s1 quantity 5 → 25`, `subscription s1 status "ACTIVE" → "PAST_DUE"`,
		},
	},
	{
		name: "a subscription that is canceled keeps its row", before: []said{bought(1, "s1", "a1", "Crew", "ACTIVE")}, then: bought(2, "s1", "a1", "Crew", "CANCELED"),
		changes: []string{`subscription s1 status "ACTIVE" → "CANCELED"`},
	},
	{
		name: "a subscription that comes late loses", before: []said{bought(5, "s1", "a1", "Lead", "ACTIVE")}, then: bought(2, "s1", "a1", "Crew", "TRIAL"), superseded: true,
	},
	{
		name: "a subscription needs an id", then: told(2, event.TypeTenantAppGranted, data{"tenant_id": "t1", "application_id": "a1"}), failed: "field subscription_id",
	},
	{
		name: "a quantity that is no whole number is poison",
		then: told(2, event.TypeTenantAppGranted, data{"tenant_id": "t1", "application_id": "a1", "subscription_id": "s1", "quantity_purchased": 1.5}), failed: "field quantity_purchased",
	},
}

// bare is a tenant of which no plan is told.
var bare = told(1, event.TypeTenantCreated, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord"})

func planFrom(places ...string) mirror.Options {
	return mirror.Options{PlanFrom: places, PlanApplication: "a1"}
}

var planCases = []effectCase{
	{
		name: "an active subscription tells the plan where nothing else does", opts: planFrom(), before: []said{bare}, then: bought(2, "s1", "a1", "Crew", "active"),
		changes: append(newSubscription("s1", "a1", "Crew", "active"), `organization t1 plan "free" → "Crew"`),
	},
	{
		name: "subscriptions to other applications tell no plan", opts: defaultPlan, before: []said{bare}, then: bought(2, "s1", "a2", "Crew", "ACTIVE"),
		changes: newSubscription("s1", "a2", "Crew", "ACTIVE"),
	},
	{
		name: "without a configured application no subscription tells a plan", opts: mirror.Options{PlanFrom: []string{mirror.PlanFromSubscription}}, before: []said{bare},
		then: bought(2, "s1", "a1", "Crew", "ACTIVE"), changes: newSubscription("s1", "a1", "Crew", "ACTIVE"),
	},
	{
		name: "a subscription on trial tells no plan", opts: defaultPlan, before: []said{bare}, then: bought(2, "s1", "a1", "Crew", "TRIAL"),
		changes: newSubscription("s1", "a1", "Crew", "TRIAL"),
	},
	{
		name: "a license type without a name tells its id", opts: defaultPlan, before: []said{bare},
		then: told(2, event.TypeTenantAppGranted, data{"tenant_id": "t1", "application_id": "a1", "subscription_id": "s1", "license_type_id": "lt1", "status": "ACTIVE"}),
		changes: []string{
			`subscription s1 exists false → true`, `subscription s1 organization_id null → "t1"`, `subscription s1 application_id null → "a1"`,
			`subscription s1 license_type_id null → "lt1"`, `subscription s1 quantity null → 0`, `subscription s1 status null → "ACTIVE"`,
			`organization t1 plan "free" → "lt1"`,
		},
	},
	{
		name: "data.plan goes before a subscription", opts: defaultPlan, before: []said{tenant}, then: bought(2, "s1", "a1", "Crew", "ACTIVE"),
		changes: newSubscription("s1", "a1", "Crew", "ACTIVE"),
	},
	{
		name: "a plan of nothing falls back to the subscription", opts: defaultPlan, before: []said{tenant, bought(2, "s1", "a1", "Crew", "ACTIVE")},
		then:    about(3, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": nil, "changed_fields": []string{"plan"}}),
		changes: []string{`organization t1 plan "pro" → "Crew"`},
	},
	{
		name: "a subscription goes before data.plan when the order says so", opts: planFrom(mirror.PlanFromSubscription, mirror.PlanFromData), before: []said{tenant},
		then:    bought(2, "s1", "a1", "Crew", "ACTIVE"),
		changes: append(newSubscription("s1", "a1", "Crew", "ACTIVE"), `organization t1 plan "pro" → "Crew"`),
	},
	{
		name: "a canceled subscription falls back to the next place", opts: planFrom(mirror.PlanFromSubscription, mirror.PlanFromData),
		before: []said{tenant, bought(2, "s1", "a1", "Crew", "ACTIVE")}, then: bought(3, "s1", "a1", "Crew", "CANCELED"),
		changes: []string{`subscription s1 status "ACTIVE" → "CANCELED"`, `organization t1 plan "Crew" → "pro"`},
	},
	{
		name: "a canceled subscription falls back to the one that was told before it", opts: defaultPlan,
		before: []said{bare, bought(2, "s1", "a1", "Crew", "ACTIVE"), bought(3, "s2", "a1", "Lead", "ACTIVE")}, then: bought(4, "s2", "a1", "Lead", "CANCELED"),
		changes: []string{`subscription s2 status "ACTIVE" → "CANCELED"`, `organization t1 plan "Lead" → "Crew"`},
	},
	{
		name: "the last canceled subscription leaves the free plan", opts: defaultPlan, before: []said{bare, bought(2, "s1", "a1", "Crew", "ACTIVE")},
		then:    bought(3, "s1", "a1", "Crew", "CANCELED"),
		changes: []string{`subscription s1 status "ACTIVE" → "CANCELED"`, `organization t1 plan "Crew" → "free"`},
	},
	{
		name: "a subscription counts before its tenant is known", opts: defaultPlan, before: []said{bought(1, "s1", "a1", "Crew", "ACTIVE")},
		then: told(2, event.TypeTenantCreated, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord"}),
		changes: []string{
			`organization t1 exists false → true`, `organization t1 name null → "Fjord"`, `organization t1 slug null → "fjord"`,
			`organization t1 plan null → "Crew"`, `organization t1 status null → "active"`,
		},
	},
	{
		name: "a tenant that is made again has nothing of its old subscriptions", opts: defaultPlan,
		before: []said{bare, bought(2, "s1", "a1", "Crew", "ACTIVE"), told(3, event.TypeTenantDeleted, data{"tenant_id": "t1"})},
		then:   told(4, event.TypeTenantCreated, data{"tenant_id": "t1", "name": "Fjord"}),
		changes: []string{
			`organization t1 exists false → true`, `organization t1 name null → "Fjord"`, `organization t1 slug null → ""`,
			`organization t1 plan null → "free"`, `organization t1 status null → "active"`,
		},
	},
	{
		name: "settings.plan goes before data.plan when the order says so", opts: planFrom(mirror.PlanFromSettings, mirror.PlanFromData), before: []said{tenant},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": "starter", "settings": data{"plan": "enterprise"}, "changed_fields": []string{"plan", "settings.plan"}}),
		changes: []string{`organization t1 plan "pro" → "enterprise"`, `organization t1 settings.plan null → "enterprise"`},
	},
	{
		name: "a place that is not asked tells nothing", opts: planFrom(mirror.PlanFromSettings), before: []said{bare},
		then: about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": "starter", "changed_fields": []string{"plan"}}),
	},
	{
		name: "an event that tells a plan in one place ends what the other said before", opts: planFrom(mirror.PlanFromSettings, mirror.PlanFromData),
		before:  []said{told(1, event.TypeTenantCreated, data{"tenant_id": "t1", "settings": data{"plan": "enterprise"}})},
		then:    about(2, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "plan": "starter", "changed_fields": []string{"plan"}}),
		changes: []string{`organization t1 plan "enterprise" → "starter"`},
	},
	{
		name: "settings without a plan never take one away", before: []said{told(1, event.TypeTenantCreated, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord", "settings": data{"plan": "starter"}})},
		then:    told(2, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord", "settings": data{"theme": "dark"}}),
		changes: []string{`organization t1 settings.plan "starter" → null`, `organization t1 settings.theme null → "dark"`},
	},
	{
		name: "settings without a plan hide no subscription", opts: defaultPlan, before: []said{bare, bought(2, "s1", "a1", "Crew", "ACTIVE")},
		then:    told(3, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Fjord", "slug": "fjord", "settings": data{"theme": "dark"}}),
		changes: []string{`organization t1 settings.theme null → "dark"`},
	},
}

// defaultPlan asks all places, in the order that holds without a configuration.
var defaultPlan = mirror.Options{PlanApplication: "a1"}

var marking = mirror.Options{MarkDeleted: true}

var markCases = []effectCase{
	{
		name: "a deleted tenant keeps its row if that is wanted, its children do not", opts: marking, before: []said{tenant, ownApp, suspended},
		then:    told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"}),
		changes: []string{`organization t1 status "suspended" → "deleted"`, `application a1 exists true → false`},
	},
	{
		name: "a tenant that is unknown when it is deleted has no row to mark", opts: marking,
		then: told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"}),
	},
	{
		name: "a deleted tenant that is made again has nothing of its past", opts: marking,
		before: []said{tenant, suspended, told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})},
		then:   told(5, event.TypeTenantCreated, data{"tenant_id": "t1", "name": "Dal"}),
		changes: []string{
			`organization t1 status "deleted" → "active"`, `organization t1 name "Fjord" → "Dal"`, `organization t1 slug "fjord" → ""`,
			`organization t1 plan "pro" → "free"`, `organization t1 suspended_at "2026-03-01T09:00:00.000000Z" → null`,
			`organization t1 suspended_by_sub "root" → null`, `organization t1 suspended_reason "unpaid" → null`,
			`organization t1 settings.allow_signups true → null`, `organization t1 settings.require_mfa false → null`, `organization t1 settings.theme "dark" → null`,
		},
	},
	{
		name: "what was said before the deletion still shows in the row that is kept", opts: marking,
		before:  []said{tenant, told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})},
		then:    about(3, event.TypeTenantUpdated, "t1", data{"tenant_id": "t1", "name": "Dal", "changed_fields": []string{"name"}}),
		changes: []string{`organization t1 name "Fjord" → "Dal"`},
	},
	{
		name: "a tenant that is heard of only after its deletion is marked", opts: marking,
		before: []said{told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})}, then: bare,
		changes: []string{
			`organization t1 exists false → true`, `organization t1 name null → "Fjord"`, `organization t1 slug null → "fjord"`,
			`organization t1 plan null → "free"`, `organization t1 status null → "deleted"`,
		},
	},
	{
		name: "no update from before the deletion makes a marked tenant active", opts: marking,
		before: []said{tenant, told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})},
		then:   told(3, event.TypeTenantUpdated, data{"tenant_id": "t1", "status": "active", "changed_fields": []string{"status", "name.x"}}), superseded: true,
	},
	{
		name: "a second deletion of a marked tenant is not overruled", opts: marking,
		before: []said{tenant, told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})}, then: told(6, event.TypeTenantDeleted, data{"tenant_id": "t1"}),
	},
	{
		name: "a child of a marked tenant comes too late", opts: marking,
		before: []said{tenant, told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})}, then: seat, superseded: true,
	},
	{
		name: "the same deletion again changes nothing", opts: marking,
		before: []said{tenant, told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"})}, then: told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"}),
	},
}

var cascadeCases = []effectCase{
	{
		name: "tenant.deleted takes along all that belongs to it", before: []said{bare, member, grant, seat, invite, bought(1, "s1", "a1", "Crew", "ACTIVE"), okta},
		then: told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"}),
		changes: []string{
			`organization t1 exists true → false`, `organization t1 name "Fjord" → null`, `organization t1 slug "fjord" → null`,
			`organization t1 plan "free" → null`, `organization t1 status "active" → null`,
			`membership m exists true → false`, `app_access p1/a1/t1 exists true → false`, `license l exists true → false`,
			`invitation i exists true → false`, `subscription s1 exists true → false`, `sso_provider t1/ok%2Fta exists true → false`,
		},
	},
	{
		name:   "tenant.deleted leaves other tenants' alone",
		before: []said{about(1, event.TypeMemberSuspended, "t2", data{"membership_id": "m", "sub": "p1"}), about(1, event.TypeInviteCreated, "", data{"invite_id": "i"})},
		then:   told(4, event.TypeTenantDeleted, data{"tenant_id": "t1"}),
	},
	{
		name: "subject.deleted takes along memberships, access and licenses, and no invitation", before: []said{person, member, grant, seat, invite},
		then: about(4, event.TypeSubjectDeleted, "", data{"sub": "p1"}),
		changes: []string{
			`identity p1 exists true → false`, `identity p1 email "ines@a.example" → null`, `identity p1 given_name "Ines" → null`,
			`identity p1 tenant_id "t1" → null`, `identity p1 app_role "editor" → null`, `identity p1 groups ["crew"] → null`,
			`identity p1 is_active true → null`, `identity p1 has_app_access true → null`,
			`membership m exists true → false`, `app_access p1/a1/t1 exists true → false`, `license l exists true → false`,
		},
	},
	{
		name: "what was told of a person after the deletion stays", before: []said{seat, about(6, event.TypeLicenseChanged, "t1", data{"assignment_id": "l", "sub": "p1", "license_type_name": "Lead"})},
		then:    about(4, event.TypeSubjectDeleted, "", data{"sub": "p1"}),
		changes: []string{`license l license_type_id "lt1" → null`, `license l application_id "a1" → null`},
	},
}
