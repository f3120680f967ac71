package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/core/simulator"
	"github.com/avhub/avhub/internal/pgtest"
)

// site is a folder with a hub, a provider that sends it events, and an
// application that the connector tells of them.
type site struct {
	dir      string
	sim      *simulator.Simulator
	provider control
	// answer is what the application answers to the connector.
	answer atomic.Int32
	// got counts what the application was told.
	got atomic.Int32
	// hold, if it is open, keeps the application's answers back.
	hold chan struct{}
}

const adminToken = "canary-admin-token"

// newSite writes a configuration. more is put below the plugin's config.
func newSite(t *testing.T, storage string, more ...string) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), hold: make(chan struct{})}
	close(s.hold)
	s.answer.Store(http.StatusOK)
	sim, err := simulator.New(simulator.Options{Token: "sim-token", Retry: []time.Duration{}})
	if err != nil {
		t.Fatal(err)
	}
	s.sim = sim
	provider := httptest.NewServer(sim.Handler())
	t.Cleanup(provider.Close)
	s.provider = control{URL: provider.URL, Token: "sim-token"}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.got.Add(1)
		select {
		case <-s.hold:
		case <-r.Context().Done():
		}
		w.WriteHeader(int(s.answer.Load()))
	}))
	t.Cleanup(app.Close)
	writeFile(t, filepath.Join(s.dir, "avhub.yaml"), fmt.Sprintf(`
server: { listen: "127.0.0.1:0" }
admin: { listen: "127.0.0.1:0", token: %q }
storage: { url: %q }
sources:
  - name: authvital
    host: %s
    path: /webhooks/authvital
plugins:
  - name: notify
    command: [%q]
    events: ["*"]
    config:
      url: %s/events
      %s
`, adminToken, storage, provider.URL, program(t, "avhub-notify"), app.URL, strings.Join(more, "\n      ")))
	return s
}

const sqlite = "sqlite://data/avhub.db"

// serve starts the hub and points the provider at it.
func (s *site) serve(t *testing.T, args ...string) (hub *process, server, admin string) {
	t.Helper()
	hub = start(t, s.dir, append([]string{"serve"}, args...)...)
	line := hub.err.wait(t, "avhub is up")
	server, admin = field(t, line, "events"), field(t, line, "admin")
	if err := s.sim.SetTarget("http://" + server + "/webhooks/authvital"); err != nil {
		t.Fatal(err)
	}
	return hub, server, admin
}

// send has the provider send an event, which the hub must accept.
func (s *site) send(t *testing.T, command simulator.Command) *simulator.Result {
	t.Helper()
	result, err := sendCommand(t.Context(), s.provider, command)
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != http.StatusOK {
		t.Fatalf("the hub answered %d %s", result.Status, result.Response)
	}
	return result
}

// read runs a verb with --json and reads what it prints.
func read[T any](t *testing.T, dir string, args ...string) T {
	t.Helper()
	var v T
	got := done(t, dir, append(args, "--json")...)
	if err := json.Unmarshal([]byte(got.out), &v); err != nil {
		t.Fatalf("avhub %s --json: %v\n%s", strings.Join(args, " "), err, got.out)
	}
	return v
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(deadline); !so(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("it never came that %s", what)
		}
	}
}

func TestAHubIsSetUpAndLookedAt(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]func(*testing.T) string{
		"SQLite":   func(*testing.T) string { return sqlite },
		"Postgres": func(t *testing.T) string { return pgtest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, storage(t))
			if got := done(t, s.dir, "check", "--online"); !strings.Contains(got.out, "2 keys") || !strings.Contains(got.out, "notify 1.0.0") {
				t.Errorf("check says\n%s", got.out)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "data")); err == nil {
				t.Error("check made the folder of the database")
			}
			hub, _, _ := s.serve(t)
			lookAround(t, s)
			if code := hub.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("after SIGTERM the exit code is %d", code)
			}
			if events := read[[]eventJSON](t, s.dir, "event", "list"); len(events) != 3 {
				t.Errorf("after the end there are %d events", len(events))
			}
			if got := done(t, s.dir, "check", "--online"); !strings.Contains(got.out, "ok      storage") {
				t.Errorf("check says\n%s", got.out)
			}
		})
	}
}

