package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/avhub/avhub/core/simulator"
)

// hup has the hub read its configuration again, and waits for a line of its log
// that was not there before.
func hup(t *testing.T, hub *process, says ...string) {
	t.Helper()
	before := hub.err.count()
	if err := hub.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hub.err.waitAfter(t, before, says...)
}

func TestAChangedConfigIsPutInForceWithoutARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	hub, _, _ := s.serve(t)
	pid := field(t, hub.err.wait(t, "the plugin is running"), "pid")
	s.send(t, simulator.Command{Type: "tenant.created"})
	eventually(t, "the application is told", func() bool { return s.got.Load() == 1 })

	var moved atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { moved.Add(1) }))
	defer other.Close()
	s.edit(t, "/events\n", "/events # the old one\n")
	s.edit(t, "url: http", "url: ftp")
	hup(t, hub, "rejects its new configuration", "url", "the old one stays in force")
	s.send(t, simulator.Command{Type: "tenant.updated", Set: map[string]any{"plan": "a"}})
	eventually(t, "the application is still told", func() bool { return s.got.Load() == 2 })

	s.edit(t, "url: ftp", "url: "+other.URL+" # ftp")
	hup(t, hub, "the plugin has its new configuration")
	s.send(t, simulator.Command{Type: "tenant.updated", Set: map[string]any{"plan": "b"}})
	eventually(t, "the other application is told", func() bool { return moved.Load() == 1 })
	if n := strings.Count(hub.err.text(), "the plugin is running"); n != 1 {
		t.Errorf("the process was started %d times", n)
	}

	// What a process is started with needs another process.
	s.edit(t, "    config:", "    env: { COLOUR: blue }\n    config:")
	before := hub.err.count()
	hup(t, hub, "drained and started anew", "env")
	if again := field(t, hub.err.waitAfter(t, before, "the plugin is running"), "pid"); again == pid {
		t.Error("it is the old process")
	}
	s.send(t, simulator.Command{Type: "tenant.updated", Set: map[string]any{"plan": "c"}})
	eventually(t, "the other application is told again", func() bool { return moved.Load() == 2 })
	if s.got.Load() != 2 {
		t.Errorf("the old application was told of %d events", s.got.Load())
	}
}

func TestPluginsComeAndGoWhileTheHubRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	hub, _, _ := s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"})
	eventually(t, "the application is told", func() bool { return s.got.Load() == 1 })
	s.edit(t, "plugins:\n", "plugins:\n  - name: second\n    command: ["+program(t, "avhub-notify")+"]\n    config: { url: \"http://127.0.0.1:1/\" }\n")
	hup(t, hub, "new in the configuration")
	eventually(t, "both run", func() bool {
		return s.plugin(t, "second").State == "running" && s.plugin(t, "notify").State == "running"
	})
	s.edit(t, "name: notify", "name: renamed")
	hup(t, hub, "no longer in the configuration")
	eventually(t, "the old one has stopped and the new one runs", func() bool {
		return s.plugin(t, "notify").State == "stopped" && s.plugin(t, "renamed").State == "running" && s.plugin(t, "second").State == "running"
	})
	if code := hub.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{"renamed", "second"} {
		if p := s.plugin(t, name); p.State != "stopped" {
			t.Errorf("%s is %s after the end", name, p.State)
		}
	}
}

func TestAConfigurationWithMistakesChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	hub, _, _ := s.serve(t)
	hub.err.wait(t, "the plugin is running")
	s.edit(t, "name: notify", "name: other")
	s.edit(t, "sources:", "surces:")
	hup(t, hub, "nothing was changed")
	if text := hub.err.text(); !strings.Contains(text, "surces: unknown key") || strings.Contains(text, "no longer in the configuration") {
		t.Errorf("the log says\n%s", text)
	}
	s.edit(t, "surces:", "sources:")
	s.edit(t, `command: ["`, `command: ["/nowhere`)
	hup(t, hub, "nothing was changed")
	s.send(t, simulator.Command{Type: "tenant.created"})
	eventually(t, "the application is told", func() bool { return s.got.Load() == 1 })

	// What needs a restart is named, and not taken over.
	s.edit(t, "/nowhere", "")
	s.edit(t, "name: other", "name: notify")
	s.edit(t, `server: { listen: "127.0.0.1:0" }`, `server: { listen: "127.0.0.1:0", max_connections: 7 }`)
	before := hub.err.count()
	hup(t, hub, "only after a restart", "server")
	hub.err.waitAfter(t, before, "the configuration was read again")
}

func TestAHaltedPluginIsTriedAgainWhenItsConfigurationChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	hub, _, _ := s.serve(t)
	s.answer.Store(http.StatusUnauthorized)
	s.send(t, simulator.Command{Type: "tenant.created"})
	hub.err.wait(t, "the plugin has halted")
	s.answer.Store(http.StatusOK)
	hup(t, hub, "nothing of its configuration changed")
	if p := s.plugin(t, "notify"); p.State != "halted" || p.Lag != 1 {
		t.Errorf("%+v", p)
	}
	s.edit(t, "/events\n", "/events\n      headers: { Authorization: new }\n")
	hup(t, hub, "tried again")
	eventually(t, "the event is applied", func() bool { p := s.plugin(t, "notify"); return p.State == "running" && p.Lag == 0 })
}
