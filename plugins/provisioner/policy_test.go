package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// files is a configuration with databases in a folder.
func files(dir string, more map[string]any) map[string]any {
	db := map[string]any{"driver": "sqlite", "sqlite": map[string]any{"dir": dir}}
	for k, v := range more {
		db[k] = v
	}
	return map[string]any{
		"plans": map[string]any{"pro": []string{"db"}, "free": []string{}}, "resources": map[string]any{"db": db},
		"allow_destroy": true, "sweep": "0s",
	}
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}

func TestADeletedTenantsDataIsKeptByDefaultAndComesBackWithIt(t *testing.T) {
	r := newRig(t, files(t.TempDir(), nil))
	at := r.must(org("t1", "pro", "active")).Resources["db"].References["path"]
	if err := os.WriteFile(filepath.Join(filepath.Dir(at), "note"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.must(org("t1", "pro", "deleted"))
	if exists(t, at) {
		t.Error("a deleted tenant's database can still be used")
	}
	r.now = r.now.AddDate(5, 0, 0)
	if out := r.sweep(); len(out) > 0 {
		t.Errorf("it was to be kept for ever, and the clock took %v", out)
	}
	if back := r.must(org("t1", "pro", "active")).Resources["db"]; back.References["path"] != at || !exists(t, filepath.Join(filepath.Dir(at), "note")) {
		t.Errorf("it came back to something else: %+v", back)
	}
}

func TestDeleteWaitsForItsGraceAndThenDeletes(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, files(dir, map[string]any{"deprovision": "delete", "grace": "72h"}))
	name := r.must(org("t1", "pro", "active")).Resources["db"].Name
	r.must(org("t1", "pro", "deleted"))
	closed := filepath.Join(dir, "closed", name, "tenant.db")
	r.now = r.now.Add(72*time.Hour - time.Second)
	if r.must(org("t1", "pro", "deleted")); len(r.sweep()) > 0 || !exists(t, closed) {
		t.Fatal("it was deleted within its grace")
	}
	r.now = r.now.Add(time.Second)
	out := r.sweep()
	if len(out) != 1 || out[0].Outcome != "deleted" || exists(t, closed) {
		t.Fatalf("its time has come, and: %+v", out)
	}
	// The tenant comes back after all: it gets an empty one, without a word of loss.
	if h := r.must(org("t1", "pro", "active")).Resources["db"]; !exists(t, h.References["path"]) {
		t.Errorf("%+v", h)
	}
}

func TestATenantThatComesBackWithinTheGraceIsRestored(t *testing.T) {
	r := newRig(t, files(t.TempDir(), map[string]any{"deprovision": "delete"}))
	r.must(org("t1", "pro", "active"))
	r.must(org("t1", "pro", "deleted"))
	r.now = r.now.Add(71 * time.Hour)
	h := r.must(org("t1", "pro", "active")).Resources["db"]
	r.now = r.now.Add(1000 * time.Hour)
	if out := r.sweep(); len(out) > 0 || !exists(t, h.References["path"]) || !h.Due.IsZero() {
		t.Errorf("%v %+v", out, h)
	}
}

func TestADowngradeDestroysNothingAndWhatIsTooMuchIsSurplus(t *testing.T) {
	r := newRig(t, files(t.TempDir(), nil))
	r.must(org("t1", "pro", "active"))
	if h := r.must(org("t1", "free", "active")).Resources["db"]; h.Phase != resource.Surplus || !exists(t, h.References["path"]) {
		t.Errorf("%+v", h)
	}
}

func TestALostResourceIsReportedAndMadeAnewOnlyIfToldTo(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, files(dir, nil))
	at := r.must(org("t1", "pro", "active")).Resources["db"].References["path"]
	if err := os.RemoveAll(filepath.Dir(at)); err != nil {
		t.Fatal(err)
	}
	if err := r.deliver(org("t1", "pro", "active")); err == nil || !strings.Contains(err.Error(), "recreate: true") || exists(t, at) {
		t.Fatalf("%v", err)
	}
	r.configure(files(dir, map[string]any{"recreate": true}))
	if r.must(org("t1", "pro", "active")); !exists(t, at) {
		t.Error("it was not made anew")
	}
}

