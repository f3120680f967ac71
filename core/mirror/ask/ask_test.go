package ask_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/mirrortest"
	"github.com/avhub/avhub/internal/storetest"
)

// village is a small mirror with every kind of row.
func village(t *testing.T, url string) (*store.Store, *ask.Asker) {
	t.Helper()
	st := storetest.Open(t, url)
	mirrortest.Fill(t, st)
	return st, ask.New(st)
}

func find(t *testing.T, name string) *ask.Resource {
	t.Helper()
	r, err := ask.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func keys(rows []ask.Row) string {
	var list []string
	for _, row := range rows {
		list = append(list, row.Key())
	}
	slices.Sort(list) // Postgres sorts as its language does
	return strings.Join(list, " ")
}

func TestFiltersLeaveWhatTheySay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		_, a := village(t, url)
		seen := map[string]bool{}
		for _, c := range []struct{ resource, filters, want string }{
			{"org", "", "t/2 ö t1 t3"},
			{"org", "plan=pro", "t1 t3"},
			{"org", "plan=Pro", ""},
			{"org", "status=suspended", "t/2 ö t3"},
			{"org", "status=deleted", ""},
			{"org", "plan=pro&status=suspended", "t3"},
			{"org", "slug=twin", "t/2 ö t3"},
			{"org", "owner=INES@fjord.example", "t1"},
			{"identity", "tenant=t1", "p1 p2"},
			{"identity", "email=INES@FJORD.example", "p1"},
			{"identity", "email=Tom@fjord.example", "p2"},
			{"identity", "active=false", "p2"},
			{"identity", "active=true", "p1 p3"},
			{"identity", "access=true", "p1"},
			{"identity", "access=false&tenant=t1", "p2"},
			{"identity", "role=editor", "p1 p2 p3"},
			{"identity", "type=machine", "p3"},
			{"app", "tenant=t1", "a2"},
			{"app", "global=true", "a1"},
			{"app", "global=false", "a2"},
			{"app", "active=true", "a1"},
			{"app", "client-id=ledger-web", "a1"},
			{"app", "slug=ledger", "a1"},
			{"app", "type=web", ""},
			{"sso", "tenant=t1", "t1/okta"},
			{"sso", "global=true", ""},
			{"sso", "enabled=true", "t1/okta"},
			{"sso", "type=okta", "t1/okta"},
			{"member", "tenant=t1", "m1 m2 m3"},
			{"member", "person=p1", "m1 m4"},
			{"member", "person=p1&tenant=t3", "m4"},
			{"member", "person=p1&tenant=none", ""},
			{"member", "status=left", "m3"},
			{"member", "status=active", "m1 m4"},
			{"member", "status=suspended&tenant=t1", "m2"},
			{"member", "role=member", "m1 m2 m4"},
			{"member", "role=owner&tenant=t1", "m1"},
			{"member", "role=own", ""},
			{"member", "role=%\"' or 1=1 --", ""},
			{"grant", "tenant=t1", "p1/a1/t1"},
			{"grant", "person=p2", "p2/a1/"},
			{"grant", "app=a1", "p1/a1/t1 p2/a1/"},
			{"grant", "person=p1&app=a1&tenant=t1", "p1/a1/t1"},
			{"grant", "access=false", "p2/a1/"},
			{"grant", "role=editor", "p1/a1/t1"},
			{"license", "tenant=t1&status=active", "l1"},
			{"license", "person=p1", "l1"},
			{"license", "app=a1", "l1"},
			{"license", "status=revoked", ""},
			{"license", "type=pro", "l1"},
			{"subscription", "tenant=t1", "s1"},
			{"subscription", "app=a1", "s1"},
			{"subscription", "type=pro", "s1"},
			{"subscription", "status=active", "s1"},
			{"subscription", "status=trialing", ""},
			{"invitation", "tenant=t1", "i1"},
			{"invitation", "status=pending", "i1"},
			{"invitation", "status=expired", ""},
			{"invitation", "email=New@fjord.example", "i1"},
			{"invitation", "membership=m1", "i1"},
			{"session", "person=p1", "1"},
			{"session", "auth-session=sid", "1"},
			{"session", "auth-session=other", ""},
		} {
			filters := map[string]string{}
			for pair := range strings.SplitSeq(c.filters, "&") {
				if name, value, ok := strings.Cut(pair, "="); ok {
					filters[name] = value
					seen[c.resource+" "+name] = true
				}
			}
			page, err := a.List(context.Background(), find(t, c.resource), filters, "", 10)
			if got := keys(page.Rows); err != nil || got != c.want || page.More {
				t.Errorf("%s where %s: %q, %v; want %q", c.resource, c.filters, got, err, c.want)
			}
		}
		for _, r := range ask.Resources() {
			for _, f := range r.Filters {
				if !seen[r.Short+" "+f.Name] {
					t.Errorf("no case filters %s by %s", r.Short, f.Name)
				}
			}
		}
	})
}

