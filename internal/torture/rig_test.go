package torture

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/provider"
)

var (
	killsFlag    = flag.Int("torture.kills", 0, "how many processes to kill in each world; 0: the short form")
	durationFlag = flag.Duration("torture.duration", 0, "how long to go on in each world at most; 0: 1.5 s for each kill")
	seedFlag     = flag.Int64("torture.seed", 0, "what happens when, by chance; 0: another one each time")
	rateFlag     = flag.Int("torture.rate", 120, "events a second")
	keepFlag     = flag.String("torture.keep", "", "a folder that keeps databases and logs")
)

const patience = 4 * time.Minute

// binary and receiver are built by TestMain, without the race detector.
var binary, receiver string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(built(m.Run))
}

func built(run func() int) int {
	dir, err := os.MkdirTemp("", "avhub-torture-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary, receiver = filepath.Join(dir, "avhub"), filepath.Join(dir, "receiver")
	for path, what := range map[string]string{binary: "cmd/avhub", receiver: "internal/torture/receiver"} {
		build := exec.Command("go", "build", "-o", path, "github.com/avhub/avhub/"+what)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build "+what+":", err)
			return 1
		}
	}
	return run()
}

// rig is one world under torture. Its goroutine is the test's.
type rig struct {
	t          *testing.T
	seed       int64
	random     *rand.Rand
	rate       int
	kills      int
	duration   time.Duration
	partitions int // of each receiver

	dir, logs string
	provider  *provider.Provider
	storage   string
	store     *store.Store
	hubs      []*hub
	database  *pgtest.Server  // nil: SQLite
	cable     *proxy          // between the last hub and the database
	transport *http.Transport // of all requests

	count map[string]int // of what was done
	undo  []undo
	begin time.Time
}

// undo ends what was begun.
type undo struct {
	at time.Time
	do func()
}

func newRig(t *testing.T, shortKills int, short time.Duration) *rig {
	r := &rig{t: t, seed: *seedFlag, rate: *rateFlag, kills: *killsFlag, duration: *durationFlag, partitions: 1, count: map[string]int{}}
	if r.seed == 0 {
		r.seed = time.Now().UnixNano() % 1_000_000_000
	}
	switch {
	case r.kills == 0 && r.duration == 0:
		r.kills, r.duration = shortKills, short
	case r.duration == 0:
		r.duration = time.Duration(r.kills) * 1500 * time.Millisecond
	case r.kills == 0:
		r.kills = int(r.duration / (1500 * time.Millisecond))
	}
	r.transport = &http.Transport{MaxIdleConnsPerHost: senders}
	r.random = rand.New(rand.NewPCG(uint64(r.seed), 1))
	r.provider = provider.New(t)
	r.dir = t.TempDir()
	if *keepFlag != "" {
		r.dir = filepath.Join(*keepFlag, strings.ReplaceAll(t.Name(), "/", "_"))
	}
	r.logs = filepath.Join(r.dir, "received")
	if err := os.MkdirAll(r.logs, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: at most %d kills in %v", r.seed, r.kills, r.duration)
	return r
}

// build starts the world: hubs on one database, on SQLite or on Postgres.
func (r *rig) build(hubs int, postgres bool) {
	r.t.Helper()
	r.storage = "sqlite://" + filepath.Join(r.dir, "hub.db")
	if postgres {
		r.database = pgtest.NewServer(r.t)
		r.storage = r.database.URL()
		r.cable = newProxy(r.t, r.database.Socket())
	}
	for i := range hubs {
		storage := r.storage
		if r.cable != nil && i == hubs-1 {
			storage = "postgres://postgres@" + r.cable.address + "/postgres?sslmode=disable"
		}
		r.hubs = append(r.hubs, r.newHub(fmt.Sprintf("hub%d", i+1), storage))
	}
	r.t.Cleanup(func() {
		for _, h := range r.hubs {
			h.end(syscall.SIGKILL)
			if r.t.Failed() {
				r.t.Logf("the end of what %s printed:\n%s", h.name, h.tail())
			}
		}
	})
	for _, h := range r.hubs {
		r.must(h.start())
		r.until(h.name+" is ready", h.ready)
	}
	var err error
	r.store, err = store.Open(context.Background(), r.storage, store.Options{MustExist: true})
	r.must(err)
	r.t.Cleanup(func() { _ = r.store.Close() })
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) until(what string, condition func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			r.t.Fatalf("seed %d: never happened: %s", r.seed, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// killed is how many processes were killed.
func (r *rig) killed() int { return r.count[killHub] + r.count[killPlugin] + r.count[killDatabase] }

// torment does one thing after the other until there were enough kills, or the
// time is up.
func (r *rig) torment() {
	r.begin = time.Now()
	told := r.begin
	// Not every deed is a kill, and some take their time.
	every := r.duration / time.Duration(max(2*r.kills, 1))
	for r.killed() < r.kills && time.Since(r.begin) < r.duration {
		// A random instant of everybody's work, not a wait for anything.
		r.rest(every/2 + time.Duration(r.random.Int64N(int64(every)+1)))
		r.act()
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			r.t.Logf("%4.0f s: %s", time.Since(r.begin).Seconds(), r.done())
		}
	}
	for len(r.undo) > 0 {
		r.rest(time.Until(r.undo[0].at) + time.Millisecond)
	}
}

// rest lets time pass, and undoes what is to be undone meanwhile.
func (r *rig) rest(d time.Duration) {
	end := time.Now().Add(d)
	for {
		wait := time.Until(end)
		if len(r.undo) > 0 {
			wait = min(wait, time.Until(r.undo[0].at))
		}
		time.Sleep(min(wait, 250*time.Millisecond))
		r.revive()
		for len(r.undo) > 0 && !time.Now().Before(r.undo[0].at) {
			u := r.undo[0]
			r.undo = r.undo[1:]
			u.do()
		}
		if !time.Now().Before(end) {
			return
		}
	}
}

// revive starts hubs that ended by themselves, as a service manager does: one does
// not start while its database is away.
func (r *rig) revive() {
	for _, h := range r.hubs {
		if !h.running() && !h.away {
			r.count[revived]++
			r.must(h.start())
		}
	}
}

func (r *rig) later(d time.Duration, do func()) {
	r.undo = append(r.undo, undo{time.Now().Add(d), do})
	slices.SortStableFunc(r.undo, func(a, b undo) int { return a.at.Compare(b.at) })
}

func (r *rig) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.random.Int64N(int64(most-least)+1))
}

