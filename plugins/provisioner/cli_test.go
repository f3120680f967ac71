package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run runs the command as a person does, with a configuration and input.
func run(t *testing.T, cfg map[string]any, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	all := append([]string{"avhub-provisioner"}, args...)
	code = command(t.Context(), append(all, "-c", file), strings.NewReader(in), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

const acme = `{"tenant_id":"t1","slug":"acme","plan":"pro","status":"active"}`

func TestPreviewTellsWhatTheConnectorThenDoesAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	cfg := files(dir, nil)
	code, out, errs := run(t, cfg, "["+acme+"]", "preview", "--json")
	var all []planned
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all) != 1 || all[0].Kind != "create" {
		t.Fatalf("%d %s %s %v", code, out, errs, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("it made %v", entries)
	}
	r := newRig(t, cfg)
	o := org("t1", "pro", "active")
	o.Slug = "acme"
	if h := r.must(o).Resources["db"]; h.Name != all[0].Name {
		t.Errorf("it said %s, and made %s", all[0].Name, h.Name)
	}
	if code, out, _ := run(t, cfg, acme, "preview"); code != 0 || !strings.Contains(out, "nothing") {
		t.Errorf("%d %s", code, out)
	}
}

func TestDriftFindsWhatIsLostAndSaysSoByItsExitCode(t *testing.T) {
	dir := t.TempDir()
	cfg := files(dir, nil)
	r := newRig(t, cfg)
	at := r.must(org("t1", "pro", "active")).Resources["db"].References["path"]
	if code, out, errs := run(t, cfg, acme, "drift"); code != exitDone || !strings.Contains(out, "as it should be") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if err := os.RemoveAll(filepath.Dir(at)); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, cfg, acme, "drift"); code != exitFailed || !strings.Contains(out, "missing") || exists(t, at) {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func TestShowRestoreAndPurgeWorkByTheMarksAlone(t *testing.T) {
	cfg := files(t.TempDir(), map[string]any{"deprovision": "delete", "grace": "72h"})
	r := newRig(t, cfg)
	r.now = time.Now()
	at := r.must(org("t1", "pro", "active")).Resources["db"].References["path"]
	r.must(org("t1", "pro", "deleted"))
	if code, out, errs := run(t, cfg, "", "show", "t1"); code != 0 || !strings.Contains(out, "deleted") || !strings.Contains(out, "closed") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, errs := run(t, cfg, "", "restore", "t1"); code != 0 || !exists(t, at) {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, _ := run(t, cfg, "", "purge", "t1", "--yes"); code != 0 || !exists(t, at) {
		t.Fatalf("what is active was purged: %d %s", code, out)
	}
	r.must(org("t1", "pro", "deleted"))
	if code, out, _ := run(t, cfg, "", "purge", "--yes"); code != 0 || !strings.Contains(out, "nothing is due") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := run(t, cfg, "", "purge", "t1"); code != 0 || !strings.Contains(out, "would be deleted") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, _ := run(t, cfg, "", "show", "t1"); code != 0 {
		t.Error("it was deleted without --yes")
	}
	if code, out, errs := run(t, cfg, "", "purge", "t1", "--yes", "--json"); code != 0 || !strings.Contains(out, `"deleted"`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, errs := run(t, cfg, "", "show", "t1"); code != exitFailed || !strings.Contains(errs, "nothing carries the mark") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestPurgeSparesWhatIsToBeRetained(t *testing.T) {
	cfg := files(t.TempDir(), nil)
	r := newRig(t, cfg)
	r.must(org("t1", "pro", "active"))
	r.must(org("t1", "pro", "deleted"))
	run(t, cfg, "", "purge", "t1", "--yes")
	if code, _, errs := run(t, cfg, "", "show", "t1"); code != 0 {
		t.Errorf("it was deleted: %s", errs)
	}
}

func TestWrongUseAndBadInputSayWhatWouldBeRight(t *testing.T) {
	cfg := files(t.TempDir(), nil)
	for _, test := range []struct {
		in   string
		args []string
		code int
		says string
	}{
		{"", []string{"show"}, exitUsage, "the id of a tenant"},
		{"", []string{"purge", "--force"}, exitUsage, "unknown flag"},
		{"no json", []string{"preview"}, exitFailed, "avhub org list --json"},
		{"", []string{"preview"}, exitFailed, "there are none"},
		{`{"tenant_id":7}`, []string{"drift"}, exitFailed, "wrong type"},
	} {
		if code, _, errs := run(t, cfg, test.in, test.args...); code != test.code || !strings.Contains(errs, test.says) {
			t.Errorf("%v: %d %s", test.args, code, errs)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for says, change := range map[string]func(cfg, db map[string]any){
		"is no resource":     func(cfg, _ map[string]any) { cfg["plans"] = map[string]any{"pro": []string{"other"}} },
		"lacks sqlite.dir":   func(_, db map[string]any) { db["sqlite"] = map[string]any{} },
		"no absolute path":   func(_, db map[string]any) { db["sqlite"] = map[string]any{"dir": "here"} },
		"lacks postgres.url": func(_, db map[string]any) { db["driver"] = "postgres-schema" },
		"an absolute path": func(_, db map[string]any) {
			db["driver"], db["exec"] = "exec", map[string]any{"command": []string{"sh"}}
		},
		"nothing may be deleted": func(cfg, db map[string]any) { cfg["allow_destroy"], db["deprovision"] = false, "delete" },
		"two places":             func(cfg, _ map[string]any) { cfg["secrets"] = map[string]any{"dir": "/s", "command": []string{"/c"}} },
		"has the prefix of db": func(cfg, _ map[string]any) {
			cfg["resources"].(map[string]any)["more"] = map[string]any{"driver": "sqlite", "prefix": "db", "sqlite": map[string]any{"dir": "/x"}}
		},
		"no name of a resource": func(cfg, db map[string]any) { cfg["resources"].(map[string]any)["A b"] = db },
	} {
		cfg := files("/tmp/x", nil)
		change(cfg, cfg["resources"].(map[string]any)["db"].(map[string]any))
		_, problems := decode(cfg)
		var all strings.Builder
		for _, p := range problems {
			all.WriteString(p.String())
		}
		if !strings.Contains(all.String(), says) {
			t.Errorf("%q is not said: %s", says, all.String())
		}
	}
}
