package isolated_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/internal/storetest"
)

func databases(t *testing.T, url, hubURL string) *isolated.Databases {
	t.Helper()
	d, err := isolated.New(isolated.Config{URL: url}, isolated.Deps{HubURL: hubURL})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func hostile() []string {
	return []string{
		"", ".", "..", "../../etc/passwd", "a/b", "a\\b", "A", "a", "a ", " a", "a.db", "a\x00b", "a%2fb", "{slug}", "{tenant_id}",
		"nämlich", "名前", `a"b`, "a'b", "a;DROP DATABASE x", "-rf", "~", "$HOME", "a?mode=memory", "a#b", "\xff\xfe",
		strings.Repeat("x", 300), strings.Repeat("x", 301), strings.Repeat("é", 200), "con", "postgres", "template0",
	}
}

func TestNoIdLeavesTheFolderOrMeetsAnother(t *testing.T) {
	t.Parallel()
	file := regexp.MustCompile(`^sqlite:data/tenants/t-[a-z0-9_-]+\.db$`)
	name := regexp.MustCompile(`^postgres:t_[a-z0-9_-]+$`)
	lite := databases(t, "sqlite://data/tenants/t-{tenant_id}.db", "sqlite://data/avhub.db")
	pg := databases(t, "postgres://u:p@h:1/t_{tenant_id}?sslmode=disable", "postgres://u:p@h:1/avhub")
	seen := map[string]string{}
	for _, id := range hostile() {
		for n := range 3 {
			a, b := lite.Place(n, id, ""), pg.Place(n, id, "")
			if !file.MatchString(a) || len(filepath.Base(a)) > 63 {
				t.Errorf("%q: %q", id, a)
			}
			if !name.MatchString(b) || len(strings.TrimPrefix(b, "postgres:")) > 63 {
				t.Errorf("%q: %q", id, b)
			}
			for _, place := range []string{a, b} {
				if other, taken := seen[place]; taken {
					t.Errorf("%q and %q share %q", id, other, place)
				}
				seen[place] = id
			}
		}
	}
	if got := lite.Place(0, "ten_1", ""); got != "sqlite:data/tenants/t-ten_1.db" {
		t.Errorf("a plain id became %q", got)
	}
}

func TestASlugCannotNameTheHubsOwnDatabaseOrTheServers(t *testing.T) {
	t.Parallel()
	lite := databases(t, "sqlite://data/{slug}.db", "sqlite://./data/avhub.db")
	pg := databases(t, "postgres://u:p@h/{slug}", "postgres://u:p@h/avhub")
	for _, slug := range []string{"avhub", "postgres", "template1", "acme"} {
		want := slug != "acme"
		if got := pg.Reserved(pg.Place(0, "t1", slug)); got != want {
			t.Errorf("Postgres, %s: reserved is %v", slug, got)
		}
	}
	if !lite.Reserved(lite.Place(0, "t1", "avhub")) || lite.Reserved(lite.Place(1, "t1", "avhub")) {
		t.Error("a slug may name the hub's own file")
	}
}

func TestAURLWithoutRoomForIdsIsRefused(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://u:secret@h/" + strings.Repeat("x", 50) + "{slug}",
		"sqlite://data/tenants.db",
	} {
		_, err := isolated.New(isolated.Config{URL: url}, isolated.Deps{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func tenantCreated(w *world, tenant, slug string) *event.Event {
	return w.event(event.TypeTenantCreated, false, tenant, "", map[string]any{"tenant_id": tenant, "name": tenant, "slug": slug})
}

func TestTwoTenantsWithOneSlugAndAStrangersFileKeepApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{slug}.db"})
	stranger := filepath.Join(dir, "billing.db")
	if err := os.WriteFile(stranger, []byte("not a database, and not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{Rand: random(1), t: t}
	r.append(tenantCreated(w, "t1", "acme"), tenantCreated(w, "t2", "acme"), tenantCreated(w, "t3", "billing"), tenantCreated(w, "t4", "../../etc"))
	// One whose slug was never told has its id in the name.
	r.append(w.event(event.TypeMemberJoined, false, "t5", "", map[string]any{"membership_id": "m", "sub": "p"}))
	r.settle()
	places := map[string]bool{}
	for _, d := range r.list(false) {
		if filepath.Dir(d.Place) != dir || places[d.Place] || d.Place == stranger {
			t.Errorf("tenant %s is at %s", d.Tenant, d.Place)
		}
		places[d.Place] = true
		if n, err := r.open(d.Tenant).Read().Organization.Query().Count(context.Background()); err != nil || n > 1 {
			t.Errorf("tenant %s: %d organizations, %v", d.Tenant, n, err)
		}
		info, err := os.Stat(d.Place)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v %v", d.Place, info.Mode(), err)
		}
	}
	if !places[filepath.Join(dir, "acme.db")] || !places[filepath.Join(dir, "t5.db")] {
		t.Errorf("places: %v", places)
	}
	if left, err := os.ReadFile(stranger); err != nil || string(left) != "not a database, and not ours" {
		t.Errorf("a stranger's file was touched: %q, %v", left, err)
	}
	// A place stays when the slug changes.
	before := r.at("t1").Place
	r.append(w.event(event.TypeTenantUpdated, false, "t1", "", map[string]any{"tenant_id": "t1", "slug": "other"}))
	r.restart()
	r.settle()
	if after := r.at("t1").Place; after != before {
		t.Errorf("the place moved from %s to %s", before, after)
	}
}

func TestAHubThatLostItsDatabaseFindsItsTenantsAgain(t *testing.T) {
	t.Parallel()
	url := "sqlite://" + t.TempDir() + "/{tenant_id}.db"
	w := &world{Rand: random(1), t: t}
	ev := tenantCreated(w, "t1", "acme")
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: url})
	r.append(ev)
	r.settle()
	place := r.at("t1").Place
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := setup(t, storetest.SQLite(t), isolated.Config{URL: url})
	again.append(ev)
	again.settle()
	if got := again.at("t1").Place; got != place {
		t.Errorf("it is at %s now, was at %s", got, place)
	}
}