func TestWhatIsNotOursIsNotTouchedUnlessAdopted(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, files(dir, nil))
	name := r.must(org("t1", "pro", "active")).Resources["db"].Name
	mark := filepath.Join(dir, "open", name, "avhub.json")
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	for _, status := range []string{"active", "suspended"} {
		if err := r.deliver(org("t1", "pro", status)); err == nil || !strings.Contains(err.Error(), "not_owned") {
			t.Errorf("%s: %v", status, err)
		}
	}
	r.must(org("t1", "pro", "deleted"))
	if exists(t, mark) || !exists(t, filepath.Join(dir, "open", name, "tenant.db")) {
		t.Fatal("it was touched")
	}
	r.configure(files(dir, map[string]any{"adopt": true}))
	if r.must(org("t1", "pro", "active")); !exists(t, mark) {
		t.Error("it was not adopted")
	}
}

func TestAResourceThatWasMadeUnderAnOlderSlugIsFoundWithoutAState(t *testing.T) {
	r := newRig(t, files(t.TempDir(), nil))
	before := r.must(org("t1", "pro", "active")).Resources["db"].Name
	r.states = map[string][]byte{}
	o := org("t1", "pro", "active")
	o.Slug = "renamed"
	if after := r.must(o).Resources["db"].Name; after != before {
		t.Errorf("it has %s, and got %s", before, after)
	}
}

func TestADriverThatIsDownHoldsUpItsOwnResourceAlone(t *testing.T) {
	cfg := files(t.TempDir(), nil)
	cfg["plans"] = map[string]any{"pro": []string{"db", "pg"}}
	cfg["resources"].(map[string]any)["pg"] = map[string]any{"driver": "postgres-schema", "postgres": map[string]any{"url": "postgres://nobody:canary-word@127.0.0.1:1/none"}}
	r := newRig(t, cfg)
	err := r.deliver(org("t1", "pro", "active"))
	if err == nil || strings.Contains(err.Error(), "canary-word") {
		t.Errorf("%v", err)
	}
	st := r.state("t1")
	if db := st.Resources["db"]; db == nil || !db.Made || db.Problem != "" || !exists(t, db.References["path"]) {
		t.Errorf("%s", r.states["t1"])
	}
	if pg := st.Resources["pg"]; pg == nil || pg.Problem == "" || pg.Made {
		t.Errorf("it is not shown that it is down: %s", r.states["t1"])
	}
	if strings.Contains(string(r.states["t1"]), "canary-word") {
		t.Errorf("a secret is in the state: %s", r.states["t1"])
	}
}

func TestLimitsMakeOthersWaitOrRefuse(t *testing.T) {
	cfg := files(t.TempDir(), map[string]any{"max": 2, "deprovision": "delete", "grace": "0s"})
	cfg["creates_per_minute"], cfg["destroys_per_hour"] = 1, 1
	r := newRig(t, cfg)
	r.must(org("t1", "pro", "active"))
	if err := r.deliver(org("t2", "pro", "active")); err == nil || !strings.Contains(err.Error(), "creates_per_minute") {
		t.Errorf("%v", err)
	}
	r.now = r.now.Add(time.Minute)
	r.must(org("t2", "pro", "active"))
	r.now = r.now.Add(time.Minute)
	if err := r.deliver(org("t3", "pro", "active")); err == nil || !strings.Contains(err.Error(), "max allows no more") {
		t.Errorf("%v", err)
	}
	r.must(org("t1", "pro", "deleted"))
	r.must(org("t2", "pro", "deleted"))
	outcomes := func() (out string) {
		for _, s := range r.sweep() {
			out += s.Outcome + " "
		}
		return out
	}
	if got := outcomes(); got != "deleted waits " {
		t.Errorf("%q", got)
	}
	r.now = r.now.Add(time.Hour)
	if got := outcomes(); got != "deleted " {
		t.Errorf("%q", got)
	}
	r.must(org("t3", "pro", "active"))
}

func TestAnUnknownPlanTakesNothingAway(t *testing.T) {
	r := newRig(t, files(t.TempDir(), nil))
	at := r.must(org("t1", "pro", "active")).Resources["db"].References["path"]
	if err := r.deliver(org("t1", "platinum", "active")); err == nil || !strings.Contains(err.Error(), "unmapped_plan") || !exists(t, at) {
		t.Errorf("%v", err)
	}
}

func TestHostileSlugsStayInTheFolder(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, files(filepath.Join(dir, "in"), nil))
	for i, slug := range []string{"../../up", "/etc/passwd", "a\x00b", "'; DROP TABLE x; --", strings.Repeat("é", 300), "..", "?mode=memory"} {
		o := org("t"+strings.Repeat("x", i), "pro", "active")
		o.Slug = slug
		at := r.must(o).Resources["db"].References["path"]
		if filepath.Dir(filepath.Dir(at)) != filepath.Join(dir, "in", "open") || !exists(t, at) {
			t.Errorf("%q: %s", slug, at)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}
