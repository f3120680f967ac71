package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/sdk/plugin"
)

// outside is what the plugin named worker works on: it is told when work on an
// event begins and ends, by whom, and with which fence.
type outside struct {
	t *testing.T

	mu      sync.Mutex
	open    map[string]visit // by key
	fence   map[string]int64 // highest, by key
	order   map[string][]string
	count   map[string]int
	pause   time.Duration
	stall   string // the hub whose worker gets no answer, once
	stalled string // the key at which it waits
	refused int    // with an older fence
	wrong   []string
}

type visit struct {
	id    string
	pid   int
	fence int64
}

func newOutside(t *testing.T) (*outside, string) {
	o := &outside{t: t, open: map[string]visit{}, fence: map[string]int64{}, order: map[string][]string{}, count: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(o.serve))
	t.Cleanup(server.Close)
	return o, server.URL
}

func (o *outside) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	pid, _ := strconv.Atoi(q.Get("pid"))
	fence, _ := strconv.ParseInt(q.Get("fence"), 10, 64)
	key, v := q.Get("key"), visit{q.Get("id"), pid, fence}
	o.mu.Lock()
	defer o.mu.Unlock()
	if fence < o.fence[key] {
		o.refused++
		w.WriteHeader(http.StatusConflict)
		return
	}
	o.fence[key] = fence
	if r.URL.Path == "/end" {
		if o.open[key] == v {
			delete(o.open, key)
			o.order[key] = append(o.order[key], v.id)
			o.count[v.id]++
		}
		return
	}
	if other, any := o.open[key]; any && other.pid != pid && alive(other.pid) {
		o.wrong = append(o.wrong, fmt.Sprintf("%s: process %d began %s (fence %d) while %d was at %s (fence %d)",
			key, pid, v.id, fence, other.pid, other.id, other.fence))
	}
	o.open[key] = v
	if o.stall != "" && parent(pid) == o.stall {
		o.stall, o.stalled = "", key
		o.mu.Unlock()
		<-r.Context().Done()
		o.mu.Lock()
		return
	}
	if o.pause > 0 {
		o.mu.Unlock()
		time.Sleep(o.pause) // the outside is slow
		o.mu.Lock()
	}
}

// alive tells whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	stat := procStat(pid)
	return stat != nil && stat[0] != "Z" && stat[0] != "X"
}

// parent is the process that started pid.
func parent(pid int) string {
	if stat := procStat(pid); stat != nil {
		return stat[1]
	}
	return ""
}

// procStat is what the system says of a process, from its state on.
func procStat(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// applied returns how often each event was applied.
func (o *outside) applied() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]int{}
	for id, n := range o.count {
		all[id] = n
	}
	return all
}

// check proves that no two workers met, and that each key's events came in order,
// of which those may come again that a killed hub had not noted yet.
func (o *outside) check() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.wrong {
		o.t.Error("two workers on one key: " + w)
	}
	for key, ids := range o.order {
		last := map[string]int{}
		for i, id := range ids {
			sender, n, _ := strings.Cut(strings.TrimPrefix(id, "e-"), "-")
			number, _ := strconv.Atoi(n)
			if number < last[sender] && o.count[id] < 2 {
				o.t.Errorf("%s: %s came late, at %d of %v", key, id, i, ids)
			}
			last[sender] = max(last[sender], number)
		}
	}
}

// worker is a connector that keeps no state and tells the outside of its work.
var worker = plugin.Plugin[struct{}, struct{}]{
	Info: plugin.Info{Name: "worker", Version: "1", Summary: "works outside", Events: []string{"*"}},
	Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) {
		return work{os.Getenv("WORKER_URL")}, nil
	},
}

type work struct{ url string }

func (w work) Deliver(ctx context.Context, ev plugin.Event, _ *struct{}) error {
	q := url.Values{"id": {ev.ID}, "key": {ev.Key}, "pid": {strconv.Itoa(os.Getpid())}, "fence": {strconv.FormatInt(ev.Fence, 10)}}
	for _, step := range []string{"/begin", "/end"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+step+"?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the outside answered %s", resp.Status)
		}
	}
	return nil
}

// fleet is several hubs on one database.
type fleet struct {
	t        *testing.T
	provider *provider.Provider
	outside  *outside
	worker   string // the outside's URL
	storage  string
	hubs     []*hub

	sent     map[string]bool
	mu       sync.Mutex
	stop     atomic.Bool
	stopped  sync.WaitGroup
	sendTo   atomic.Pointer[hub]
	throttle time.Duration
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	o, address := newOutside(t)
	f := &fleet{t: t, provider: provider.New(t), outside: o, worker: address, storage: pgtest.URL(t), sent: map[string]bool{}, throttle: 5 * time.Millisecond}
	t.Cleanup(f.silence)
	return f
}

