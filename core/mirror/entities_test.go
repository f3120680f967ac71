package mirror_test

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/sdk/plugin"
)

func TestEntitiesAreWhatConnectorsRead(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		b.say(t, person, tenant, suspended, ownApp, okta, member, grant, seat, invite, bought(1, "s1", "a1", "Crew", "ACTIVE"))
		refs := []mirror.Ref{
			{Kind: event.KindIdentity, ID: "p1"}, {Kind: event.KindOrganization, ID: "t1"},
			{Kind: event.KindApplication, ID: "a1"}, {Kind: event.KindSSOProvider, ID: "t1/ok%2Fta"},
			{Kind: event.KindMembership, ID: "m"}, {Kind: event.KindAppAccess, ID: "p1/a1/t1"}, {Kind: event.KindLicense, ID: "l"},
			{Kind: event.KindSubscription, ID: "s1"}, {Kind: event.KindInvitation, ID: "i"},
		}
		absent := []mirror.Ref{{Kind: event.KindIdentity, ID: "nobody"}, {Kind: event.KindInvitation, ID: "j"}, {Kind: "", ID: ""}}
		got, err := b.Entities(context.Background(), append(append(absent, refs...), refs...))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(refs) {
			t.Fatalf("%d entities, want %d: %s", len(got), len(refs), got)
		}
		for i, v := range []any{&plugin.Identity{}, &plugin.Organization{}, &plugin.Application{}, &plugin.SSOProvider{},
			&plugin.Membership{}, &plugin.AppAccess{}, &plugin.License{}, &plugin.Subscription{}, &plugin.Invitation{},
		} {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(got[refs[i]], &object); err != nil {
				t.Fatal(err)
			}
			var tags []string
			for f := range reflect.TypeOf(v).Elem().Fields() {
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if !slices.Contains(counted, tag) {
					tags = append(tags, tag)
				}
			}
			slices.Sort(tags)
			if names := slices.Sorted(maps.Keys(object)); !slices.Equal(names, tags) {
				t.Errorf("%s has\n%v, connectors read\n%v", refs[i].Kind, names, tags)
			}
			if err := json.Unmarshal(got[refs[i]], v); err != nil {
				t.Errorf("%s: %v", refs[i].Kind, err)
			}
			switch v := v.(type) {
			case *plugin.Identity:
				if v.Sub != "p1" || v.Email != "ines@a.example" || !v.IsActive || !v.HasAppAccess || v.EmailVerified != nil ||
					!slices.Equal(v.Groups, []string{"crew"}) || v.CreatedAt != start.Add(time.Second) {
					t.Errorf("identity = %+v", v)
				}
			case *plugin.Organization:
				if v.TenantID != "t1" || v.Plan != "pro" || v.Status != "suspended" || *v.RequireMFA || string(v.Settings["theme"]) != `"dark"` ||
					!v.SuspendedAt.Equal(start.Add(time.Hour)) || v.SessionLifetimeMinutes != nil || v.UpdatedAt != start.Add(2*time.Second) {
					t.Errorf("organization = %+v", v)
				}
			case *plugin.Application:
				if v.ApplicationID != "a1" || v.OrganizationID != "t1" || *v.AccessTokenTTLSeconds != 60 || !*v.IsActive {
					t.Errorf("application = %+v", v)
				}
			case *plugin.SSOProvider:
				if v.ID != "t1/ok%2Fta" || v.ProviderID != "ok/ta" || compacted(v.AttributeMapping) != `{"mail":"email"}` {
					t.Errorf("login provider = %+v", v)
				}
			case *plugin.Membership:
				if v.MembershipID != "m" || v.IdentityID != "p1" || v.OrganizationID != "t1" || !slices.Equal(v.Roles, []string{"owner"}) || v.Status != "active" {
					t.Errorf("membership = %+v", v)
				}
			case *plugin.AppAccess:
				if v.IdentityID != "p1" || v.ApplicationID != "a1" || v.OrganizationID != "t1" || v.RoleSlug != "editor" || !v.HasAccess || v.AccessType != "" {
					t.Errorf("access = %+v", v)
				}
			case *plugin.License:
				if v.AssignmentID != "l" || v.IdentityID != "p1" || v.ApplicationID != "a1" || v.LicenseTypeName != "Crew" || v.Status != "active" {
					t.Errorf("license = %+v", v)
				}
			case *plugin.Subscription:
				if v.SubscriptionID != "s1" || v.OrganizationID != "t1" || v.Quantity != 5 || v.Status != "ACTIVE" {
					t.Errorf("subscription = %+v", v)
				}
			case *plugin.Invitation:
				if v.InviteID != "i" || v.Email != "new@a.example" || v.Status != "pending" || !v.ExpiresAt.Equal(time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)) {
					t.Errorf("invitation = %+v", v)
				}
			}
		}
		if raw := string(got[refs[1]]); !strings.Contains(raw, `"suspended_at":"2026-03-01T09:00:00.000000Z"`) || !strings.Contains(raw, `"session_lifetime_minutes":null`) {
			t.Errorf("times are in microseconds and unknowns null, got %s", raw)
		}
	})
}

