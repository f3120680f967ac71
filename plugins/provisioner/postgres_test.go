package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/plugins/provisioner/name"
	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/plugins/provisioner/secret"
	"github.com/avhub/avhub/sdk/plugin"
)

// passwords is a server that asks everybody but its administrator for one.
func passwords(t *testing.T) *pgtest.Server {
	t.Helper()
	server := pgtest.NewServer(t)
	hba, err := os.CreateTemp("", "hba-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(hba.Name()) })
	_, err = hba.WriteString("local all postgres trust\nhost all postgres all trust\nlocal all all scram-sha-256\nhost all all all scram-sha-256\n")
	if err = errors.Join(err, hba.Chmod(0o644), hba.Close()); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, server.URL(), "", "", "")
	do(t, admin, "ALTER SYSTEM SET hba_file = '"+hba.Name()+"'")
	_ = admin.Close(t.Context())
	server.Stop(pgtest.Fast)
	server.Start()
	return server
}

func tryConnect(ctx context.Context, url, user, password, database string) (*pgx.Conn, error) {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if user != "" {
		conf.User, conf.Password, conf.Database = user, password, database
	}
	return pgx.ConnectConfig(ctx, conf)
}

func connect(t testing.TB, url, user, password, database string) *pgx.Conn {
	t.Helper()
	c, err := tryConnect(t.Context(), url, user, password, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func do(t testing.TB, c *pgx.Conn, statement string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func names(t testing.TB, c *pgx.Conn, query string) map[string]bool {
	t.Helper()
	rows, _ := c.Query(t.Context(), query)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, n := range all {
		out[n] = true
	}
	return out
}

// both is a configuration with schemas and databases on a server.
func both(t testing.TB, url string, more map[string]any) map[string]any {
	pg := func(driver string) map[string]any {
		r := map[string]any{"driver": driver, "postgres": map[string]any{"url": url, "init": "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('it''s first')"}}
		for k, v := range more {
			r[k] = v
		}
		return r
	}
	return map[string]any{
		"plans":     map[string]any{"free": []string{"app"}, "enterprise": []string{"app", "own"}},
		"resources": map[string]any{"app": pg("postgres-schema"), "own": pg("postgres-database")}, "allow_destroy": true, "sweep": "0s",
		"secrets": map[string]any{"dir": t.TempDir()}, "creates_per_minute": 100_000, "destroys_per_hour": 100_000,
	}
}

func secretAt(t testing.TB, path string) (s secret.Secret) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the secret: %v %v", info, err)
	}
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASuspendedTenantsLoginIsRefusedByPostgresItself(t *testing.T) {
	t.Parallel()
	server := passwords(t)
	r := newRig(t, both(t, server.URL(), nil))
	st := r.must(org("t1", "enterprise", "active"))
	for n, h := range st.Resources {
		s := secretAt(t, h.References["secret_ref"])
		if raw := string(r.states["t1"]); strings.Contains(raw, s.Password) {
			t.Fatal("the password is in the state")
		}
		if _, err := tryConnect(t.Context(), server.URL(), s.User, "wrong", s.Database); err == nil {
			t.Fatal("a wrong password is taken, so this test proves nothing")
		}
		session := connect(t, server.URL(), s.User, s.Password, s.Database)
		var text string
		if err := session.QueryRow(t.Context(), "SELECT text FROM notes").Scan(&text); err != nil || text != "it's first" {
			t.Errorf("%s: init left %q %v", n, text, err)
		}
		do(t, session, "CREATE TABLE mine (n INT)")
		for _, status := range []string{"suspended", "deleted"} {
			r.must(org("t1", "enterprise", status))
			if err := session.Ping(t.Context()); err == nil {
				t.Errorf("%s, %s: its session goes on", n, status)
			}
			var refused *pgconn.PgError
			if _, err := tryConnect(t.Context(), server.URL(), s.User, s.Password, s.Database); !errors.As(err, &refused) || refused.Code != "28000" {
				t.Errorf("%s, %s: it can log in: %v", n, status, err)
			}
			r.must(org("t1", "enterprise", "active"))
			session = connect(t, server.URL(), s.User, s.Password, s.Database)
			do(t, session, "INSERT INTO mine VALUES (1)")
		}
	}
}

func TestATenantCannotLookIntoAnother(t *testing.T) {
	t.Parallel()
	server := passwords(t)
	r := newRig(t, both(t, server.URL(), nil))
	mine := r.must(org("t1", "enterprise", "active"))
	other := r.must(org("t2", "enterprise", "active"))
	s := secretAt(t, mine.Resources["app"].References["secret_ref"])
	session := connect(t, server.URL(), s.User, s.Password, s.Database)
	if _, err := session.Exec(t.Context(), "SELECT * FROM "+other.Resources["app"].Name+".notes"); err == nil {
		t.Error("it reads another tenant's schema")
	}
	if _, err := tryConnect(t.Context(), server.URL(), s.User, s.Password, other.Resources["own"].Name); err == nil {
		t.Error("it connects to another tenant's database")
	}
}

func TestTwoHundredTenantsHaveExactlyWhatTheyShould(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	r := newRig(t, both(t, server.URL(), map[string]any{"deprovision": "delete", "grace": "72h"}))
	admin := connect(t, server.URL(), "", "", "")
	const tenants, large = 200, 20 // of which so many have a database
	id := func(i int) string { return "tnt_" + name.Hash(string(rune('A'+i))) }
	truth := make([]plugin.Organization, tenants)
	for _, stage := range []func(i int, o *plugin.Organization){
		func(i int, o *plugin.Organization) { *o = org(id(i), "free", "active") },
		func(i int, o *plugin.Organization) {
			if i < large {
				o.Plan = "enterprise"
			}
		},
		func(i int, o *plugin.Organization) {
			if i%3 == 0 {
				o.Status = "suspended"
			}
		},
		func(i int, o *plugin.Organization) {
			if o.Status = "active"; i%4 == 1 {
				o.Status = "deleted"
			}
		},
		func(i int, o *plugin.Organization) {
			if i%8 == 1 {
				o.Status = "active" // back again
			}
			if i < large/2 {
				o.Plan = "free" // the larger database becomes surplus
			}
		},
	} {
		var work []int
		for i := range truth {
			stage(i, &truth[i])
			for range 1 + rand.IntN(2) { // duplicates
				work = append(work, i)
			}
		}
		rand.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
		locks := make([]sync.Mutex, tenants) // a hub delivers one event of a tenant at a time
		queue := make(chan int)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for i := range queue {
					locks[i].Lock()
					if err := r.deliver(truth[i]); err != nil {
						t.Errorf("%s: %v", truth[i].TenantID, err)
					}
					locks[i].Unlock()
				}
			})
		}
		for _, i := range work {
			queue <- i
		}
		close(queue)
		all.Wait()
		compare(t, r, admin, truth)
	}
	r.now = r.now.Add(73 * time.Hour)
	for _, s := range r.sweep() {
		if s.Outcome != "deleted" {
			t.Errorf("%+v", s)
		}
	}
	if n := len(names(t, admin, "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'app\\_%'")); n != 175 {
		t.Errorf("%d schemas of 175 tenants that are left", n)
	}
	if n := len(names(t, admin, "SELECT datname::text FROM pg_database WHERE datname LIKE 'own\\_%'")); n != 9 {
		t.Errorf("%d databases of 9 that are left", n)
	}
	if n := len(names(t, admin, "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^(app|own)_'")); n != 184 {
		t.Errorf("%d roles of 184 that are left", n)
	}
}

