package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mustParse(t *testing.T, text string, o Options) *Config {
	t.Helper()
	cfg, err := Parse("avhub.yaml", []byte(text), o)
	if err != nil {
		t.Fatalf("a right file was refused:\n%v", err)
	}
	return cfg
}

func parseError(t *testing.T, text string, o Options) *Error {
	t.Helper()
	_, err := Parse("avhub.yaml", []byte(text), o)
	configErr, ok := err.(*Error)
	if !ok {
		t.Fatalf("got %v, want an *Error for\n%s", err, text)
	}
	return configErr
}

func TestAnEmptyFileGivesTheDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "---\n", "server:\nlog: ~\n", "\ufeff# with a mark\n"} {
		cfg := mustParse(t, text, Options{})
		cfg.origin = nil
		if !reflect.DeepEqual(*cfg, Default()) {
			t.Errorf("%q gives %+v", text, *cfg)
		}
	}
	d := Default()
	if d.Server.Listen != "127.0.0.1:8080" || d.Server.MaxBody != schema.MiB || d.Server.MaxConnections != 1024 || d.Admin.Listen != "127.0.0.1:8081" ||
		d.Storage.URL != "sqlite://data/avhub.db" || d.Storage.Migrate != "auto" || d.Log.Level != "info" || d.Log.Format != "console" {
		t.Errorf("the defaults are %+v", d)
	}
	if err := d.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestEntriesOfListsGetTheirDefaults(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, "sources: [{name: a, host: https://x.example/, path: /a}]\nplugins: [{name: p, command: [p]}]\n", Options{})
	s, p := cfg.Sources[0], cfg.Plugins[0]
	if s.MaxAge != 300*time.Second || s.MaxAhead != time.Minute || p.RetryFor != 72*time.Hour || p.Events != nil {
		t.Errorf("got %+v and %+v", s, p)
	}
	if s.KeySetURL() != "https://x.example/.well-known/jwks.json" {
		t.Errorf("the key set is at %s", s.KeySetURL())
	}
	if text, err := p.ConfigJSON(); err != nil || string(text) != "{}" {
		t.Errorf("an absent config is %s, %v", text, err)
	}
}

func TestLaterLayersWin(t *testing.T) {
	t.Parallel()
	text := "server: { listen: 127.0.0.1:1, max_body: 2MiB, max_connections: 2 }\nlog: { level: debug }\n"
	cfg := mustParse(t, text, Options{
		Environ: []string{"AVHUB_SERVER_LISTEN=127.0.0.1:2", "AVHUB_SERVER_MAX_BODY=3MiB", "AVHUB_SERVER_MAX_CONNECTIONS=", "AVHUB_LOG_FORMAT=json", "PATH=/bin"},
		Flags:   map[string]string{"server.listen": "127.0.0.1:3"},
	})
	if cfg.Server.Listen != "127.0.0.1:3" || cfg.Server.MaxBody != 3*schema.MiB || cfg.Server.MaxConnections != 2 || cfg.Log.Level != "debug" || cfg.Log.Format != "json" {
		t.Errorf("got %+v %+v", cfg.Server, cfg.Log)
	}
	cfg = mustParse(t, "log: { level: debug }", Options{Environ: []string{"AVHUB_SERVER_MAX_CONNECTIONS=77"}})
	if cfg.Server.MaxConnections != 77 {
		t.Errorf("a number from the environment became %d", cfg.Server.MaxConnections)
	}
}

