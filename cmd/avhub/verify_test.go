package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerifyTellsWhatIsWrongWhereAndWhatToDo(t *testing.T) {
	t.Parallel()
	h := newHome(t, "", tenantMade, personMade, tenantGone)
	if r := done(t, h.dir, "verify"); !strings.Contains(r.err, "3 events at positions 1 to 3: nothing is lost") {
		t.Errorf("a healthy database: %s", r.err)
	}
	h.exec(t, `UPDATE avhub_events SET tenant_id = 't' || char(27) || '[31m' WHERE position = 2`)
	r := run(t, h.dir, "verify")
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	for _, want := range []string{"journal.columns, position 2", "tenant_id is", "It means: ", "To do: ", "backup"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("it does not say %q:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "\x1b") {
		t.Errorf("what is in the database controls the terminal: %q", r.out)
	}
	if !strings.Contains(r.err, "1 finding in 3 events") {
		t.Errorf("it says %s", r.err)
	}
	var report struct {
		Clean    bool
		Counts   map[string]int
		Findings []struct {
			Kind     string
			Position int
		}
	}
	if r = run(t, h.dir, "verify", "--json"); r.code != 1 {
		t.Errorf("--json: exit code %d", r.code)
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || report.Clean || report.Counts["journal.columns"] != 1 || report.Findings[0].Position != 2 {
		t.Errorf("--json: %v %+v", err, report)
	}
}

func TestVerifyComparesWithAReceiversLog(t *testing.T) {
	t.Parallel()
	h := newHome(t, "", tenantMade, personMade, tenantGone)
	h.exec(t, `INSERT INTO avhub_plugins (id, partitions) VALUES ('billing', 1)`)
	h.exec(t, `INSERT INTO avhub_cursors (id, plugin, position, epoch) VALUES ('billing/0', 'billing', 3, 1)`)
	log := filepath.Join(h.dir, "billing.jsonl")
	var lines string
	for i := 1; i <= 2; i++ {
		lines += fmt.Sprintf(`{"seq":%d,"plugin":"billing","position":%d,"id":"e%d","key":"tenant:t1","verdict":"applied"}`+"\n", i, i, i)
	}
	writeFile(t, log, lines)
	r := done(t, h.dir, "verify", "--receiver", log)
	if !strings.Contains(r.out, "billing") || !strings.Contains(r.err, "order and events of plugin billing are not known") {
		t.Errorf("it printed\n%s%s", r.out, r.err)
	}
	writeFile(t, log, lines+`{"seq":0,"plugin":"billing"`+"}\n")
	if r := run(t, h.dir, "verify", "--receiver", log); r.code != 1 || !strings.Contains(r.err, "line 3") {
		t.Errorf("a log that is none: %d %s", r.code, r.err)
	}
}

func TestVerifyRefusesWrongUse(t *testing.T) {
	t.Parallel()
	h := newHome(t, "", tenantMade)
	writeFile(t, filepath.Join(h.dir, "keys.json"), `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)
	for args, says := range map[string]string{
		"extra":              "unexpected argument",
		"--from 3":           "--receiver",
		"--from -3":          "negative",
		"--discarded":        "--receiver",
		"--examples 0":       "at least 1",
		"--receiver nowhere": "nowhere",
		"--keys nowhere":     "nowhere",
		"--keys keys.json":   "none of its 1 keys",
	} {
		r := run(t, h.dir, append([]string{"verify"}, strings.Fields(args)...)...)
		if r.code != 2 || !strings.Contains(r.err, says) || strings.Contains(r.err, "c2Vj") {
			t.Errorf("verify %s: exit code %d\n%s", args, r.code, r.err)
		}
	}
	if r := run(t, h.dir, "verify", "--plugin", "nobody"); r.code != 1 || !strings.Contains(r.err, `no plugin "nobody"`) && !strings.Contains(r.err, `has a plugin "nobody"`) {
		t.Errorf("a plugin that does not exist: %d %s", r.code, r.err)
	}
}