// compare looks whether there is exactly what the tenants should have: by what
// they are, and by nothing that the connector remembers.
func compare(t *testing.T, r *rig, admin *pgx.Conn, truth []plugin.Organization) {
	t.Helper()
	schemas := names(t, admin, "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'app\\_%'")
	databases := names(t, admin, "SELECT datname::text FROM pg_database WHERE datname LIKE 'own\\_%'")
	logins := names(t, admin, "SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND rolname ~ '^(app|own)_'")
	roles := names(t, admin, "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^(app|own)_'")
	wantLogins := 0
	for _, o := range truth {
		app, own := name.Of("app", o.Slug, o.TenantID), name.Of("own", o.Slug, o.TenantID)
		if !schemas[app] || !roles[app] || logins[app] != (o.Status == "active") {
			t.Errorf("%s is %s: schema %t, role %t, login %t", o.TenantID, o.Status, schemas[app], roles[app], logins[app])
		}
		if logins[app] {
			wantLogins++
		}
		if want := o.Plan == "enterprise" && o.Status == "active"; logins[own] != want || want && !databases[own] || databases[own] != roles[own] {
			t.Errorf("%s is %s with plan %s: database %t, role %t, login %t", o.TenantID, o.Status, o.Plan, databases[own], roles[own], logins[own])
		}
		if logins[own] {
			wantLogins++
		}
	}
	if len(schemas) != len(truth) || len(roles) != len(schemas)+len(databases) || len(logins) != wantLogins {
		t.Errorf("%d schemas, %d databases, %d roles, %d logins of %d tenants", len(schemas), len(databases), len(roles), len(logins), len(truth))
	}
}

