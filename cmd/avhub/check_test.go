package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckTellsAllThatIsWrongAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "no folder")
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `
storage: { url: "sqlite://file/avhub.db" }
sources:
  - { name: gone, host: "http://127.0.0.1:1", path: /a }
plugins:
  - { name: missing, command: ["./nowhere"] }
  - { name: wrong, command: [`+program(t, "avhub-notify")+`], events: ["tenent.*"], config: { timout: 5s } }
  - { name: mute, command: ["true"] }
`)
	got := run(t, dir, "check", "--online", "--json")
	var told struct {
		OK       bool
		Checks   []examined
		Problems []finding
	}
	if err := json.Unmarshal([]byte(got.out), &told); err != nil {
		t.Fatalf("%v: %s%s", err, got.out, got.err)
	}
	if got.code != 1 || told.OK {
		t.Errorf("exit code %d, ok %v", got.code, told.OK)
	}
	for path, want := range map[string]struct{ severity, summary string }{
		"storage.url":              {"error", "not a directory"},
		"sources[0]":               {"error", "key set cannot be fetched"},
		"plugins[0].command[0]":    {"error", "does not exist"},
		"plugins[1].events[0]":     {"warning", "matches no type"},
		"plugins[1].config.timout": {"error", "unknown key"},
		"plugins[1].config.url":    {"error", "missing"},
		"plugins[2]":               {"error", ""},
	} {
		found := false
		for _, p := range told.Problems {
			found = found || p.Path == path && p.Severity == want.severity && strings.Contains(p.Summary, want.summary) &&
				p.Source == "avhub.yaml" && p.Line > 0
		}
		if !found {
			t.Errorf("no %s about %s with %q:\n%s", want.severity, path, want.summary, got.out)
		}
	}
	if n := len(told.Problems); n != 7 {
		t.Errorf("%d problems, want 7", n)
	}
	text := run(t, dir, "check")
	if text.code != 1 || !strings.Contains(text.out, "failed") || !strings.Contains(text.err, ": plugins[1].config.timout (wrong): unknown key") ||
		!strings.Contains(text.err, "warning: ") || strings.Contains(text.out+text.err, "key set") {
		t.Errorf("exit code %d\n%s%s", text.code, text.out, text.err)
	}
}

// What a connector says about its configuration stands at the line of the file,
// with what would be right, and gives no secret away.
func TestCheckPlacesWhatAConnectorRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `plugins:
  - name: first
    command: [`+program(t, "avhub-strict")+`]
    config:
      token: tok_canary9
      region: mars
      limit: 0
      colour: blue
      routes:
        - channel: a
          events: [created, deletd]
        - events: []
      plans:
        pro: { price: -1 }
        free: {}
  - name: second
    command: [`+program(t, "avhub-strict")+`]
    config:
      token: 12345678
      regoin: us
      limit: many
      routes: { channel: x }
`)
	got := run(t, dir, "check")
	if got.code != 1 || strings.Contains(got.err, "canary") || strings.Contains(got.err, "12345678") {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
	for _, want := range []string{
		"avhub.yaml:5:14: plugins[0].config.token (first): has the wrong form",
		"avhub.yaml:6:15: plugins[0].config.region (first): is not allowed; it takes one of eu, us",
		"avhub.yaml:7:14: plugins[0].config.limit (first): is less than 1; it may be from 1 to 9",
		"avhub.yaml:8:15: plugins[0].config.colour (first): unknown key",
		"avhub.yaml:11:29: plugins[0].config.routes[0].events[1] (first): is not allowed; did you mean \"deleted\"?",
		"avhub.yaml:12:11: plugins[0].config.routes[1].channel (first): is missing; set channel to text",
		"avhub.yaml:14:23: plugins[0].config.plans.pro.price (first): is less than 0",
		"avhub.yaml:15:9: plugins[0].config.plans.free.price (first): is missing",
		"avhub.yaml:19:14: plugins[1].config.token (second): wrong type: needs text, found a number; put it in quotes",
		"avhub.yaml:20:15: plugins[1].config.regoin (second): unknown key; did you mean \"region\"?",
		"avhub.yaml:21:14: plugins[1].config.limit (second): wrong type: needs a whole number",
		"avhub.yaml:22:15: plugins[1].config.routes (second): wrong type: needs a list",
	} {
		if !strings.Contains(got.err, "error: "+want) {
			t.Errorf("it does not say %s:\n%s", want, got.err)
		}
	}
	if n := strings.Count(got.err, "error: "); n != 12 {
		t.Errorf("%d errors, want 12:\n%s", n, got.err)
	}
}

