package e2e

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/simulator"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent/migrate"
	"github.com/avhub/avhub/internal/pgtest"
)

// told is an event as a provider sent it.
type told struct {
	system bool
	id     string
	body   []byte
}

// history has a simulated AuthVital tell of n events and takes them down.
func history(t *testing.T, n int) []told {
	t.Helper()
	var taken []told
	ear := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		taken = append(taken, told{system: r.Header.Get("X-Webhook-Signature") != "", body: body})
		_, _ = io.WriteString(w, "{}")
	}))
	defer ear.Close()
	sim, err := simulator.New(simulator.Options{Target: ear.URL, Seed: 1, Retry: []time.Duration{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var events []told
	err = sim.Story(ctx, simulator.StoryOptions{Interval: 1}, func(step simulator.Step) {
		if step.Err != nil {
			t.Error(step.Err)
		}
		if step.Kind == simulator.StepEvent || step.Kind == simulator.StepLate {
			ev := taken[len(taken)-1]
			ev.id = step.Delivery.ID
			events = append(events, ev)
		}
		if len(events) == n {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// courier stands between a region and its peer, and does what networks do: it
// delivers twice, or again much later, loses requests, and loses answers.
type courier struct {
	to string // URL of the peer's source

	mu   sync.Mutex
	rand *rand.Rand
	late []*http.Request // delivered once, to be delivered again
	n    atomic.Int64
}

func (c *courier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.n.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the region was ended
	}
	again := func() *http.Request {
		out, err := http.NewRequest(http.MethodPost, c.to, bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		out.Header = r.Header.Clone()
		return out
	}
	c.mu.Lock()
	dice, pause := c.rand.IntN(1000), time.Duration(c.rand.IntN(3000))*time.Microsecond
	var late *http.Request
	if len(c.late) > 20 {
		i := c.rand.IntN(len(c.late))
		late = c.late[i]
		c.late = slices.Delete(c.late, i, i+1)
	}
	if dice >= 900 {
		c.late = append(c.late, again())
	}
	c.mu.Unlock()
	if dice < 5 { // the request is lost
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	time.Sleep(pause)
	for _, out := range []*http.Request{late, again()} {
		if out == nil {
			continue
		}
		resp, err := http.DefaultClient.Do(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if out == late {
			continue
		}
		if dice < 10 { // the answer is lost
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		for _, name := range []string{"Content-Type", "Retry-After"} {
			w.Header().Set(name, resp.Header.Get(name))
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(text)
	}
}

// region is a hub that sends its events on to others.
type region struct {
	*hub
	name  string
	keys  string            // where it serves the key set of what it sends on
	takes []string          // regions whose events it takes
	sends map[string]string // regions that it sends to: the sources
}

// regions makes hubs that follow one another. links say "a>b: sources".
func regions(t *testing.T, storage func(name string) string, names []string, links map[string]string) map[string]*region {
	t.Helper()
	forward := filepath.Join(t.TempDir(), "avhub-forward")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", forward, "github.com/avhub/avhub/examples/forward")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := map[string]*region{}
	for _, name := range names {
		h := newHub(t, storage(name))
		all[name] = &region{hub: h, name: name, keys: freeAddress(t), sends: map[string]string{}}
		key, err := rsa.GenerateKey(crand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		if err := os.WriteFile(filepath.Join(h.dir, "key.pem"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, sources := range links {
		from, to, _ := strings.Cut(link, ">")
		all[from].sends[to] = sources
		all[to].takes = append(all[to].takes, from)
	}
	for _, r := range all {
		var b strings.Builder
		fmt.Fprintf(&b, "server: { listen: %q }\nadmin: { listen: %q }\nstorage: { url: %q }\nlog: { format: json }\nsources:\n"+
			"  - { name: authvital, host: %q, path: /hook }\n", r.address, r.admin, r.storage, r.provider.URL)
		for _, from := range r.takes {
			fmt.Fprintf(&b, "  - { name: hub-%s, jwks_url: \"http://%s/.well-known/jwks.json\", path: /from/%s }\n", from, all[from].keys, from)
		}
		b.WriteString("plugins:\n")
		listen := r.keys
		for to, sources := range r.sends {
			c := &courier{to: "http://" + all[to].address + "/from/" + r.name, rand: rand.New(rand.NewPCG(1, 2))}
			server := httptest.NewServer(c)
			t.Cleanup(server.Close)
			fmt.Fprintf(&b, "  - name: to-%s\n    command: [%q]\n    config: { url: %q, key: \"${file:key.pem}\", listen: %q, %s }\n",
				to, forward, server.URL, listen, sources)
			listen = ""
		}
		if err := os.WriteFile(filepath.Join(r.dir, "avhub.yaml"), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		r.launch()
	}
	for _, r := range all { // each needs the key set of another
		r.ready()
	}
	return all
}

// tell sends an event to the region's own source, until it is taken.
func (r *region) tell(client *http.Client, ev told) {
	for range 1000 {
		headers := r.provider.Webhook(ev.body)
		if ev.system {
			headers = r.provider.System(ev.body)
		}
		status, a, err := r.post(client, headers, ev.body)
		if err == nil && status == http.StatusOK && a.Status != "conflict" {
			return
		}
		if err != nil || status != http.StatusServiceUnavailable {
			r.t.Errorf("region %s: %s was answered with %d %+v, %v", r.name, ev.id, status, a, err)
			return
		}
	}
	r.t.Errorf("region %s does not take %s", r.name, ev.id)
}

// count counts each event in the journal, as "id from source".
func (r *region) count(st *store.Store) map[string]int {
	counts := map[string]int{}
	j := journal.New(st, nil, journal.Options{})
	for after := int64(0); ; {
		events, err := j.Read(context.Background(), journal.Query{After: after, Limit: 1000})
		if err != nil {
			r.t.Fatal(err)
		}
		if len(events) == 0 {
			return counts
		}
		for _, ev := range events {
			counts[ev.ID+" from "+ev.Source]++
			after = ev.Position
		}
	}
}

// quiet waits until the journal has all that is wanted and everything is
// delivered.
func (r *region) quiet(st *store.Store, events int) {
	r.t.Helper()
	deadline := time.Now().Add(10 * patience)
	for {
		last, err := journal.New(st, nil, journal.Options{}).Last(context.Background())
		if err != nil {
			r.t.Fatal(err)
		}
		list, err := fanout.Plugins(context.Background(), st)
		if err != nil {
			r.t.Fatal(err)
		}
		if int(last) >= events && !slices.ContainsFunc(list, func(p fanout.Progress) bool { return p.Lag > 0 || p.Lanes > 0 }) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("region %s has %d events of %d, and its plugins stand like this: %+v", r.name, last, events, list)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// rows is the whole mirror, but for the time at which this hub wrote it.
func rows(t *testing.T, st *store.Store) []string {
	t.Helper()
	var all []string
	for _, table := range migrate.Tables {
		if !strings.HasPrefix(table.Name, "av_") {
			continue
		}
		err := st.ReadSQL().Query(t.Context(), func(rs *sql.Rows) error {
			columns, err := rs.Columns()
			if err != nil {
				return err
			}
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rs.Scan(values...); err != nil {
				return err
			}
			row := map[string]string{}
			for i, column := range columns {
				if column != "synced_at" {
					v := *values[i].(*any)
					if text, ok := v.([]byte); ok {
						v = string(text)
					}
					row[column] = fmt.Sprint(v)
				}
			}
			text, err := json.Marshal(row)
			all = append(all, table.Name+" "+string(text))
			return err
		}, "SELECT * FROM "+table.Name)
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

func sameMirrors(t *testing.T, a, b *store.Store) {
	t.Helper()
	left, right := rows(t, a), rows(t, b)
	if len(left) == 0 {
		t.Error("the mirror is empty")
	}
	differ := 0
	for i := range max(len(left), len(right)) {
		l, r := "nothing", "nothing"
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		if l != r {
			if differ++; differ < 4 {
				t.Errorf("the mirrors differ:\n%s\n%s", l, r)
			}
		}
	}
	t.Logf("%d rows on one side, %d on the other, %d differ", len(left), len(right), differ)
}

// Two regions, each with a provider's webhook of its own, send each other what
// they hear, over a network that repeats, delays and loses. Each ends with
// everything, once per source, and with the same mirror.
func TestLaw3_TwoRegionsThatFollowEachOtherEndInTheSameRows(t *testing.T) {
	n := 400
	if text := os.Getenv("AVHUB_TEST_FORWARD_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	events := history(t, n)
	t.Run("sqlite", func(t *testing.T) {
		twoRegions(t, events, func(name string) string { return "sqlite://" + filepath.Join(t.TempDir(), name+".db") })
	})
	t.Run("postgres", func(t *testing.T) {
		twoRegions(t, events, func(string) string { return pgtest.URL(t) })
	})
}

func twoRegions(t *testing.T, events []told, storage func(string) string) {
	all := regions(t, storage, []string{"a", "b"}, map[string]string{
		"a>b": "sources: [authvital], skip_sources: [hub-b]",
		"b>a": "sources: [authvital], skip_sources: [hub-a]",
	})
	a, b := all["a"], all["b"]
	dice := rand.New(rand.NewPCG(3, 4))
	wantA, wantB := map[string]int{}, map[string]int{}
	work := make(chan func(*http.Client))
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			client := &http.Client{Timeout: patience}
			for do := range work {
				do(client)
			}
		})
	}
	begin := time.Now()
	// Every tenth event reaches both regions by themselves, too.
	for _, ev := range events {
		where := dice.IntN(10)
		if where <= 5 {
			wantA[ev.id+" from authvital"], wantB[ev.id+" from hub-a"] = 1, 1
			work <- func(c *http.Client) { a.tell(c, ev) }
		}
		if where >= 5 {
			wantB[ev.id+" from authvital"], wantA[ev.id+" from hub-b"] = 1, 1
			work <- func(c *http.Client) { b.tell(c, ev) }
		}
	}
	close(work)
	senders.Wait()
	stA, stB := a.open(), b.open()
	for range 2 { // what one sends late the other has yet to deliver
		a.quiet(stA, len(wantA))
		b.quiet(stB, len(wantB))
	}
	t.Logf("%d events, settled after %v", len(events), time.Since(begin).Round(time.Millisecond))
	for _, side := range []struct {
		r    *region
		st   *store.Store
		want map[string]int
	}{{a, stA, wantA}, {b, stB, wantB}} {
		sameCounts(t, side.r, side.st, side.want)
	}
	sameMirrors(t, stA, stB)
}

func sameCounts(t *testing.T, r *region, st *store.Store, want map[string]int) {
	t.Helper()
	got := r.count(st)
	for event, n := range want {
		if got[event] != n {
			t.Errorf("region %s has %s %d times, want %d", r.name, event, got[event], n)
		}
	}
	for event, n := range got {
		if want[event] == 0 {
			t.Errorf("region %s has %s %d times, want none", r.name, event, n)
		}
	}
	trouble, err := fanout.List(context.Background(), st, fanout.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(trouble.Lanes)+len(trouble.DeadLetters) > 0 {
		t.Errorf("region %s is left with %+v", r.name, trouble)
	}
}

// A ring of regions that send on whatever they hear comes to rest: where an
// event has come round, it is a duplicate.
func TestARingOfRegionsThatSendEverythingOnComesToRest(t *testing.T) {
	events := history(t, 60)
	dir := t.TempDir()
	all := regions(t, func(name string) string { return "sqlite://" + filepath.Join(dir, name+".db") }, []string{"a", "b", "c"},
		map[string]string{"a>b": `sources: ["*"]`, "b>c": `sources: ["*"]`, "c>a": `sources: ["*"]`})
	client := &http.Client{Timeout: patience}
	want := map[string]map[string]int{"a": {}, "b": {}, "c": {}}
	for _, ev := range events {
		all["a"].tell(client, ev)
		want["a"][ev.id+" from authvital"], want["a"][ev.id+" from hub-c"] = 1, 1
		want["b"][ev.id+" from hub-a"], want["c"][ev.id+" from hub-b"] = 1, 1
	}
	open := map[string]*store.Store{}
	for range 3 {
		for name, r := range all {
			if open[name] == nil {
				open[name] = r.open()
			}
			r.quiet(open[name], len(want[name]))
		}
	}
	for name, r := range all {
		sameCounts(t, r, open[name], want[name])
		sameMirrors(t, open["a"], open[name])
	}
}
