package backfill_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/backfill"
)

func found(c backfill.Comparison) []string {
	var all []string
	for _, d := range c.Drift {
		all = append(all, fmt.Sprintf("%s: %s %s %s %q/%q", d.Unit, d.Entity, d.ID, d.Field, d.Provider, d.Mirror))
	}
	slices.Sort(all)
	return all
}

func TestAMirrorThatWasJustFilledDoesNotDiffer(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.run(t, nil)
		before := b.dump(t, false)
		c := b.verify(t)
		if c.Drifts != 0 || c.Units != 3 || c.Members != 9 || c.Skipped["invited"] != 1 || c.Skipped["unusable"] != 1 {
			t.Errorf("%+v", c)
		}
		if b.dump(t, false) != before {
			t.Error("a comparison wrote")
		}
	})
}

func TestEveryKindOfDriftIsFound(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.tenants["t1"] = append(b.tenants["t1"], inTenant("m8", "p8", "ACTIVE", tenantRole("a"), tenantRole("b"), appRole("web", "viewer")), inTenant("m10", "p10", "ACTIVE"))
		b.run(t, nil)
		exec := func(query string) {
			t.Helper()
			if n, err := b.SQL(context.Background()).Exec(context.Background(), query); err != nil || n == 0 {
				t.Fatalf("%s: %d rows, %v", query, n, err)
			}
		}
		exec(`UPDATE av_identities SET email = 'other@a.example', given_name = NULL, family_name = 'told by an event' WHERE sub = 'p1'`)
		exec(`DELETE FROM av_identities WHERE sub = 'p10'`)
		exec(`DELETE FROM av_memberships WHERE membership_id = 'm10'`)
		exec(`UPDATE av_memberships SET status = 'left' WHERE membership_id = 'm1'`)
		exec(`UPDATE av_organizations SET name = 'Other' WHERE tenant_id = 't1'`)
		exec(`DELETE FROM av_organizations WHERE tenant_id = 't2'`)
		exec(`UPDATE av_app_access SET has_access = false WHERE id = 'p1/app_web/t1'`)
		exec(`UPDATE av_app_access SET role_slug = 'owner' WHERE id = 'p8/app_web/t1'`)
		b.tenants["t1"][1] = inTenant("m2", "p2", "INVITED")
		m8 := inTenant("m8", "p8", "ACTIVE", tenantRole("b"), tenantRole("c")) // no more access
		b.tenants["t1"][6] = m8
		b.tenants["t2"] = []object{inTenant("m11", "p1", "ACTIVE")} // m4 is gone
		want := []string{
			`application/web: app_access p1/app_web/t1 has_access "true"/"false"`,
			`application/web: app_access p8/app_web/t1 has_access "false"/"true"`,
			`application/web: identity p1 email "p1@a.example"/"other@a.example"`,
			`application/web: identity p1 given_name "Given p1"/""`,
			`application/web: membership m1 status "active"/"left"`,
			`application/web: organization t1 name "Name of t1"/"Other"`,
			`application/web: organization t2 exists "there"/""`,
			`tenant/t1: identity p10 exists "there"/""`,
			`tenant/t1: membership m10 exists "active"/""`,
			`tenant/t1: membership m2 status "invited"/"suspended"`,
			`tenant/t1: membership m8 roles "b, c"/"a, b"`,
			`tenant/t2: app_access p1/app_web/t2 has_access "false"/"true"`,
			`tenant/t2: membership m11 exists "active"/""`,
			`tenant/t2: membership m4 exists ""/"active"`,
		}
		b.apps["web"] = append(b.apps["web"][:1:1], inApp("m4", "p1", "t2", "viewer"))
		c, err := backfill.Verify(t.Context(), func() backfill.Options {
			o := b.options()
			o.Source.API.Tenants = []string{"t2"}
			return o
		}())
		if err != nil {
			t.Fatal(err)
		}
		if got := found(c); !slices.Equal(got, want) || c.Drifts != int64(len(want)) {
			t.Errorf("%d drifts:\n%s\nwant %d:\n%s", c.Drifts, strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
		}
	})
}

// Who has left keeps the row of what he could use.
func TestTheAccessOfSomebodyWhoLeftIsNoDrift(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.run(t, nil)
		if _, err := b.SQL(t.Context()).Exec(t.Context(), `UPDATE av_memberships SET status = 'left' WHERE membership_id = 'm4'`); err != nil {
			t.Fatal(err)
		}
		b.tenants["t2"] = []object{}
		b.apps["web"] = b.apps["web"][:1]
		if c := b.verify(t); c.Drifts != 0 {
			t.Errorf("%v", found(c))
		}
	})
}

func TestAUnitThatCannotBeComparedIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.trouble["tenant/t1"] = 403
		if c := b.verify(t); len(c.Failed) != 1 || c.Failed[0].Unit != "tenant/t1" || c.Drifts == 0 || c.Units != 2 {
			t.Errorf("%+v", c)
		}
	})
}
