package verify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/verify"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/internal/storetest"
)

func TestAHealthyHubPasses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.fill()
		r := w.verify()
		if !r.Clean || len(r.Notes) > 0 {
			t.Fatalf("%+v\n%v", r.Findings, r.Notes)
		}
		p := r.Plugins[0]
		if r.Events != 20 || r.First != 1 || r.Last != 20 || r.Signed != 20 || p.Position != 20 || p.Lanes != 1 || p.DeadLetters != 1 || p.States != 4 {
			t.Errorf("the report tells %+v, of the plugin %+v", r, p)
		}
		if got := *p.Received; got.Deliveries != 18 || got.Events != 18 || got.Failed != 1 || got.Redelivered != 0 || got.Runs != 1 {
			t.Errorf("received: %+v", got)
		}
	})
}

func TestAnEmptyHubPasses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		if r := w.verify(); !r.Clean || r.Events != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// While events come in and are delivered, the look at one moment finds nothing
// wrong.
func TestAHubAtWorkPasses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		stop := w.deliver()
		defer stop()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			var senders sync.WaitGroup
			for s := range 8 {
				senders.Go(func() {
					for n := range 50 {
						w.send(fmt.Sprintf("t%d", (s+n)%5), fmt.Sprintf("e-%d-%d", s, n))
					}
				})
			}
			senders.Wait()
		}()
		for looked, over := 0, false; looked < 3 || !over; looked++ {
			select {
			case <-sent:
				over = true
			default:
			}
			if r := w.verify(); !r.Clean {
				t.Fatalf("%+v", r.Findings)
			}
		}
		w.settle()
		if r := w.verify(); !r.Clean || r.Events != 400 || r.Plugins[0].Received.Events != 400 {
			t.Errorf("in the end: %+v, %+v", r, r.Plugins[0].Received)
		}
	})
}