func TestWhatIsNotOursInPostgresIsNotTouched(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	admin := connect(t, server.URL(), "", "", "")
	r := newRig(t, both(t, server.URL(), nil))
	for i, statement := range []string{
		"CREATE ROLE app_NAME LOGIN", "CREATE SCHEMA app_NAME",
		"CREATE ROLE own_NAME LOGIN", "CREATE DATABASE own_NAME",
		`CREATE ROLE app_NAME LOGIN; COMMENT ON ROLE app_NAME IS 'avhub {"owner":"avhub","tenant":"another","resource":"app","phase":"active"}'`,
		`CREATE SCHEMA app_NAME; COMMENT ON SCHEMA app_NAME IS 'avhub {"owner":"another","tenant":"TENANT","resource":"app","phase":"active"}'`,
	} {
		o := org("t"+strings.Repeat("x", i), "enterprise", "active")
		called := strings.TrimPrefix(name.Of("app", o.Slug, o.TenantID), "app_")
		for one := range strings.SplitSeq(strings.NewReplacer("NAME", called, "TENANT", o.TenantID).Replace(statement), "; ") {
			do(t, admin, one)
		}
		print := func() string {
			var out string
			err := admin.QueryRow(t.Context(), `SELECT coalesce((SELECT string_agg(r::text || coalesce(shobj_description(r.oid, 'pg_authid'), ''), '' ORDER BY rolname) FROM pg_roles r WHERE right(rolname, length($1)) = $1 AND left(rolname, 3) = $2), '')
				|| coalesce((SELECT string_agg(n::text || coalesce(obj_description(n.oid, 'pg_namespace'), ''), '') FROM pg_namespace n WHERE right(nspname, length($1)) = $1 AND left(nspname, 3) = $2), '')
				|| coalesce((SELECT string_agg(d.datname || d.datdba || coalesce(d.datacl::text, ''), '') FROM pg_database d WHERE right(datname, length($1)) = $1 AND left(datname, 3) = $2), '')`,
				called, map[bool]string{true: "own", false: "app"}[strings.Contains(statement, "own_")]).Scan(&out)
			if err != nil || out == "" {
				t.Fatalf("%q %v", out, err)
			}
			return out
		}
		before := print()
		if err := r.deliver(o); err == nil || !strings.Contains(err.Error(), "not_owned") {
			t.Errorf("%s: %v", statement, err)
		}
		o.Status = "deleted"
		r.must(o)
		if after := print(); after != before {
			t.Errorf("%s: it was touched\n%s\n%s", statement, before, after)
		}
	}
}

func TestHostileSlugsAndIDsAreOnlyText(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	r := newRig(t, both(t, server.URL(), nil))
	admin := connect(t, server.URL(), "", "", "")
	for _, text := range []string{`'; DROP ROLE postgres; --`, `"quoted" $$ %I %L %s`, "../../x", "ünï\u2028 \\ \n", strings.Repeat("long ", 60), `\'`, "a\x00b"} {
		o := org("id "+text, "enterprise", "active")
		o.Slug = text
		st := r.must(o)
		for n, h := range st.Resources {
			found, err := r.c.list(t.Context(), n, name.Hash(o.TenantID))
			if err != nil || len(found) != 1 || found[0].Mark.Tenant != o.TenantID || !name.Safe(h.Name) {
				t.Errorf("%q: %+v %v", text, found, err)
			}
		}
	}
	if n := len(names(t, admin, "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_'")); n != 15 {
		t.Errorf("%d roles; 14 were made", n)
	}
	if err := r.deliver(org(strings.Repeat("x", 1000), "free", "active")); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("an endless id: %v", err)
	}
}

func TestAnAdministratorNeedsOnlyTheRightsThatTheDocsSay(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	admin := connect(t, server.URL(), "", "", "")
	do(t, admin, "CREATE ROLE provisioner LOGIN CREATEROLE CREATEDB")
	do(t, admin, "CREATE DATABASE tenants OWNER provisioner")
	url := strings.Replace(strings.Replace(server.URL(), "postgres@", "provisioner@", 1), "/postgres?", "/tenants?", 1)
	if !strings.Contains(url, "provisioner@") || !strings.Contains(url, "/tenants?") {
		t.Fatalf("the URL is %s", url)
	}
	r := newRig(t, both(t, url, map[string]any{"deprovision": "delete", "grace": "0s"}))
	if err := r.c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, status := range []string{"active", "suspended", "active", "deleted"} {
		r.must(org("t1", "enterprise", status))
	}
	if out := r.sweep(); len(out) != 2 || out[0].Outcome != "deleted" || out[1].Outcome != "deleted" {
		t.Errorf("%+v", out)
	}
	do(t, admin, "ALTER ROLE provisioner NOCREATEROLE")
	if err := r.c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "CREATEROLE") {
		t.Errorf("%v", err)
	}
}

func TestABrokenInitLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	for _, text := range []string{"CREATE TABLE broken (", "COMMIT; CREATE TABLE x (n INT)", "SELECT 1/0"} {
		cfg := both(t, server.URL(), nil)
		for _, n := range []string{"app", "own"} {
			cfg["resources"].(map[string]any)[n].(map[string]any)["postgres"].(map[string]any)["init"] = text
		}
		r := newRig(t, cfg)
		if err := r.deliver(org("t1", "enterprise", "active")); err == nil || !strings.Contains(err.Error(), "init") {
			t.Errorf("%q: %v", text, err)
		}
		for n, h := range r.state("t1").Resources {
			if have, err := r.c.drivers[n].Observe(t.Context(), h.Name); err != nil || have.Whole || have.Open || h.Made || h.Problem == "" {
				t.Errorf("%q: %s: %+v %+v %v", text, n, have, h, err)
			}
		}
	}
	// With an init that works, what was half made is finished.
	r := newRig(t, both(t, server.URL(), nil))
	for n, h := range r.must(org("t1", "enterprise", "active")).Resources {
		if h.Phase != resource.Active || filepath.Base(h.References["secret_ref"]) != h.Name+".json" {
			t.Errorf("%s: %+v", n, h)
		}
	}
}