func TestAQuestionThatMakesNoSenseIsToldSo(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		_, a := village(t, url)
		for _, c := range []struct {
			resource, filter, value, after string
			limit                          int
			reason                         ask.Reason
			says                           string
		}{
			{"org", "nope", "x", "", 1, ask.UnknownFilter, "plan, status, slug, owner"},
			{"org", "status", "asleep", "", 1, ask.BadValue, "active, suspended, deleted"},
			{"org", "status", "ACTIVE", "", 1, ask.BadValue, "active, suspended, deleted"},
			{"identity", "active", "yes", "", 1, ask.BadValue, "true or false"},
			{"app", "global", "", "", 1, ask.BadValue, "true or false"},
			{"org", "plan", "a\x00b", "", 1, ask.BadValue, "not text"},
			{"org", "plan", "\xff", "", 1, ask.BadValue, "not text"},
			{"org", "plan", "pro", "\xff", 1, ask.BadValue, "tenant_id"},
			{"session", "person", "p1", "one", 1, ask.BadValue, "no id"},
			{"org", "plan", "pro", "", 0, ask.BadValue, "at least 1"},
		} {
			_, err := a.List(context.Background(), find(t, c.resource), map[string]string{c.filter: c.value}, c.after, c.limit)
			var input *ask.InputError
			if !errors.As(err, &input) || input.Reason != c.reason || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s %s=%q after %q: %v; want %s with %q", c.resource, c.filter, c.value, c.after, err, c.reason, c.says)
			}
		}
		if _, err := ask.Find("nope"); err == nil || !strings.Contains(err.Error(), "member") {
			t.Errorf("Find of what is not there: %v", err)
		}
		org := find(t, "org")
		for _, key := range []string{"nope", "", "\xff", "t1\x00", "' OR ''='"} {
			if _, err := a.Show(context.Background(), org, key); !errors.Is(err, ask.ErrNotFound) {
				t.Errorf("Show(%q): %v", key, err)
			}
		}
		if _, err := a.Get(context.Background(), find(t, "session"), "first"); !errors.Is(err, ask.ErrNotFound) {
			t.Errorf("a session whose id is no number: %v", err)
		}
	})
}

// Page by page, each row comes once, however large a page is.
func TestPagesHoldEachRowOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		st, a := village(t, url)
		crowd{orgs: 3, people: 40, bigOrg: 17}.fill(t, st)
		for _, name := range []string{"member", "org", "session", "grant"} {
			r := find(t, name)
			whole, err := a.List(context.Background(), r, nil, "", 1000)
			if err != nil || whole.More {
				t.Fatalf("%v, more: %t", err, whole.More)
			}
			for _, limit := range []int{1, 2, 7, len(whole.Rows)} {
				var all []ask.Row
				for after := ""; ; {
					page, err := a.List(context.Background(), r, nil, after, limit)
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, page.Rows...)
					if !page.More {
						break
					}
					if len(page.Rows) != limit {
						t.Fatalf("a page has %d rows, want %d", len(page.Rows), limit)
					}
					after = page.Rows[limit-1].Key()
				}
				if keys(all) != keys(whole.Rows) || len(all) != len(whole.Rows) {
					t.Errorf("%s by %d: %s\nwant %s", name, limit, keys(all), keys(whole.Rows))
				}
			}
		}
	})
}

func TestARowComesAsJSONInTheOrderOfItsColumns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		_, a := village(t, url)
		for _, c := range []struct{ resource, key, want string }{
			{"app", "a2", `{"application_id":"a2","organization_id":"t1","name":"Own","slug":null,"description":null,"client_id":null,` +
				`"application_type":null,"is_active":false,"redirect_uris":null,"post_logout_redirect_uris":null,"allowed_scopes":null,` +
				`"grant_types":null,"token_endpoint_auth_method":null,"initiate_login_uri":null,"access_token_ttl_seconds":7,` +
				`"refresh_token_ttl_seconds":null,"licensing":{"seats":3},"created_by_sub":null,"created_at":"2026-03-01T08:00:00.123456Z",` +
				`"updated_at":"2026-03-01T08:00:00.123456Z","synced_at":"2026-03-01T08:00:00.123456Z"}`},
			{"member", "m2", `{"membership_id":"m2","identity_id":"p2","organization_id":"t1","roles":["member"],"status":"suspended",` +
				`"created_at":"2026-03-01T08:00:00.123456Z","updated_at":"2026-03-01T08:00:00.123456Z","synced_at":"2026-03-01T08:00:00.123456Z",` +
				`"identity_email":"Tom@fjord.example","identity_display_name":"Name of p2","organization_name":"Fjord"}`},
			{"invitation", "i1", `{"invite_id":"i1","membership_id":"m1","organization_id":"t1","email":"new@fjord.example","roles":["member"],` +
				`"status":"pending","invited_by_sub":null,"expires_at":"2026-03-01T08:00:00.123456Z","created_at":"2026-03-01T08:00:00.123456Z",` +
				`"updated_at":"2026-03-01T08:00:00.123456Z","synced_at":"2026-03-01T08:00:00.123456Z","organization_name":"Fjord"}`},
		} {
			record, err := a.Get(context.Background(), find(t, c.resource), c.key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(record)
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
			}
		}
	})
}

