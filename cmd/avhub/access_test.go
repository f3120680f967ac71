package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/store"
)

// fill makes a folder with a configuration and a database, without a hub.
func fill(t *testing.T) (dir string, st *store.Store) {
	t.Helper()
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `
storage: { url: "sqlite://hub.db" }
features: { "*": [export], pro: [sso, audit] }
mirror: { sessions: { keep: 1h, max_per_run: 2 } }
`)
	done(t, dir, "migrate")
	st, err := store.Open(t.Context(), "sqlite://"+filepath.Join(dir, "hub.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return dir, st
}

func TestAccessIsToldWithItsReason(t *testing.T) {
	t.Parallel()
	dir, st := fill(t)
	now, client := store.Now(), st.Ent(t.Context())
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for sub, email := range map[string]string{"ann": "ann@example.com", "bob": "twin@example.com", "eve": "twin@example.com"} {
		check(client.Identity.Create().SetID(sub).SetEmail(email).SetIsActive(sub != "bob").
			SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(t.Context()))
	}
	for id, status := range map[string]string{"t1": "active", "t2": "suspended"} {
		check(client.Organization.Create().SetID(id).SetSlug("slug-" + id).SetPlan("pro").SetStatus(status).
			SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(t.Context()))
		check(client.AppAccess.Create().SetID("ann/app_1/" + id).SetIdentityID("ann").SetApplicationID("app_1").SetOrganizationID(id).
			SetHasAccess(true).SetRoleSlug("admin").SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(t.Context()))
	}
	check(client.Application.Create().SetID("app_1").SetName("Ledger").SetSlug("ledger").SetClientID("ledger-web").
		SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(t.Context()))

	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"ann app_1", 0, "allowed  ann may use app_1 in t1 as admin\n"},
		{"ANN@example.com ledger-web", 0, "allowed  ann may use app_1 in t1 as admin\n"},
		{"ann ledger --tenant slug-t1", 0, "allowed  ann may use app_1 in t1 as admin\n"},
		{"ann app_1 --tenant t2", 1, "tenant_suspended  ann may not use app_1 in t2: the tenant is suspended\n"},
		{"ann app_1 --tenant t9", 1, "no_access  ann may not use app_1 in t9: this person has no access to the application\n"},
		{"bob app_1", 1, "identity_deactivated  bob may not use app_1: this person is deactivated\n"},
		{"nobody app_1", 1, "unknown_identity  nobody may not use app_1: this person is not known\n"},
	} {
		got := run(t, dir, append([]string{"access", "check"}, strings.Fields(c.args)...)...)
		if got.code != c.code || got.out != c.says || got.err != "" {
			t.Errorf("access check %s: exit code %d\n%s%s", c.args, got.code, got.out, got.err)
		}
	}
	if got := run(t, dir, "access", "check", "twin@example.com", "app_1"); got.code != 1 || !strings.Contains(got.err, "bob, eve") || got.out != "" {
		t.Errorf("an address of two: exit code %d\n%s%s", got.code, got.out, got.err)
	}
	got := run(t, dir, "access", "check", "ann", "app_1", "--tenant", "t2", "--json")
	if got.code != 1 || !strings.Contains(got.out, `"reason": "tenant_suspended"`) || !strings.Contains(got.out, `"allowed": false`) {
		t.Errorf("as JSON: exit code %d\n%s", got.code, got.out)
	}
	for _, args := range []string{"", "ann", "ann app_1 more", "ann app_1 --tenant="} {
		if got := run(t, dir, append([]string{"access", "check"}, strings.Fields(args)...)...); got.code != 2 {
			t.Errorf("access check %s: exit code %d\n%s", args, got.code, got.err)
		}
	}

	if got := done(t, dir, "access", "features", "slug-t1"); got.out != "audit\nexport\nsso\n" {
		t.Errorf("features: %q", got.out)
	}
	if got := done(t, dir, "access", "features", "t2"); got.out != "" || !strings.Contains(got.err, "suspended") {
		t.Errorf("features of a suspended tenant: %q %q", got.out, got.err)
	}
	is := read[struct {
		Plan, Status string
		Features     []string
	}](t, dir, "access", "features", "t2")
	if is.Plan != "pro" || is.Status != "suspended" || len(is.Features) != 0 {
		t.Errorf("features as JSON: %+v", is)
	}
	if got := run(t, dir, "access", "features", "t9"); got.code != 1 || !strings.Contains(got.err, "avhub org list") {
		t.Errorf("features of nobody: exit code %d %s", got.code, got.err)
	}
}

func TestSessionsAreListedAndRemoved(t *testing.T) {
	t.Parallel()
	dir, st := fill(t)
	now := store.Now()
	for i, ends := range []time.Duration{-3 * time.Hour, -3 * time.Hour, -3 * time.Hour, -time.Minute, time.Hour} {
		create := st.Ent(t.Context()).IdentitySession.Create().SetIdentityID([]string{"ann", "bob"}[i%2]).SetExpiresAt(now.Add(ends))
		if i == 0 {
			create.SetRevokedAt(now.Add(ends))
		}
		if err := create.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	states := func(args ...string) (states string) {
		for _, s := range read[[]struct{ State string }](t, dir, append([]string{"session", "list"}, args...)...) {
			states += s.State + " "
		}
		return states
	}
	if got := states(); got != "revoked expired expired expired active " {
		t.Errorf("all: %s", got)
	}
	if got := states("--person", "bob"); got != "expired expired " {
		t.Errorf("of bob: %s", got)
	}
	if got := states("--active"); got != "active " {
		t.Errorf("active: %s", got)
	}
	if got := done(t, dir, "session", "list", "--limit", "1"); !strings.Contains(got.out, "ann") || !strings.Contains(got.err, "--after 1") {
		t.Errorf("a page: %s%s", got.out, got.err)
	}
	if got := done(t, dir, "session", "cleanup", "--dry-run", "--max", "10"); got.out != "would remove 3 sessions: 2 expired, 1 revoked\n" {
		t.Errorf("dry run: %q %q", got.out, got.err)
	}
	if got := done(t, dir, "session", "cleanup"); got.out != "removed 2 sessions: 1 expired, 1 revoked\n" || !strings.Contains(got.err, "there are more") {
		t.Errorf("by the configuration's limit: %q %q", got.out, got.err)
	}
	got := read[struct{ Expired, Revoked int }](t, dir, "session", "cleanup", "--keep", "0s")
	if got.Expired != 2 || got.Revoked != 0 || states() != "active " {
		t.Errorf("with nothing kept: %+v, left: %s", got, states())
	}
	for _, args := range []string{"--keep=-1h", "--max=0", "extra", "--keep=soon"} {
		if got := run(t, dir, "session", "cleanup", args); got.code != 2 {
			t.Errorf("session cleanup %s: exit code %d\n%s", args, got.code, got.err)
		}
	}
}
