package torture

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

func TestLaw7_AHubOnSQLiteSurvivesTorture(t *testing.T) {
	r := newRig(t, 20, 14*time.Second)
	r.build(1, false)
	r.run("http://" + r.hubs[0].address)
}

func TestLaw7_AHubOnPostgresSurvivesTorture(t *testing.T) {
	r := newRig(t, 20, 14*time.Second)
	r.build(1, true)
	r.run("http://" + r.hubs[0].address)
}

func (r *rig) run(url string) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l := r.startLoad(ctx, url)
	r.torment()
	stop()
	l.end()
	r.calm()
	r.checkLeaks()
	events, received := r.readJournal(), r.readLogs()
	r.checkSenders(l, events)
	r.checkDeliveries(events, received)
	r.checkStates(events)
	r.print(l, r.verify(), events, received)
}

// slack is what a hub may hold more than one that has just started: connections
// to the database that it keeps for later, and who waits on them.
const slack = 40

// checkLeaks compares hubs that went through all that with fresh ones.
func (r *rig) checkLeaks() {
	r.t.Helper()
	worn := r.levels()
	for _, h := range r.hubs {
		h.end(syscall.SIGKILL)
		r.must(h.start())
	}
	for _, h := range r.hubs {
		r.until(h.name+" is ready", h.ready)
	}
	fresh := r.levels()
	for i, h := range r.hubs {
		if worn[i].goroutines > fresh[i].goroutines+slack || worn[i].descriptors > fresh[i].descriptors+slack {
			r.t.Errorf("%s held %d goroutines and %d descriptors in the end, and %d and %d after a start",
				h.name, worn[i].goroutines, worn[i].descriptors, fresh[i].goroutines, fresh[i].descriptors)
		}
	}
}

// levels are those of the hubs once they do not fall any more.
func (r *rig) levels() []level {
	r.t.Helper()
	levels := make([]level, len(r.hubs))
	for i, h := range r.hubs {
		falling := 0
		r.until(h.name+" comes to rest", func() bool {
			l, err := h.level()
			if err != nil {
				return false
			}
			if falling++; falling == 1 || l.goroutines+l.descriptors < levels[i].goroutines+levels[i].descriptors {
				levels[i], falling = l, 1
			}
			return falling > 20
		})
	}
	return levels
}

// print tells what happened.
func (r *rig) print(l *load, v verified, events []journaled, all []delivery) {
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	row := func(what string, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	for _, what := range deeds() {
		if r.database != nil || what != killDatabase && what != cutCable && what != revived {
			row(what, "%d", r.count[what])
		}
	}
	row("events sent", "%d", l.sent.Load())
	row("acknowledged", "%d", len(l.acked))
	row("given up by the sender", "%d", l.gaveUp.Load())
	row("in the journal", "%d, %d signatures verified", len(events), v.Signed)
	lost := 0
	for _, n := range v.Counts {
		lost += int(n)
	}
	row("findings", "%d", lost)
	_ = w.Flush() // to memory
	fmt.Fprintln(w, "\nreceiver\tprocesses\tdeliveries\tfailed\treplays\tagain\tafter a crash\tmost after one\tfail-over p50\tmost")
	for _, p := range v.Plugins {
		g := p.Received
		gaps := failOvers(all, p.Plugin)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", p.Plugin, g.Runs, g.Deliveries, g.Failed, g.Replays, g.Redelivered, g.AfterCrash, g.Most,
			at(gaps, 0.5), at(gaps, 1))
	}
	_ = w.Flush() // to memory
	text := strings.TrimRight(out.String(), "\n")
	r.t.Logf("seed %d, %v\n%s", r.seed, time.Since(r.begin).Round(time.Second), text)
}

// failOvers are the times from the last delivery by one process, or one owner, to
// the first by the next, in order.
func failOvers(all []delivery, plugin string) []time.Duration {
	last := map[string]delivery{}  // by run
	first := map[string]delivery{} // by run
	var order []string
	for _, d := range all {
		if d.Plugin != plugin {
			continue
		}
		if _, ok := first[d.Run]; !ok {
			first[d.Run] = d
			order = append(order, d.Run)
		}
		last[d.Run] = d
	}
	var gaps []time.Duration
	for i := 1; i < len(order); i++ {
		if gap := time.Duration(first[order[i]].Seq - last[order[i-1]].Seq); gap > 0 {
			gaps = append(gaps, gap)
		}
	}
	slices.Sort(gaps)
	return gaps
}

func at(sorted []time.Duration, part float64) string {
	if len(sorted) == 0 {
		return "-"
	}
	return sorted[int(part*float64(len(sorted)-1))].Round(time.Millisecond).String()
}
