package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/avhub/avhub/sdk/schema"
)

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; see it with: go test ./config -update && git diff\n%s", path, got)
	}
}

func TestLaw11_ShowHidesSecretsAndNothingElse(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, `
admin: { token: "${SECRET}" }
storage: { url: "postgres://avhub:${SECRET}@db.example.com:5432/avhub?sslmode=require&sslpassword=${SECRET}" }
log: { level: "${LEVEL}" }
sources:
  - { name: authvital, host: "https://${HOST}", path: /a }
plugins:
  - name: billing
    command: [./bin/billing, "--key=${SECRET}", --dsn=postgres://u:c4n4ry@h/db, plain]
    events: ["tenant.*"]
    env: { A: "${SECRET}", B: seen, PASSWORD: c4n4ry }
    config:
      api_key: c4n4ry
      keys: { one: c4n4ry, two: [c4n4ry, 5, ""] }
      region: "x${SECRET}"
      dsn: "host=h password=c4n4ry"
      store: "host=h Password=c4n4ry"
      url: postgres://u:c4n4ry@h/db
      number: 12345678901234567890123
      "yes": "no"
      list: [1, 1.5, true, null, "5"]
      escaped: $${SECRET}
  - name: bare
    command: [bare]
`, Options{Environ: []string{"SECRET=c4n4ry", "LEVEL=warn", "HOST=h.example"}})
	text, err := cfg.Show()
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(text), cfg.String(), fmt.Sprintf("%v %+v %s", cfg, cfg, cfg)} {
		if strings.Contains(shown, canary) {
			t.Errorf("shows a secret:\n%s", shown)
		}
	}
	golden(t, "testdata/show.yaml", text)
	if cfg.Plugins[0].Config["api_key"] != canary || cfg.Admin.Token != canary {
		t.Error("showing the configuration changed it")
	}
	var back map[string]any
	if err := yaml.Unmarshal(text, &back); err != nil {
		t.Errorf("what is shown is no YAML: %v", err)
	}
}

func TestShowOfTheDefaultsLoadsAgain(t *testing.T) {
	t.Parallel()
	d := Default()
	text, err := d.Show()
	if err != nil {
		t.Fatal(err)
	}
	cfg := mustParse(t, string(text), Options{})
	cfg.origin = nil
	if !reflect.DeepEqual(*cfg, d) {
		t.Errorf("got %+v from\n%s", *cfg, text)
	}
}

func TestLaw11_RedactURLHidesPasswordsHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"sqlite://data/avhub.db":                "sqlite://data/avhub.db",
		"postgres://u:c4n4ry@h/db":              "postgres://u:(redacted)@h/db",
		"postgres://u:c4n@4ry@h/db":             "postgres://u:(redacted)@h/db",
		"postgres://u@h/db?password=c4n4ry&a=b": "postgres://u@h/db?password=(redacted)&a=b",
		"postgres://u@h/db?pass%77ord=c4n4ry":   "postgres://u@h/db?pass%77ord=(redacted)",
		"postgres://u:1/c4n4ry@h/db":            "postgres://(redacted)",
		"postgres://u:1?c4n4ry@h/db":            "postgres://(redacted)",
		"postgres://u:c4n4ry%zz@h/db":           "postgres://(redacted)",
		"postgres://u:1#c4n4ry@h/db":            "postgres://u:(redacted)@h/db",
		"postgres:///db?host=/run":              "postgres:///db?host=/run",
		"https://x.example/a?page=2&token=c4":   "https://x.example/a?page=2&token=(redacted)",
		"plain text":                            "plain text",
	} {
		if got := RedactURL(url); got != want {
			t.Errorf("%s becomes %s, want %s", url, got, want)
		}
	}
	if got := (Storage{URL: "postgres://u:c4n4ry@h/db"}).RedactedURL(); strings.Contains(got, canary) {
		t.Error(got)
	}
}

