package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkout is the root of this repository.
func checkout(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// mustGo runs go in dir, without the network.
func mustGo(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, environ("GOFLAGS=-mod=mod", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestANewConnectorBuildsPassesItsTestAndRunsInAHub(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"tenant", "subject", "total"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			told := done(t, parent, "plugin", "new", "tenants-2", "--order", order, "--replace", checkout(t))
			for _, next := range []string{"cd tenants-2", "make test", "make run"} {
				if !strings.Contains(told.err, "  "+next) {
					t.Errorf("it does not tell to %s:\n%s", next, told.err)
				}
			}
			dir := filepath.Join(parent, "tenants-2")
			mustGo(t, dir, "build", "-o", "bin/tenants-2", ".")
			mustGo(t, dir, "vet", ".")
			if out := mustGo(t, dir, "test", "-short", "-v", "."); strings.Count(out, "--- PASS: TestLaws/law_") < 10 {
				t.Errorf("it was judged by few laws:\n%s", out)
			}
			bin := filepath.Join(t.TempDir(), "world")
			mustGo(t, dir, "test", "-c", "-o", bin, ".")
			verified := done(t, dir, "plugin", "verify", "--histories", "2", "--world", served(t, bin, "TestLaws"), "bin/tenants-2")
			if strings.Contains(verified.out, "✗") || strings.Count(verified.out, "✓") < 9 {
				t.Errorf("verified:\n%s", verified.out)
			}
			if out, err := exec.Command("gofmt", "-l", dir).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("gofmt: %v %s", err, out)
			}
			done(t, dir, "check")
			got := done(t, dir, anywhere("--config", "avhub.yaml", "--duration", "8s", "--quiet")...)
			if !strings.Contains(got.err, "applied by the plugins") {
				t.Errorf("it told\n%s", got.err)
			}
			orgs := read[[]map[string]any](t, dir, "org", "list", "-c", "data/dev/dev.yaml")
			files, err := filepath.Glob(filepath.Join(dir, "data", "tenants", "*"))
			if err != nil || len(files) == 0 || len(files) > len(orgs) {
				t.Errorf("%v; %d files for %d tenants", err, len(files), len(orgs))
			}
			for _, org := range orgs {
				text, err := os.ReadFile(filepath.Join(dir, "data", "tenants", org["tenant_id"].(string)+".json"))
				if err == nil && strings.Contains(string(text), `"name": "`+org["name"].(string)+`"`) {
					return
				}
			}
			t.Errorf("none of %d files tells of any of %v", len(files), orgs)
		})
	}
}

func TestTheNewConnectorIsUnderFortyLines(t *testing.T) {
	t.Parallel()
	text, err := connectorFiles.ReadFile("connector/main.go.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	code := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			code++
		}
	}
	if code >= 40 {
		t.Errorf("main.go has %d lines of code", code)
	}
}

func TestANewConnectorOverwritesNothing(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	replace := checkout(t)
	writeFile(t, filepath.Join(parent, "file"), "mine")
	if err := os.Mkdir(filepath.Join(parent, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(parent, "full", "go.mod"), "mine")
	for _, dir := range []string{"file", "full"} {
		got := run(t, parent, "plugin", "new", "a", "--dir", dir, "--replace", replace)
		if got.code != 1 || !strings.Contains(got.err, dir) {
			t.Errorf("%s: exit code %d, %s", dir, got.code, got.err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(parent, "full", "go.mod")); err != nil || string(text) != "mine" {
		t.Errorf("%v %q", err, text)
	}
	if entries, err := os.ReadDir(filepath.Join(parent, "full")); err != nil || len(entries) != 1 {
		t.Errorf("it wrote beside what was there: %v %v", entries, err)
	}
	// A folder that is empty is as good as a new one.
	if err := os.Mkdir(filepath.Join(parent, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	done(t, parent, "plugin", "new", "a", "--dir", "empty", "--replace", replace)
}

func TestNamesThatAreNoneAreRefusedAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	replace := checkout(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{""}, "the name of the connector is missing"},
		{[]string{"../up"}, "lower-case letters"},
		{[]string{"Billing"}, "lower-case letters"},
		{[]string{"a b"}, "lower-case letters"},
		{[]string{"a\x1b[31m"}, "lower-case letters"},
		{[]string{"--", "-x"}, "lower-case letters"},
		{[]string{strings.Repeat("a", 64)}, "1 to 63"},
		{[]string{"a", "b"}, "unexpected argument"},
		{[]string{"a", "--order", "random"}, "tenant, subject or total"},
		{[]string{"a", "--module", "not a path"}, "Go module"},
		{[]string{"a", "--module", "github.com/avhub/avhub"}, "Go module"},
		{[]string{"a", "--module", "x\nreplace"}, "Go module"},
	} {
		got := run(t, dir, append([]string{"plugin", "new", "--replace", replace}, c.args...)...)
		if got.code != exitUsage || !strings.Contains(got.err, c.says) || strings.Contains(got.err, "\x1b[31m") {
			t.Errorf("%q: exit code %d, %s", c.args, got.code, got.err)
		}
	}
	for args, says := range map[string]string{
		"plugin new a":                     "--replace PATH",
		"plugin new a --replace .":         "no checkout of avhub",
		"plugin new a --replace ./nowhere": "no checkout of avhub",
	} {
		if got := run(t, dir, strings.Fields(args)...); got.code != exitFailed || !strings.Contains(got.err, says) {
			t.Errorf("%s: exit code %d, %s", args, got.code, got.err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestOnlyReleasesAreRequiredByTheirVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"v1.2.3": true, "v0.4.0-rc.1": true, "v0.0.0-20261121205210-0123456789ab": true,
		"dev": false, "ac60bd7": false, "v1.2.3-4-gac60bd7": false, "v1.2.3-dirty": false, "v1.2.3+dirty": false,
		"v2.0.0": false, "1.2.3": false, "v1.2": false,
	} {
		if got := isRelease(version); got != want {
			t.Errorf("%s: %v, want %v", version, got, want)
		}
	}
	s, err := newScaffold("a", "tenant", "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Version, s.Replace, err = sdkVersion("v1.2.3", ""); err != nil {
		t.Fatal(err)
	}
	files, err := s.files()
	if err != nil {
		t.Fatal(err)
	}
	if mod := string(files["go.mod"]); !strings.Contains(mod, "require github.com/avhub/avhub v1.2.3\n") || strings.Contains(mod, "replace") || files["go.sum"] != nil {
		t.Errorf("go.mod:\n%s", mod)
	}
}
