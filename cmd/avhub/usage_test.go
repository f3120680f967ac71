package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodesTellDoneFailedAndWrongUseApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		code int
		says string // on standard error, or on standard output of what succeeds
	}{
		{"", 2, "a verb is missing"},
		{"--help", 0, "dev"},
		{"help event list", 0, "newest first"},
		{"help evnt", 2, "no verb"},
		{"evnt", 2, "did you mean event?"},
		{"event", 2, "a verb is missing"},
		{"event lst", 2, "did you mean list?"},
		{"event list --nope", 2, "unknown flag"},
		{"event list extra", 2, "unexpected argument"},
		{"event list --limit 0", 2, "at least 1"},
		{"event list --limit many", 2, "invalid argument"},
		{"event list --since yesterday", 2, "90m"},
		{"event list --type te*nt", 2, "star"},
		{"event list --after -1", 2, "position"},
		{"event list --set foo", 2, "key=value"},
		{"event show", 2, "is missing"},
		{"event show 1 2", 2, "unexpected argument"},
		{"event list", 1, "avhub migrate"},
		{"event list -c nowhere.yaml", 1, "avhub init"},
		{"event list --set log.lvel=debug", 1, "log.lvel"},
		{"serve --log-level loud", 1, "debug"},
		{"identity list --active maybe", 2, "true or false"},
		{"org list --limit -3", 2, "at least 1"},
		{"delivery retry", 2, "--all"},
		{"delivery discard", 2, "--all"},
		{"delivery discard --all --plugin x", 2, "--all is for everything"},
		{"migrate --status", 1, "avhub migrate"},
		{"backfill extra", 2, "unexpected argument"},
		{"backfill --verify --dry-run", 2, "--verify writes nothing"},
		{"backfill --restart --tenant t1", 2, "--restart is for a whole run"},
		{"backfill --tenant=", 2, "take an id"},
		{"backfill", 1, "avhub migrate"},
		{"completion nope", 2, "bash"},
		{"completion bash", 0, "avhub"},
		{"config schema", 0, "$schema"},
		{"config show", 0, "listen: 127.0.0.1:8080"},
		{"check", 0, "storage"},
		{"version", 0, "plugin protocol 1"},
		{"--version", 0, "avhub"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			got := run(t, t.TempDir(), strings.Fields(c.args)...)
			if got.code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", got.code, c.code, got.out, got.err)
			}
			if c.code == 0 {
				if !strings.Contains(got.out, c.says) {
					t.Errorf("standard output lacks %q:\n%s", c.says, got.out)
				}
				return
			}
			if !strings.Contains(got.err, c.says) {
				t.Errorf("standard error lacks %q:\n%s", c.says, got.err)
			}
			if got.out != "" {
				t.Errorf("a failure wrote to standard output: %q", got.out)
			}
		})
	}
}

func TestVersionIsToldToMachines(t *testing.T) {
	t.Parallel()
	var is struct {
		Version  string
		Go       string
		Protocol int `json:"plugin_protocol"`
	}
	if err := json.Unmarshal([]byte(done(t, t.TempDir(), "version", "--json").out), &is); err != nil {
		t.Fatal(err)
	}
	if is.Version == "" || !strings.HasPrefix(is.Go, "go1.") || is.Protocol != 1 {
		t.Errorf("got %+v", is)
	}
}

func TestInitWritesAFileThatPassesCheckAndKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := done(t, dir, "init", "hub"); !strings.Contains(got.err, "avhub check") || !strings.Contains(got.err, "cd hub") {
		t.Errorf("init does not say what comes next:\n%s", got.err)
	}
	file := filepath.Join(dir, "hub", "avhub.yaml")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o: the file may hold secrets", info.Mode().Perm())
	}
	if info, err := os.Stat(filepath.Join(dir, "hub", "data")); err != nil || !info.IsDir() {
		t.Errorf("there is no folder for data: %v", err)
	}
	done(t, filepath.Join(dir, "hub"), "check")

	writeFile(t, file, "log: {level: warn}\n")
	if got := run(t, dir, "init", "hub"); got.code != 1 || !strings.Contains(got.err, "--force") {
		t.Errorf("init over a file: exit code %d, %s", got.code, got.err)
	}
	if text, _ := os.ReadFile(file); string(text) != "log: {level: warn}\n" {
		t.Errorf("the file was changed: %s", text)
	}
	done(t, dir, "init", "hub", "--force")
	if text, _ := os.ReadFile(file); !strings.Contains(string(text), "sources:") {
		t.Errorf("--force did not replace the file: %s", text)
	}
}

func TestABrokenConfigurationIsReportedAsAWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const secret = "canary-s3cret"
	writeFile(t, filepath.Join(dir, "avhub.yaml"), `
server: { listn: "127.0.0.1:0" }
storage: { url: "mysql://root:`+secret+`@db/avhub" }
sources:
  - name: authvital
    host: ftp://auth.example.com
    path: /webhooks/authvital
`)
	storage := []string{"avhub.yaml:3:", "storage.url"}
	all := append([]string{`avhub.yaml:2:11: server.listn`, `"listen"`, "avhub.yaml:6:", "sources[0].host"}, storage...)
	for verb, wants := range map[string][]string{
		"check": all, "serve": all, "config show": all,
		"migrate": storage, "event list": storage, "org show x": storage, // need nothing else
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			got := run(t, dir, strings.Fields(verb)...)
			if got.code != 1 {
				t.Errorf("exit code %d", got.code)
			}
			for _, want := range wants {
				if !strings.Contains(got.err, want) {
					t.Errorf("the report lacks %q:\n%s", want, got.err)
				}
			}
			if strings.Contains(got.err+got.out, secret) {
				t.Errorf("law 11: the password shows:\n%s%s", got.err, got.out)
			}
		})
	}
	var told struct {
		OK       bool
		Problems []struct {
			Severity, Source, Path, Summary string
			Line                            int
		}
	}
	got := run(t, dir, "check", "--json")
	if err := json.Unmarshal([]byte(got.out), &told); err != nil || got.code != 1 {
		t.Fatalf("exit code %d, %v: %s", got.code, err, got.out)
	}
	if told.OK || len(told.Problems) != 3 || told.Problems[0].Line != 2 || told.Problems[0].Severity != "error" {
		t.Errorf("got %+v", told)
	}
}

func TestLookingAtDataNeedsNoSecretsOfConnectors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "avhub.yaml"), "storage: { url: \"sqlite://x.db\" }\nplugins:\n  - { name: billing, command: [\"./gone\"], config: { key: \"${NOT_SET_HERE}\" } }\n")
	done(t, dir, "migrate")
	done(t, dir, "org", "list")
	done(t, dir, "delivery", "list")
	if got := run(t, dir, "serve"); got.code != 1 || !strings.Contains(got.err, "NOT_SET_HERE") {
		t.Errorf("serve without the secret: exit code %d\n%s", got.code, got.err)
	}
}
