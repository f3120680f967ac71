package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// limited runs a connector that may take so much.
func limited(t *testing.T, limits Limits) *rig {
	t.Helper()
	if !canLimit {
		t.Skip("this system has no way to enforce limits")
	}
	spec, traces := testSpec(t, "connector")
	spec.Limits = limits
	tm := quick()
	tm.pingWithin = 0 // the default, which is longer than anybody stands still
	r := run(t, spec, traces, tm)
	r.ready(t)
	return r
}

func TestAConnectorThatTakesTooMuchMemoryIsKilledWithTheReason(t *testing.T) {
	t.Parallel()
	for _, taker := range []string{"hold=512", "child-hold"} {
		r := limited(t, Limits{Memory: 200 << 20})
		pid := r.pid(t)
		_, err := r.Deliver(t.Context(), batchOf("a:"+taker))
		var c *Crash
		if err != nil && (!errors.As(err, &c) || !strings.HasSuffix(c.Exit, "of memory, and its limit is 200 MiB")) {
			t.Errorf("%s: %v", taker, err)
		}
		st := r.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
		if !strings.Contains(st.Reason, "of memory, and its limit is 200 MiB") || !gone(pid) {
			t.Errorf("%s: %+v", taker, st)
		}
		r.deliver(t, "a:ok")
	}
}

func TestAProgramThatTakesTooMuchMemoryBeforeItsHandshakeIsKilled(t *testing.T) {
	t.Parallel()
	if !canLimit {
		t.Skip("this system has no way to enforce limits")
	}
	spec, traces := testSpec(t, "hog")
	spec.Limits.Memory = 100 << 20
	r := run(t, spec, traces, quick())
	st := r.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
	if !strings.Contains(st.Reason, "its limit is 100 MiB") {
		t.Errorf("%+v", st)
	}
}

func TestGoIsToldItsMemoryLimitUnlessTheOperatorSaysOtherwise(t *testing.T) {
	t.Parallel()
	r := limited(t, Limits{Memory: 1000 << 20})
	if got := r.reason(t, "environment=GOMEMLIMIT"); got != strconv.Itoa(1000<<20/10*9) {
		t.Errorf("GOMEMLIMIT is %q", got)
	}
	if got := (Limits{Memory: 1 << 30}).environment(map[string]string{"GOMEMLIMIT": "off"}); got != nil {
		t.Errorf("%v", got)
	}
	if got := (Limits{OpenFiles: 100}).environment(nil); got != nil {
		t.Errorf("%v", got)
	}
}

func TestAConnectorUsesNoMoreOfTheProcessorsThanItMay(t *testing.T) {
	t.Parallel()
	const share = 0.2
	for _, spinner := range []string{"spin", "child-spin"} {
		r := limited(t, Limits{CPU: share})
		before, began := r.used(t), time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		// A connector that stands still now and then is none that is frozen.
		if _, err := r.Deliver(ctx, batchOf("a:"+spinner)); err != nil {
			t.Fatalf("%s: %v", spinner, err)
		}
		eventually(t, "the time to pass", func() bool { return time.Since(began) > 8*time.Second })
		used, passed := r.used(t)-before, time.Since(began)
		// The window's worth at once, and then its share.
		if most := time.Duration(share * float64(passed+cpuWindow) * 1.25); used > most {
			t.Errorf("%s: it used %s in %s, and may use %s", spinner, used, passed, most)
		}
		if least := time.Duration(share * float64(passed) / 2); used < least {
			t.Errorf("%s: it used %s in %s only, so this proves nothing", spinner, used, passed)
		}
		r.deliver(t, "a:ok")
		if st := r.Status(); st.Restarts != 0 {
			t.Errorf("%s: %+v", spinner, st)
		}
	}
}

func (r *rig) used(t *testing.T) time.Duration {
	t.Helper()
	is, ok := r.Usage()
	if !ok {
		t.Skip("this system does not tell")
	}
	return is.CPU
}

func TestACPUBudgetGivesItsShareOverTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ rate, greed float64 }{{0.05, 1}, {0.5, 1}, {0.5, 8}, {2, 8}, {0.05, 8}} {
		now := time.Unix(0, 0)
		b := newBudget(tc.rate, now)
		var used time.Duration
		for now.Before(time.Unix(600, 0)) {
			now = now.Add(paceEvery)
			slice := time.Duration(tc.greed * float64(paceEvery))
			used += slice
			pause := b.spend(slice, now)
			if pause > maxStill {
				t.Fatalf("a pause of %s", pause)
			}
			now = now.Add(pause)
		}
		// Where eight processors are used and a twentieth of one is allowed, the
		// longest pause is too short.
		want := max(tc.rate, tc.greed*float64(paceEvery)/float64(paceEvery+maxStill))
		if got := used.Seconds() / 600; got > want*1.1 || got < tc.rate*0.9 {
			t.Errorf("%+v: it gets %.3f, want %.3f", tc, got, want)
		}
	}
	b := newBudget(0.5, time.Unix(0, 0))
	if pause := b.spend(0, time.Unix(3600, 0)); pause != 0 {
		t.Error(pause)
	}
	if pause := b.spend(3*time.Second, time.Unix(3600, 0)); pause == 0 {
		t.Error("an hour of rest was saved up")
	}
}

func TestAConnectorOpensNoMoreFilesThanItMay(t *testing.T) {
	t.Parallel()
	r := limited(t, Limits{OpenFiles: 64})
	opened, why, _ := strings.Cut(r.reason(t, "files=1000"), " ")
	if n, err := strconv.Atoi(opened); err != nil || n < 32 || n > 64 || why != "too many open files" {
		t.Errorf("it opened %s: %q", opened, why)
	}
	// What was open before, such as what the hub has inherited, may be beyond it.
	if is, ok := r.Usage(); !ok || is.OpenFiles < 60 || is.OpenFiles > 80 {
		t.Errorf("%+v", is)
	}
}

// gather is what the metrics tell of the rig's connector.
func (r *rig) gather(t *testing.T) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewMetrics(func() map[string]*Supervisor { return map[string]*Supervisor{"traces": r.Supervisor} }))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "avhub_plugin_")
			for _, l := range m.GetLabel() {
				if l.GetName() == "state" {
					name += " " + l.GetValue()
				}
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

func TestMetricsTellWhatAConnectorTakesWithItsChildren(t *testing.T) {
	t.Parallel()
	if !canLimit {
		t.Skip("this system does not tell")
	}
	r := running(t)
	is := r.gather(t)
	if is["up"] != 1 || is["state running"] != 1 || is["restarts_total"] != 0 || is["crashes_total"] != 0 ||
		is["memory_bytes"] < 1<<20 || is["open_files"] < 5 || is["cpu_seconds_total"] < 0 {
		t.Errorf("%v", is)
	}
	r.reason(t, "child-hold")
	eventually(t, "the child's memory", func() bool { return r.gather(t)["memory_bytes"] > 1<<30 })
	if now := r.gather(t); now["cpu_seconds_total"] <= is["cpu_seconds_total"] || now["open_files"] <= is["open_files"] {
		t.Errorf("%v after %v", now, is)
	}
	r.crash(t)
	r.deliver(t, "a:ok")
	again := r.gather(t)
	if again["restarts_total"] != 1 || again["crashes_total"] != 1 || again["memory_bytes"] > 1<<30 ||
		again["cpu_seconds_total"] < is["cpu_seconds_total"] {
		t.Errorf("%v after %v", again, is)
	}
	for range maxCrashes - 1 {
		r.crash(t)
	}
	r.quarantined(t)
	if is := r.gather(t); is["up"] != 0 || is["state quarantined"] != 1 || is["memory_bytes"] != 0 {
		t.Errorf("%v", is)
	}
}

func TestReconfiguringKeepsLimits(t *testing.T) {
	t.Parallel()
	r := limited(t, Limits{OpenFiles: 64})
	if _, err := r.Reconfigure(t.Context(), json.RawMessage(fmt.Sprintf(`{"dir":%q}`, r.traces))); err != nil {
		t.Fatal(err)
	}
	r.crash(t)
	if opened, _, _ := strings.Cut(r.reason(t, "files=1000"), " "); opened == "1000" {
		t.Error("the next process has no limit")
	}
}
