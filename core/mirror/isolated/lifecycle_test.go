package isolated_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

func (w *world) about(typ, tenant string, more map[string]any) said {
	data := map[string]any{"tenant_id": tenant, "name": "Fjord", "slug": "fjord"}
	for k, v := range more {
		data[k] = v
	}
	return said{Event: w.at(typ, tenant, data), tenant: tenant, person: text(more["sub"])}
}

func text(v any) string { s, _ := v.(string); return s }

// at makes an event that is newer than all before it.
func (w *world) at(typ, tenant string, data map[string]any) *event.Event {
	return w.renew(w.event(typ, false, tenant, "a1", data))
}

// newer makes what was said newer than all before it.
func (w *world) newer(s said) said {
	s.Event = w.renew(s.Event)
	return s
}

func (w *world) renew(ev *event.Event) *event.Event {
	ev.Evidence.Body = []byte(strings.Replace(string(ev.Evidence.Body), ev.Time.Format("2006-01-02T15:04:05.000000Z"),
		start.AddDate(0, 0, w.next).Format("2006-01-02T15:04:05.000000Z"), 1))
	newer, err := event.DecodeWebhook(ev.Evidence.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	newer.Source, newer.Channel, newer.ReceivedAt, newer.Evidence = ev.Source, ev.Channel, ev.ReceivedAt, ev.Evidence
	return newer
}

// exists tells whether there is a database at a place.
func (r *rig) exists(place string) bool {
	r.t.Helper()
	if strings.HasPrefix(r.cfg.URL, "sqlite") {
		matches, err := filepath.Glob(place + "*")
		if err != nil {
			r.t.Fatal(err)
		}
		return len(matches) > 0
	}
	st, err := store.Open(context.Background(), r.URL("postgres:"+place), store.Options{Small: true})
	if err == nil {
		_ = st.Close()
	}
	return err == nil
}

func TestTheDatabaseOfADeletedTenantIsDroppedAndMadeAnewWhenItIsBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, hubURL, tenantURL string) {
		r := setup(t, hubURL, isolated.Config{URL: tenantURL, Drop: true})
		w := &world{Rand: random(1), t: t}
		var all []said
		say := func(more ...said) {
			all = append(all, more...)
			r.say(more)
			r.settle()
		}
		say(w.about(event.TypeTenantCreated, "t1", nil),
			w.about(event.TypeMemberJoined, "t1", map[string]any{"membership_id": "m1", "sub": "p1"}),
			w.about(event.TypeTenantCreated, "t2", nil))
		place := r.at("t1").Place
		if !r.exists(place) {
			t.Fatalf("no database at %s", place)
		}
		say(w.about(event.TypeTenantDeleted, "t1", nil))
		if d := r.at("t1"); d.State != "deleted" || r.exists(place) {
			t.Fatalf("it is still there: %+v", d)
		}
		if _, _, err := r.Mirror(context.Background(), "t1"); !errors.Is(err, isolated.ErrNoDatabase) {
			t.Errorf("reading it: %v", err)
		}
		// What comes late, and what is for everybody, does not bring it back.
		say(w.about(event.TypeMemberLeft, "t1", map[string]any{"membership_id": "m1", "sub": "p1"}),
			said{Event: w.event(event.TypeApplicationCreated, true, "", "", map[string]any{"application_id": "a9", "tenant_id": nil, "name": "x"}), global: true})
		if d := r.at("t1"); d.State != "deleted" || r.exists(place) {
			t.Fatalf("it is back: %+v", d)
		}
		if d := r.at("t2"); d.State != "current" {
			t.Errorf("the other tenant: %+v", d)
		}
		r.restart()
		say(w.about(event.TypeTenantCreated, "t1", nil))
		if d := r.at("t1"); d.State != "current" || !r.exists(place) {
			t.Fatalf("it is not back: %+v", d)
		}
		r.check(all, "t1")
		r.check(all, "t2")
	})
}

