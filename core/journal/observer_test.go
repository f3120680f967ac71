package journal_test

import (
	"context"
	"sync"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/internal/storetest"
)

// projectFunc is a projector that is one function.
type projectFunc func(context.Context, []*event.Event) error

func (f projectFunc) Apply(ctx context.Context, events []*event.Event) error { return f(ctx, events) }

// notes is an observer that writes down what it is told.
type notes struct {
	mu    sync.Mutex
	begun []int64 // positions
	ended []bool
	look  func(committed bool)
}

func (n *notes) Committing(events []*event.Event) func(bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ev := range events {
		n.begun = append(n.begun, ev.Position)
	}
	return func(committed bool) {
		n.look(committed)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ended = append(n.ended, committed)
	}
}

func TestTheObserverHearsOfACommitBeforeTheSenderDoes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		st := storetest.Open(t, url)
		broken := false
		seen := &notes{}
		j := journal.New(st, projectFunc(func(ctx context.Context, _ []*event.Event) error {
			if broken { // the events cannot be inserted then, and the transaction takes the table back
				if _, err := st.SQL(ctx).Exec(ctx, `DROP TABLE avhub_events`); err != nil {
					return err
				}
			}
			return nil
		}), journal.Options{Observer: seen})
		seen.look = func(committed bool) {
			last, err := j.Last(context.Background())
			if want := int64(len(seen.ended)); committed && (err != nil || last != want+1) {
				t.Errorf("told of a commit at which the last position is %d (%v), want %d", last, err, want+1)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Run(ctx) })
		defer func() { stop(); running.Wait() }()
		send := func(id string) error {
			body := []byte(`{"id":"` + id + `","type":"x.y","timestamp":"2026-01-02T03:04:05Z","tenant_id":"t","data":{}}`)
			ev, err := event.DecodeWebhook(body)
			if err != nil {
				t.Fatal(err)
			}
			ev.Source, ev.Evidence = "test", event.Evidence{Body: body}
			_, err = j.Append(t.Context(), ev)
			return err
		}
		want := func(begun, ended int, last bool) {
			t.Helper()
			seen.mu.Lock()
			defer seen.mu.Unlock()
			if len(seen.begun) != begun || len(seen.ended) != ended || seen.ended[ended-1] != last {
				t.Errorf("begun %v, ended %v", seen.begun, seen.ended)
			}
		}
		if err := send("e1"); err != nil {
			t.Fatal(err)
		}
		want(1, 1, true)
		if err := send("e1"); err != nil { // a duplicate commits nothing
			t.Fatal(err)
		}
		want(1, 1, true)
		broken = true
		if err := send("e2"); err == nil {
			t.Fatal("the events were inserted into a table that is not there")
		}
		want(2, 2, false)
	})
}
