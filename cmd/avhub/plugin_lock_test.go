package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/avhub/avhub/core/simulator"
)

// edit replaces text in the site's configuration, which must hold it.
func (s *site) edit(t *testing.T, from, to string) {
	t.Helper()
	file := filepath.Join(s.dir, "avhub.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("there is no %q in\n%s", from, text)
	}
	writeFile(t, file, strings.ReplaceAll(string(text), from, to))
}

// ownProgram gives the site's plugin a program of its own, which can be changed.
func (s *site) ownProgram(t *testing.T) string {
	t.Helper()
	from := program(t, "avhub-notify")
	to := filepath.Join(s.dir, "avhub-notify")
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o700); err != nil {
		t.Fatal(err)
	}
	s.edit(t, from, "./avhub-notify")
	return to
}

// rebuild makes another program of a file that does the same.
func rebuild(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".new", append(text, 0), 0o700)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) plugin(t *testing.T, name string) pluginJSON {
	t.Helper()
	list := read[[]pluginJSON](t, s.dir, "plugin", "list")
	i := slices.IndexFunc(list, func(p pluginJSON) bool { return p.Plugin == name })
	if i < 0 {
		return pluginJSON{}
	}
	return list[i]
}

func TestAHubStartsOnlyWhatIsLocked(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	path := s.ownProgram(t)
	if got := run(t, s.dir, "plugin", "lock", "--check"); got.code != 1 || !strings.Contains(got.out, "added") {
		t.Errorf("before: exit code %d\n%s%s", got.code, got.out, got.err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "avhub.lock")); err == nil {
		t.Error("--check wrote the file")
	}
	if got := run(t, s.dir, "plugin", "lock", "nobody"); got.code != 1 || !strings.Contains(got.err, `no plugin "nobody"`) {
		t.Errorf("exit code %d %s", got.code, got.err)
	}
	if list := read[[]lockedJSON](t, s.dir, "plugin", "lock"); len(list) != 1 || list[0].Change != "added" || list[0].Version != "1.0.0" || len(list[0].SHA256) != 64 {
		t.Errorf("locked %+v", list)
	}
	if list := read[[]lockedJSON](t, s.dir, "plugin", "lock", "--check"); list[0].Change != "none" {
		t.Errorf("checked %+v", list)
	}
	done(t, s.dir, "check")

	// Somebody puts another program there.
	rebuild(t, path)
	if got := run(t, s.dir, "check"); got.code != 1 || !strings.Contains(got.err, "plugins[0].command[0]") || !strings.Contains(got.err, "avhub plugin lock notify") {
		t.Errorf("check: exit code %d\n%s", got.code, got.err)
	}
	if got := run(t, s.dir, "plugin", "describe", "notify"); got.code != 1 || !strings.Contains(got.err, "avhub plugin lock notify") {
		t.Errorf("describe: exit code %d\n%s", got.code, got.err)
	}
	hub, _, _ := s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"}) // the hub itself works
	eventually(t, "the plugin is refused", func() bool {
		p := s.plugin(t, "notify")
		return p.State == "refused" && strings.Contains(p.Reason, "avhub plugin lock notify") && p.Locked != nil && !*p.Locked && p.Lag == 1
	})
	if got := done(t, s.dir, "plugin", "list"); !strings.Contains(got.out, " ✗") {
		t.Errorf("listed\n%s", got.out)
	}

	// Somebody has looked at it.
	if got := done(t, s.dir, "plugin", "lock", "notify"); !strings.Contains(got.out, "changed from 1.0.0") {
		t.Errorf("locked\n%s", got.out)
	}
	if err := hub.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the plugin has caught up", func() bool {
		p := s.plugin(t, "notify")
		return p.State == "running" && p.Locked != nil && *p.Locked && p.Lag == 0
	})
	// What the lock says of a plugin that runs counts, too.
	rebuild(t, path)
	done(t, s.dir, "plugin", "lock", "notify")
	hup(t, hub, "drained and started anew", "avhub.lock")
}

func TestALockThatCannotBeReadRefusesPluginsAndNotTheHub(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	writeFile(t, filepath.Join(s.dir, "avhub.lock"), `{"format": 1, "plugins"`)
	if got := run(t, s.dir, "check"); got.code != 1 || !strings.Contains(got.err, "avhub.lock is no lock file") {
		t.Errorf("check: exit code %d\n%s", got.code, got.err)
	}
	if got := run(t, s.dir, "plugin", "lock"); got.code != 1 || !strings.Contains(got.err, "remove it") {
		t.Errorf("lock: exit code %d\n%s", got.code, got.err)
	}
	s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"})
	eventually(t, "the plugin is refused", func() bool { return s.plugin(t, "notify").State == "refused" })
}
