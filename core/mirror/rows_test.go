package mirror_test

import (
	"context"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/organization"
)

// What the models of package ent read back is what was sent, whatever the
// database makes of JSON, booleans and times.
func TestRowsReadBackThroughTheModels(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.say(t,
			about(1, event.TypeTenantCreated, "t1", data{
				"tenant_id": "t1", "name": "Fjord \"Cargo\"\n", "slug": "fjord", "plan": "pro", "created_at": "2026-02-01T10:00:00.123456+02:00",
				"settings": data{
					"allow_signups": false, "require_mfa": true, "allowed_email_domains": []string{"a.example", "æ.example"},
					"session_lifetime_minutes": 30.0, "password_policy": data{"min": 12}, "free": []any{1.50, "<&>", nil},
				},
			}),
			suspended, ownApp, okta, person,
		)
		db := b.Ent(ctx)
		org, err := db.Organization.Get(ctx, "t1")
		if err != nil {
			t.Fatal(err)
		}
		if org.Name != "Fjord \"Cargo\"\n" || org.Plan != "pro" || org.Status != "suspended" || *org.AllowSignups || !*org.RequireMfa ||
			*org.SessionLifetimeMinutes != 30 || len(org.AllowedEmailDomains) != 2 || org.AllowedEmailDomains[1] != "æ.example" {
			t.Errorf("organization = %v", org)
		}
		if want := time.Date(2026, 2, 1, 8, 0, 0, 123456000, time.UTC); !org.CreatedAt.Equal(want) {
			t.Errorf("created_at = %v, want %v", org.CreatedAt, want)
		}
		if want := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC); org.SuspendedAt == nil || !org.SuspendedAt.Equal(want) {
			t.Errorf("suspended_at = %v, want %v", org.SuspendedAt, want)
		}
		if want := start.Add(2 * time.Second); !org.UpdatedAt.Equal(want) {
			t.Errorf("updated_at = %v, want %v", org.UpdatedAt, want)
		}
		for key, want := range map[string]string{
			"free": `[1.5,"<&>",null]`, "password_policy": `{"min":12}`, "require_mfa": "true", "session_lifetime_minutes": "30",
		} {
			if got := compacted(org.Settings[key]); got != want {
				t.Errorf("settings.%s = %s, want %s", key, got, want)
			}
		}
		if got := compacted(org.PasswordPolicy); got != `{"min":12}` {
			t.Errorf("password_policy = %s", got)
		}

		// Edges work as soon as both ends are there.
		with, err := db.Organization.Query().Where(organization.ID("t1")).WithApplications().WithSSOProviders().Only(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(with.Edges.Applications) != 1 || len(with.Edges.SSOProviders) != 1 {
			t.Fatalf("edges = %+v", with.Edges)
		}
		app, sso := with.Edges.Applications[0], with.Edges.SSOProviders[0]
		if app.ID != "a1" || app.RedirectUris[0] != "https://a.example/cb" || *app.AccessTokenTTLSeconds != 60 || app.Licensing != nil || !app.IsActive {
			t.Errorf("application = %v", app)
		}
		if sso.ID != "t1/ok%2Fta" || sso.ProviderID != "ok/ta" || sso.Domains[0] != "a.example" || compacted(sso.AttributeMapping) != `{"mail":"email"}` {
			t.Errorf("login provider = %v", sso)
		}
		who, err := db.Identity.Get(ctx, "p1")
		if err != nil {
			t.Fatal(err)
		}
		if *who.Email != "ines@a.example" || *who.TenantID != "t1" || !who.IsActive || who.HasAppAccess || who.EmailVerified != nil || who.Groups[0] != "crew" {
			t.Errorf("identity = %v", who)
		}
	})
}

