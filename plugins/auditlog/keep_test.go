package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/export"
	"github.com/avhub/avhub/plugins/auditlog/ledger"
	"github.com/avhub/avhub/sdk/plugin"
)

// standing are the files of a folder that a text stands in.
func standing(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestAnErasedPersonIsNowhereAndEveryProofHolds also delivers the person's events
// again, and a new one.
func TestAnErasedPersonIsNowhereAndEveryProofHolds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 200)
	key := publicKey(t, dir)
	proof := filepath.Join(t.TempDir(), "p")
	if code, out := does(t, "prove", dir, "--event", "evt_7", "--out", proof); code != 0 {
		t.Fatal(out)
	}
	saved := filepath.Join(t.TempDir(), "saved")
	raw, _ := os.ReadFile(filepath.Join(dir, "log", "checkpoint"))
	if err := os.WriteFile(saved, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := does(t, "history", dir, "--event", "evt_7"); code != 0 || strings.Contains(out, "fjord") || !strings.Contains(out, "email: ‹sealed ") {
		t.Fatalf("%d %s", code, out)
	}
	code, out := does(t, "history", dir, "--target", "identity:usr_7", "--unseal", "--reason", "a test")
	if code != 0 || !strings.Contains(out, `given_name: (unknown) → "Ines-7"`) || !strings.Contains(out, `email: "before@fjord.example" → "usr_7@fjord.example"   (old value from the mirror)`) {
		t.Fatalf("%d %s", code, out)
	}
	for _, args := range [][]string{
		{"--subject", "identity:usr_7", "--basis", "x"},
		{"--subject", "organization:tnt_1", "--basis", "x", "--yes"},
		{"--subject", "identity:usr_7", "--basis", " ", "--yes"},
	} {
		if code, out := does(t, append([]string{"erase", dir}, args...)...); code != 4 {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	if code, out := does(t, "erase", dir, "--subject", "identity:usr_7", "--basis", "GDPR 17", "--yes"); code != 0 || !strings.Contains(out, "identity:usr_7") {
		t.Fatalf("%d %s", code, out)
	}
	if code, out := does(t, "history", dir, "--target", "identity:usr_7", "--unseal", "--reason", "a test"); code != 0 || strings.Contains(out, "fjord") || !strings.Contains(out, "email: ‹erased› → ‹erased›") {
		t.Errorf("%d %s", code, out)
	}
	l := opens(t, dir)
	for _, n := range []int{7, 57, 107, 507} { // the last one is new
		r, err := l.Record(t.Context(), happening(n), 0)
		if err != nil || r.Conflict || r.New != (n == 507) {
			t.Errorf("event %d again: %+v, %v", n, r, err)
		}
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"usr_7@fjord", "Ines-7", "Ines-507", "fjord.example"} {
		if files := standing(t, dir, text); len(files) > 0 {
			t.Errorf("%q stands in %v", text, files)
		}
	}
	if code, out := does(t, "verify", dir, "--key", key, "--since", saved); code != 0 || !strings.Contains(out, "erased      identity:usr_7") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := does(t, "check", proof+".proof", proof+".entry", "--key", key); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := does(t, "history", dir, "--kind", "disclosed"); code != 0 || !strings.Contains(out, `"reason":"a test","what":"history"`) || !strings.Contains(out, "2 entries, all proved") {
		t.Errorf("reading is not told: %d %s", code, out)
	}
}

func TestAHoldForbidsErasingUntilItIsReleased(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 20)
	erase := []string{"erase", dir, "--subject", "identity:usr_3", "--basis", "asked for", "--yes"}
	for _, subject := range []string{"identity:usr_3", "*"} {
		if code, out := does(t, "hold", dir, "--subject", subject, "--reason", "case 12"); code != 0 {
			t.Fatal(out)
		}
		if code, out := does(t, erase...); code != 4 || !strings.Contains(out, "there is a legal hold on "+subject+" (case 12)") {
			t.Errorf("%d %s", code, out)
		}
		if code, out := does(t, "release", dir, "--subject", subject, "--reason", "settled"); code != 0 {
			t.Fatal(out)
		}
	}
	if code, out := does(t, "release", dir, "--subject", "*", "--reason", "settled"); code != 4 {
		t.Errorf("a hold that is not there was released: %d %s", code, out)
	}
	if code, out := does(t, erase...); code != 0 {
		t.Error(out)
	}
}

func TestAnOperatorIsServedBesideARunningConnector(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	c, err := open(t.Context(), config{Dir: dir, Interval: 100 * time.Millisecond, Heartbeat: time.Hour, Ack: "published"}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	var st state
	if err := c.Deliver(t.Context(), happening(1), &st); err != nil {
		t.Fatal(err)
	}
	if code, out := does(t, "hold", dir, "--subject", "identity:usr_1", "--reason", "case 12"); code != 0 {
		t.Fatal(out)
	}
	if code, out := does(t, "erase", dir, "--subject", "identity:usr_1", "--basis", "x", "--yes"); code != 4 || !strings.Contains(out, "case 12") {
		t.Errorf("%d %s", code, out)
	}
	for name, text := range map[string]string{"bad": "{", "unknown": `{"do":"drop","reason":"x"}`} {
		if err := os.WriteFile(filepath.Join(dir, "requests", name+".request"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := does(t, "release", dir, "--subject", "identity:usr_1", "--reason", "settled"); code != 0 {
		t.Fatal(out)
	}
	if code, out := does(t, "erase", dir, "--subject", "identity:usr_1", "--basis", "x", "--yes"); code != 0 {
		t.Error(out)
	}
	if err := c.(*connector).Close(); err != nil {
		t.Fatal(err)
	}
	if code, out := does(t, "verify", dir); code != 0 {
		t.Error(out)
	}
}

// The hub remembers what it saw of the trail: a folder of before is refused.
func TestATrailThatWasRolledBackHaltsTheConnector(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	cfg := config{Dir: dir, Origin: "audit.example", Interval: 100 * time.Millisecond, Heartbeat: time.Hour, Ack: "published"}
	states := map[string]*state{}
	deliver := func(n int) error {
		c, err := open(t.Context(), cfg, quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer c.(*connector).Close()
		ev := happening(n)
		if states[ev.Key] == nil {
			states[ev.Key] = &state{}
		}
		return c.Deliver(t.Context(), ev, states[ev.Key])
	}
	for n := range 3 {
		if err := deliver(n); err != nil {
			t.Fatal(err)
		}
	}
	early := copied(t, dir)
	if err := deliver(7); err != nil {
		t.Fatal(err)
	}
	replaced(t, dir, early)
	if err := deliver(14); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("a folder of before: %v", err)
	}
	writes(t, dir, 1001, 1010) // somebody writes on
	if err := deliver(14); err == nil || !strings.Contains(err.Error(), "forked") {
		t.Errorf("a folder of before, written on: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := deliver(14); err == nil || !strings.Contains(err.Error(), "not the one that is remembered") {
		t.Errorf("an empty folder: %v", err)
	}
}

// The hub's own database was lost as well: what was saved elsewhere still tells.
func TestASavedCheckpointFindsARollBack(t *testing.T) {
	dir, elsewhere := filepath.Join(t.TempDir(), "trail"), filepath.Join(t.TempDir(), "elsewhere")
	cfg := config{Dir: dir, Origin: "audit.example", Interval: 100 * time.Millisecond, Heartbeat: time.Hour, Ack: "durable", SaveTo: elsewhere}
	deliver := func(n int) error {
		c, err := open(t.Context(), cfg, quiet())
		if err != nil {
			return err
		}
		return errors.Join(c.Deliver(t.Context(), happening(n), &state{}), c.(*connector).Close())
	}
	if err := deliver(1); err != nil {
		t.Fatal(err)
	}
	early := copied(t, dir)
	for n := 2; n < 4; n++ {
		if err := deliver(n); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(elsewhere, "*.checkpoint"))
	if len(names) != 3 || filepath.Base(names[2]) != "00000000000000000004.checkpoint" {
		t.Fatalf("saved: %v", names)
	}
	if code, out := does(t, "verify", dir, "--since", names[0], "--since", names[2]); code != 0 || !strings.Contains(out, "from 2 saved") {
		t.Errorf("%d %s", code, out)
	}
	replaced(t, dir, early)
	if err := deliver(4); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("a folder of before: %v", err)
	}
	writes(t, dir, 1000, 1010)
	if err := deliver(4); err == nil || !strings.Contains(err.Error(), "forked") {
		t.Errorf("a folder of before, written on: %v", err)
	}
}

func TestAnotherEventUnderAKnownIdIsAConflictToldOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 10)
	l := opens(t, dir)
	other := happening(3)
	other.Raw = json.RawMessage(`{"sub":"usr_3","is_active":false,"changed_fields":["is_active"]}`)
	other.Changes = nil
	for range 3 {
		if r, err := l.Record(t.Context(), other, 0); err != nil || !r.Conflict || r.Index != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if l.Size() != 11 {
		t.Errorf("%d entries", l.Size())
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if code, out := does(t, "verify", dir); code != 0 || !strings.Contains(out, "conflicts   1 events came again and said something else; the first is entry 10") {
		t.Errorf("%d %s", code, out)
	}
}

func TestAnExportCanBeHeldAgainstTheTrail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 30)
	for format := range export.Formats {
		code, out := does(t, "export", dir, "--format", format, "--checkpoint-every", "10")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		want := map[string]int{"jsonl": 31, "ocsf": 31, "cef": 30, "syslog": 30}[format]
		if code != 0 || len(lines) != want || strings.Contains(out, "fjord") {
			t.Errorf("%s: %d, %d lines, want %d\n%s", format, code, len(lines), want, lines[0])
		}
		if n := strings.Count(out, "audit.example\\n30\\n"); (format == "jsonl" || format == "ocsf") && n != 4 {
			t.Errorf("%s: %d checkpoints, want 4", format, n)
		}
	}
	if code, out := does(t, "export", dir, "--format", "xml"); code != 4 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := does(t, "export", dir, "--unseal"); code != 4 || !strings.Contains(out, "--reason") {
		t.Errorf("%d %s", code, out)
	}
}

func TestAnEvilNameDoesNotSteerTheTerminal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	l, err := ledger.Open(t.Context(), dir, ledger.Options{Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Record(t.Context(), plugin.Event{
		ID: "evt_\x1b[2J", Type: "tenant.created", Source: "s\x1b]0;x\x07", Key: "k", Subject: "organization:\x1b[31mt", TenantID: "t\u202e",
		Raw: json.RawMessage(`{"tenant_id":"t","name":"\u001b[2J"}`),
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if code, out := does(t, "history", dir); code != 0 || strings.ContainsAny(out, "\x1b\x07\u202e") {
		t.Errorf("%d %q", code, out)
	}
}
