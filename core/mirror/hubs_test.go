package mirror_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/internal/storetest"
	"pgregory.net/rapid"
)

// hub is what one process has of journal and mirror: its own handle of the
// database, and its own committer.
type hub struct {
	bench
	*journal.Journal
	end func()
}

func startHub(b bench, opts mirror.Options) hub {
	b.Mirror = mirror.New(b.Store, opts)
	h := hub{bench: b, Journal: journal.New(b.Store, b.Mirror, journal.Options{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Journal.Run(ctx) }()
	h.end = func() { cancel(); <-done }
	return h
}

// One hub, or two on one database, take parts of a history at the same time,
// some of it at both, and end in the rows that one hub makes of it in order.
func TestLaw3_HubsThatShareADatabaseEndInTheSameRows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		one, other := setup(t, url), setup(t, url)
		round := 0
		rapid.Check(t, func(t *rapid.T) {
			events, opts := histories(1, 40).Draw(t, "events"), someOptions().Draw(t, "options")
			hubs := rapid.IntRange(1, 2).Draw(t, "hubs")
			order := shuffled(t, events)
			at := make([]int, len(order))
			for i := range order {
				at[i] = rapid.IntRange(0, hubs-1).Draw(t, "hub")
			}
			if err := one.clear(); err != nil {
				t.Fatal(err)
			}
			var want map[string]map[string]any
			one.within(t, func(ctx context.Context) error {
				inOrder := one
				inOrder.Mirror = mirror.New(one.Store, opts)
				for _, ev := range copies(events) {
					if err := inOrder.Apply(ctx, []*event.Event{ev}); err != nil {
						return err
					}
				}
				want = one.dump(ctx, t)
				return nil
			})

			// The same event has the same source wherever it arrives; events that
			// share an id come from different ones, so that both are journaled.
			round++
			sources := map[*event.Event]string{}
			for i, ev := range events {
				sources[ev] = fmt.Sprintf("s%d-%d", round, i)
			}
			running := []hub{startHub(one, opts), startHub(other, opts)}
			failures := make(chan error, len(order))
			var wg sync.WaitGroup
			for i, ev := range copies(order) {
				ev.Source = sources[order[i]]
				wg.Go(func() {
					// As a sender does whose event was not taken: SQLite may be held by
					// the other hub for too long.
					var err error
					for range 20 {
						if _, err = running[at[i]].Append(context.Background(), ev); err == nil {
							return
						}
					}
					failures <- err
				})
			}
			wg.Wait()
			for _, h := range running {
				h.end()
			}
			select {
			case err := <-failures:
				t.Fatal(err)
			default:
			}
			if diff := compare(want, one.dump(context.Background(), t)); diff != "" {
				t.Fatalf("%d hubs end elsewhere:\n%s\nhistory:\n%s", hubs, diff, tell(events))
			}
		})
	})
}
