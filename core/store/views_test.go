package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/internal/storetest"
)

// lines runs a query and returns each row's columns with spaces between, in
// order; NULL is "-".
func lines(t *testing.T, st *store.Store, query string) []string {
	t.Helper()
	var all []string
	err := st.ReadSQL().Query(context.Background(), func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		words := make([]string, len(columns))
		for i, v := range values {
			words[i] = "-"
			if v.Valid {
				words[i] = v.String
			}
		}
		all = append(all, strings.Join(words, " "))
		return nil
	}, query)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// place fills a mirror by hand.
type place struct {
	t   *testing.T
	ctx context.Context
	db  *ent.Client
}

func (p place) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p place) org(id, status string) {
	now := store.Now()
	p.do(p.db.Organization.Create().SetID(id).SetName("Name-" + id).SetSlug(id).SetStatus(status).SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
}

func (p place) person(sub string, active bool) {
	now := store.Now()
	p.do(p.db.Identity.Create().SetID(sub).SetEmail(sub + "@x.example").SetIsActive(active).SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
}

func (p place) member(id, sub, org, status string) {
	now := store.Now()
	p.do(p.db.Membership.Create().SetID(id).SetIdentityID(sub).SetOrganizationID(org).SetStatus(status).SetRoles([]string{"member"}).
		SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
}

func (p place) access(sub, org string, has bool) {
	now := store.Now()
	create := p.db.AppAccess.Create().SetID(sub + "/a/" + org).SetIdentityID(sub).SetApplicationID("a").SetHasAccess(has).
		SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now)
	if org != "" {
		create.SetOrganizationID(org)
	}
	p.do(create.Exec(p.ctx))
}

// onPlace fills a mirror on each database, in one transaction, and looks at it.
func onPlace(t *testing.T, fill func(p place), look func(t *testing.T, st *store.Store)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, url string) {
		st := storetest.Open(t, url)
		err := st.InTx(context.Background(), func(ctx context.Context) error {
			fill(place{t, ctx, st.Ent(ctx)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		look(t, st)
	})
}

func TestTheViewOfMembersHasThoseThatAreActive(t *testing.T) {
	t.Parallel()
	onPlace(t, func(p place) {
		p.org("t1", "active")
		p.org("t2", "suspended")
		p.person("p1", true)
		p.person("p2", false)
		p.member("m1", "p1", "t1", "active")
		p.member("m2", "p2", "t1", "active")
		p.member("m3", "p1", "t2", "active")
		p.member("m4", "p2", "t2", "left")
		p.member("m5", "p2", "t3", "suspended")
		p.member("m6", "unknown", "t4", "active")
	}, func(t *testing.T, st *store.Store) {
		got := lines(t, st, `SELECT membership_id, organization_id, organization_name, organization_slug, organization_status,
			identity_id, email, CASE WHEN is_active THEN 'y' WHEN NOT is_active THEN 'n' END FROM av_view_members`)
		want := []string{
			"m1 t1 Name-t1 t1 active p1 p1@x.example y",
			"m2 t1 Name-t1 t1 active p2 p2@x.example n",
			"m3 t2 Name-t2 t2 suspended p1 p1@x.example y",
			"m6 t4 - - - unknown - -",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got := lines(t, st, `SELECT roles, CASE WHEN member_since IS NULL THEN 'never' ELSE 'once' END, display_name FROM av_view_members WHERE membership_id = 'm1'`); len(got) != 1 || got[0] != `["member"] once -` {
			t.Errorf("roles and time are %q", got)
		}
	})
}

// reason is what the view must say, in the order in which it decides.
func reason(active, org string, members []string, has bool) string {
	switch {
	case active == "unknown":
		return "unknown_identity"
	case active == "deactivated":
		return "identity_deactivated"
	case org == "deleted":
		return "tenant_deleted"
	case org == "suspended":
		return "tenant_suspended"
	case slices.Contains(members, "active"):
	case slices.Contains(members, "suspended"):
		return "membership_suspended"
	case slices.Contains(members, "left"):
		return "membership_left"
	}
	if !has {
		return "no_access"
	}
	return "allowed"
}

func TestTheViewOfAccessTellsTheReasonInEveryCase(t *testing.T) {
	t.Parallel()
	type instance struct {
		sub, who, org string
		members       []string
		has           bool
	}
	var cases []instance
	for _, who := range []string{"active", "deactivated", "unknown"} {
		for _, org := range []string{"active", "suspended", "deleted", "unknown", ""} {
			for _, members := range [][]string{nil, {"active"}, {"suspended"}, {"left"}, {"left", "active"}, {"left", "suspended"}} {
				for _, has := range []bool{true, false} {
					cases = append(cases, instance{fmt.Sprintf("p%03d", len(cases)), who, org, members, has})
				}
			}
		}
	}
	onPlace(t, func(p place) {
		now := store.Now()
		p.do(p.db.Application.Create().SetID("a").SetName("App").SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
		for _, status := range []string{"active", "suspended", "deleted"} {
			p.org(status, status)
		}
		for _, c := range cases {
			if c.who != "unknown" {
				p.person(c.sub, c.who == "active")
			}
			p.access(c.sub, c.org, c.has)
			in := c.org
			if in == "" {
				in = "active" // access outside of tenants asks for no membership
			}
			for i, status := range c.members {
				p.member(fmt.Sprintf("%s-%d", c.sub, i), c.sub, in, status)
			}
		}
	}, func(t *testing.T, st *store.Store) {
		got := lines(t, st, `SELECT identity_id, application_name, CASE WHEN allowed THEN 'true' ELSE 'false' END, reason FROM av_view_access`)
		if len(got) != len(cases) {
			t.Fatalf("%d rows, want %d", len(got), len(cases))
		}
		for i, c := range cases {
			members := c.members
			if c.org == "" {
				members = nil
			}
			why := reason(c.who, c.org, members, c.has)
			if want := fmt.Sprintf("%s App %t %s", c.sub, why == "allowed", why); got[i] != want {
				t.Errorf("%+v: got %q, want %q", c, got[i], want)
			}
		}
		if n := len(lines(t, st, `SELECT 1 FROM av_view_access WHERE allowed`)); n == 0 {
			t.Error("nobody is allowed anything")
		}
	})
}

func TestTheViewOfSeatsCountsWhatWasBoughtAndGiven(t *testing.T) {
	t.Parallel()
	onPlace(t, func(p place) {
		p.org("t1", "active")
		now := store.Now()
		p.do(p.db.Application.Create().SetID("a").SetName("App").SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
		bought := func(id, org, typ, status string, quantity int64) {
			p.do(p.db.Subscription.Create().SetID(id).SetOrganizationID(org).SetApplicationID("a").SetLicenseTypeID(typ).SetLicenseTypeName("Type-" + typ).
				SetQuantity(quantity).SetStatus(status).SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
		}
		given := func(id, org, typ, status string) {
			p.do(p.db.License.Create().SetID(id).SetOrganizationID(org).SetApplicationID("a").SetLicenseTypeID(typ).SetIdentityID(id).
				SetStatus(status).SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(p.ctx))
		}
		bought("s1", "t1", "pro", "ACTIVE", 5)
		bought("s2", "t1", "pro", "active", 2)
		bought("s3", "t1", "pro", "CANCELED", 100)
		bought("s4", "t1", "free", "ACTIVE", 1)
		given("l1", "t1", "pro", "active")
		given("l2", "t1", "pro", "active")
		given("l3", "t1", "pro", "revoked")
		given("l4", "t2", "pro", "active") // nobody told of a subscription
	}, func(t *testing.T, st *store.Store) {
		got := lines(t, st, `SELECT organization_id, organization_name, application_id, application_name, license_type_id, license_type_name,
			purchased, assigned, free FROM av_view_seats`)
		want := []string{
			"t1 Name-t1 a App free Type-free 1 0 1",
			"t1 Name-t1 a App pro Type-pro 7 2 5",
			"t2 - a App pro - 0 1 -1",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
