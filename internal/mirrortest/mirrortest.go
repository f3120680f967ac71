// Package mirrortest fills a mirror for tests of those who read it.
package mirrortest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
)

// At is when everything happened.
var At = time.Date(2026, 3, 1, 8, 0, 0, 123456000, time.UTC)

// Canary is in each sync_state, which must never be shown.
const Canary = "sync-state-canary"

// Fill makes a small mirror with rows of every kind: people of one tenant and of
// two, tenants of one slug, ids with a slash, rows whose other end is missing.
func Fill(t testing.TB, st *store.Store) {
	t.Helper()
	ctx := context.Background()
	db := st.Ent(ctx)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at, secret := At, []byte(Canary)
	do(db.Organization.Create().SetID("t1").SetName("Fjord").SetSlug("fjord").SetPlan("pro").SetOwnerEmail("ines@fjord.example").
		SetSettings(map[string]json.RawMessage{"require_mfa": json.RawMessage("true")}).SetRequireMfa(true).
		SetSyncState(secret).SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.Organization.Create().SetID("t/2 ö").SetName("<b>Twin</b>").SetSlug("twin").SetStatus("suspended").SetSuspendedAt(at).
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.Organization.Create().SetID("t3").SetSlug("twin").SetPlan("pro").SetStatus("suspended").SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	person := func(sub, email, tenant string, active bool) *ent.IdentityCreate {
		return db.Identity.Create().SetID(sub).SetEmail(email).SetDisplayName("Name of " + sub).SetTenantID(tenant).SetIsActive(active).
			SetGroups([]string{"crew", "o'clock"}).SetAppRole("editor").SetSubjectType("user").SetSyncState(secret).
			SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at)
	}
	do(person("p1", "ines@fjord.example", "t1", true).SetHasAppAccess(true).Exec(ctx))
	do(person("p2", "Tom@fjord.example", "t1", false).Exec(ctx))
	do(person("p3", "kai@twin.example", "t/2 ö", true).SetSubjectType("machine").Exec(ctx))
	do(db.Application.Create().SetID("a1").SetName("Ledger").SetClientID("ledger-web").SetSlug("ledger").SetRedirectUris([]string{"https://x.example"}).
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.Application.Create().SetID("a2").SetName("Own").SetOrganizationID("t1").SetIsActive(false).SetAccessTokenTTLSeconds(7).
		SetLicensing(json.RawMessage(`{"seats": 3}`)).SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.SSOProvider.Create().SetID("t1/okta").SetProviderID("okta").SetOrganizationID("t1").SetProviderType("okta").
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	member := func(id, sub, tenant, status string, roles ...string) {
		do(db.Membership.Create().SetID(id).SetIdentityID(sub).SetOrganizationID(tenant).SetStatus(status).SetRoles(roles).
			SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	}
	member("m1", "p1", "t1", "active", "owner", "member")
	member("m2", "p2", "t1", "suspended", "member")
	member("m3", "gone", "t1", "left")
	member("m4", "p1", "t3", "active", "member")
	do(db.AppAccess.Create().SetID("p1/a1/t1").SetIdentityID("p1").SetApplicationID("a1").SetOrganizationID("t1").SetHasAccess(true).SetRoleSlug("editor").
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.AppAccess.Create().SetID("p2/a1/").SetIdentityID("p2").SetApplicationID("a1").
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.License.Create().SetID("l1").SetIdentityID("p1").SetApplicationID("a1").SetOrganizationID("t1").SetLicenseTypeID("pro").
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.Subscription.Create().SetID("s1").SetApplicationID("a1").SetOrganizationID("t1").SetLicenseTypeID("pro").SetQuantity(5).SetStatus("ACTIVE").
		SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.Invitation.Create().SetID("i1").SetMembershipID("m1").SetOrganizationID("t1").SetEmail("new@fjord.example").SetRoles([]string{"member"}).
		SetExpiresAt(at.In(time.FixedZone("", 3600))).SetCreatedAt(at).SetUpdatedAt(at).SetSyncedAt(at).Exec(ctx))
	do(db.IdentitySession.Create().SetIdentityID("p1").SetAuthSessionID("sid").SetCreatedAt(at).SetUpdatedAt(at).Exec(ctx))
}