// Each kind of damage is found, and named.
func TestDamageIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	pointer := func(n int64) *int64 { return &n }
	signs := provider.New(t) // a key takes its time
	for name, c := range map[string]struct {
		damage func(w *world)
		want   []verify.Kind
		where  int64 // position of the first finding of the first kind
	}{
		"an event is gone": {func(w *world) { w.exec(`DELETE FROM avhub_events WHERE position = 5`) },
			[]verify.Kind{verify.Foreign, verify.GhostID, verify.Gap}, 5},
		"the last event is gone": {func(w *world) {
			w.exec(`DELETE FROM avhub_events WHERE position = 20`)
			w.exec(`DELETE FROM avhub_seen_events WHERE position = 20`)
		}, []verify.Kind{verify.Foreign, verify.Gap, verify.StateOrigin}, 20},
		"the first events are gone": {func(w *world) {
			w.exec(`DELETE FROM avhub_events WHERE position < 3`)
			w.exec(`DELETE FROM avhub_seen_events WHERE position < 3`)
		}, []verify.Kind{verify.Foreign, verify.Gap}, 1},
		"the counter is behind": {func(w *world) { w.exec(`UPDATE avhub_counters SET value = 19 WHERE name = 'journal'`) },
			[]verify.Kind{verify.Counter}, 20},
		"bytes were changed": {func(w *world) {
			w.exec(`UPDATE avhub_events SET body = ? WHERE position = 5`,
				[]byte(`{"id":"e5","type":"test.happened","timestamp":"2026-01-02T03:04:05.678Z","tenant_id":"t1","application_id":null,"data":{"n":2}}`))
		}, []verify.Kind{verify.BodyHash, verify.Signature}, 5},
		"bytes are no event": {func(w *world) { w.exec(`UPDATE avhub_events SET body = ? WHERE position = 5`, []byte("{")) },
			[]verify.Kind{verify.Foreign, verify.BodyHash, verify.Signature, verify.Unreadable}, 5},
		"changes are not readable": {func(w *world) { w.exec(`UPDATE avhub_events SET changes = ? WHERE position = 5`, []byte("{")) },
			[]verify.Kind{verify.Unreadable}, 5},
		"a signature was changed": {func(w *world) { w.exec(`UPDATE avhub_events SET signature = ? WHERE position = 6`, []byte("s")) },
			[]verify.Kind{verify.Signature}, 6},
		"a column says something else": {func(w *world) { w.exec(`UPDATE avhub_events SET type = 'test.other' WHERE position = 7`) },
			[]verify.Kind{verify.Columns}, 7},
		"a lane's hash is wrong": {func(w *world) { w.exec(`UPDATE avhub_events SET tenant_lane = 7 WHERE position = 7`) },
			[]verify.Kind{verify.Columns}, 7},
		"an id is forgotten": {func(w *world) { w.exec(`DELETE FROM avhub_seen_events WHERE position = 8`) },
			[]verify.Kind{verify.Unremembered}, 8},
		"an id is remembered elsewhere": {func(w *world) { w.exec(`UPDATE avhub_seen_events SET position = 9 WHERE position = 8`) },
			[]verify.Kind{verify.GhostID, verify.Unremembered}, 9},
		"the cursor is ahead":    {func(w *world) { w.exec(`UPDATE avhub_cursors SET position = 21`) }, []verify.Kind{verify.CursorBeyond}, 21},
		"a lease lasts for ever": {func(w *world) { w.exec(`UPDATE avhub_cursors SET expires_at = 9000000000000000`) }, []verify.Kind{verify.Lease}, 0},
		"partitions are gone":    {func(w *world) { w.exec(`DELETE FROM avhub_plugins`) }, []verify.Kind{verify.Partitions}, 0},
		"a lane waits for another key's event": {func(w *world) { w.exec(`UPDATE avhub_lanes SET head = 9`) },
			[]verify.Kind{verify.LaneHead}, 9},
		"a lane waits for nothing": {func(w *world) { w.exec(`UPDATE avhub_lanes SET head = 400`) },
			[]verify.Kind{verify.Lost, verify.Unsettled, verify.LaneHead}, 14},
		"a lane has another slot": {func(w *world) { w.exec(`UPDATE avhub_lanes SET slot = slot + 1`) }, []verify.Kind{verify.Slot}, 10},
		"a lane is behind its state": {func(w *world) { w.exec(`UPDATE avhub_plugin_states SET position = 14 WHERE id = 'p/tenant:t2'`) },
			[]verify.Kind{verify.LaneSettled}, 10},
		"a lane is gone": {func(w *world) { w.exec(`DELETE FROM avhub_lanes`) }, []verify.Kind{verify.Lost, verify.Unsettled}, 14},
		"a state is of another key": {func(w *world) { w.exec(`UPDATE avhub_plugin_states SET position = 18 WHERE id = 'p/tenant:t1'`) },
			[]verify.Kind{verify.StateOrigin}, 18},
		"a state is ahead": {func(w *world) { w.exec(`UPDATE avhub_plugin_states SET position = 21 WHERE id = 'p/tenant:t1'`) },
			[]verify.Kind{verify.StateBeyond}, 21},
		"a dead letter's copy is broken": {func(w *world) { w.exec(`UPDATE avhub_dead_letters SET event = ?`, []byte(`{}`)) }, []verify.Kind{verify.LetterCopy}, 11},
		"a dead letter is about another": {func(w *world) { w.exec(`UPDATE avhub_dead_letters SET position = 15`) },
			[]verify.Kind{verify.LetterCopy}, 15},
		"a dead letter has another key": {func(w *world) { w.exec(`UPDATE avhub_dead_letters SET key = 'tenant:t1', slot = -1`) },
			[]verify.Kind{verify.LetterOrigin}, 11},

		"a delivery is missing": {func(w *world) { w.without("e17") }, []verify.Kind{verify.Lost}, 17},
		"a failed delivery waits nowhere": {func(w *world) {
			w.say(verify.Delivery{Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "retry"})
		}, []verify.Kind{verify.Unsettled}, 17},
		"an event came again with newer state": {func(w *world) {
			w.say(verify.Delivery{Position: 13, ID: "e13", Key: "tenant:t1", Verdict: "applied", State: pointer(17)})
		}, []verify.Kind{verify.Doubled}, 13},
		"two events changed places": {func(w *world) {
			lines := w.lines()
			find := func(id string) int {
				return slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, `"id":"`+id+`"`) })
			}
			a, b := find("e13"), find("e17")
			first, second := lines[a], lines[b]
			lines[a], lines[b] = second[strings.Index(second, ","):], first[strings.Index(first, ","):]
			lines[a], lines[b] = first[:strings.Index(first, ",")]+lines[a], second[:strings.Index(second, ",")]+lines[b]
			w.rewrite(lines)
		}, []verify.Kind{verify.Reordered, verify.StateLost}, 13},
		"an event overtook a failed one": {func(w *world) {
			w.say(verify.Delivery{Position: 14, ID: "e14", Key: "tenant:t2", Verdict: "applied"})
		}, []verify.Kind{verify.Reordered}, 14},
		"a failed event comes after its successor": {func(w *world) {
			w.say(verify.Delivery{Position: 14, ID: "e14", Key: "tenant:t2", Verdict: "applied"},
				verify.Delivery{Position: 10, ID: "retry-10", Key: "tenant:t2", Verdict: "applied"})
		}, []verify.Kind{verify.Reordered}, 10},
		"an old hub goes on": {func(w *world) {
			w.say(verify.Delivery{Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "applied", Fence: 2},
				verify.Delivery{Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "applied", Fence: 1})
		}, []verify.Kind{verify.Workers}, 17},
		"two work at a time": {func(w *world) {
			w.say(verify.Delivery{Seq: 5000, Began: 4000, Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "applied", Run: "2"},
				verify.Delivery{Seq: 5001, Began: 4999, Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "applied", Run: "3"})
		}, []verify.Kind{verify.Workers}, 17},
		"an event that is not the journal's": {func(w *world) {
			w.rewrite(strings.Split(strings.Replace(strings.Join(w.lines(), "\n"), `"id":"e16"`, `"id":"x16"`, 1), "\n"))
		}, []verify.Kind{verify.Foreign}, 16},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, storetest.SQLite(t), signs)
			w.fill()
			c.damage(w)
			r := w.verify()
			for _, want := range c.want {
				if !slices.Contains(kinds(r), want) {
					t.Errorf("%s was not found", want)
				}
			}
			for _, f := range r.Findings {
				if !slices.Contains(c.want, f.Kind) {
					t.Errorf("%s was found too: %s", f.Kind, f.What)
				}
				if f.What == "" || f.Means == "" || f.Do == "" {
					t.Errorf("%s is not explained: %+v", f.Kind, f)
				}
			}
			if r.Clean || len(r.Findings) == 0 {
				t.Fatal("nothing was found")
			}
			if f := r.Findings[slices.IndexFunc(r.Findings, func(f verify.Finding) bool { return f.Kind == r.Findings[0].Kind })]; f.Position != c.where {
				t.Errorf("it was found at position %d, and is at %d: %+v", f.Position, c.where, f)
			}
		})
	}
}

