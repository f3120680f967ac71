package simulator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/simulator"
)

// tell runs a story for some steps and returns them.
func tell(t *testing.T, sim *simulator.Simulator, interval time.Duration, steps int) []simulator.Step {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told []simulator.Step
	err := sim.Story(ctx, simulator.StoryOptions{Interval: interval}, func(s simulator.Step) {
		told = append(told, s)
		if len(told) == steps {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

func TestTheStoryShowsEverythingAndTheHubTakesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	told := tell(t, b.Simulator, 50*time.Microsecond, 640)
	if len(told) != 640 {
		t.Fatalf("the story ended after %d steps", len(told))
	}
	times := map[string]time.Time{}
	for _, ev := range b.journal.all() {
		times[ev.ID] = ev.Time
	}
	kinds, types := map[simulator.StepKind]int{}, map[string]bool{}
	var newest time.Time
	for i, step := range told {
		kinds[step.Kind]++
		if step.Number != i+1 || step.Text == "" || step.Err != nil {
			t.Fatalf("step %+v", step)
		}
		want := map[simulator.StepKind]string{
			simulator.StepEvent: `200 "accepted"`, simulator.StepDuplicate: `200 "duplicate"`, simulator.StepLate: `200 "accepted"`, simulator.StepForged: `401 "reason"`,
		}[step.Kind]
		status, word, _ := strings.Cut(want, " ")
		if want != "" && (fmt.Sprint(step.Delivery.Status) != status || !strings.Contains(string(step.Delivery.Response), word)) {
			t.Errorf("step %d, %s (%s): %d %s", step.Number, step.Text, step.Delivery.Type, step.Delivery.Status, step.Delivery.Response)
		}
		at := times[step.Delivery.ID]
		switch step.Kind {
		case simulator.StepEvent:
			types[step.Delivery.Type] = true
			if !at.After(newest) {
				t.Errorf("step %d is not newer than the one before", step.Number)
			}
			newest = at
		case simulator.StepLate:
			if !at.Before(newest) {
				t.Errorf("step %d is not late", step.Number)
			}
		}
		if step.Kind == simulator.StepEvent && step.Delivery.Type != event.TypeApplicationCreated && step.Tenant == "" {
			t.Errorf("step %d names no tenant", step.Number)
		}
	}
	for _, kind := range []simulator.StepKind{simulator.StepDuplicate, simulator.StepLate, simulator.StepForged} {
		if kinds[kind] < 15 {
			t.Errorf("%d steps of kind %s", kinds[kind], kind)
		}
	}
	if kinds[simulator.StepRotation] != 3 {
		t.Errorf("%d rotations in 640 steps", kinds[simulator.StepRotation])
	}
	for _, info := range event.Catalog() {
		if !types[info.Type] {
			t.Errorf("the story has no %s", info.Type)
		}
	}
	// The story goes on for ever, the world must not: as many leave as come.
	live := map[string]bool{}
	for _, ev := range b.journal.all() {
		switch ev.Type {
		case event.TypeTenantCreated:
			live[ev.TenantID] = true
		case event.TypeTenantDeleted:
			delete(live, ev.TenantID)
		}
		if len(live) > 14 {
			t.Fatalf("%d tenants are alive", len(live))
		}
	}
}

// direct delivers without a network, so that a story can be told in fake time.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestTheStoryBeginsFastAndGoesOnCalmly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
		sim, err := simulator.New(simulator.Options{Target: "http://hub/", Client: &http.Client{Transport: direct{ok}}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var at []time.Duration
		var kinds []simulator.StepKind
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := sim.Story(ctx, simulator.StoryOptions{}, func(s simulator.Step) {
			at, kinds = append(at, time.Since(start)), append(kinds, s.Kind)
		}); err != nil {
			t.Fatal(err)
		}
		if at[7] > 3*time.Second {
			t.Errorf("eight events took %v", at[7])
		}
		for i := 8; i < len(at); i++ {
			if gap := at[i] - at[i-1]; kinds[i] != simulator.StepRotation && (gap < time.Second || gap > 2*time.Second) {
				t.Errorf("step %d came %v after the one before", i+1, gap)
			}
		}
		for _, kind := range []simulator.StepKind{simulator.StepDuplicate, simulator.StepLate, simulator.StepForged, simulator.StepRotation} {
			if !slices.Contains(kinds, kind) {
				t.Errorf("the first minute has no %s", kind)
			}
		}
	})
}

func TestTheStoryOutlivesAHubThatIsDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.SetTarget("http://127.0.0.1:1/"); err != nil {
		t.Fatal(err)
	}
	for _, step := range tell(t, b.Simulator, 50*time.Microsecond, 20) {
		if step.Err == nil && step.Kind != simulator.StepRotation {
			t.Errorf("step %+v", step)
		}
	}
}

func TestAStoryAndCommandsShareTheWorld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 { // delete the story's companies from under it
			b.command(t, `{"type":"tenant.deleted"}`)
			b.command(t, `{"type":"tenant.updated","set":{"plan":"pro","settings.theme.accent":"red"}}`)
		}
	}()
	if told := tell(t, b.Simulator, 50*time.Microsecond, 300); len(told) != 300 {
		t.Errorf("the story ended after %d steps", len(told))
	}
	<-done
}

func FuzzCommands(f *testing.F) {
	f.Add(`{"type":"tenant.updated","set":{"settings.a.b":null,"settings":{}}}`)
	f.Add(`{"type":"subject.created","set":{"sub":7,"a":{"b":[1]}},"duplicate":true}`)
	f.Add(`{"type":"tenant.app.granted","set":{"quantity_purchased":-1},"forge":"wrong_key"}`)
	f.Add(`{"type":"x","channel":"system","set":{"\u0000":1}}`)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })
	sim, err := simulator.New(simulator.Options{Target: "http://hub/", Token: token, Client: &http.Client{Transport: direct{ok}}})
	if err != nil {
		f.Fatal(err)
	}
	h := sim.Handler()
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, simulator.ControlPath, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