// secretPlaces is a configuration with a canary wherever a secret can stand.
func secretPlaces() map[string]any {
	return map[string]any{
		"server":  map[string]any{"listen": "127.0.0.1:1", "max_body": "1MiB", "max_connections": 5},
		"admin":   map[string]any{"listen": "127.0.0.1:2", "token": canary},
		"storage": map[string]any{"url": "postgres://u:" + canary + "@h/db", "migrate": "auto"},
		"log":     map[string]any{"level": "info", "format": "json"},
		"sources": []any{map[string]any{"name": "s", "host": "https://s.example", "path": "/s", "max_age": "5m"}},
		"plugins": []any{map[string]any{
			"name": "p", "command": []any{"p", "--token", "${SECRET}"}, "events": []any{"*"}, "retry_for": "1h",
			"env":    map[string]any{"A": "${SECRET}", "B": "x"},
			"config": map[string]any{"token": canary, "deep": []any{map[string]any{"a": "x${SECRET}"}}, "db": "postgres://u:" + canary + "@h"},
		}},
	}
}

// spoiled replaces, drops, adds or wraps values at random places of doc.
func spoiled(t *rapid.T, doc any) any {
	if rapid.IntRange(0, 11).Draw(t, "here") == 0 {
		return rapid.SampledFrom([]any{nil, true, -1, 1.5, "", "x", canary, "${SECRET}", "x${SECRET}${", "${NOT_SET}", "postgres://" + canary, "mysql://u:${SECRET}@h",
			[]any{}, []any{canary}, []any{nil}, map[string]any{}, map[string]any{"odd": canary}, map[string]any{"odd": []any{"${SECRET}"}}}).Draw(t, "value")
	}
	switch doc := doc.(type) {
	case map[string]any:
		for _, key := range sortedKeys(doc) {
			switch rapid.IntRange(0, 15).Draw(t, "key") {
			case 0:
				delete(doc, key)
			case 1:
				doc[key+"z"] = doc[key]
			default:
				doc[key] = spoiled(t, doc[key])
			}
		}
	case []any:
		for i := range doc {
			doc[i] = spoiled(t, doc[i])
		}
		if rapid.IntRange(0, 9).Draw(t, "double") == 0 {
			return append(doc, doc...)
		}
	}
	return doc
}

func sortedKeys(m map[string]any) []string {
	var keys []string
	for _, field := range []string{"server", "admin", "storage", "log", "sources", "plugins", "listen", "max_body", "max_connections", "token", "url", "migrate", "level",
		"format", "name", "host", "path", "max_age", "command", "events", "retry_for", "env", "config", "A", "B", "deep", "a", "db"} {
		if _, ok := m[field]; ok {
			keys = append(keys, field)
		}
	}
	return keys
}

func TestLaw11_NoErrorTellsASecretWhateverIsWrong(t *testing.T) {
	t.Parallel()
	refused, taken := 0, 0
	tells := func(text string) bool { return strings.Contains(text, canary) || strings.Contains(text, planted) }
	rapid.Check(t, func(t *rapid.T) {
		doc := secretPlaces()
		for range rapid.IntRange(0, 2).Draw(t, "spoiled sections") {
			section := rapid.SampledFrom([]string{"server", "admin", "storage", "log", "sources", "plugins"}).Draw(t, "section")
			doc[section] = spoiled(t, doc[section])
		}
		text, err := yaml.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		environ := []string{"SECRET=" + planted}
		if rapid.IntRange(0, 3).Draw(t, "environment") == 0 {
			environ = append(environ, rapid.SampledFrom([]string{"AVHUB_ADMIN_TOKEN=a b " + planted, "AVHUB_LOG_LEVEL=" + planted, "AVHUB_STORAGE_URL=x://" + planted,
				"AVHUB_SERVER_LISTEN=" + planted, "AVHUB_SERVER_MAX_BODY=" + planted, "AVHUB_ODD=" + planted}).Draw(t, "variable"))
		}
		cfg, err := Parse("avhub.yaml", text, Options{Environ: environ, Flags: map[string]string{"storage.migrate": "manual"}, EventTypes: []string{"a.b"}})
		if err != nil {
			refused++
			if tells(err.Error()) {
				t.Fatalf("the error tells the secret:\n%v\nof\n%s", err, text)
			}
			return
		}
		taken++
		if said := fmt.Sprint(cfg.Warnings()); tells(said) {
			t.Fatalf("a warning tells the secret: %s", said)
		}
		if said := fmt.Sprint(cfg.CheckFiles()); strings.Contains(said, planted) { // it does name programs
			t.Fatalf("tells the secret: %s", said)
		}
		if strings.Contains(cfg.Storage.URL, ":"+canary+"@") && strings.Contains(cfg.Storage.RedactedURL(), canary) {
			t.Fatalf("shows the password: %s", cfg.Storage.RedactedURL())
		}
		assertHidden(t, cfg)
	})
	t.Logf("%d refused, %d taken", refused, taken)
	if refused == 0 || taken == 0 {
		t.Errorf("%d configurations were refused and %d taken, so too little was proven", refused, taken)
	}
}