// add makes a hub of the fleet; storage may lead to the database by another way.
func (f *fleet) add(partitions int, storage string) *hub {
	f.t.Helper()
	h := &hub{t: f.t, provider: f.provider, dir: f.t.TempDir(), storage: f.storage, address: freeAddress(f.t), admin: freeAddress(f.t)}
	f.configure(h, partitions, storage)
	f.t.Cleanup(func() {
		h.kill()
		if f.t.Failed() {
			f.t.Logf("the hub at %s printed:\n%s", h.address, h.printed())
		}
	})
	f.hubs = append(f.hubs, h)
	return h
}

func (f *fleet) configure(h *hub, partitions int, storage string) {
	f.t.Helper()
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	config := fmt.Sprintf(`
server: { listen: %q }
admin: { listen: %q }
storage: { url: %q }
log: { level: info, format: json }
sources:
  - { name: authvital, host: %q, path: /hook }
plugins:
  - { name: worker, command: [%q], partitions: %d, env: { %s: worker, WORKER_URL: %q } }
`, h.address, h.admin, storage, f.provider.URL, self, partitions, roleName, f.worker)
	if err := os.WriteFile(filepath.Join(h.dir, "avhub.yaml"), []byte(config), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// send lets events come in at h, until silence.
func (f *fleet) send(h *hub) {
	const senders, tenants = 4, 40
	f.sendTo.Store(h)
	client := &http.Client{Timeout: 5 * time.Second}
	for s := range senders {
		f.stopped.Go(func() {
			for n := 1; !f.stop.Load(); n++ {
				id := fmt.Sprintf("e-%d-%d", s, n)
				body := updated(id, fmt.Sprintf("t%d", (s*7+n)%tenants), n)
				for !f.stop.Load() {
					to := f.sendTo.Load()
					if status, _, err := to.post(client, f.provider.Webhook(body), body); err == nil && status == http.StatusOK {
						f.mu.Lock()
						f.sent[id] = true
						f.mu.Unlock()
						break
					}
				}
				time.Sleep(f.throttle) // a rate, so that the load lasts as long as the test
			}
		})
	}
}

func (f *fleet) silence() {
	f.stop.Store(true)
	f.stopped.Wait()
}

// owners returns who holds each partition of the plugin.
func (f *fleet) owners() []string {
	list, err := fanout.Plugins(context.Background(), f.hubs[0].look())
	if err != nil || len(list) != 1 {
		return nil
	}
	var owners []string
	for _, p := range list[0].Partitions {
		owners = append(owners, p.Owner)
	}
	return owners
}

// shares tells how many partitions each process holds; "" is nobody.
func (f *fleet) shares() map[string]int {
	n := map[string]int{}
	for _, o := range f.owners() {
		if parts := strings.Split(o, "/"); len(parts) > 1 {
			o = parts[1]
		}
		n[o]++
	}
	return n
}

func (h *hub) pid() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strconv.Itoa(h.cmd.Process.Pid)
}

// settled waits until everything that was sent has been applied.
func (f *fleet) settled() {
	f.t.Helper()
	f.silence()
	f.hubs[0].until("everything is delivered", func() bool {
		list, err := fanout.Plugins(context.Background(), f.hubs[0].look())
		if err != nil || len(list) != 1 || list[0].Lag > 0 || list[0].Lanes > 0 {
			return false
		}
		applied := f.outside.applied()
		for id := range f.sent {
			if applied[id] == 0 {
				return false
			}
		}
		return true
	})
}

// doubled returns the events that were applied more than once.
func (f *fleet) doubled() (ids []string) {
	for id, n := range f.outside.applied() {
		if n > 1 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestLaw8_TwoHubsShareThePartitionsAndStandInForEachOther(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.add(4, f.storage), f.add(4, f.storage)
	a.start()
	f.send(a)
	a.until("the first hub has all", func() bool { return f.shares()[a.pid()] == 4 })
	b.start()
	a.until("both have their share", func() bool { s := f.shares(); return s[a.pid()] == 2 && s[b.pid()] == 2 })

	mine := a.pid()
	if err := b.terminate(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	begin := time.Now()
	a.until("the other one has all again", func() bool { return f.shares()[mine] == 4 })
	took := time.Since(begin)
	t.Logf("an orderly end: the other hub held all leases %s after it", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("that took %s", took)
	}
	if again := f.doubled(); len(again) > 0 {
		t.Errorf("nobody was killed, and these came twice: %v", again)
	}

	b.start()
	a.until("both have their share again", func() bool { s := f.shares(); return s[a.pid()] == 2 && s[b.pid()] == 2 })
	b.kill()
	begin = time.Now()
	a.until("the other one has all after a crash", func() bool { return f.shares()[mine] == 4 })
	took = time.Since(begin)
	t.Logf("kill -9: the other hub held all leases %s after it", took.Round(time.Millisecond))
	if took > 16*time.Second {
		t.Errorf("that took %s", took)
	}
	f.settled()
	f.outside.check()
	t.Logf("%d events, %d of them twice after the kill", len(f.sent), len(f.doubled()))
}

// A hub that stood still for longer than its lease finds that out before it does
// anything.
func TestLaw8_AFrozenHubDoesNothingWhenItGoesOn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.add(2, f.storage), f.add(2, f.storage)
	b.start()
	f.send(b)
	a.start()
	a.until("both have their share", func() bool { s := f.shares(); return s[a.pid()] == 1 && s[b.pid()] == 1 })
	frozen := a.cmd.Process
	if err := frozen.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.until("the other hub has all", func() bool { return f.shares()[b.pid()] == 2 })
	before := len(f.outside.applied())
	b.until("the other hub delivers", func() bool { return len(f.outside.applied()) > before+200 })
	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.until("both have their share again", func() bool { s := f.shares(); return s[a.pid()] == 1 && s[b.pid()] == 1 })
	f.settled()
	f.outside.check()
	if f.outside.refused > 0 {
		t.Errorf("%d calls came with an older fence", f.outside.refused)
	}
	t.Logf("%d events, %d of them twice", len(f.sent), len(f.doubled()))
}

// A hub that cannot reach its database stops before another one can take over.
func TestLaw8_AHubThatIsCutOffFromItsDatabaseStopsInTime(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	way := newWay(t, f.storage)
	f.throttle = 50 * time.Millisecond
	a, b := f.add(2, way.url), f.add(2, f.storage)
	b.start()
	f.send(b)
	a.start()
	a.until("both have their share", func() bool { s := f.shares(); return s[a.pid()] == 1 && s[b.pid()] == 1 })
	f.outside.mu.Lock()
	f.outside.stall = a.pid()
	f.outside.mu.Unlock()
	stalled := func() string {
		f.outside.mu.Lock()
		defer f.outside.mu.Unlock()
		return f.outside.stalled
	}
	a.until("one of its calls hangs", func() bool { return stalled() != "" })
	key := stalled()
	way.hold()
	b.until("the other hub has all", func() bool { return f.shares()[b.pid()] == 2 })
	b.until("the other hub delivers what the call hung at", func() bool {
		f.outside.mu.Lock()
		defer f.outside.mu.Unlock()
		return f.outside.open[key].pid == 0
	})
	way.release()
	b.until("both have their share again", func() bool { s := f.shares(); return s[a.pid()] == 1 && s[b.pid()] == 1 })
	f.settled()
	f.outside.check()
	if f.outside.refused > 0 {
		t.Errorf("%d calls came with an older fence", f.outside.refused)
	}
	t.Logf("%d events, %d of them twice", len(f.sent), len(f.doubled()))
}

// The number of partitions changes under load, hub by hub.
func TestLaw8_PartitionsChangeUnderLoadAndNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.add(1, f.storage), f.add(1, f.storage)
	a.start()
	b.start()
	f.send(a)
	a.until("somebody delivers", func() bool { return len(f.outside.applied()) > 100 })
	for _, partitions := range []int{4, 3, 1} {
		for _, h := range []*hub{b, a} {
			f.sendTo.Store(f.hubs[1-slices.Index(f.hubs, h)])
			f.configure(h, partitions, f.storage)
			if err := h.terminate(); err != nil {
				t.Errorf("after SIGTERM: %v", err)
			}
			h.start()
		}
		a.until(fmt.Sprintf("there are %d partitions, and all are held", partitions), func() bool {
			s := f.shares()
			return len(f.owners()) == partitions && s[a.pid()]+s[b.pid()] == partitions
		})
		before := len(f.outside.applied())
		a.until("there is some work", func() bool { return len(f.outside.applied()) > before+100 })
	}
	f.settled()
	f.outside.check()
	if again := f.doubled(); len(again) > 0 {
		t.Errorf("nobody was killed, and these came twice: %v", again)
	}
	t.Logf("%d events", len(f.sent))
}
