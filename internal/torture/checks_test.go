package torture

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/journal"
)

// delivery is a line of the receivers' logs.
type delivery struct {
	Seq      int64  `json:"seq"`
	Run      string `json:"run"`
	Plugin   string `json:"plugin"`
	Position int64  `json:"position"`
	ID       string `json:"id"`
	Key      string `json:"key"`
	Replay   bool   `json:"replay"`
	Fence    int64  `json:"fence"`
	Verdict  string `json:"verdict"`
	State    *int64 `json:"state"`
}

// journaled is an event as the journal has it.
type journaled struct {
	position   int64
	id         string
	keys       map[bool]string // by whether the order is per subject
	receivedAt time.Time
}

func (r *rig) readJournal() []journaled {
	r.t.Helper()
	j := journal.New(r.store, nil, journal.Options{})
	var all []journaled
	for after := int64(0); ; {
		events, err := j.Read(context.Background(), journal.Query{After: after, Limit: 1000})
		r.must(err)
		if len(events) == 0 {
			return all
		}
		for _, ev := range events {
			if ev.Position != after+1 {
				r.t.Errorf("position %d follows %d", ev.Position, after)
			}
			after = ev.Position
			all = append(all, journaled{ev.Position, ev.ID, map[bool]string{true: ev.Subject(), false: ev.TenantKey()}, ev.ReceivedAt})
		}
	}
}

func (r *rig) readLogs() []delivery {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.logs, "*.jsonl"))
	r.must(err)
	var all []delivery
	for _, name := range files {
		text, err := os.ReadFile(name)
		r.must(err)
		for line := range bytes.Lines(text) {
			if !bytes.HasSuffix(line, []byte("\n")) {
				continue // cut by a kill: it was not answered
			}
			var d delivery
			r.must(json.Unmarshal(line, &d))
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

func perSubject(plugin string) bool { return plugin == "plain" || plugin == "flaky" }

// checkSenders proves that what was acknowledged is in the journal, once.
func (r *rig) checkSenders(l *load, events []journaled) {
	r.t.Helper()
	times := map[string]int{}
	for _, ev := range events {
		times[ev.id]++
	}
	for id := range l.acked {
		if times[id] != 1 {
			r.t.Errorf("%s was acknowledged, and is %d times in the journal", id, times[id])
		}
	}
	for id, n := range times {
		if n != 1 {
			r.t.Errorf("%s is %d times in the journal", id, n)
		}
	}
}

// checkDeliveries proves that each receiver got every event, each key's in the
// order of the journal, and none again whose verdict was committed.
func (r *rig) checkDeliveries(events []journaled, all []delivery) {
	r.t.Helper()
	for _, plugin := range receivers() {
		want := map[string][]int64{} // by key
		ids := map[int64]string{}
		for _, ev := range events {
			key := ev.keys[perSubject(plugin)]
			want[key] = append(want[key], ev.position)
			ids[ev.position] = ev.id
		}
		first := map[string][]int64{} // positions of a key as they were applied first
		applied := map[int64]bool{}
		for _, d := range all {
			if d.Plugin != plugin {
				continue
			}
			if ids[d.Position] != d.ID {
				r.t.Errorf("%s got %s as position %d, which is %s", plugin, d.ID, d.Position, ids[d.Position])
			}
			if d.State != nil && !d.Replay && *d.State >= d.Position {
				r.t.Errorf("%s got position %d of %s again after its state was committed with position %d", plugin, d.Position, d.Key, *d.State)
			}
			if d.Verdict == "applied" && !applied[d.Position] {
				applied[d.Position] = true
				if !d.Replay {
					first[d.Key] = append(first[d.Key], d.Position)
				}
			}
		}
		for key, positions := range want {
			if !slices.IsSorted(first[key]) {
				r.t.Errorf("%s applied events of %s in the order %v", plugin, key, first[key])
			}
			for _, position := range positions {
				if !applied[position] {
					r.t.Errorf("%s never applied position %d of %s", plugin, position, key)
				}
			}
		}
	}
}

// checkStates proves that each key's state shows each of its events once.
func (r *rig) checkStates(events []journaled) {
	r.t.Helper()
	type state struct {
		Count int64  `json:"count"`
		Last  int64  `json:"last"`
		Sum   uint64 `json:"sum"`
	}
	for _, plugin := range receivers() {
		if plugin == "plain" {
			continue
		}
		want := map[string]state{}
		for _, ev := range events {
			key := ev.keys[perSubject(plugin)]
			h := fnv.New64a()
			_, _ = h.Write([]byte(ev.id)) // a hash never fails
			s := want[key]
			want[key] = state{s.Count + 1, ev.position, s.Sum + h.Sum64()}
		}
		got := map[string]state{}
		err := r.store.ReadSQL().Query(context.Background(), func(rows *sql.Rows) error {
			var id string
			var raw []byte
			if err := rows.Scan(&id, &raw); err != nil {
				return err
			}
			_, key, _ := strings.Cut(id, "/")
			var s state
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
			got[key] = s
			return nil
		}, `SELECT id, state FROM avhub_plugin_states WHERE id LIKE ?`, plugin+"/%")
		r.must(err)
		for key, s := range want {
			if got[key] != s {
				r.t.Errorf("the state of %s for %s shows %+v, and should show %+v", plugin, key, got[key], s)
			}
		}
	}
}

// verified is what `avhub verify` has to say.
type verified struct {
	Clean    bool             `json:"clean"`
	Events   int64            `json:"events"`
	Signed   int64            `json:"signatures_verified"`
	Counts   map[string]int64 `json:"counts"`
	Findings []any            `json:"findings"`
	Plugins  []struct {
		Plugin   string `json:"plugin"`
		Received struct {
			Deliveries, Events, Replays, Failed, Redelivered, Runs int64
			AfterCrash                                             int64 `json:"redelivered_after_crash"`
			Most                                                   int64 `json:"most_redelivered_after_one_crash"`
		} `json:"received"`
	} `json:"plugins"`
}

// verify asks the real command.
func (r *rig) verify() (v verified) {
	r.t.Helper()
	keys := filepath.Join(r.dir, "keys.json")
	resp, err := quick.Get(r.provider.URL + "/.well-known/jwks.json")
	r.must(err)
	defer resp.Body.Close()
	var set bytes.Buffer
	_, err = set.ReadFrom(resp.Body)
	r.must(err)
	r.must(os.WriteFile(keys, set.Bytes(), 0o600))
	cmd := exec.Command(binary, "verify", "--json", "--config", r.hubs[0].config(), "--receiver", r.logs, "--keys", keys)
	cmd.Dir = r.hubs[0].dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if e := json.Unmarshal(out, &v); e != nil {
		r.t.Fatalf("avhub verify: %v\n%s", err, said.String())
	}
	if err != nil || !v.Clean {
		text, _ := json.MarshalIndent(v.Findings, "", "  ")
		r.t.Errorf("avhub verify: %v\n%v\n%.20000s", err, v.Counts, text)
	}
	return v
}
