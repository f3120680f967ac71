package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// anywhere keeps runs of dev out of each other's way.
func anywhere(args ...string) []string {
	return append([]string{"dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--interval", "200ms"}, args...)
}

func TestDevShowsEventsGoingAllTheWayAndEndsByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := done(t, dir, anywhere("--duration", "10s", "--json")...)
	outcomes, whole := map[string]int{}, 0
	for line := range strings.SplitSeq(strings.TrimSpace(got.out), "\n") {
		var is viewJSON
		if err := json.Unmarshal([]byte(line), &is); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		outcomes[is.Outcome]++
		if is.Outcome == "accepted" && len(is.Changes) > 0 && is.Plugin != nil && is.Plugin.Verdict == "applied" && is.Position > 0 {
			whole++
		}
	}
	if whole == 0 || outcomes["accepted"] < 8 || outcomes["duplicate"] == 0 {
		t.Errorf("%d events came all the way; outcomes %v\n%s", whole, outcomes, got.err)
	}
	for _, want := range []string{"/webhooks/authvital", "avhub-notify", "event send", "changed the mirror", "avhub-auditlog verify data/dev/dev-audit"} {
		if !strings.Contains(got.err, want) {
			t.Errorf("the header or the summary lacks %q:\n%s", want, got.err)
		}
	}
	place := filepath.Join(dir, "data", "dev")
	if _, err := os.Stat(filepath.Join(place, devControl)); err == nil {
		t.Errorf("%s is still there", devControl)
	}
	if text, err := os.ReadFile(filepath.Join(place, devLog)); err != nil || !strings.Contains(string(text), "the plugin is running") {
		t.Errorf("the hub's log: %v\n%s", err, text)
	}
	// The last words tell what judges the trail that was written.
	judged, err := exec.CommandContext(t.Context(), program(t, "avhub-auditlog"), "verify", filepath.Join(place, devAudit)).CombinedOutput()
	if err != nil || !strings.Contains(string(judged), "complete    yes") {
		t.Errorf("the audit trail: %v\n%s", err, judged)
	}
	// Other verbs work on what dev left, with the configuration that it left.
	if orgs := read[[]map[string]any](t, dir, "org", "list", "-c", "data/dev/dev.yaml"); len(orgs) == 0 {
		t.Error("the mirror is empty")
	}
}

func TestEventsAreSentThroughARunningDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := run(t, dir, "event", "send", "--type", "tenant.created"); got.code != 1 || !strings.Contains(got.err, "no `avhub dev` is running") {
		t.Errorf("without dev: exit code %d, %s", got.code, got.err)
	}
	dev := start(t, dir, anywhere()...)
	dev.err.wait(t, "In another terminal")
	if info, err := os.Stat(filepath.Join(dir, devDir, devControl)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", devControl, err, info)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--type tenant.created --set slug=mine --set settings.require_mfa=true", 0, "200"},
		{"--type tenant.updated --tenant mine --set plan=enterprise", 0, "accepted"},
		{"--type tenant.updated --tenant mine --duplicate", 0, "duplicate"},
		{"--type tenant.updated --tenant mine --forge", 0, "bad_signature"},
		{"--type subject.updated --forge=stale", 0, "stale_timestamp"},
		{"--type my.own.event --set a.b=1", 0, "accepted"},
		{"--type tenant.updated --forge=sideways", 1, "bad_signature"},
		{"--type tenant.updated --tenant nobody", 1, "mine"},
		{"--type member.joined --channel system", 1, "channel"},
		{"--type member.joined --channel pigeon", 2, "webhook"},
		{"--type tenant.updated --set plan", 2, "path=value"},
		{"", 2, "--type"},
	} {
		got := run(t, dir, append([]string{"event", "send"}, strings.Fields(c.args)...)...)
		if got.code != c.code || !strings.Contains(got.out+got.err, c.says) {
			t.Errorf("event send %s: exit code %d, want %d and %q\n%s%s", c.args, got.code, c.code, c.says, got.out, got.err)
		}
	}
	dev.out.wait(t, "you send an event", "tenant.updated", "plan free → enterprise", "notify applied")
	dev.out.wait(t, "you send an event", "refused 401 bad_signature")
	org := read[map[string]any](t, dir, "org", "show", "mine", "-c", "data/dev/dev.yaml")
	if org["require_mfa"] != true {
		t.Errorf("what was set did not arrive: %v", org)
	}
	if got := run(t, dir, anywhere()...); got.code != 1 || !strings.Contains(got.err, "another `avhub dev`") {
		t.Errorf("a second dev in the same folder: exit code %d, %s", got.code, got.err)
	}
	if code := dev.end(t, os.Interrupt); code != 0 {
		t.Errorf("after Ctrl-C the exit code is %d", code)
	}
}

func TestLaw7_DevGoesOnAfterKill9(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, dir, anywhere()...)
	first.out.wait(t, "notify applied")
	first.end(t, os.Kill)
	others := []string{"mine.txt", "avhub.db", "avhub.yaml"}
	for _, name := range others {
		writeFile(t, filepath.Join(dir, devDir, name), "not dev's")
	}
	before := len(read[[]eventJSON](t, dir, "event", "list", "-c", "data/dev/dev.yaml"))

	second := start(t, dir, anywhere("--duration", "8s", "--quiet")...)
	if code := second.wait(t); code != 0 {
		t.Errorf("after kill -9 a run has exit code %d", code)
	}
	if second.out.text() != "" || strings.Contains(second.err.text(), "AuthVital ") || !strings.Contains(second.err.text(), "accepted") {
		t.Errorf("--quiet prints\n%s\n%s", second.out.text(), second.err.text())
	}
	if after := len(read[[]eventJSON](t, dir, "event", "list", "-c", "data/dev/dev.yaml")); after <= before {
		t.Errorf("%d events before, %d after", before, after)
	}

	third := start(t, dir, anywhere("--fresh")...)
	third.out.wait(t, "accepted #1 ")
	for _, name := range others {
		if text, err := os.ReadFile(filepath.Join(dir, devDir, name)); err != nil || string(text) != "not dev's" {
			t.Errorf("--fresh touched what is not dev's: %v", err)
		}
	}
	if code := third.end(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestADefaultPortGivesWayAndANamedOneDoesNot(t *testing.T) {
	t.Parallel()
	// Whoever holds it, it is taken.
	if ln, err := net.Listen("tcp", devServer); err == nil {
		defer ln.Close()
	}
	dir := t.TempDir()
	got := done(t, dir, "dev", "--admin-listen", "127.0.0.1:0", "--duration", "5s", "--interval", "200ms")
	if !strings.Contains(got.err, devServer+" is taken") {
		t.Errorf("got %s", got.err)
	}
	if got := run(t, dir, "dev", "--listen", devServer); got.code != 1 || !strings.Contains(got.err, "is a hub running already?") {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
}

func TestDevNeedsTheConnector(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := os.ReadFile(program(t, "avhub"))
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(dir, "avhub")
	if err := os.WriteFile(alone, text, 0o700); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, alone, dir, "dev")
	if code := p.wait(t); code != 1 || !strings.Contains(p.err.text(), "make build") {
		t.Errorf("exit code %d: %s", code, p.err.text())
	}
}
