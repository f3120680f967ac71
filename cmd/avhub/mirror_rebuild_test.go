package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent/identity"
	"github.com/avhub/avhub/internal/pgtest"
)

// home is a folder with a hub's configuration, whose database has some events.
type home struct {
	dir   string
	store *store.Store
}

func newHome(t *testing.T, url string, events ...string) *home {
	t.Helper()
	dir := t.TempDir()
	if url == "" {
		url = "sqlite://" + filepath.Join(dir, "data", "avhub.db")
	}
	writeFile(t, filepath.Join(dir, "avhub.yaml"), fmt.Sprintf("storage: {url: %q}\n", url))
	done(t, dir, "migrate")
	st, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	j := journal.New(st, mirror.New(st, mirror.Options{}), journal.Options{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); j.Run(ctx) }()
	var answered sync.WaitGroup
	room := make(chan struct{}, map[bool]int{true: 1, false: 500}[len(events) < 10]) // few come in their order
	for i, text := range events {
		body := fmt.Appendf(nil, `{"id":"e%d","timestamp":%q,"application_id":null,%s}`, i+1, time.Unix(1_770_000_000+int64(i), 0).UTC().Format(time.RFC3339), text)
		ev, err := event.DecodeWebhook(body)
		if err != nil {
			t.Fatal(err)
		}
		ev.Source, ev.ReceivedAt, ev.Evidence.Body = "authvital", store.Now(), body
		room <- struct{}{}
		answered.Go(func() {
			if _, err := j.Append(ctx, ev); err != nil {
				t.Error(err)
			}
			<-room
		})
	}
	answered.Wait()
	stop()
	<-ended
	return &home{dir, st}
}

func (h *home) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := h.store.SQL(t.Context()).Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

const (
	tenantMade   = `"type":"tenant.created","tenant_id":"t1","data":{"tenant_id":"t1","name":"Fjord\u001b[31m","slug":"fjord"}`
	personMade   = `"type":"subject.created","tenant_id":"t1","data":{"sub":"p1","email":"ines@a.example"}`
	tenantGone   = `"type":"tenant.deleted","tenant_id":"t1","data":{"tenant_id":"t1"}`
	personBroken = `"type":"subject.updated","tenant_id":"t1","data":{"sub":"p1","locale":7}`
)

func TestVerifyTellsDamageAndRebuildMendsIt(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return pgtest.URL(t) }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, url(), tenantMade, personMade, personBroken)
			got := done(t, h.dir, "mirror", "verify")
			for _, want := range []string{"2 rows, all as the journal says up to position 3", "1 event was left out"} {
				if !strings.Contains(got.err, want) {
					t.Errorf("it does not say %q:\n%s", want, got.err)
				}
			}
			h.exec(t, `DELETE FROM av_organizations`)
			h.exec(t, `UPDATE av_identities SET email = 'x@b.example'`)
			bad := run(t, h.dir, "mirror", "verify")
			if bad.code != 1 || !strings.Contains(bad.err, "2 rows are not what the journal says") || !strings.Contains(bad.err, "avhub mirror rebuild") {
				t.Errorf("exit code %d, %s", bad.code, bad.err)
			}
			for _, want := range []string{`"ines@a.example"`, `"x@b.example"`, "av_organizations", "exists"} {
				if !strings.Contains(bad.out, want) {
					t.Errorf("it does not tell %s:\n%s", want, bad.out)
				}
			}
			if one := run(t, h.dir, "mirror", "verify", "--entity", "organization"); one.code != 1 || strings.Contains(one.out, "av_identities") {
				t.Errorf("of organizations alone: exit code %d\n%s", one.code, one.out)
			}
			var report struct {
				Clean  bool
				Failed int64
				Tables []mirror.TableReport
			}
			if err := json.Unmarshal([]byte(run(t, h.dir, "mirror", "verify", "--json").out), &report); err != nil {
				t.Fatal(err)
			}
			if report.Clean || report.Failed != 1 || len(report.Tables) != 10 {
				t.Errorf("as JSON: %+v", report)
			}
			if dry := done(t, h.dir, "mirror", "rebuild", "--dry-run"); !strings.Contains(dry.err, "2 rows would change; nothing was changed") {
				t.Errorf("dry run: %s", dry.err)
			}
			if did := done(t, h.dir, "mirror", "rebuild"); !strings.Contains(did.err, "2 rows were changed") {
				t.Errorf("rebuild: %s", did.err)
			}
			done(t, h.dir, "mirror", "verify")
			if again := done(t, h.dir, "mirror", "rebuild"); !strings.Contains(again.err, "nothing to do") {
				t.Errorf("rebuild again: %s", again.err)
			}
			if name := h.store.Read().Organization.Query().OnlyX(t.Context()).Name; name != "Fjord\x1b[31m" {
				t.Errorf("the name is %q", name)
			}
		})
	}
}

