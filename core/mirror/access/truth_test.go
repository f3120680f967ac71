package access_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/store"
)

const app = "app_1"

// expected is the truth table of docs/access.md, written without the code.
func expected(person, tenant, membership, has string) (within, anywhere access.Reason) {
	switch person {
	case "none":
		return access.UnknownIdentity, access.UnknownIdentity
	case "deactivated":
		return access.IdentityDeactivated, access.IdentityDeactivated
	}
	byTenant := map[string]access.Reason{
		"suspended": access.TenantSuspended, "marked": access.TenantDeleted, "grave": access.TenantDeleted,
	}
	byMembership := map[string]access.Reason{"suspended": access.MembershipSuspended, "left": access.MembershipLeft}
	within = access.Allowed
	if has != "yes" {
		within = access.NoAccess
	}
	if r, ok := byMembership[membership]; ok {
		within = r
	}
	if r, ok := byTenant[tenant]; ok {
		within = r
	}
	if has != "yes" {
		return within, access.NoAccess
	}
	return within, within
}

func TestTheTruthTableHolds(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		type row struct{ sub, org, person, tenant, membership, has string }
		var rows []row
		for _, person := range []string{"none", "active", "deactivated"} {
			for _, tenant := range []string{"none", "active", "suspended", "marked", "grave", "waiting"} {
				for _, membership := range []string{"none", "active", "suspended", "left"} {
					for _, has := range []string{"none", "yes", "no"} {
						n := len(rows)
						rows = append(rows, row{fmt.Sprintf("p/%d", n), fmt.Sprintf("t/%d", n), person, tenant, membership, has})
					}
				}
			}
		}
		w.must(w.InTx(t.Context(), func(ctx context.Context) error {
			in := world{w.Store, inContext{t, ctx}}
			for _, r := range rows {
				if r.person != "none" {
					in.person(r.sub, r.person == "active")
				}
				switch r.tenant {
				case "none":
				case "grave":
					in.grave(r.org, `{"v":1,"clocks":[[5,"e"]],"deleted":0,"alive":-1,"first":-1,"fields":{},"left":[]}`)
				case "waiting":
					in.grave(r.org, `{"v":1,"clocks":[[5,"e"]],"deleted":-1,"alive":-1,"first":-1,"fields":{"name":[0,"x"]},"left":[]}`)
				default:
					status := r.tenant
					if status == "marked" {
						status = "deleted"
					}
					in.must(in.tenant(r.org, status).Exec(ctx))
				}
				if r.membership != "none" {
					in.member(r.sub, r.org, r.membership)
				}
				if r.has != "none" {
					in.access(r.sub, app, r.org, r.has == "yes", "")
				}
			}
			return nil
		}))
		c := access.New(w.Store, access.Options{})
		for range 2 { // read, then kept
			for _, r := range rows {
				within, anywhere := expected(r.person, r.tenant, r.membership, r.has)
				if got := reasonIn(t, c, r.sub, app, r.org); got != within {
					t.Errorf("%+v: within the tenant %s, want %s", r, got, within)
				}
				if got := reasonOf(t, c, r.sub, app); got != anywhere {
					t.Errorf("%+v: anywhere %s, want %s", r, got, anywhere)
				}
			}
		}
		if kept, _ := c.Kept(); kept != 2*len(rows) {
			t.Errorf("%d decisions are kept of %d", kept, 2*len(rows))
		}
	})
}

// inContext is a test whose helpers take part in a transaction.
type inContext struct {
	testing.TB
	ctx context.Context
}

func (i inContext) Context() context.Context { return i.ctx }

func (w world) grave(tenant, state string) {
	w.t.Helper()
	w.must(w.Ent(w.t.Context()).MirrorGrave.Create().SetID("organization/" + tenant).SetSyncState([]byte(state)).Exec(w.t.Context()))
}

func TestOneTenantThatAllowsIsEnough(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		w.must(w.tenant("t1", "suspended").Exec(t.Context()))
		w.must(w.tenant("t2", "active").Exec(t.Context()))
		w.access("ann", app, "t1", true, "owner")
		w.access("ann", app, "t2", true, "viewer")
		w.access("ann", app, "t3", true, "editor")
		w.access("ann", app, "t4", false, "editor")
		c := access.New(w.Store, access.Options{})
		d, err := c.Check(t.Context(), "ann", app)
		if err != nil || !d.Allowed || fmt.Sprint(d.Grants) != "[{t2  viewer } {t3  editor }]" || d.Role() != "viewer" {
			t.Errorf("%+v %v", d, err)
		}
		if d.Text() != "ann may use app_1 in t2 as viewer, in t3 as editor" {
			t.Errorf("%q", d.Text())
		}
		if got := reasonIn(t, c, "ann", app, "t1"); got != access.TenantSuspended {
			t.Errorf("in the suspended tenant: %s", got)
		}
		d.Grants[0].Tenant = "scribbled"
		if d, _ := c.Check(t.Context(), "ann", app); d.Grants[0].Tenant != "t2" {
			t.Error("who changes an answer changes what others get")
		}
	})
}