// planted is what the environment holds in the tests that spoil files; nothing
// in a file is like it.
const planted = "pl4nted-7h1s"

// assertHidden looks for it where what came from the environment is never shown.
func assertHidden(t interface{ Fatalf(string, ...any) }, cfg *Config) {
	text, err := cfg.Show()
	if err != nil {
		t.Fatalf("showing a valid configuration: %v", err)
	}
	var shown struct {
		Admin   map[string]any
		Plugins []map[string]any
	}
	if err := yaml.Unmarshal(text, &shown); err != nil {
		t.Fatalf("what is shown is no YAML: %v\n%s", err, text)
	}
	if token := shown.Admin["token"]; token != "" && token != schema.RedactedText {
		t.Fatalf("shows the token:\n%s", text)
	}
	for _, p := range shown.Plugins {
		if strings.Contains(fmt.Sprint(p["command"], p["env"], p["config"]), planted) {
			t.Fatalf("shows what came from the environment:\n%s", text)
		}
	}
}

// FuzzLoad holds that no text makes the hub panic or tell what is in the
// environment.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(Example())
	f.Add([]byte("plugins:\n  - &a { name: p, command: [p, '${SECRET}'], config: { a: ['${SECRET}x', {b: '$${SECRET}'}] }, env: {A: '${SECRET}'} }\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("file:")) || bytes.Contains(text, []byte("pl4n")) {
			return // nothing of the machine is read
		}
		cfg, err := Parse("fuzz.yaml", text, Options{Environ: []string{"SECRET=" + planted, "EMPTY="}, EventTypes: []string{"tenant.created"}})
		if err != nil {
			if strings.Contains(err.Error(), planted) {
				t.Fatalf("tells the secret: %v", err)
			}
			if _, ok := err.(*Error); !ok {
				t.Fatalf("is no *Error: %v", err)
			}
			return
		}
		if said := fmt.Sprint(cfg.Warnings(), cfg.CheckFiles()); strings.Contains(said, planted) {
			t.Fatalf("tells the secret: %s", said)
		}
		for _, p := range cfg.Plugins {
			if _, err := p.ConfigJSON(); err != nil {
				t.Fatalf("a config that cannot be sent: %v", err)
			}
		}
		assertHidden(t, cfg)
	})
}

func TestTheJSONSchemaAllowsExpansion(t *testing.T) {
	t.Parallel()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Fatal("it is no JSON")
	}
	golden(t, "testdata/avhub.schema.json", text)
}

func TestTheReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const page = "../docs/config.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Of[Config]()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := settableKeys()
	if err != nil {
		t.Fatal(err)
	}
	variables := "| Variable | Key |\n|---|---|\n"
	for _, field := range s.Fields() {
		if name := variable(field.Path); keys[name] == field.Path {
			variables += "| `" + name + "` | `" + field.Path + "` |\n"
		}
	}
	got := string(text)
	for name, part := range map[string]string{"keys": s.Markdown(), "variables": variables, "example": "```yaml\n" + string(Example()) + "```\n"} {
		begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
		before, rest, ok := strings.Cut(got, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for the %s", page, name)
		}
		got = before + begin + part + end + after
	}
	golden(t, page, []byte(got))
}