func TestARebuildFollowsAChangeOfTheRules(t *testing.T) {
	t.Parallel()
	h := newHome(t, "", tenantMade, tenantGone)
	marking := []string{"--set", "mirror.on_delete=mark"}
	if got := run(t, h.dir, append([]string{"mirror", "verify"}, marking...)...); got.code != 1 || !strings.Contains(got.err, "other rules") {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
	done(t, h.dir, append([]string{"mirror", "rebuild"}, marking...)...)
	if status := h.store.Read().Organization.Query().OnlyX(t.Context()).Status; status != "deleted" {
		t.Errorf("the tenant is %s", status)
	}
	if got := done(t, h.dir, append([]string{"mirror", "verify"}, marking...)...); strings.Contains(got.err, "other rules") {
		t.Errorf("after it: %s", got.err)
	}
}

func TestHostileTextInTheMirrorCannotControlATerminal(t *testing.T) {
	t.Parallel()
	h := newHome(t, "", tenantMade)
	h.exec(t, `UPDATE av_organizations SET slug = 'x' || char(27) || '[2J', sync_state = x'ff1b5b324a'`)
	for _, how := range [][]string{{"mirror", "verify"}, {"mirror", "verify", "--json"}} {
		if got := run(t, h.dir, how...); got.code != 1 || strings.ContainsRune(got.out+got.err, '\x1b') || !utf8.ValidString(got.out+got.err) {
			t.Errorf("exit code %d: %q", got.code, got.out+got.err)
		}
	}
}

func TestReapplyTellsWhatWasAppliedAndWhatStillFails(t *testing.T) {
	t.Parallel()
	h := newHome(t, "", tenantMade, personMade, personBroken)
	h.exec(t, `UPDATE avhub_events SET failed = 'too new' WHERE position = 2`)
	h.exec(t, `DELETE FROM av_identities`)
	if got := done(t, h.dir, "mirror", "verify"); !strings.Contains(got.err, "1 of them can probably be applied") {
		t.Errorf("verify: %s", got.err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "say which"},
		{"--all --type x", 2, "--all is for"},
		{"--type te*nt", 2, "star"},
		{"--since yesterday", 2, "90m"},
		{"nobody", 1, "no such event"},
		{"e1", 0, "has not failed"},
		{"--type tenant.* ", 0, "nothing to apply"},
		{"--all --dry-run", 1, "1 event would be applied, 1 would fail again; nothing was changed"},
		{"2", 0, "1 event was applied, 0 failed again"},
		{"e2", 0, "has not failed"},
		{"--all", 1, "0 events were applied, 1 failed again"},
	} {
		got := run(t, h.dir, append([]string{"event", "reapply"}, strings.Fields(c.args)...)...)
		if got.code != c.code || !strings.Contains(got.err, c.says) {
			t.Errorf("reapply %s: exit code %d, want %d and %q:\n%s%s", c.args, got.code, c.code, c.says, got.out, got.err)
		}
	}
	if got := run(t, h.dir, "event", "reapply", "--all"); !strings.Contains(got.out, "locale") {
		t.Errorf("it does not say why: %s", got.out)
	}
	var outcomes struct {
		journal.Outcomes
		DryRun bool `json:"dry_run"`
	}
	if err := json.Unmarshal([]byte(run(t, h.dir, "event", "reapply", "--all", "--dry-run", "--json").out), &outcomes); err != nil ||
		!outcomes.DryRun || outcomes.Failed != 1 || outcomes.StillFailed[0].Position != 3 {
		t.Errorf("as JSON: %+v %v", outcomes, err)
	}
	done(t, h.dir, "mirror", "verify")
}

func TestMirrorVerbsRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"mirror":                           "a verb is missing",
		"mirror verify --entity people":    "there are app_access",
		"mirror rebuild --entity people":   "there are app_access",
		"mirror verify --examples -1":      "negative",
		"mirror rebuild extra":             "unexpected argument",
		"event reapply --all --since soon": "90m",
	} {
		if got := run(t, t.TempDir(), strings.Fields(args)...); got.code != 2 || !strings.Contains(got.err, says) {
			t.Errorf("%s: exit code %d\n%s", args, got.code, got.err)
		}
	}
}

