package fanout

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"pgregory.net/rapid"
)

// asked tells that somebody looks for new histories, by -rapid.checks or
// -rapid.seed, and gets all of them, however long it takes. Otherwise the same
// ones are played each time: a change is judged by what it does to them.
var asked bool

func TestMain(m *testing.M) {
	flag.Parse()
	checks, seed := flag.Lookup("rapid.checks"), flag.Lookup("rapid.seed")
	asked = checks.Value.String() != checks.DefValue || seed.Value.String() != seed.DefValue
	if !asked {
		for name, value := range map[string]string{checks.Name: "400", seed.Name: "20261122"} {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	m.Run()
}

func settings() *rapid.Generator[setting] {
	return rapid.Custom(func(t *rapid.T) setting {
		return setting{
			order:      rapid.SampledFrom([]plugin.Order{plugin.PerTenant, plugin.PerSubject, plugin.Total}).Draw(t, "order"),
			coalesce:   rapid.Bool().Draw(t, "coalesce"),
			tight:      rapid.Bool().Draw(t, "tight"),
			park:       rapid.IntRange(0, 2).Draw(t, "park") == 2,
			many:       rapid.IntRange(0, 2).Draw(t, "many") == 2,
			partitions: rapid.IntRange(1, modelPartitions).Draw(t, "partitions"),
		}
	})
}

func ops() *rapid.Generator[op] {
	return rapid.Custom(func(t *rapid.T) op {
		o := op{
			do: rapid.SampledFrom(modelOps).Draw(t, "do"),
			n:  rapid.IntRange(0, 11).Draw(t, "n"),
			m:  rapid.IntRange(0, 5).Draw(t, "m"),
		}
		if o.do == "answer" || o.do == "say" {
			o.how = rapid.SampledFrom(modelAnswers).Draw(t, "how")
			o.all = rapid.Bool().Draw(t, "all")
			o.state = rapid.Bool().Draw(t, "state")
		}
		return o
	})
}

type modelMirror struct{}

func (modelMirror) Apply(context.Context, []*event.Event) error { return nil }

// onModel runs a test with a database and a journal on it.
func onModel(t *testing.T, test func(t *testing.T, st *store.Store, j *journal.Journal)) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		// What a power cut would undo is not the question here.
		st, err := store.Open(context.Background(), url, store.Options{Relaxed: true, Small: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		if _, err := st.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		j := journal.New(st, modelMirror{}, journal.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); j.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		test(t, st, j)
	})
}

func TestLaw4_WhateverHappensTheBooksAreRight(t *testing.T) {
	onModel(t, func(t *testing.T, st *store.Store, j *journal.Journal) {
		budget := 15 * time.Second
		if testing.Short() {
			budget = 3 * time.Second
		}
		cases, failed := 0, false
		end := time.Now().Add(budget)
		rapid.Check(t, func(t *rapid.T) {
			if !asked && !failed && time.Now().After(end) {
				return
			}
			failed = true // until it has not; what failed is played again
			w := newWorld(t, st, j, settings().Draw(t, "setting"))
			defer w.end()
			w.begin()
			for range 3 { // longer than one
				t.Repeat(map[string]func(*rapid.T){"": func(*rapid.T) {}, "op": func(t *rapid.T) { w.do(ops().Draw(t, "op")) }})
			}
			w.rest()
			cases++
			failed = false
		})
		t.Logf("%d cases", cases)
	})
}
