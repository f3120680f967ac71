package fanout

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// modelTests are the tests that must find each fault.
const modelTests = "^TestLaw4_(WhateverHappensTheBooksAreRight|WaysThatOnceLedToAFault)$"

var mutations = flag.Bool("mutations", false, "break the engine in many ways and see the model find each")

// edit puts something wrong in the place of a text of a file.
type edit struct{ file, old, wrong string }

// mutants are faults that somebody could make. A fault that a second guard makes
// good is none: then both are broken.
var mutants = []struct {
	name  string
	edits []edit
}{
	{"a lane is handed back before the cursor stands beyond it, and what it settled is kept nowhere else", []edit{
		{"lanes.go", "if c.window.prefix < run.lane.Head-1 {", "if false {"},
		{"judge.go", "if mustStore || b.run != nil && state.position > before {", "if mustStore || before < 0 {"},
	}},
	{"a lane is handed back although more came meanwhile", []edit{{"lanes.go", "if run.skipped > run.seen {", "if false {"}}},
	{"events that wait in the window are not given to the new lane", []edit{{"lane.go", "c.window.giveTo(it.key)", ""}}},
	{"a key is not looked up among the lanes", []edit{{"window.go", "if c.lanes == 0 || len(items) == 0 {", "if true {"}}},
	{"a commit does not look at the epoch", []edit{{"commit.go", "if owned == 0 {", "if owned < 0 {"}}},
	{"a commit forgets the states", []edit{{"commit.go", "for key, s := range ch.states {", "for key, s := range map[string]keyState{} {"}}},
	{"the position of a state is not moved", []edit{{"judge.go", "it.settle()\n		state.position = max(state.position, it.ev.Position)", "it.settle()"}}},
	{"a dead letter is not remembered beyond the cursor", []edit{{"judge.go", "mustStore = true // else a crash would hand out a dead letter once more", ""}}},
	{"a verdict committed beyond the cursor is asked for again", []edit{{"send.go", "it.ev.Position <= known {", "false {"}}},
	{"a newer event stands for one that is settled", []edit{{"send.go", "if older.ev.Position > known {", "if true {"}}},
	{"two calls with one key are in flight", []edit{{"window.go", "it.flying || c.flying[it.key] || held[it.key]", "it.flying || held[it.key]"}}},
	{"the cursor passes what is in flight", []edit{{"window.go", "for n < len(w.items) && w.items[n].settled {", "for n < len(w.items) && (w.items[n].settled || w.items[n].flying) {"}}},
	{"a shutdown forgets verdicts that are not committed", []edit{{"finish.go", "if c.unsaved != nil {", "if false {"}}},
	{"a lane's head passes what an event stood for", []edit{{"window.go", "	if b.run == nil {\n		it.release()\n	}", "	it.release()"}}},
	{"a lane is given up before its time", []edit{{"retry.go", "t.attempts > 1 && t.spent >= p.retryFor", "t.attempts > 1"}}},
	{"a throttled attempt counts", []edit{{"retry.go", "t.failedAt, t.nextAt = time.Time{}, now", "t.attempts++\n	t.failedAt, t.nextAt = time.Time{}, now"}}},
	{"a lane is taken up before its time", []edit{{"lanes.go", "AND (next_at <= ? OR discard > 0)", "AND (next_at <= ? + 15000000 OR discard > 0)"}}},
	{"an operator's discard is overwritten", []edit{{"commit.go", "discard = CASE WHEN avhub_lanes.discard < excluded.head THEN 0 ELSE avhub_lanes.discard END", "discard = 0"}}},
	{"a dead letter that was delivered stays", []edit{{"judge.go", "c.judgeLetter(b, b.letters[i], kind, reason, ch)", "c.judgeLetter(b, b.letters[i], kind, reason, &changes{})"}}},
	{"what did not fit into a call is forgotten", []edit{{"consumer.go", "	for _, it := range b.left {\n		it.release()", "	for _, it := range b.left {\n		it.settle()"}}},
	{"a newer event stands for one that asked to come again", []edit{{"window.go", "last != nil && last.agains == 0 {", "last != nil {"}}},
	{"what a former division settled is delivered again", []edit{{"window.go", "if c.floors.settled(it.ev) {", "if false {"}}},
	{"a lane is handed back below the floors of a former division", []edit{{"lanes.go", "run.seen < top {", "run.seen < top && false {"}}},
	{"a new division starts at the highest cursor", []edit{{"repartition.go", "if seen == 0 || position < lowest {", "if seen == 0 || position > lowest {"}}},
	{"a new division forgets the one before the last", []edit{{"repartition.go", "append(old, floor{before, was, positions})", "append(old[:0], floor{before, was, positions})"}}},
	{"a shutdown does not tell what is settled beyond the cursor", []edit{{"claim.go", "for key, position := range ahead {", "for key, position := range map[string]int64{} {"}}},
	{"a shutdown takes what a lane has for settled", []edit{{"claim.go", "delete(keys, key)", "_ = key"}}},
	{"a paused plugin gets events", []edit{{"work.go", "	if c.paused {", "	if false {"}}},
	{"a pause is in force while calls are in flight", []edit{{"pause.go", "case c.busy() || c.window.prefix > c.cursor:", "case false:"}}},
	{"an attempt counts while the breaker is open", []edit{{"judge.go", "if c.breaker.isOpen() && !v.GetThrottled() {", "if false {"}}},
	{"the breaker closes although its probe failed", []edit{{"probe.go", "case worked:", "case worked || failure != \"\":"}}},
	{"calls go on while the breaker is open", []edit{{"work.go", "	if c.breaker.isOpen() {\n		c.deps", "	if false {\n		c.deps"}}},
	{"failures from before anything worked open the breaker", []edit{{"breaker.go", "if o.failed && o.call > b.worked {", "if o.failed {"}}},
	{"a key goes on behind what it is to be parked for", []edit{{"park.go", "if !c.cfg.Park {", "if true {"}}},
	{"the dead letter of a parked key outlives its success", []edit{{"lane.go", "if lane.Parked > 0 && lane.Head > lane.Parked {", "if false {"}}},
	{"an event is given up for deaths in company", []edit{{"suspect.go", "proof := died && b.exclusive && b.quiet", "proof := died"}}},
	{"a death in company is looked for among others", []edit{{"suspect.go", "if !c.deps.Company.claim(c) || c.busy() {", "if false {"}}},
	{"a key with a suspect goes on", []edit{{"window.go", "held[it.key] || suspects[it.key] {", "held[it.key] {"}}},
	{"a call that the hub itself has ended is an attempt", []edit{{"suspect.go", " && !errors.Is(b.err, plugin.ErrEnded)", ""}}},
	{"a key that is sidelined stays in the main stream", []edit{{"hot.go", "c.window.giveTo(run.lane.Key)", ""}}},
	{"a lane that catches up forgets what asked to come again", []edit{{"hot.go", "it.agains > 0 {", "it.agains > maxAgain {"}}},
	{"what was discarded is tried again with its lane", []edit{{"park.go", "if !there {", "if false {"}}},
	{"a replay brings the position of a state back", []edit{{"judge.go", "state.position = max(state.position, it.ev.Position) // it never goes back", "state.position = it.ev.Position"}}},
	{"a key is in a replay and in a live call at once", []edit{{"replay_run.go", "case c.flying[it.key] || r.fails(it.key, now):", "case r.fails(it.key, now):"}}},
	{"a replay delivers what is blocked", []edit{{"replay_run.go", "blocked && it.ev.Position >= head {", "blocked && head < 0 {"}}},
	{"a replay goes beyond the cursor", []edit{{"replay.go", "r.Until = position\n", "r.Until = position + 3\n"}}},
	{"a replay forgets what it settled ahead of its place", []edit{{"replay_run.go", "ahead.Settled = append(ahead.Settled, r.mark(it))", "_ = it"}}},
	{"a reset leaves positions of states as they were", []edit{{"move.go", "SET position = %d WHERE", "SET position = position + 0 * %d WHERE"}}},
	{"a reset fences nobody", []edit{{"move.go", "epoch = epoch + 1, owner = ''", "owner = ''"}}},
	{"a halted plugin starts again", []edit{{"claim.go", "if state == halted && hash == c.configHash() {", "if false {"}}},
}