func TestAMeterTellsHowLongItTakes(t *testing.T) {
	t.Parallel()
	at := time.Unix(0, 0)
	m := &meter{now: func() time.Time { return at }, from: 1000, began: at}
	m.what = "reading events"
	for _, c := range []struct {
		after       time.Duration
		done, total int64
		want        string
	}{
		{0, 1000, 301000, "reading events 1,000 of 301,000"},
		{2 * time.Second, 21000, 301000, "reading events 21,000 of 301,000, 10,000/s, 28s left"},
		{2 * time.Second, 301000, 301000, "reading events 301,000 of 301,000, 150,000/s"},
		{2 * time.Second, 1200, 0, "reading events 1,200, 100/s"},
	} {
		if got := m.line(c.done, c.total, at.Add(c.after)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// A rebuild that is killed has replaced some rows and no halves of any; the hub
// goes on, and the next one does the rest.
func TestLaw7_ARebuildThatIsKilledIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	const people = 6000
	events := make([]string, people)
	for i := range events {
		events[i] = fmt.Sprintf(`"type":"subject.created","tenant_id":"t1","data":{"sub":"p%05d","email":"right","locale":"right"}`, i)
	}
	h := newHome(t, "", events...)
	// count tells how many rows are wrong, and how many are neither wrong nor right.
	count := func() (wrong, mixed int) {
		t.Helper()
		for _, p := range h.store.Read().Identity.Query().AllX(t.Context()) {
			switch *p.Email + *p.Locale {
			case "wrongwrong":
				wrong++
			case "rightright":
			default:
				mixed++
			}
		}
		return wrong, mixed
	}
	h.exec(t, `UPDATE av_identities SET email = 'wrong', locale = 'wrong'`)
	killed := start(t, h.dir, "mirror", "rebuild")
	timeout := time.Now().Add(deadline)
	for h.store.Read().Identity.Query().Where(identity.Email("wrong")).CountX(t.Context()) == people {
		if time.Now().After(timeout) {
			t.Fatal("it replaces nothing")
		}
	}
	killed.end(t, syscall.SIGKILL)
	wrong, mixed := count()
	if wrong == 0 || wrong%500 != 0 || mixed > 0 {
		t.Fatalf("%d rows are wrong, %d are neither", wrong, mixed)
	}
	if got := run(t, h.dir, "mirror", "verify"); got.code != 1 {
		t.Errorf("verify after it: exit code %d", got.code)
	}
	done(t, h.dir, "mirror", "rebuild")
	done(t, h.dir, "mirror", "verify")
	if wrong, mixed := count(); wrong+mixed > 0 {
		t.Errorf("%d rows are wrong, %d are neither", wrong, mixed)
	}
}