func TestOfSeveralTenantsTheReasonIsTheOneThatIsClosestToBeingAllowed(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		c := access.New(w.Store, access.Options{Entries: -1})
		for i, step := range []struct {
			tenant, membership string
			want               access.Reason
		}{
			{"deleted", "active", access.TenantDeleted},
			{"active", "left", access.MembershipLeft},
			{"active", "suspended", access.MembershipSuspended},
			{"suspended", "active", access.TenantSuspended},
			{"active", "active", access.Allowed},
		} {
			org := fmt.Sprint("t", i)
			w.must(w.tenant(org, step.tenant).Exec(t.Context()))
			w.member("ann", org, step.membership)
			w.access("ann", app, org, true, "")
			d, err := c.Check(t.Context(), "ann", app)
			if err != nil || d.Reason != step.want || len(d.Grants) != 1 || d.Grants[0].Tenant != org {
				t.Errorf("with %+v: %+v %v", step, d, err)
			}
			if !d.Allowed && !strings.Contains(d.Text(), org) {
				t.Errorf("%q does not name the tenant", d.Text())
			}
		}
	})
}

func TestWhoLeftAndJoinedAgainIsAMember(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		w.access("ann", app, "t1", true, "")
		w.member("ann", "t1", "left")
		c := access.New(w.Store, access.Options{Entries: -1})
		if got := reasonIn(t, c, "ann", app, "t1"); got != access.MembershipLeft {
			t.Errorf("after leaving: %s", got)
		}
		w.member("ann", "t1", "active")
		if got := reasonIn(t, c, "ann", app, "t1"); got != access.Allowed {
			t.Errorf("after joining again: %s", got)
		}
		w.person("bob", true)
		w.access("bob", app, "t1", true, "")
		w.member("bob", "t1", "of a newer provider")
		if got := reasonIn(t, c, "bob", app, "t1"); got != access.MembershipSuspended {
			t.Errorf("with a status that nobody knows: %s", got)
		}
	})
}

func TestAccessWithoutATenantAsksNoTenant(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("bot", true)
		w.access("bot", app, "", true, "reader")
		w.member("bot", "t1", "left")
		c := access.New(w.Store, access.Options{})
		d, err := c.Check(t.Context(), "bot", app)
		if err != nil || !d.Allowed || len(d.Grants) != 1 || d.Grants[0].Tenant != "" || d.Text() != "bot may use app_1 as reader" {
			t.Errorf("%+v %v %q", d, err, d.Text())
		}
		if got := reasonIn(t, c, "bot", app, "t2"); got != access.NoAccess {
			t.Errorf("within a tenant: %s", got)
		}
		if got := reasonIn(t, c, "bot", app, ""); got != access.NoAccess {
			t.Errorf("within a tenant without a name: %s", got)
		}
	})
}

// The flat view may say yes where the application's own truth says no, or says
// nothing.
func TestTheFlatViewAllowsNobody(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		w.must(w.Ent(t.Context()).Identity.UpdateOneID("ann").SetHasAppAccess(true).SetUpdatedAt(store.Now()).Exec(t.Context()))
		c := access.New(w.Store, access.Options{Entries: -1})
		if got := reasonOf(t, c, "ann", app); got != access.NoAccess {
			t.Errorf("without a row: %s", got)
		}
		w.access("ann", app, "t1", false, "")
		w.access("ann", "app_2", "t1", true, "")
		if got := reasonOf(t, c, "ann", app); got != access.NoAccess {
			t.Errorf("with a row that says no: %s", got)
		}
	})
}

func TestHostileIDsAreNobody(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		w.access("ann", app, "t1", true, "")
		c := access.New(w.Store, access.Options{})
		long := strings.Repeat("x", 1<<20)
		for _, id := range []string{"", "\x00", "ann\x00", "\xff\xfe", "' OR 1=1 --", "%", long} {
			if got := reasonOf(t, c, id, app); got != access.UnknownIdentity {
				t.Errorf("%.20q: %s", id, got)
			}
			if got := reasonOf(t, c, "ann", id); got != access.NoAccess {
				t.Errorf("application %.20q: %s", id, got)
			}
			if got := reasonIn(t, c, "ann", app, id); got != access.NoAccess {
				t.Errorf("tenant %.20q: %s", id, got)
			}
			if _, err := c.Tenant(t.Context(), id); err == nil || err.Error() != access.ErrUnknownTenant.Error() {
				t.Errorf("tenant %.20q: %v", id, err)
			}
			if _, err := c.TenantBySlug(t.Context(), id); err == nil || err.Error() != access.ErrUnknownTenant.Error() {
				t.Errorf("slug %.20q: %v", id, err)
			}
		}
	})
}

func TestADamagedGraveIsAnErrorAndNotAnAnswer(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		w.access("ann", app, "t1", true, "")
		w.grave("t1", "garbage")
		c := access.New(w.Store, access.Options{})
		if d, err := c.CheckIn(t.Context(), "ann", app, "t1"); err == nil || !strings.Contains(err.Error(), "t1") || d.Allowed {
			t.Errorf("%+v %v", d, err)
		}
	})
}
