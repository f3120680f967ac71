package mirror_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/sdk/plugin"
)

func TestOrganizationsComeWithWhatBelongsToThem(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		join := func(id, sub, tenant string) said {
			return about(2, event.TypeMemberActivated, tenant, data{"membership_id": id, "sub": sub})
		}
		license := func(id, app, kind, name string) said {
			return about(2, event.TypeLicenseAssigned, "t1", data{"assignment_id": id, "sub": "p1", "license_type_id": kind, "license_type_name": name}).in(app)
		}
		b.say(t, tenant,
			about(1, event.TypeTenantCreated, "t2", data{"tenant_id": "t2", "name": "Dal"}),
			about(1, event.TypeSubjectCreated, "t1", data{"sub": "p1", "subject_type": "user"}),
			about(1, event.TypeSubjectCreated, "t1", data{"sub": "p2", "subject_type": "service_account"}),
			about(1, event.TypeSubjectCreated, "t1", data{"sub": "p3", "subject_type": ""}),
			join("m1", "p1", "t1"), join("m2", "p2", "t1"), join("m3", "p3", "t1"), join("m4", "nobody", "t1"), join("m5", "p1", "t2"),
			join("m6", "gone", "t1"), about(3, event.TypeMemberLeft, "t1", data{"membership_id": "m6", "sub": "gone"}),
			join("m7", "late", "t1"), about(3, event.TypeMemberSuspended, "t1", data{"membership_id": "m7", "sub": "late"}),
			license("l1", "a1", "lt1", "Crew"), license("l2", "a1", "lt1", "Deck crew"), license("l3", "a1", "lt2", "Lead"), license("l4", "a2", "lt1", "Crew"),
			license("l5", "a1", "lt1", "Crew"), about(3, event.TypeLicenseRevoked, "t1", data{"assignment_id": "l5", "sub": "p1"}).in("a1"),
			bought(2, "s2", "a1", "Lead", "active"), bought(2, "s1", "a1", "Crew", "ACTIVE"), bought(2, "s3", "a2", "Crew", "CANCELED"),
		)
		one, two := mirror.Ref{Kind: event.KindOrganization, ID: "t1"}, mirror.Ref{Kind: event.KindOrganization, ID: "t2"}
		who := mirror.Ref{Kind: event.KindIdentity, ID: "p1"}
		found, err := b.Entities(context.Background(), []mirror.Ref{one, two, who})
		if err != nil {
			t.Fatal(err)
		}
		before := string(found[who])
		if err := b.Count(context.Background(), found); err != nil {
			t.Fatal(err)
		}
		if len(found) != 3 || string(found[who]) != before {
			t.Errorf("others than organizations are not what they were: %s", found)
		}
		var orgs [2]plugin.Organization
		for i, ref := range []mirror.Ref{one, two} {
			if err := json.Unmarshal(found[ref], &orgs[i]); err != nil {
				t.Fatalf("%s: %v", found[ref], err)
			}
		}
		if orgs[0].Name != "Fjord" || orgs[1].Name != "Dal" {
			t.Errorf("names are %q and %q", orgs[0].Name, orgs[1].Name)
		}
		for what, pair := range map[string][2]string{
			"subscriptions": {fmt.Sprint(orgs[0].Subscriptions), `[{s1 a1 lt_Crew Crew 5 ACTIVE} {s2 a1 lt_Lead Lead 5 active}]`},
			"licenses":      {fmt.Sprint(orgs[0].Licenses), `[{a1 lt1 Deck crew 2} {a1 lt2 Lead 1} {a2 lt1 Crew 1}]`},
			"members":       {fmt.Sprint(orgs[0].Members), `map[service_account:1 user:3]`},
			"of the other":  {fmt.Sprint(orgs[1].Subscriptions, orgs[1].Licenses, orgs[1].Members), `[] [] map[user:1]`},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s are %s, want %s", what, pair[0], pair[1])
			}
		}
		if orgs[1].Subscriptions == nil || orgs[1].Licenses == nil {
			t.Error("none were found, which is not the same as not asked for")
		}
	})
}