// lookAround sends some events to a running hub and looks at them with every verb.
func lookAround(t *testing.T, s *site) {
	t.Helper()
	created := s.send(t, simulator.Command{Type: "tenant.created", Set: map[string]any{"name": "Acme \x1b[31mCorp", "slug": "acme"}})
	person := s.send(t, simulator.Command{Type: "subject.created"})
	updated := s.send(t, simulator.Command{Type: "tenant.updated", Set: map[string]any{"plan": "pro"}})

	events := read[[]eventJSON](t, s.dir, "event", "list")
	if len(events) != 3 || events[0].ID != updated.ID || events[2].ID != created.ID {
		t.Fatalf("listed, newest first: %+v", events)
	}
	if events := read[[]eventJSON](t, s.dir, "event", "list", "--type", "tenant.*", "--oldest", "--limit", "1"); len(events) != 1 || events[0].ID != created.ID {
		t.Errorf("the oldest of tenant.*: %+v", events)
	}
	if events := read[[]eventJSON](t, s.dir, "event", "list", "--after", "1", "--since", "1h", "--source", "authvital"); len(events) != 2 {
		t.Errorf("after position 1: %+v", events)
	}
	for _, arg := range []string{updated.ID, "3"} {
		is := read[eventJSON](t, s.dir, "event", "show", arg)
		if is.Position != 3 || len(is.Changes) != 1 || is.Changes[0].Field != "plan" || string(is.Changes[0].After) != `"pro"` ||
			is.Evidence == nil || is.Evidence.KeyID == "" || len(is.Evidence.SignedSHA256) != 64 || len(is.Evidence.Signature) != 256 {
			t.Errorf("event show %s: %+v", arg, is)
		}
	}
	if got := done(t, s.dir, "event", "show", "3"); !strings.Contains(got.out, `plan: "free" → "pro"`) {
		t.Errorf("event show prints\n%s", got.out)
	}
	tenant := events[0].TenantID
	for _, arg := range []string{"acme", tenant} {
		org := read[map[string]any](t, s.dir, "org", "show", arg)
		if org["tenant_id"] != tenant || org["plan"] != "pro" || org["name"] != "Acme \x1b[31mCorp" || org["status"] != "active" {
			t.Errorf("org show %s: %v", arg, org)
		}
	}
	var data struct{ Sub, Email string }
	if err := json.Unmarshal(events[1].Data, &data); err != nil || events[1].ID != person.ID {
		t.Fatal(err)
	}
	for _, arg := range []string{data.Sub, data.Email, strings.ToUpper(data.Email)} {
		if got := read[map[string]any](t, s.dir, "identity", "show", arg); got["sub"] != data.Sub {
			t.Errorf("identity show %s: %v", arg, got)
		}
	}
	for _, verb := range []string{"org list", "org show acme", "event show 1", "event list"} {
		if got := done(t, s.dir, strings.Fields(verb)...); strings.ContainsAny(got.out, "\x1b\x07") {
			t.Errorf("avhub %s passes a control character on: %q", verb, got.out)
		}
	}
	eventually(t, "the connector has applied all", func() bool {
		list := read[[]pluginJSON](t, s.dir, "plugin", "list")
		return len(list) == 1 && list[0].State == "running" && list[0].Position == 3 && list[0].Configured
	})
	described := read[describedJSON](t, s.dir, "plugin", "describe", "notify")
	if described.Connector != "notify" || described.Version != "1.0.0" || !described.Notifies || described.KeepsHistory || !strings.Contains(string(described.ConfigSchema), `"url"`) {
		t.Errorf("plugin describe: %+v", described)
	}
	if got := done(t, s.dir, "plugin", "describe", "notify"); !strings.Contains(got.out, "Required. Where to POST events") {
		t.Errorf("plugin describe prints\n%s", got.out)
	}
	if n := s.got.Load(); n != 3 {
		t.Errorf("the application was told of %d events", n)
	}
	for _, missing := range [][]string{{"event", "show", "nope"}, {"event", "show", "99"}, {"org", "show", "nope"}, {"sso", "show", "nope"}, {"plugin", "describe", "nope"}} {
		if got := run(t, s.dir, missing...); got.code != 1 || !strings.Contains(got.err, "list") {
			t.Errorf("avhub %s: exit code %d, %s", strings.Join(missing, " "), got.code, got.err)
		}
	}
}