func TestEveryWordOutsideListsHasItsVariable(t *testing.T) {
	t.Parallel()
	keys, err := settableKeys()
	if err != nil {
		t.Fatal(err)
	}
	want := settable{
		"AVHUB_SERVER_LISTEN": "server.listen", "AVHUB_SERVER_MAX_BODY": "server.max_body", "AVHUB_SERVER_MAX_CONNECTIONS": "server.max_connections",
		"AVHUB_ADMIN_LISTEN": "admin.listen", "AVHUB_ADMIN_TOKEN": "admin.token", "AVHUB_STORAGE_URL": "storage.url",
		"AVHUB_SERVER_MAX_BODIES": "server.max_bodies", "AVHUB_JOURNAL_RETAIN": "journal.retain",
		"AVHUB_JOURNAL_DEDUPE_FOR": "journal.dedupe_for", "AVHUB_JOURNAL_MAX_LAG": "journal.max_lag",
		"AVHUB_STORAGE_MIGRATE": "storage.migrate", "AVHUB_LOG_LEVEL": "log.level", "AVHUB_LOG_FORMAT": "log.format",
		"AVHUB_MIRROR_APPLICATION_ID": "mirror.application_id", "AVHUB_MIRROR_ON_DELETE": "mirror.on_delete",
		"AVHUB_MIRROR_PLAN_APPLICATION":       "mirror.plan_application",
		"AVHUB_MIRROR_SESSIONS_CLEANUP_EVERY": "mirror.sessions.cleanup_every",
		"AVHUB_MIRROR_SESSIONS_KEEP":          "mirror.sessions.keep",
		"AVHUB_MIRROR_SESSIONS_MAX_PER_RUN":   "mirror.sessions.max_per_run",
		"AVHUB_MIRROR_TENANTS_MODE":           "mirror.tenants.mode",
		"AVHUB_MIRROR_TENANTS_URL":            "mirror.tenants.url",
		"AVHUB_MIRROR_TENANTS_MAX_OPEN":       "mirror.tenants.max_open",
		"AVHUB_MIRROR_TENANTS_ON_DELETE":      "mirror.tenants.on_delete",
	}
	if !reflect.DeepEqual(keys, want) {
		t.Errorf("got %v", keys)
	}
}