func (r *rig) done() string {
	var parts []string
	for _, what := range deeds() {
		if n := r.count[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", what, n))
		}
	}
	return strings.Join(parts, ", ")
}

// calm ends all trouble and waits until every event is settled.
func (r *rig) calm() {
	r.t.Helper()
	r.must(os.WriteFile(filepath.Join(r.logs, "calm"), nil, 0o600))
	if r.database != nil {
		r.cable.open()
	}
	for _, h := range r.hubs {
		if !h.running() {
			r.must(h.start())
		}
	}
	begin := time.Now()
	retried, ended := time.Time{}, time.Time{}
	ctx := context.Background()
	defer func() {
		if r.t.Failed() {
			list, _ := fanout.Plugins(ctx, r.store)
			trouble, _ := fanout.List(ctx, r.store, fanout.Filter{Limit: 10})
			r.t.Logf("in the end: %+v\n%+v", list, trouble)
		}
	}()
	r.until("everything is delivered", func() bool {
		list, err := fanout.Plugins(ctx, r.store)
		if err != nil || len(list) < len(receivers()) {
			return false
		}
		waiting := false
		for _, p := range list {
			if p.State == string(plugin.Quarantined) && time.Since(ended) > 30*time.Second {
				// Its process was killed too often: an operator has to want it again.
				r.count[lifted]++
				ended = time.Now()
				for _, h := range r.hubs {
					h.end(syscall.SIGTERM)
				}
			}
			waiting = waiting || p.Lag > 0 || p.Lanes > 0 || p.DeadLetters > 0
		}
		r.revive()
		if waiting && time.Since(retried) > 2*time.Second {
			retried = time.Now()
			for _, p := range receivers() {
				// What waits for an hour need not, and what was given up is wanted.
				_, _ = fanout.Retry(ctx, r.store, fanout.Filter{Plugin: p}) // again in a moment, if not now
			}
		}
		return !waiting
	})
	r.t.Logf("everything was delivered %v after the end", time.Since(begin).Round(time.Millisecond))
}
