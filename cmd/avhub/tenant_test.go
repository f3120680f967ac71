package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/simulator"
)

// tenantSite is a site whose tenants have databases of their own.
func tenantSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t, sqlite)
	path := filepath.Join(s.dir, "avhub.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(text)+"mirror:\n  tenants: { mode: isolated, url: \"sqlite://data/tenants/{tenant_id}.db\" }\n")
	return s
}

func TestTenantsOwnDatabasesAreFedListedMigratedAndRebuilt(t *testing.T) {
	t.Parallel()
	s := tenantSite(t)
	_, _, admin := s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"})
	list := func(args ...string) []isolated.Database {
		return read[[]isolated.Database](t, s.dir, append([]string{"tenant", "list"}, args...)...)
	}
	eventually(t, "the tenant's database is fed", func() bool { l := list(); return len(l) == 1 && l[0].State == "current" })
	tenant := list()[0]
	if tenant.Place != "data/tenants/"+tenant.Tenant+".db" || tenant.Position != tenant.Target || len(list("--behind")) != 0 {
		t.Errorf("%+v", tenant)
	}
	if got := done(t, s.dir, "tenant", "list"); !strings.Contains(got.out, tenant.Place) || !strings.Contains(got.out, "current") {
		t.Errorf("got\n%s", got.out)
	}
	// It is a mirror like the hub's own: the same verbs read it.
	there := "storage.url=sqlite://" + tenant.Place
	if got := done(t, s.dir, "org", "list", "--set", there); !strings.Contains(got.out, tenant.Tenant) {
		t.Errorf("got\n%s%s", got.out, got.err)
	}
	if got := done(t, s.dir, "migrate"); !strings.Contains(got.err, "1 database of tenants: 0 changed, 1 up to date") {
		t.Errorf("got %s", got.err)
	}
	if got := done(t, s.dir, "tenant", "rebuild", tenant.Tenant); !strings.Contains(got.err, "rebuild 1 database") {
		t.Errorf("got %s", got.err)
	}
	eventually(t, "it is rebuilt", func() bool { return list()[0].State == "current" })
	if got := run(t, s.dir, "tenant", "retry", "nobody"); got.code != 1 || !strings.Contains(got.err, `tenant "nobody" has no database`) {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
	for _, args := range []string{"tenant retry", "tenant rebuild", "tenant retry --all x", "tenant list --limit 0"} {
		if got := run(t, s.dir, strings.Fields(args)...); got.code != 2 {
			t.Errorf("avhub %s: exit code %d, %s", args, got.code, got.err)
		}
	}
	done(t, s.dir, "tenant", "retry", "--all")
	req, err := http.NewRequest(http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	eventually(t, "the metrics tell of it", func() bool {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(text), `avhub_tenant_databases{state="current"} 1`)
	})
}

func TestCheckTriesWhereTenantsDatabasesWillBe(t *testing.T) {
	t.Parallel()
	s := tenantSite(t)
	if got := done(t, s.dir, "check"); !strings.Contains(got.out, "tenants' databases") {
		t.Errorf("got %s", got.out)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "data", "tenants")); err == nil {
		t.Error("check made the folder")
	}
	for _, url := range []string{"sqlite://avhub.yaml/{tenant_id}.db", "postgres://u:c4n4ry@127.0.0.1:1/t_{slug}"} {
		got := run(t, s.dir, "check", "--set", "mirror.tenants.url="+url)
		if got.code != 1 || !strings.Contains(got.err, "mirror.tenants.url") || strings.Contains(got.out+got.err, "c4n4ry") {
			t.Errorf("%s: exit code %d\n%s%s", url, got.code, got.out, got.err)
		}
	}
}