func TestADropThatWasInterruptedIsDoneAgain(t *testing.T) {
	t.Parallel()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db", Drop: true})
	w := &world{Rand: random(1), t: t}
	r.say([]said{w.about(event.TypeTenantCreated, "t1", nil), w.about(event.TypeTenantDeleted, "t1", nil)})
	ctx := context.Background()
	if _, err := r.Dispatch(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Feed(ctx, "t1", false); err != nil { // and the hub crashes before it notes that
		t.Fatal(err)
	}
	r.restart()
	r.settle()
	if d := r.at("t1"); d.State != "deleted" || r.exists(d.Place) {
		t.Errorf("%+v", d)
	}
}

func TestAReaderHoldsUpADropOnlyUntilItIsDone(t *testing.T) {
	t.Parallel()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db", Drop: true})
	w := &world{Rand: random(1), t: t}
	r.say([]said{w.about(event.TypeTenantCreated, "t1", nil)})
	r.settle()
	ctx := context.Background()
	_, release, err := r.Mirror(ctx, "t1")
	if err != nil {
		t.Fatal(err)
	}
	r.say([]said{w.about(event.TypeTenantDeleted, "t1", nil)})
	if _, err := r.Dispatch(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Feed(ctx, "t1", true); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("dropped while somebody reads: %v", err)
	}
	release()
	r.settle()
	if d := r.at("t1"); d.State != "deleted" {
		t.Errorf("%+v", d)
	}
}

func TestTheDatabaseOfADeletedTenantIsKeptEmptyUnlessAskedFor(t *testing.T) {
	t.Parallel()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db"})
	w := &world{Rand: random(1), t: t}
	all := []said{w.about(event.TypeTenantCreated, "t1", nil), w.about(event.TypeTenantDeleted, "t1", nil)}
	r.say(all)
	r.settle()
	n, err := r.open("t1").Read().Organization.Query().Count(context.Background())
	if d := r.at("t1"); d.State != "current" || n != 0 || err != nil {
		t.Errorf("%+v, %d organizations, %v", d, n, err)
	}
}

func TestADatabaseOfAnotherTenantOrAHubIsNotTouched(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{tenant_id}.db"})
	w := &world{Rand: random(1), t: t}
	r.say([]said{w.about(event.TypeTenantCreated, "t1", nil), w.about(event.TypeTenantCreated, "t2", nil)})
	r.settle()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Databases = nil
	r.restart()
	// Somebody mixes up files, and copies the hub's own one to where a tenant's was.
	copyFile(t, filepath.Join(dir, "t1.db"), filepath.Join(dir, "t2.db"))
	hub := storetest.Open(t, "sqlite://"+dir+"/other.db")
	if _, err := hub.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES ('journal', 7)`); err != nil {
		t.Fatal(err)
	}
	if err := hub.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(dir, "other.db"), filepath.Join(dir, "t1.db"))
	r.say([]said{w.about(event.TypeTenantUpdated, "t1", nil), w.about(event.TypeTenantUpdated, "t2", nil)})
	if _, err := r.Dispatch(ctx); err != nil {
		t.Fatal(err)
	}
	for tenant, want := range map[string]string{"t1": "a hub's own", "t2": `of tenant "t1"`} {
		if _, err := r.Feed(ctx, tenant, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", tenant, err)
		}
		if d := r.at(tenant); d.State != "failing" || !strings.Contains(d.LastError, want) {
			t.Errorf("%s: %+v", tenant, d)
		}
	}
}

func TestADatabaseThatIsAheadOfTheHubIsNotFedUntilItIsRebuilt(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db"})
	w := &world{Rand: random(1), t: t}
	all := []said{w.about(event.TypeTenantCreated, "t1", nil)}
	r.say(all)
	r.settle()
	st := r.open("t1")
	if _, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_tenant_databases SET position = 1000`); err != nil {
		t.Fatal(err)
	}
	if _, err := st.SQL(ctx).Exec(ctx, `UPDATE av_organizations SET name = 'from before'`); err != nil {
		t.Fatal(err)
	}
	more := w.about(event.TypeTenantUpdated, "t1", nil)
	all = append(all, more)
	r.say(all[1:])
	if _, err := r.Dispatch(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Feed(ctx, "t1", true); err == nil || !strings.Contains(err.Error(), "avhub tenant rebuild") {
		t.Errorf("it was fed: %v", err)
	}
	if n, err := isolated.Rebuild(ctx, r.hub, "t1"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	r.settle()
	r.check(all, "t1")
}

func TestOldSchemasAreLeftToMigrateWhereThatIsManual(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	folder := t.TempDir()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + folder + "/{tenant_id}.db", Manual: true})
	w := &world{Rand: random(1), t: t}
	r.say([]said{w.about(event.TypeTenantCreated, "t1", nil), w.about(event.TypeTenantCreated, "t2", nil)})
	r.settle() // new ones get their schema all the same
	r.restart()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(folder, "t1.db"+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	storetest.Old(t, filepath.Join(folder, "t1.db"))
	r.say([]said{w.about(event.TypeTenantUpdated, "t1", nil)})
	if _, err := r.Dispatch(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Feed(ctx, "t1", true); err == nil || !strings.Contains(err.Error(), "avhub migrate") {
		t.Fatalf("an old schema was used: %v", err)
	}
	for _, look := range []bool{true, false} {
		found := map[string]isolated.Schema{}
		if err := r.Migrate(ctx, look, func(s isolated.Schema, of int64) { found[s.Tenant] = s }); err != nil {
			t.Fatal(err)
		}
		if len(found) != 2 || (found["t1"].Err != nil) != look || (len(found["t1"].Ran) == 1) == look || found["t2"].Err != nil {
			t.Errorf("look %v: %+v", look, found)
		}
	}
	r.settle()
}

func TestLaw6_AnEventThatATenantsDatabaseRefusesCostsOnlyItself(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db"})
	w := &world{Rand: random(1), t: t}
	r.say([]said{w.about(event.TypeTenantCreated, "t1", nil)})
	r.settle()
	if _, err := r.open("t1").SQL(ctx).Exec(ctx, `CREATE TRIGGER no BEFORE INSERT ON av_identities WHEN new.sub = 'p2'
 BEGIN SELECT RAISE(ABORT, 'not here'); END`); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"p1", "p2", "p3"} {
		r.say([]said{w.about(event.TypeMemberJoined, "t1", map[string]any{"membership_id": "m" + sub, "sub": sub})})
	}
	r.settle()
	subs, err := r.open("t1").Read().Identity.Query().IDs(ctx)
	slices.Sort(subs)
	if err != nil || !slices.Equal(subs, []string{"p1", "p3"}) {
		t.Errorf("%v, %v", subs, err)
	}
}

func TestARebuildEmptiesEveryTableOfTheMirrorButSessions(t *testing.T) {
	t.Parallel()
	var tables []string
	st := storetest.Open(t, storetest.SQLite(t))
	err := st.ReadSQL().Query(context.Background(), func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		tables = append(tables, name)
		return err
	}, `SELECT name FROM sqlite_master WHERE type = 'table' AND (name LIKE 'av\_%' ESCAPE '\' OR name LIKE 'avhub\_mirror\_%' ESCAPE '\')`)
	if err != nil {
		t.Fatal(err)
	}
	want := append(isolated.Mirrored(), "av_identity_sessions")
	slices.Sort(want)
	slices.Sort(tables)
	if !slices.Equal(tables, want) {
		t.Errorf("the mirror has %v, a rebuild knows %v", tables, want)
	}
}