// What was pruned is not missed, nor an event that failed and was kept.
func TestAPrunedJournalPasses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.fill()
		w.exec(`DELETE FROM avhub_events WHERE position < 8 AND position <> 3`)
		w.exec(`UPDATE avhub_events SET failed = 'it was poisonous' WHERE position = 3`)
		w.exec(`DELETE FROM avhub_seen_events WHERE position < 5 AND position <> 3`)
		w.exec(`INSERT INTO avhub_counters (name, value) VALUES ('journal_first', 8)`)
		if r := w.verify(); !r.Clean || r.First != 8 || r.Events != 13 {
			t.Errorf("%+v", r)
		}
		w.exec(`UPDATE avhub_counters SET value = 6 WHERE name = 'journal_first'`)
		if r := w.verify(); !slices.Contains(kinds(r), verify.Gap) {
			t.Errorf("two events that are gone passed: %+v", r)
		}
	})
}

// A plugin that began later was not to get what came before.
func TestAPluginThatBeganLaterPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.fill()
	w.without("e1")
	w.without("e2")
	if r := w.verify(); r.Clean {
		t.Error("without them, it passed from the beginning")
	}
	if r := w.verify(func(o *verify.Options) { o.From = 3 }); slices.Contains(kinds(r), verify.Lost) {
		t.Errorf("a log that begins with position 3: %+v", r.Findings)
	}
	w.exec(`UPDATE avhub_plugins SET start_position = 2`)
	if r := w.verify(); slices.Contains(kinds(r), verify.Lost) {
		t.Errorf("a plugin that begins behind position 2: %+v", r.Findings)
	}
}

// What a crash leaves behind is no finding, and is counted.
func TestRedeliveriesAfterACrashAreCountedApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.fill()
	thirteen := int64(13)
	w.say(verify.Delivery{Position: 13, ID: "e13", Key: "tenant:t1", Verdict: "applied", Run: "2"},
		verify.Delivery{Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "applied", Run: "2", State: &thirteen},
		verify.Delivery{Position: 17, ID: "e17", Key: "tenant:t1", Verdict: "applied", Run: "2", State: &thirteen})
	r := w.verify()
	if !r.Clean {
		t.Errorf("%+v", r.Findings)
	}
	if got := *r.Plugins[0].Received; got.Redelivered != 3 || got.AfterCrash != 2 || got.MostAfterCrash != 2 || got.Runs != 2 || got.Events != 18 {
		t.Errorf("%+v", got)
	}
}