func TestRefsNameTheSubjectTheTenantAndTheApplication(t *testing.T) {
	t.Parallel()
	m := mirror.New(nil, mirror.Options{})
	for _, c := range []struct {
		of   said
		want []mirror.Ref
	}{
		{person, []mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "organization", ID: "t1"}}},
		{about(1, event.TypeSubjectUpdated, "", data{"sub": "a:b/c"}), []mirror.Ref{{Kind: "identity", ID: "a:b/c"}}},
		{tenant, []mirror.Ref{{Kind: "organization", ID: "t1"}}},
		{told(1, event.TypeApplicationUpdated, data{"application_id": "a1", "tenant_id": nil}), []mirror.Ref{{Kind: "application", ID: "a1"}}},
		{okta, []mirror.Ref{{Kind: "sso_provider", ID: "t1/ok%2Fta"}, {Kind: "organization", ID: "t1"}}},
		{told(1, event.TypeSSOProviderAdded, data{"provider_id": "a/b"}), []mirror.Ref{{Kind: "sso_provider", ID: "a%2Fb"}}},
		{about(1, event.TypeInviteCreated, "t1", data{"invite_id": "i"}), []mirror.Ref{{Kind: "invitation", ID: "i"}, {Kind: "organization", ID: "t1"}}},
		{about(1, "tenant.painted", "", data{}), nil},
		{
			said{typ: event.TypeAppAccessRevoked, id: "e", at: seconds(1), tenant: "t1", app: "a1", data: data{"sub": "p1", "membership_id": "m"}},
			[]mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "app_access", ID: "p1/a1/t1"}, {Kind: "organization", ID: "t1"}, {Kind: "application", ID: "a1"}},
		},
		{member, []mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "membership", ID: "m"}, {Kind: "organization", ID: "t1"}}},
		{about(1, event.TypeMemberLeft, "t1", data{"sub": "p1"}), []mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "organization", ID: "t1"}}},
		{about(1, "member.painted", "t1", data{"sub": "p1", "membership_id": "m"}), []mirror.Ref{{Kind: "organization", ID: "t1"}}},
		{seat, []mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "license", ID: "l"}, {Kind: "organization", ID: "t1"}, {Kind: "application", ID: "a1"}}},
		{bought(1, "s1", "a1", "Crew", "ACTIVE"), []mirror.Ref{{Kind: "organization", ID: "t1"}, {Kind: "subscription", ID: "s1"}, {Kind: "application", ID: "a1"}}},
		{
			told(1, event.TypeTenantAppGranted, data{"tenant_id": "t1", "application_id": "a1", "user_id": "p1"}),
			[]mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "app_access", ID: "p1/a1/t1"}, {Kind: "organization", ID: "t1"}, {Kind: "application", ID: "a1"}},
		},
		{
			about(1, event.TypeTenantAppRevoked, "t1", data{"user_id": "p1"}).in("a1"),
			[]mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "app_access", ID: "p1/a1/t1"}, {Kind: "organization", ID: "t1"}, {Kind: "application", ID: "a1"}},
		},
		{about(1, event.TypeTenantAppRevoked, "t1", data{"user_id": "p1"}), []mirror.Ref{{Kind: "identity", ID: "p1"}, {Kind: "organization", ID: "t1"}}},
		{about(1, event.TypeLicenseRevoked, "t1", data{"assignment_id": 7}), []mirror.Ref{{Kind: "organization", ID: "t1"}}},
	} {
		if got := m.Refs(c.of.event(t)); !slices.Equal(got, c.want) {
			t.Errorf("refs of %s = %v, want %v", c.of.typ, got, c.want)
		}
	}
}

// counted are the members of an organization that only connectors get that ask.
var counted = []string{"subscriptions", "licenses", "members"}

// Every row that an event changes is among those that go out with it.
func TestRefsFindTheRowsOfTheirEvents(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		for _, s := range []said{
			person, tenant, ownApp, okta, told(1, event.TypeSSOProviderAdded, data{"provider_id": "a/b"}), member, grant, seat, invite,
			bought(1, "s1", "a1", "Crew", "ACTIVE"), told(3, event.TypeTenantAppGranted, data{"tenant_id": "t 1", "application_id": "a/1", "user_id": "p:1"}),
		} {
			ev := b.say(t, s)
			refs := b.Refs(ev)
			found, err := b.Entities(context.Background(), refs)
			if err != nil {
				t.Fatal(err)
			}
			if len(ev.Changes) == 0 {
				t.Errorf("%s changed nothing", ev.Type)
			}
			for _, c := range ev.Changes {
				ref := mirror.Ref{Kind: c.Entity, ID: c.ID}
				if !slices.Contains(refs, ref) || len(found[ref]) == 0 {
					t.Errorf("%s changed %v, and its refs are %v", ev.Type, ref, refs)
				}
			}
		}
	})
}
