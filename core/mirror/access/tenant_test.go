package access_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/avhub/avhub/core/mirror/access"
)

func TestTenantsAreFoundByIDAndBySlug(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		for id, slug := range map[string]string{"t1": "acme", "t2": "globex", "t3": "twice", "t4": "twice", "t5": "acme"} {
			status := "active"
			if id == "t2" {
				status = "suspended"
			}
			if id == "t5" {
				status = "deleted" // its successor took the slug over
			}
			w.must(w.tenant(id, status).SetSlug(slug).SetName("N").SetPlan("pro").Exec(t.Context()))
		}
		w.grave("t6", `{"v":1,"clocks":[[5,"e"]],"deleted":0,"alive":-1,"first":-1,"fields":{},"left":[]}`)
		c := access.New(w.Store, access.Options{})
		for range 2 { // read, then kept
			for _, try := range []struct {
				name   string
				bySlug bool
				want   access.Tenant
				err    error
			}{
				{"t1", false, access.Tenant{ID: "t1", Slug: "acme", Name: "N", Plan: "pro", Status: access.Allowed}, nil},
				{"acme", true, access.Tenant{ID: "t1", Slug: "acme", Name: "N", Plan: "pro", Status: access.Allowed}, nil},
				{"globex", true, access.Tenant{ID: "t2", Slug: "globex", Name: "N", Plan: "pro", Status: access.TenantSuspended}, nil},
				{"t6", false, access.Tenant{ID: "t6", Status: access.TenantDeleted}, nil},
				{"acme", false, access.Tenant{}, access.ErrUnknownTenant},
				{"t1", true, access.Tenant{}, access.ErrUnknownTenant},
				{"twice", true, access.Tenant{}, access.ErrAmbiguousTenant},
			} {
				find := c.Tenant
				if try.bySlug {
					find = c.TenantBySlug
				}
				got, err := find(t.Context(), try.name)
				if got != try.want || !errors.Is(err, try.err) {
					t.Errorf("%+v: %+v %v", try, got, err)
				}
			}
		}
	})
}

func TestATenantHasTheFeaturesOfItsPlanWhileItIsActive(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		for id, plan := range map[string]string{"pro": "pro", "free": "free", "odd": "no such plan", "star": "*"} {
			w.must(w.tenant(id, "active").SetPlan(plan).Exec(t.Context()))
		}
		w.must(w.tenant("suspended", "suspended").SetPlan("pro").Exec(t.Context()))
		w.must(w.tenant("deleted", "deleted").SetPlan("pro").Exec(t.Context()))
		c := access.New(w.Store, access.Options{Features: map[string][]string{
			"*": {"export"}, "pro": {"sso", "audit", "export"}, "free": {},
		}})
		for tenant, want := range map[string]string{
			"pro": "[audit export sso]", "free": "[export]", "odd": "[export]", "star": "[export]",
			"suspended": "[]", "deleted": "[]",
		} {
			is, err := c.Tenant(t.Context(), tenant)
			w.must(err)
			if got := fmt.Sprint(c.Features(is)); got != want {
				t.Errorf("%s has %s, want %s", tenant, got, want)
			}
			for _, feature := range []string{"sso", "export", "nothing"} {
				has, err := c.HasFeature(t.Context(), tenant, feature)
				w.must(err)
				if listed := contains(c.Features(is), feature); has != listed {
					t.Errorf("%s, %s: %v, but listed: %v", tenant, feature, has, listed)
				}
			}
		}
		if has, err := c.HasFeature(t.Context(), "unknown", "export"); has || err != nil {
			t.Errorf("a tenant that nobody knows: %v %v", has, err)
		}
	})
}

func contains(list []string, one string) bool {
	for _, s := range list {
		if s == one {
			return true
		}
	}
	return false
}