func TestTimesOfRows(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		at := func(second int) string { return start.Add(seconds(second)).Format(time.RFC3339Nano) }

		// Nobody told when the person was created: the first that was heard,
		// though that very field is overwritten since.
		b.say(t,
			about(5, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "a@a.example"}),
			about(7, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "b@a.example"}),
		)
		expect(t, b.row(t, "av_identities", "p1"), data{"created_at": at(5), "updated_at": at(7)})
		b.say(t, about(3, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "0@a.example"}))
		expect(t, b.row(t, "av_identities", "p1"), data{"created_at": at(3), "updated_at": at(7), "email": "b@a.example"})

		// After a deletion only what follows counts.
		b.say(t, about(8, event.TypeSubjectDeleted, "", data{"sub": "p1"}), about(9, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "c@a.example"}))
		expect(t, b.row(t, "av_identities", "p1"), data{"created_at": at(9), "updated_at": at(9)})

		// Upserts of a login provider carry no created_at.
		for second := range 3 {
			b.say(t, told(second, event.TypeSSOProviderAdded, data{"provider_id": "GOOGLE", "is_enabled": second == 1}))
		}
		expect(t, b.row(t, "av_sso_providers", "GOOGLE"), data{"created_at": at(0), "updated_at": at(2)})

		// The sender's word goes before what was heard.
		b.say(t, told(4, event.TypeApplicationCreated, data{"application_id": "a1", "created_at": "2025-01-02T03:04:05.6Z"}))
		expect(t, b.row(t, "av_applications", "a1"), data{"created_at": "2025-01-02T03:04:05.6Z", "updated_at": at(4)})
	})
}

func TestSyncedAtMovesWithTheRowAlone(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		synced := func() time.Time {
			who, err := b.Ent(ctx).Identity.Get(ctx, "p1")
			if err != nil {
				t.Fatal(err)
			}
			return who.SyncedAt
		}
		b.say(t, person)
		first := synced()
		if first.Unix() != b.clock.Load() {
			t.Fatalf("synced_at = %v, want the hub's time", first)
		}
		b.clock.Add(60)
		b.say(t,
			person, // again
			about(2, event.TypeMemberLeft, "t2", data{"membership_id": "m", "sub": "p1"}),     // is only remembered
			about(0, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "0@a.example"}), // too late
		)
		if now := synced(); !now.Equal(first) {
			t.Errorf("synced_at = %v after events that do not show, was %v", now, first)
		}
		b.say(t, about(3, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "1@a.example"}))
		if now := synced(); !now.Equal(first.Add(time.Minute)) {
			t.Errorf("synced_at = %v after a change, was %v", now, first)
		}
		// What was only remembered matters later.
		b.say(t, about(1, event.TypeMemberJoined, "t2", data{"membership_id": "m", "sub": "p1"}).as("eZ"))
		if got := b.row(t, "av_identities", "p1")["tenant_id"]; got != nil {
			t.Errorf("tenant_id = %v of a tenant that was left later, want none", got)
		}
	})
}

func TestSessionsGoWithThePerson(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		login := func(subs ...string) {
			for _, sub := range subs {
				if err := b.Ent(ctx).IdentitySession.Create().SetIdentityID(sub).Exec(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		whose := func() (subs []string) {
			all, err := b.Ent(ctx).IdentitySession.Query().Order(ent.Asc("identity_id")).All(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				subs = append(subs, s.IdentityID)
			}
			return subs
		}
		b.say(t, person, about(9, event.TypeSubjectCreated, "", data{"sub": "p2"}))
		login("p1", "p1", "p2", "p3")
		b.say(t,
			about(3, event.TypeSubjectDeleted, "", data{"sub": "p1"}),
			about(3, event.TypeSubjectDeleted, "", data{"sub": "p2"}), // overtaken by the creation
			about(3, event.TypeSubjectDeleted, "", data{"sub": "p3"}), // never heard of
		)
		if got := whose(); len(got) != 1 || got[0] != "p2" {
			t.Fatalf("sessions of %v are left, want p2's", got)
		}
		// Gone and back within one batch: a new person, who has not logged in.
		b.apply(t,
			about(11, event.TypeSubjectDeleted, "", data{"sub": "p2"}).event(t),
			about(12, event.TypeSubjectCreated, "", data{"sub": "p2"}).event(t),
		)
		if got := whose(); len(got) != 0 {
			t.Fatalf("sessions of %v are left, want none", got)
		}
	})
}