func TestShowKnowsARowByItsOtherNames(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		_, a := village(t, url)
		for _, c := range []struct{ resource, name, want string }{
			{"org", "t1", "t1"}, {"org", "fjord", "t1"}, {"org", "t/2 ö", "t/2 ö"},
			{"identity", "INES@fjord.example", "p1"}, {"identity", "p2", "p2"},
			{"app", "ledger-web", "a1"}, {"app", "ledger", "a1"}, {"sso", "okta", "t1/okta"}, {"session", "1", "1"},
		} {
			record, err := a.Show(context.Background(), find(t, c.resource), c.name)
			if err != nil || record.Key() != c.want {
				t.Errorf("%s %s: %v, %v", c.resource, c.name, record, err)
			}
		}
		var several *ask.AmbiguousError
		if _, err := a.Show(context.Background(), find(t, "org"), "twin"); !errors.As(err, &several) ||
			several.Column != "slug" || strings.Join(several.Keys, "|") != "t/2 ö|t3" {
			t.Errorf("two of one slug: %v, %+v", err, several)
		}
	})
}

func TestWhatBelongsToARowComesWithIt(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		_, a := village(t, url)
		seen := map[string]bool{}
		for _, c := range []struct{ resource, key, want string }{
			{"org", "t1", "apps: a2; sso: t1/okta; members: m1 m2 m3; people: p1 p2; access: p1/a1/t1; licenses: l1; subscriptions: s1; invitations: i1"},
			{"org", "t/2 ö", "apps: ; sso: ; members: ; people: p3; access: ; licenses: ; subscriptions: ; invitations: "},
			{"identity", "p1", "org: t1; memberships: m1 m4; access: p1/a1/t1; licenses: l1; sessions: 1"},
			{"app", "a1", "org: ; access: p1/a1/t1 p2/a1/; licenses: l1; subscriptions: s1"},
			{"sso", "t1/okta", "org: t1"},
			{"member", "m1", "person: p1; org: t1; invitations: i1"},
			{"member", "m3", "person: ; org: t1; invitations: "},
			{"grant", "p2/a1/", "person: p2; app: a1; org: "},
			{"license", "l1", "person: p1; app: a1; org: t1"},
			{"subscription", "s1", "app: a1; org: t1"},
			{"invitation", "i1", "membership: m1; org: t1"},
			{"session", "1", "person: p1"},
		} {
			seen[c.resource] = true
			record, err := a.Get(context.Background(), find(t, c.resource), c.key, ask.All)
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for _, related := range record.With {
				parts = append(parts, related.Name+": "+keys(related.Rows))
				if related.Total != len(related.Rows) {
					t.Errorf("%s of %s: %d in all", related.Name, c.key, related.Total)
				}
			}
			if got := strings.Join(parts, "; "); got != c.want {
				t.Errorf("%s %s has\n%s\nwant\n%s", c.resource, c.key, got, c.want)
			}
			text, err := json.Marshal(record)
			if err != nil || strings.Contains(string(text), mirrortest.Canary) || strings.Contains(string(text), "sync_state") {
				t.Errorf("%v, or the hub's own shows: %s", err, text)
			}
		}
		for _, r := range ask.Resources() {
			if !seen[r.Short] {
				t.Errorf("no case shows %s", r.Short)
			}
		}
		if _, err := a.Get(context.Background(), find(t, "org"), "t1", "nope"); err == nil || !strings.Contains(err.Error(), "apps, sso") {
			t.Errorf("an unknown relation: %v", err)
		}
	})
}

func TestOfManyRelatedRowsTheFirstComeAndAllAreCounted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		st, a := village(t, url)
		crowd{orgs: 2, people: 2 * ask.MostRelated, bigOrg: 1}.fill(t, st)
		for i, want := range []int{ask.MostRelated + 1, ask.MostRelated} {
			record, err := a.Get(context.Background(), find(t, "org"), orgID(i), "members")
			if err != nil {
				t.Fatal(err)
			}
			members := record.With[0]
			if len(members.Rows) != ask.MostRelated || members.Total != want {
				t.Errorf("%d of %d members, want %d of %d", len(members.Rows), members.Total, ask.MostRelated, want)
			}
			text, err := json.Marshal(members)
			if tail := fmt.Sprintf(`"total":%d,"more":%t}`, want, want > ask.MostRelated); err != nil || !strings.HasSuffix(string(text), tail) {
				t.Errorf("%v; it ends with %s, want %s", err, text[len(text)-60:], tail)
			}
		}
	})
}

// A row that somebody broke costs an answer that says so, not the process.
func TestABrokenColumnIsNamed(t *testing.T) {
	t.Parallel()
	st, a := village(t, storetest.SQLite(t))
	if _, err := st.SQL(context.Background()).Exec(context.Background(), `UPDATE av_applications SET licensing = '{' WHERE application_id = 'a2'`); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Get(context.Background(), find(t, "app"), "a2"); err == nil || !strings.Contains(err.Error(), "licensing of av_applications is not JSON") {
		t.Errorf("got %v", err)
	}
}
