package isolated_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 5)) }

// clock is a time that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time           { return store.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(by time.Duration) { c.ahead.Add(int64(by)) }

// start runs the databases until the test, or the returned function, ends it.
func (r *rig) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) current(tenant string, position int64) bool {
	for _, d := range r.list(false) {
		if d.Tenant == tenant {
			return d.State == "current" && d.Position >= position
		}
	}
	return false
}

func (r *rig) last() int64 {
	r.t.Helper()
	last, err := r.journal.Last(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return last
}

// check compares a tenant's database with what its events make of an empty one.
func (r *rig) check(all []said, tenant string) {
	r.t.Helper()
	if d := diff(replay(r.t, r.cfg.URL, concern(all, tenant)), dump(context.Background(), r.t, r.open(tenant).ReadSQL())); d != "" {
		r.t.Errorf("tenant %q:\n%s", tenant, d)
	}
}

func (r *rig) say(all []said) {
	r.t.Helper()
	for _, s := range all {
		r.append(s.Event)
	}
}

func TestLaw6_OneTenantsDatabaseThatFailsDelaysNoOtherAndLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := &clock{}
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{tenant_id}.db"})
	r.now = c.now
	r.restart()
	blocked := filepath.Join(dir, "t2.db")
	w := &world{Rand: random(2), t: t, tenants: []string{"t1", "t2", "t3"}}
	all := w.some(30)
	r.say(all)
	stop := r.start()
	until(t, "all are fed", func() bool { return r.current("t1", 1) && r.current("t2", 1) && r.current("t3", 1) })
	stop()
	r.restart()

	// Its file is away and something else is in its place.
	for _, ending := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(blocked+ending, filepath.Join(dir, "away"+ending)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	stop = r.start()
	more := w.some(60)
	all = append(all, more...)
	r.say(more)
	until(t, "the others are fed", func() bool {
		return r.at("t1").State == "current" && r.at("t1").Target > 30 && r.at("t3").State == "current" && r.at("t3").Target > 30
	})
	for i := range 5 {
		until(t, "it fails again", func() bool { return r.at("t2").Attempts > i })
		if d := r.at("t2"); d.State != "failing" || !strings.Contains(d.LastError, "directory") || d.NextAt.Sub(c.now()) > isolated.Backoff(99) {
			t.Fatalf("%+v", d)
		}
		c.forward(10 * time.Minute)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	for _, ending := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(filepath.Join(dir, "away"+ending), blocked+ending); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if n, err := isolated.Retry(context.Background(), r.hub, "t2"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	until(t, "it has caught up", func() bool { return r.current("t2", r.at("t2").Target) })
	stop()
	for _, tenant := range w.tenants {
		r.check(all, tenant)
	}
}

func TestLaw6_AServerThatIsDownIsWaitedForAndNothingIsLost(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	url := strings.Replace(server.URL(), "/postgres?", "/tenant_{tenant_id}?", 1)
	c := &clock{}
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: url})
	r.now = c.now
	r.restart()
	w := &world{Rand: random(3), t: t, tenants: []string{"t1", "t2"}}
	all := w.some(30)
	r.say(all)
	stop := r.start()
	until(t, "all are fed", func() bool { return r.current("t1", 1) && r.current("t2", 1) })
	server.Stop(pgtest.Fast)
	more := w.some(40)
	all = append(all, more...)
	r.say(more)
	until(t, "both fail", func() bool { return r.at("t1").Attempts > 0 && r.at("t2").Attempts > 0 })
	server.Start()
	c.forward(time.Minute)
	until(t, "both have caught up", func() bool { return r.current("t1", r.at("t1").Target) && r.current("t2", r.at("t2").Target) })
	stop()
	for _, tenant := range w.tenants {
		r.check(all, tenant)
	}
}

func TestLaw7_ADatabaseThatAPowerCutSetBackCatchesUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{tenant_id}.db"})
	w := &world{Rand: random(4), t: t, tenants: []string{"t1"}}
	first := w.some(30)
	r.say(first)
	r.start()()
	r.settle()
	r.restart()
	copyFile(t, filepath.Join(dir, "t1.db"), filepath.Join(dir, "old"))
	second := w.some(30)
	r.say(second)
	stop := r.start()
	until(t, "it is fed", func() bool { return r.current("t1", 31) })
	stop()
	crashed(t, r)
	copyFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "t1.db"))
	want := replay(t, r.cfg.URL, concern(append(first, second...), "t1"))
	got := func() []string { return dump(context.Background(), t, r.open("t1").ReadSQL()) }
	if diff(want, got()) == "" {
		t.Fatal("nothing was set back")
	}
	r.start()
	until(t, "it has caught up", func() bool { return r.current("t1", 31) && diff(want, got()) == "" })
}