func TestCheckOnlineAsksPluginsAboutTheirOutside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `plugins:
  - name: near
    command: [`+program(t, "avhub-strict")+`]
    config: { token: tok_canary, region: eu }
  - name: far
    command: [`+program(t, "avhub-strict")+`]
    config: { token: tok_canary, region: us }
  - name: silent
    command: [`+program(t, "avhub-notify")+`]
    config: { url: "http://127.0.0.1:1/" }
`)
	if got := run(t, dir, "check"); got.code != 0 || strings.Contains(got.out+got.err, "outside") {
		t.Errorf("offline: exit code %d\n%s%s", got.code, got.out, got.err)
	}
	got := run(t, dir, "check", "--online")
	for _, want := range []string{"plugin near    strict 1: no complaint about its outside", "plugin far     strict 1 does not reach its outside"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("it does not say %q:\n%s", want, got.out)
		}
	}
	if want := "error: avhub.yaml:5:5: plugins[1] (far): it cannot work with its outside: the API answers 401: the key (redacted) of us was revoked"; got.code != 1 ||
		!strings.Contains(got.err, want) || strings.Contains(got.err, "canary") {
		t.Errorf("exit code %d, not %q:\n%s", got.code, want, got.err)
	}
	var told verdict
	if err := json.Unmarshal([]byte(run(t, dir, "check", "--online", "--json").out), &told); err != nil {
		t.Fatal(err)
	}
	ok := map[string]bool{}
	for _, c := range told.Checks {
		ok[c.Name] = c.OK
	}
	if told.OK || !ok["plugin near"] || ok["plugin far"] || !ok["plugin silent"] || len(told.Problems) != 2 { // and no sources
		t.Errorf("%+v", told)
	}
}

func TestCheckChangesNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	done(t, dir, "check")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("check left %v, %v", entries, err)
	}
	// A database that was never migrated, as somebody may have made beforehand.
	writeFile(t, filepath.Join(dir, "empty.db"), "")
	set := []string{"--set", "storage.url=sqlite://empty.db"}
	if got := done(t, dir, append([]string{"check"}, set...)...); !strings.Contains(got.out, "run at the next start") {
		t.Errorf("got %s", got.out)
	}
	if got := run(t, dir, append([]string{"check", "--set", "storage.migrate=manual"}, set...)...); got.code != 1 || !strings.Contains(got.err, "avhub migrate") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
	if got := run(t, dir, append([]string{"event", "list"}, set...)...); got.code != 1 || !strings.Contains(got.err, "avhub migrate") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
	done(t, dir, append([]string{"migrate"}, set...)...)
	if got := done(t, dir, append([]string{"migrate"}, set...)...); !strings.Contains(got.err, "up to date") {
		t.Errorf("got %s", got.err)
	}
	if list := read[[]map[string]any](t, dir, append([]string{"migrate", "--status"}, set...)...); len(list) == 0 || list[0]["applied"] != true {
		t.Errorf("got %v", list)
	}
	if list := read[[]eventJSON](t, dir, append([]string{"event", "list"}, set...)...); len(list) != 0 {
		t.Errorf("got %v", list)
	}
}

// Every verb that has the configuration in its hands, with secrets in every place
// that takes one, and with mistakes beside them.
func TestLaw11_NoVerbTellsASecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const canary = "canary-s3cret"
	writeFile(t, filepath.Join(dir, "secret"), canary+"-file\n")
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `
admin: { listen: "127.0.0.1:0", token: "`+canary+`-token" }
storage: { url: "postgres://avhub:`+canary+`-db@127.0.0.1:1/avhub?connect_timeout=1" }
sources:
  - { name: authvital, host: "http://127.0.0.1:1", path: /a }
plugins:
  - name: notify
    command: [`+program(t, "avhub-notify")+`]
    env: { API_TOKEN: "`+canary+`-env" }
    config:
      url: "http://user:`+canary+`-url@127.0.0.1:1/"
      headers: { Authorization: "${file:secret}" }
      timeout: "${file:secret}" # which is no time
`)
	for _, verb := range []string{
		"check --online --log-level debug", "check --json", "config show", "serve --log-level debug", "migrate", "migrate --status",
		"event list", "plugin list", "delivery list", "org show x",
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			got := run(t, dir, strings.Fields(verb)...)
			if all := got.out + got.err; strings.Contains(all, canary) {
				t.Errorf("a secret shows:\n%s", all)
			}
			if verb != "config show" && got.code != 1 {
				t.Errorf("exit code %d:\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}