func TestOperatorsAreToldOnTheAdminListener(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	_, _, admin := s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"})
	get := func(path, token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get("/healthz", ""); status != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %s", status, body)
	}
	if status, body := get("/readyz", adminToken); status != 200 || !strings.Contains(body, "storage") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, _ := get("/metrics", ""); status != 401 {
		t.Errorf("metrics without the token: %d", status)
	}
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a verdict is counted", func() bool {
		_, body := get("/metrics", adminToken)
		return strings.Contains(body, "avhub_delivery_verdicts_total{")
	})
	_, body := get("/metrics", adminToken)
	names := regexp.MustCompile(`(?m)^# HELP (avhub_\S+)`).FindAllStringSubmatch(body, -1)
	if len(names) < 8 {
		t.Errorf("only %d metrics of ours:\n%s", len(names), body)
	}
	for _, name := range names {
		if !strings.Contains(string(manual), "`"+name[1]+"`") {
			t.Errorf("docs/operations.md does not explain %s", name[1])
		}
	}
}

func TestAPortInUseIsAClearErrorAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, key := range []string{"server.listen", "admin.listen"} {
		got := run(t, s.dir, "serve", "--set", key+"="+taken.Addr().String())
		if got.code != 1 || !strings.Contains(got.err, key) || !strings.Contains(got.err, "is a hub running already?") {
			t.Errorf("%s: exit code %d\n%s", key, got.code, got.err)
		}
	}
}

// The connector hangs in a call, so that an orderly end takes its time.
func TestASecondSignalEndsTheHubAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.hold = make(chan struct{})
	defer close(s.hold)
	hub, _, _ := s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"})
	eventually(t, "the connector calls the application", func() bool { return s.got.Load() > 0 })
	if err := hub.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hub.err.wait(t, "shutting down")
	if code := hub.end(t, syscall.SIGTERM); code != exitFailed || !strings.Contains(hub.err.text(), "second signal") {
		t.Errorf("exit code %d", code)
	}
	if events := read[[]eventJSON](t, s.dir, "event", "list"); len(events) != 1 {
		t.Errorf("law 7: %d events are left", len(events))
	}
}

func TestTailFollowsTheJournalUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	s.send(t, simulator.Command{Type: "tenant.created"})
	all := start(t, s.dir, "event", "tail", "--after", "0", "--json")
	some := start(t, s.dir, "event", "tail", "--after", "0", "--type", "subject.*")
	all.out.wait(t, "tenant.created")
	s.send(t, simulator.Command{Type: "subject.created"})
	var last eventJSON
	if err := json.Unmarshal([]byte(all.out.wait(t, "subject.created")), &last); err != nil || last.Position != 2 {
		t.Errorf("%v, position %d", err, last.Position)
	}
	some.out.wait(t, "subject.created")
	if strings.Contains(some.out.text(), "tenant.created") {
		t.Errorf("the filter let through\n%s", some.out.text())
	}
	for _, p := range []*process{all, some} {
		if code := p.end(t, os.Interrupt); code != 0 {
			t.Errorf("an interrupted tail has exit code %d", code)
		}
	}
}

func TestListsGoOnWhereTheyStoppedAndNamesMayBeShared(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	for range 3 {
		s.send(t, simulator.Command{Type: "tenant.created", Set: map[string]any{"slug": "twin"}})
	}
	s.send(t, simulator.Command{Type: "application.created"})
	s.send(t, simulator.Command{Type: "sso.provider_added"})
	var ids []string
	for after := ""; ; {
		page := read[[]map[string]any](t, s.dir, "org", "list", "--limit", "1", "--slug", "twin", "--after", after)
		if len(page) == 0 {
			break
		}
		after = page[0]["tenant_id"].(string)
		ids = append(ids, after)
		if len(ids) > 3 {
			break
		}
	}
	if len(ids) != 3 {
		t.Errorf("pages of one hold %v", ids)
	}
	got := run(t, s.dir, "org", "show", "twin")
	if got.code != 1 {
		t.Errorf("exit code %d", got.code)
	}
	for _, id := range ids {
		if !strings.Contains(got.err, id) {
			t.Errorf("%s is not among the candidates:\n%s", id, got.err)
		}
	}
	for args, want := range map[string]int{
		"org list --plan free": 3, "org list --plan pro": 0, "org list --status suspended": 0,
		"app list": 1, "app list --active true": 1, "app list --active false": 0, "app list --org nobody": 0,
		"sso list --enabled true": 1, "sso list --enabled=false": 0,
		"identity list --tenant nobody": 0, "identity list --active false": 0, "identity list --email x@example.com": 0,
	} {
		if list := read[[]map[string]any](t, s.dir, strings.Fields(args)...); len(list) != want {
			t.Errorf("avhub %s: %d rows, want %d", args, len(list), want)
		}
	}
}
