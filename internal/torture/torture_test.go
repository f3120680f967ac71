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

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
)

func TestLaw7_AHubOnSQLiteSurvivesTorture(t *testing.T) {
	r := newRig(t, 14, 10*time.Second)
	r.build(1, false)
	r.run("http://" + r.hubs[0].address)
}

func TestLaw7_AHubOnPostgresSurvivesTorture(t *testing.T) {
	r := newRig(t, 14, 10*time.Second)
	r.build(1, true)
	r.run("http://" + r.hubs[0].address)
}

func TestLaw8_ThreeHubsOnPostgresSurviveTorture(t *testing.T) {
	r := newRig(t, 14, 10*time.Second)
	r.partitions = 3
	r.build(3, true)
	r.run(r.balancer())
}

func (r *rig) run(url string) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l := r.startLoad(ctx, url)
	r.torment()
	stop()
	l.end()
	r.calm()
	r.transport.CloseIdleConnections()
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

// checkLeaks compares hubs that went through all that with fresh ones: all
// together, as they may share the work in another way.
func (r *rig) checkLeaks() {
	r.t.Helper()
	worn := r.levels()
	for _, h := range r.hubs {
		h.end(syscall.SIGTERM)
		r.must(h.start())
	}
	for _, h := range r.hubs {
		r.until(h.name+" is ready", h.ready)
	}
	fresh := r.levels()
	r.t.Logf("%d goroutines and %d descriptors in the end, %d and %d after a start", worn.goroutines, worn.descriptors, fresh.goroutines, fresh.descriptors)
	if most := slack * len(r.hubs); worn.goroutines > fresh.goroutines+most || worn.descriptors > fresh.descriptors+most {
		r.t.Error("the hubs leak goroutines or descriptors")
	}
}

// levels are what the hubs hold, once all partitions are theirs and it does not
// fall any more.
func (r *rig) levels() (sum level) {
	r.t.Helper()
	r.until("every partition is a hub's", func() bool {
		list, err := fanout.Plugins(context.Background(), r.store)
		running := err == nil
		for _, p := range list {
			running = running && p.State == string(plugin.Running)
		}
		return running
	})
	for _, h := range r.hubs {
		var least level
		same := 0
		r.until(h.name+" comes to rest", func() bool {
			l, err := h.level()
			if err != nil {
				return false
			}
			if same++; same == 1 || l.goroutines+l.descriptors < least.goroutines+least.descriptors {
				least, same = l, 1
			}
			return same > 20
		})
		sum.goroutines, sum.descriptors = sum.goroutines+least.goroutines, sum.descriptors+least.descriptors
	}
	return sum
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
		gaps := r.failOvers(all, p.Plugin)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", p.Plugin, g.Runs, g.Deliveries, g.Failed, g.Replays, g.Redelivered, g.AfterCrash, g.Most,
			at(gaps, 0.5), at(gaps, 1))
	}
	_ = w.Flush() // to memory
	text := strings.TrimRight(out.String(), "\n")
	r.t.Logf("seed %d, %v\n%s", r.seed, time.Since(r.begin).Round(time.Second), text)
}

// failOvers are the times from the last delivery by one owner of a partition, or
// one process, to the first by the next, in order.
func (r *rig) failOvers(all []delivery, plugin string) []time.Duration {
	last := map[int]delivery{} // by partition
	var gaps []time.Duration
	for _, d := range all {
		if d.Plugin != plugin {
			continue
		}
		part := journal.Slot(d.Key) % r.partitions
		if before, ok := last[part]; ok && before.Run != d.Run && before.Fence <= d.Fence {
			gaps = append(gaps, time.Duration(d.Seq-before.Seq))
		}
		last[part] = d
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