func TestWhatAnAdministratorMustDoIsSaidAndThePasswordIsNot(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := pgtest.NewServer(t)
	admin := storetest.Open(t, server.URL())
	if _, err := admin.SQL(ctx).Exec(ctx, `CREATE ROLE hub LOGIN PASSWORD 's3cr3t-c4n4ry'`); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(strings.Replace(server.URL(), "postgres@", "hub:s3cr3t-c4n4ry@", 1), "/postgres?", "/tenant_{tenant_id}?", 1)
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: url})
	w := &world{Rand: random(1), t: t}
	all := []said{w.about(event.TypeTenantCreated, "t1", nil)}
	r.say(all)
	if _, err := r.Dispatch(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Feed(ctx, "t1", true); err == nil {
		t.Fatal("a user without the right created a database")
	}
	said := r.at("t1").LastError
	create := `CREATE DATABASE "tenant_t1" OWNER "hub" TEMPLATE template0 ENCODING 'UTF8'`
	if !strings.Contains(said, create) || strings.Contains(said, "c4n4ry") {
		t.Fatal(said)
	}
	if err := r.Check(ctx); !errors.Is(err, isolated.ErrMayNotCreate) {
		t.Errorf("check: %v", err)
	}
	if _, err := admin.SQL(ctx).Exec(ctx, create); err != nil {
		t.Fatal(err)
	}
	r.settle()
	r.check(all, "t1")
	server.Stop(pgtest.Fast)
	if err := r.Check(ctx); err == nil || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("check without a server: %v", err)
	}
	server.Start()
}

func TestTheFolderIsClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{tenant_id}.db"})
	r.say([]said{(&world{Rand: random(1), t: t}).about(event.TypeTenantCreated, "t1", nil)})
	r.settle()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