// crashed is restart for a hub that did not end in order.
func crashed(t *testing.T, r *rig) {
	t.Helper()
	r.restart()
	if _, err := r.hub.SQL(context.Background()).Exec(context.Background(), `UPDATE avhub_counters SET value = 1 WHERE name = 'tenants_running'`); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	for _, ending := range []string{"-wal", "-shm"} {
		if err := os.Remove(to + ending); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if _, err := os.Stat(from + ending); err == nil {
			t.Fatalf("%s is open", from)
		}
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLaw8_TwoHubsFeedTenantsDatabasesAsOne(t *testing.T) {
	t.Parallel()
	r := setup(t, pgtest.URL(t), isolated.Config{URL: tenantURL(t, pgtest.URL(t)), MaxOpen: 2})
	other, err := isolated.New(r.cfg, isolated.Deps{Store: r.hub, HubURL: r.hubURL, Journal: r.reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	r.Sizes(3, 3)
	other.Sizes(5, 2)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { other.Run(ctx) })
	w := &world{Rand: random(5), t: t, tenants: []string{"t1", "t2", "t3", "t4"}}
	all := w.some(150)
	r.say(all)
	until(t, "all is dispatched and fed", func() bool {
		at, err := r.hub.Read().Counter.Get(ctx, "tenants_dispatch")
		return err == nil && at.Value == r.last() && len(r.list(true)) == 0
	})
	cancel()
	running.Wait()
	for _, tenant := range w.tenants {
		r.check(all, tenant)
	}
}

func TestLaw10_NoMoreDatabasesAreOpenThanMayBe(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db", MaxOpen: 2})
	w := &world{Rand: random(6), t: t}
	for i := range 20 {
		tenant := fmt.Sprintf("t%d", i)
		r.append(tenantCreated(w, tenant, tenant))
	}
	stop := r.start()
	most := 0
	until(t, "all are fed", func() bool {
		most = max(most, r.Open())
		return len(r.list(false)) == 20 && len(r.list(true)) == 0
	})
	stop()
	if most > 2 || most == 0 {
		t.Errorf("%d databases were open", most)
	}
	// Who reads holds a database open, and others wait for room no longer than
	// they want to.
	client, release, err := r.Mirror(ctx, "t1")
	if err != nil {
		t.Fatal(err)
	}
	_, release2, err := r.Mirror(ctx, "t2")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, _, err := r.Mirror(short, "t3"); err == nil {
		t.Error("a third database was opened")
	}
	if n, err := client.Organization.Query().Count(ctx); err != nil || n != 1 {
		t.Errorf("%d organizations, %v", n, err)
	}
	release2()
	release2() // twice is once
	if _, release3, err := r.Mirror(ctx, "t3"); err != nil {
		t.Error(err)
	} else {
		release3()
	}
	release()
	if _, _, err := r.Mirror(ctx, "nobody"); err == nil {
		t.Error("a tenant that nobody knows has a database")
	}
}

func TestLaw6_ALockedDatabaseHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db"})
	w := &world{Rand: random(7), t: t}
	all := []said{w.about(event.TypeTenantCreated, "t1", nil), w.about(event.TypeTenantCreated, "t2", nil)}
	r.say(all)
	r.settle()
	locked, unlock := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	st := r.open("t2")
	go func() {
		done <- st.InTx(ctx, func(context.Context) error {
			close(locked)
			<-unlock
			return nil
		})
	}()
	<-locked
	r.start()
	for range 5 {
		more := []said{w.about(event.TypeTenantUpdated, "t1", nil), w.about(event.TypeTenantUpdated, "t2", nil)}
		all = append(all, more...)
		r.say(more)
		until(t, "the other one is fed", func() bool { return r.current("t1", r.last()-1) })
	}
	if d := r.at("t2"); d.State == "current" {
		t.Error("a locked database was fed")
	}
	until(t, "it is told", func() bool { return strings.Contains(r.at("t2").LastError, "locked") })
	close(unlock)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	until(t, "it has caught up", func() bool { return r.current("t2", r.last()) })
	r.check(all, "t2")
}

func TestManyDatabasesThatFailDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{tenant_id}.db"})
	w := &world{Rand: random(8), t: t}
	const broken = 300 // more than are taken up at once
	for i := range broken {
		tenant := fmt.Sprintf("a%03d", i)
		r.append(tenantCreated(w, tenant, tenant))
	}
	for more := true; more; {
		var err error
		if more, err = r.Dispatch(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	place := "sqlite:" + dir + "/folder.db" // each of them
	if err := os.Mkdir(dir+"/folder.db", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.hub.SQL(context.Background()).Exec(context.Background(), `UPDATE avhub_tenant_databases SET place = ?`, place); err != nil {
		t.Fatal(err)
	}
	c := &clock{}
	r.now = c.now
	r.restart()
	r.start()
	for i := range 3 {
		until(t, "many have failed", func() bool {
			n := 0
			for _, d := range r.list(true) {
				if d.Attempts > i {
					n++
				}
			}
			return n > broken/2
		})
		c.forward(time.Hour) // all are due again
		tenant := fmt.Sprintf("z%d", i)
		r.append(tenantCreated(w, tenant, tenant))
		until(t, "a healthy one is fed", func() bool {
			for _, d := range r.list(false) {
				if d.Tenant == tenant {
					return d.State == "current"
				}
			}
			return false
		})
	}
}