// An operator who retries a dead letter gets it delivered out of order; one who
// discards what failed leaves it undelivered.
func TestWhatOperatorsDoIsNoDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.fill()
	w.exec(`DELETE FROM avhub_dead_letters`)
	w.say(verify.Delivery{Position: 11, ID: "reject-11", Key: "tenant:t3", Verdict: "applied", Replay: true})
	if r := w.verify(); !r.Clean {
		t.Errorf("a dead letter was retried: %+v", r.Findings)
	}
	w.exec(`DELETE FROM avhub_lanes`)
	w.say(verify.Delivery{Seq: 2_000_000, Position: 14, ID: "e14", Key: "tenant:t2", Verdict: "applied"},
		verify.Delivery{Seq: 2_000_001, Position: 18, ID: "e18", Key: "tenant:t2", Verdict: "applied"})
	discarded := func(o *verify.Options) { o.Discarded = true }
	if r := w.verify(discarded); !r.Clean || r.Plugins[0].GivenUp != 1 {
		t.Errorf("a lane's head was discarded: %+v", r.Findings)
	}
}

func TestFilesOfSeveralProcessesAreReadInTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.fill()
	lines := w.lines()
	dir := t.TempDir()
	files := map[string][]string{}
	for i, line := range lines {
		name := fmt.Sprintf("%d.jsonl", i%3)
		files[name] = append(files[name], line)
	}
	for name, lines := range files {
		// Each was killed while it wrote the next line.
		text := strings.Join(lines, "\n") + "\n" + `{"seq":99,"plu`
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := w.verify(func(o *verify.Options) { o.Receivers = []string{dir} })
	if !r.Clean || r.Plugins[0].Received.Deliveries != int64(len(lines)) {
		t.Errorf("%+v %+v", r.Findings, r.Plugins[0].Received)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "3 lines") {
		t.Errorf("notes: %v", r.Notes)
	}
}

// A plugin that could not be asked is judged by what its rows say of each other.
func TestAnUnknownPluginIsJudgedByLess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.fill()
	unknown := func(o *verify.Options) { o.Plugins = nil }
	if r := w.verify(unknown); !r.Clean || len(r.Notes) != 1 {
		t.Errorf("%+v\n%v", r.Findings, r.Notes)
	}
	w.exec(`UPDATE avhub_lanes SET head = 9`)
	if r := w.verify(unknown); r.Clean {
		t.Error("a lane that waits for another key's event passed")
	}
	if r := w.verify(func(o *verify.Options) { o.Plugins[0].Order = plugin.PerSubject }); r.Clean {
		t.Error("keys of another order passed")
	}
}

// A log that is none is an error that says where, never a clean report.
func TestWhatIsNoLogIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.fill()
	good := w.lines()[0]
	for _, bad := range []string{
		"hello", `[]`, `{"seq":1}`, `{"seq":1} trailing`, strings.Repeat("x", 70_000),
		`{"seq":-1,"plugin":"p","position":1,"id":"e1","key":"k","verdict":"applied"}`,
		`{"seq":1,"began":2,"plugin":"p","position":1,"id":"e1","key":"k","verdict":"applied"}`,
		`{"seq":0,"plugin":"p","position":1,"id":"e1","key":"k","verdict":"applied"}`,
		`{"seq":9,"plugin":"p","position":0,"id":"e1","key":"k","verdict":"applied"}`,
		`{"seq":9,"plugin":"p","position":1,"id":"","key":"k","verdict":"applied"}`,
		`{"seq":9,"plugin":"p","position":1,"id":"e1","key":"k","verdict":"done"}`,
	} {
		w.rewrite([]string{good, bad})
		_, err := verify.Run(t.Context(), w.store, w.options())
		if err == nil || !strings.Contains(err.Error(), "line 2") || len(err.Error()) > 1000 {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
	opts := w.options()
	opts.Receivers = []string{t.TempDir()}
	if _, err := verify.Run(t.Context(), w.store, opts); err == nil {
		t.Error("an empty folder passed for a log")
	}
	opts = w.options()
	opts.Only = []string{"q"}
	if _, err := verify.Run(t.Context(), w.store, opts); err == nil {
		t.Error("a plugin that does not exist passed")
	}
}
