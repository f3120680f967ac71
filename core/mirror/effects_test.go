package mirror_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

type data = map[string]any

// about makes a webhook event at a second of the history. The id grows with the
// time, so that later events have greater clocks.
func about(second int, typ, tenant string, d data) said {
	return said{typ: typ, id: "e" + string(rune('A'+second)), at: seconds(second), tenant: tenant, data: d}
}

// told makes a system webhook event.
func told(second int, typ string, d data) said {
	return said{typ: typ, at: seconds(second), system: true, data: d}
}

var (
	person = about(1, event.TypeSubjectCreated, "t1", data{"sub": "p1", "email": "ines@a.example", "given_name": "Ines", "app_role": "member", "groups": []string{"crew"}})
	tenant = about(1, event.TypeTenantCreated, "t1", data{
		"tenant_id": "t1", "name": "Fjord", "slug": "fjord", "plan": "pro",
		"settings": data{"require_mfa": false, "allow_signups": true, "theme": "dark"},
	})
	suspended = about(2, event.TypeTenantSuspended, "t1", data{"tenant_id": "t1", "suspended_at": "2026-03-01T09:00:00Z", "suspended_by_sub": "root", "reason": "unpaid"})
	ownApp    = about(1, event.TypeApplicationCreated, "t1", data{
		"application_id": "a1", "tenant_id": "t1", "name": "Ledger", "client_id": "c1", "is_active": true,
		"config": data{"redirect_uris": []string{"https://a.example/cb"}, "access_token_ttl_seconds": 60},
	})
	okta = about(1, event.TypeSSOProviderAdded, "t1", data{
		"provider_id": "ok/ta", "tenant_id": "t1", "provider_type": "okta", "display_name": "Okta", "is_enabled": true,
		"config": data{"client_id": "c9", "domains": []string{"a.example"}, "attribute_mapping": data{"mail": "email"}},
	})
)

// effectCase says what came before and what exactly one more event changes.
type effectCase struct {
	name       string
	opts       mirror.Options
	before     []said
	then       said
	changes    []string
	superseded bool
	failed     string // part of the reason
}

func TestEachEventChangesExactlyThis(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		for _, c := range slices.Concat(peopleCases, membershipCases, accessCases, licenseCases, invitationCases,
			tenantCases, subscriptionCases, planCases, markCases, cascadeCases, clientCases, poisonCases) {
			b.empty(t)
			b := b
			b.Mirror = mirror.New(b.Store, c.opts)
			b.say(t, c.before...)
			ev := b.say(t, c.then)
			t.Run(c.name, func(t *testing.T) {
				if c.failed != "" {
					if !strings.Contains(ev.Failed, c.failed) || len(ev.Changes) > 0 || ev.Superseded {
						t.Errorf("failed %q with changes %v, superseded %v; want a failure with %q and nothing else", ev.Failed, changes(ev), ev.Superseded, c.failed)
					}
					return
				}
				expectChanges(t, ev, c.changes...)
				if ev.Superseded != c.superseded {
					t.Errorf("superseded = %v", ev.Superseded)
				}
			})
		}
	})
}

var poisonCases = []effectCase{
	{name: "a field of another type is poison", before: []said{person}, then: about(2, event.TypeSubjectUpdated, "t1", data{"sub": "p1", "email": 7}), failed: "field email"},
	{name: "a setting of another type is poison", before: []said{tenant}, then: told(2, event.TypeTenantUpdated, data{"tenant_id": "t1", "name": "Dal", "settings": data{"require_mfa": "yes"}}), failed: "field settings.require_mfa"},
	{name: "an id that is missing is poison", then: about(2, event.TypeApplicationCreated, "t1", data{"name": "Ledger"}), failed: "field application_id"},
	{
		name: "a key that no index can hold is poison",
		then: about(2, event.TypeSSOProviderAdded, strings.Repeat("å", 250), data{"provider_id": strings.Repeat("ø", 250)}), failed: "field provider_id",
	},
	{
		name: "text that no database can hold is poison",
		then: said{typ: event.TypeTenantCreated, id: "e", tenant: "t1", asTyped: `{"tenant_id":"t1","settings":{"theme":"\u0000"}}`}, failed: "field settings",
	},
}