func TestMistakesInTheEnvironmentAndFlagsNameTheirPlace(t *testing.T) {
	t.Parallel()
	err := parseError(t, "server: 5\nadmin:\n  listen: ${AVHUB_MINE}\n", Options{
		Environ: []string{"AVHUB_LOG_LEVEL=loud", "AVHUB_SERVER_LISTEM=x", "AVHUB_SERVER_LISTEN=127.0.0.1:1", "AVHUB_TEST_X=1", "AVHUB_MINE=nowhere", "AVHUB_ZZZZZZZZZZZ=1"},
		Flags:   map[string]string{"log.format": "yaml", "sources.name": "x", "log.lebel": "y"},
	})
	want := `avhub.yaml:1:9: server: wrong type: needs a mapping, found a number; write key: value pairs
avhub.yaml:3:11: admin.listen: is no address to listen at; write host:port with a port from 0 to 65535, such as 127.0.0.1:8080 or [::1]:8080
environment AVHUB_SERVER_LISTEM: unknown variable; did you mean AVHUB_SERVER_LISTEN?
environment AVHUB_ZZZZZZZZZZZ: unknown variable; no ${…} in the file refers to it either; unset it
flags: "log.lebel" is no key that a flag can set; set it in the file
flags: "sources.name" is no key that a flag can set; set it in the file
environment AVHUB_LOG_LEVEL: log.level: is not allowed; it takes one of debug, info, warn, error
flags: log.format: is not allowed; it takes one of console, json`
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

func TestExpansionWorksOnWordsOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("from file\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	crlf := filepath.Join(dir, "crlf")
	if err := os.WriteFile(crlf, []byte("line\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := mustParse(t, `
server: { max_connections: "${COUNT}", max_body: "${COUNT}KiB" }
sources:
  - name: ${NAME}
    host: https://${HOST}/x
    path: /a
    max_age: ${AGE}
plugins:
  - name: p
    command: [p, "${ODD}"]
    env: { A: "${ODD}", B: "$${NAME} $$ $ ${COUNT}${COUNT}", C: "${EMPTY}" }
    config:
      a: [{ b: "x${ODD}y" }]
      file: ${file:`+secret+`}
      crlf: "${file:`+crlf+`}"
      "${NAME}": keys stay
      number: 12345678901234567890123
      block: |
        ${NAME}
`, Options{Environ: []string{"COUNT=64", "NAME=n1", "HOST=h.example", "AGE=7m", `ODD=a: [b] "${NAME}" #{}`, "EMPTY=", "NAME=n2"}})
	p := cfg.Plugins[0]
	want := map[string]any{"a": []any{map[string]any{"b": `xa: [b] "${NAME}" #{}y`}}, "file": "from file\n", "crlf": "line", "${NAME}": "keys stay", "block": "n2\n"}
	number := p.Config["number"]
	delete(p.Config, "number")
	if !reflect.DeepEqual(p.Config, want) {
		t.Errorf("config is %#v", p.Config)
	}
	p.Config["number"] = number
	if text, err := p.ConfigJSON(); err != nil || !strings.Contains(string(text), `"number":12345678901234567890123`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
	if cfg.Server.MaxConnections != 64 || cfg.Server.MaxBody != 64*schema.KiB || cfg.Sources[0].Name != "n2" || cfg.Sources[0].Host != "https://h.example/x" || cfg.Sources[0].MaxAge != 7*time.Minute {
		t.Errorf("got %+v", cfg)
	}
	if p.Env["A"] != `a: [b] "${NAME}" #{}` || p.Env["B"] != "${NAME} $$ $ 6464" || p.Env["C"] != "" || p.Command[1] != p.Env["A"] {
		t.Errorf("env is %q, command %q", p.Env, p.Command)
	}
}

func TestAliasesAndMergesAreWrittenOut(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, `
sources:
  - &base { name: a, host: https://a.example, path: /a, max_age: 1m }
  - { <<: *base, name: b, path: /b }
  - { <<: [{ name: c }, *base], path: /c }
`, Options{})
	if cfg.Sources[1].Name != "b" || cfg.Sources[1].MaxAge != time.Minute || cfg.Sources[2].Name != "c" || cfg.Sources[2].Host != "https://a.example" {
		t.Errorf("got %+v", cfg.Sources)
	}
}

func TestAnExplicitFileMustExist(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, test := range map[string]struct{ file, want string }{
		"missing":   {filepath.Join(dir, "none.yaml"), "avhub init"},
		"directory": {dir, "it is no regular file"},
		"endless":   {"/dev/zero", "it is no regular file"},
		"large":     {write(t, dir, "large.yaml", strings.Repeat("# comment\n", 1<<17)), "larger than 1 MiB"},
	} {
		_, err := Load(Options{File: test.file})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), test.file+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg, err := Load(Options{File: write(t, dir, "small.yaml", "log: { level: warn }\n")})
	if err != nil || cfg.Log.Level != "warn" {
		t.Errorf("%v, %+v", err, cfg)
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWithoutAnyFileTheDefaultsApply(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, err := Load(Options{Environ: []string{"AVHUB_LOG_LEVEL=error"}})
	if err != nil || cfg.Log.Level != "error" || cfg.Server.Listen != "127.0.0.1:8080" {
		t.Fatalf("%v, %+v", err, cfg)
	}
	_, err = Load(Options{Environ: []string{"AVHUB_LOG_LEVEL=x", "AVHUB_ADMIN_LISTEN=:1"}})
	if err == nil || !strings.HasPrefix(err.Error(), "environment AVHUB_LOG_LEVEL: log.level: is not allowed") || !strings.Contains(err.Error(), "environment AVHUB_ADMIN_LISTEN: admin.listen: can be reached") {
		t.Errorf("got %v", err)
	}
	write(t, ".", DefaultFile, "log: { level: debug }")
	if cfg, err = Load(Options{}); err != nil || cfg.Log.Level != "debug" {
		t.Errorf("the default file is not read: %v, %+v", err, cfg)
	}
}

func TestTheExampleLoads(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, string(Example()), Options{})
	if len(cfg.Sources) != 1 || len(cfg.Plugins) != 0 {
		t.Errorf("got %+v", cfg)
	}
	// With everything in force that it shows in comments.
	var lines []string
	for line := range strings.SplitSeq(string(Example()), "\n") {
		if len(line) > 1 && line[0] == '#' && (line[1] != ' ' || strings.HasPrefix(line, "#  ")) {
			line = line[1:]
		}
		lines = append(lines, line)
	}
	cfg = mustParse(t, strings.Join(lines, "\n"), Options{
		Environ: []string{"AVHUB_ADMIN_TOKEN=t", "AUTHVITAL_CLIENT_ID=i", "AUTHVITAL_CLIENT_SECRET=s"},
	})
	if len(cfg.Plugins) != 1 || cfg.Plugins[0].RetryFor != 72*time.Hour || cfg.Admin.Token != "t" || cfg.Sources[0].JWKSURL == "" || cfg.Server.MaxBody != schema.MiB ||
		cfg.Mirror.Tenants.Mode != "isolated" || cfg.Sources[0].API.ClientSecret != "s" || len(cfg.Features["pro"]) != 2 {
		t.Errorf("got %+v", cfg)
	}
}

func TestUnknownEventsAreWarnings(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, "plugins:\n  - name: p\n    command: [p]\n    events: ['*', tenant.*, tenant.created, tenant.craeted, tenants.*, whatever.else]\n",
		Options{EventTypes: []string{"tenant.created", "license.assigned"}})
	var got []string
	for _, w := range cfg.Warnings() {
		got = append(got, w.String())
	}
	want := []string{
		`avhub.yaml:4:45: plugins[0].events[3]: matches no type of event that is known; did you mean "tenant.created"?`,
		`avhub.yaml:4:61: plugins[0].events[4]: matches no type of event that is known; did you mean "tenant.*"?`,
		`avhub.yaml:4:72: plugins[0].events[5]: matches no type of event that is known; the list of types is in the documentation; one that a later version brings is delivered all the same`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestValidateChecksWhatGoCodePutTogether(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Log.Level = "loud"
	cfg.Sources = []Source{{Name: "a", Host: "http://a.example", Path: "/a", MaxAge: time.Minute, MaxAhead: time.Second}}
	err := cfg.Validate()
	if err == nil || !strings.Contains(err.Error(), "log.level: is not allowed") || !strings.Contains(err.Error(), "sources[0].host: is http") {
		t.Errorf("got %v", err)
	}
	cfg.Log.Level, cfg.Sources[0].Host = "info", "http://127.0.0.1:99"
	if err := cfg.Validate(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestCheckFilesFindsProgramsThatCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := write(t, dir, "data", "x")
	text := `plugins:
  - { name: a, command: [sh, -c, "true"] }
  - { name: b, command: [no-such-program-anywhere] }
  - { name: c, command: [./no/such/program] }
  - { name: d, command: [` + data + `] }
  - { name: e, command: [` + dir + `] }
  - { name: f, command: ["${HIDDEN}"] }
`
	err := mustParse(t, text, Options{Environ: []string{"HIDDEN=/no/" + canary}}).CheckFiles()
	want := `avhub.yaml:3:26: plugins[1].command[0]: the program "no-such-program-anywhere" is not in PATH; install it, or write its path with a slash
avhub.yaml:4:26: plugins[2].command[0]: the program "./no/such/program" does not exist; build or install it, or correct the path; a relative one begins at the working directory
avhub.yaml:5:26: plugins[3].command[0]: the program "` + data + `" cannot be executed; make it executable: chmod +x
avhub.yaml:6:26: plugins[4].command[0]: the program "` + dir + `" is no file; name the program itself
avhub.yaml:7:26: plugins[5].command[0]: the program does not exist; build or install it, or correct the path; a relative one begins at the working directory`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mustParse(t, "plugins: [{ name: d, command: ["+data+"] }]", Options{}).CheckFiles(); err != nil {
		t.Errorf("a program that can run: %v", err)
	}
}