// A test that cannot fail proves nothing. This one takes minutes, so it runs
// only when it is asked for.
func TestTheModelFindsFaults(t *testing.T) {
	if !*mutations {
		t.Skip("run with -mutations")
	}
	found := regexp.MustCompile(`(?:failed after \d+ tests|model_\w+_test.go:\d+): .*`)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			folder := t.TempDir()
			replace := map[string]string{}
			for _, e := range m.edits {
				file, wrong := filepath.Join(here, e.file), filepath.Join(folder, e.file)
				source, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(string(source), e.old); n != 1 {
					t.Fatalf("%s has this text %d times, so the fault cannot be made: %s", e.file, n, e.old)
				}
				if err := os.WriteFile(wrong, []byte(strings.Replace(string(source), e.old, e.wrong, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
				replace[file] = wrong
			}
			overlay := filepath.Join(folder, "overlay.json")
			content, err := json.Marshal(map[string]any{"Replace": replace})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, content, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "test", "-vet=off", "-overlay", overlay, "-run", modelTests,
				"-rapid.checks=1500", "-rapid.nofailfile", "-rapid.shrinktime=1s", ".")
			cmd.Env = append(os.Environ(), "AVHUB_TEST_POSTGRES=skip")
			out, err := cmd.CombinedOutput()
			said := found.FindString(string(out))
			if err == nil || said == "" {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			t.Log(said)
		})
	}
}
