package ask_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/store"
)

// crowd is a mirror of a size.
type crowd struct {
	orgs, people, bigOrg int // bigOrg of the people are members of org-00000, too
}

func orgID(i int) string { return fmt.Sprintf("org-%05d", i) }

// personID, like a provider's ids, is in no order.
func personID(i int) string { return fmt.Sprintf("sub-%07d", i*7919%1000003) }

// insert fills a table in transactions of a size that suits a bulk load.
func insert(tb testing.TB, st *store.Store, table, columns string, n int, row func(i int) []any) {
	tb.Helper()
	const part = 20000
	now := store.Now()
	for from := 0; from < n; from += part {
		var rows [][]any
		for i := from; i < min(n, from+part); i++ {
			state := []byte(strings.Repeat(`{"c":[1790000000000000,"e"]}`, 30)) // what a row of the hub carries
			rows = append(rows, append(row(i), now, now, now, state))
		}
		err := st.InTx(context.Background(), func(ctx context.Context) error {
			return st.SQL(ctx).Insert(ctx, "INSERT INTO "+table+" ("+columns+", created_at, updated_at, synced_at, sync_state)", rows, "")
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func pick(list ...string) func(int) string { return func(i int) string { return list[i%len(list)] } }

// fill makes the crowd.
func (c crowd) fill(tb testing.TB, st *store.Store) {
	tb.Helper()
	start := time.Now()
	plan, kind := pick("free", "pro", "enterprise"), pick("user", "user", "user", "machine")
	insert(tb, st, "av_organizations", "tenant_id, name, slug, plan, owner_email, status, settings", c.orgs, func(i int) []any {
		status := "active"
		if i%500 == 499 {
			status = "suspended"
		}
		return []any{orgID(i), fmt.Sprintf("Company %d", i), fmt.Sprintf("company-%d", i), plan(i), fmt.Sprintf("owner%d@example.com", i), status, store.JSON(`{"require_mfa":true}`)}
	})
	insert(tb, st, "av_identities", "sub, email, display_name, tenant_id, subject_type, app_role, groups, is_active, has_app_access", c.people, func(i int) []any {
		return []any{personID(i), fmt.Sprintf("person%d@example.com", i), fmt.Sprintf("Person %d", i), orgID(i % c.orgs), kind(i), "editor", store.JSON(`["staff"]`), i%1000 != 999, i%2 == 0}
	})
	insert(tb, st, "av_applications", "application_id, organization_id, name, client_id, is_active", c.orgs+10, func(i int) []any {
		if i < 10 {
			return []any{fmt.Sprintf("app-%05d", i), nil, fmt.Sprintf("Global %d", i), fmt.Sprintf("client-%d", i), true}
		}
		return []any{fmt.Sprintf("app-%05d", i), orgID(i - 10), fmt.Sprintf("App %d", i), fmt.Sprintf("client-%d", i), i%9 != 0}
	})
	insert(tb, st, "av_sso_providers", "id, provider_id, organization_id, provider_type, is_enabled", c.orgs, func(i int) []any {
		return []any{orgID(i) + "/okta", "okta", orgID(i), "okta", i%5 != 0}
	})
	members := c.people + c.bigOrg
	org := func(i int) string { // the big organization's members come after all others
		if i < c.people {
			return orgID(i % c.orgs)
		}
		return orgID(0)
	}
	insert(tb, st, "av_memberships", "membership_id, identity_id, organization_id, roles, status", members, func(i int) []any {
		status := "active"
		if i%1000 == 7 {
			status = "suspended"
		}
		return []any{fmt.Sprintf("mem-%06d", (i*7919)%members), personID(i % c.people), org(i), store.JSON(`["member","editor"]`), status}
	})
	insert(tb, st, "av_app_access", "id, identity_id, application_id, organization_id, role_slug, has_access", members, func(i int) []any {
		return []any{personID(i%c.people) + "/app-00000/" + org(i) + fmt.Sprint(i/c.people), personID(i % c.people), "app-00000", org(i), "editor", i%100 != 99}
	})
	insert(tb, st, "av_licenses", "assignment_id, identity_id, application_id, organization_id, license_type_id, license_type_name, status", members, func(i int) []any {
		status := "active"
		if i%1000 == 7 {
			status = "revoked"
		}
		return []any{fmt.Sprintf("lic-%06d", (i*7919)%members), personID(i % c.people), "app-00000", org(i), "pro", "Pro", status}
	})
	insert(tb, st, "av_subscriptions", "subscription_id, organization_id, application_id, license_type_id, license_type_name, quantity, status", c.orgs, func(i int) []any {
		return []any{fmt.Sprintf("subscr-%05d", i), orgID(i), "app-00000", "pro", "Pro", int64(i), "ACTIVE"}
	})
	insert(tb, st, "av_invitations", "invite_id, organization_id, email, status", c.people/5, func(i int) []any {
		return []any{fmt.Sprintf("inv-%06d", i), orgID(i % c.orgs), fmt.Sprintf("guest%d@example.com", i), "pending"}
	})
	if st.Dialect() == store.Postgres { // as its autovacuum does after a while
		if _, err := st.SQL(context.Background()).Exec(context.Background(), "VACUUM ANALYZE"); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Logf("%d organizations, %d people, %d memberships in %s", c.orgs, c.people, members, time.Since(start).Round(time.Millisecond))
}
