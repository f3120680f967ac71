package mirror_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"pgregory.net/rapid"
)

// batches cuts events at drawn places.
func batches(t *rapid.T, events []*event.Event) [][]*event.Event {
	var cut [][]*event.Event
	for len(events) > 0 {
		n := rapid.IntRange(1, len(events)).Draw(t, "batch")
		cut, events = append(cut, events[:n]), events[n:]
	}
	return cut
}

func TestLaw3_AnyOrderEndsInTheSameRows(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		rapid.Check(t, func(t *rapid.T) {
			events := histories(1, 40).Draw(t, "events")
			b.Mirror = mirror.New(b.Store, someOptions().Draw(t, "options"))
			order := batches(t, shuffled(t, events))

			var inOrder, mixed map[string]map[string]any
			told := chain{}
			b.within(t, func(ctx context.Context) error {
				for _, ev := range events {
					if err := b.Apply(ctx, []*event.Event{ev}); err != nil {
						return err
					}
				}
				inOrder = b.dump(ctx, t)
				return nil
			})
			b.within(t, func(ctx context.Context) error {
				for _, batch := range order {
					batch = copies(batch)
					if err := b.Apply(ctx, batch); err != nil {
						return err
					}
					told.follow(t, batch)
				}
				mixed = b.dump(ctx, t)
				return nil
			})
			if diff := compare(inOrder, mixed); diff != "" {
				t.Fatalf("another order ends elsewhere:\n%s\nhistory:\n%s", diff, tell(events))
			}
			if diff := told.differs(mixed); diff != "" {
				t.Fatalf("the changes that were told do not add up to the rows:\n%s\nhistory:\n%s", diff, tell(slices.Concat(order...)))
			}
		})
	})
}

// One long history, committed batch by batch, on both databases at once: the
// rows are equal to the byte of sync_state, wherever and in whatever order.
func TestLaw3_BothDatabasesEndInTheSameRows(t *testing.T) {
	t.Parallel()
	permutations := 20
	if testing.Short() {
		permutations = 3
	}
	events := histories(200, 200).Example(7)
	random := rand.New(rand.NewPCG(7, 11))
	both := map[string]bench{"sqlite": onSQLite(t), "postgres": onPostgres(t)}
	var want map[string]map[string]any
	for range permutations {
		for name, b := range both {
			b.empty(t)
			for rest := events; len(rest) > 0; {
				n := min(1+random.IntN(60), len(rest))
				b.apply(t, rest[:n]...)
				rest = rest[n:]
			}
			got := b.dump(context.Background(), t)
			if want == nil {
				want = got
				if len(want) < 12 {
					t.Fatalf("the history leaves only %d rows and graves", len(want))
				}
			}
			if diff := compare(want, got); diff != "" {
				t.Fatalf("%s ends elsewhere:\n%s\nhistory:\n%s", name, diff, tell(events))
			}
		}
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
}

func (b bench) empty(t *testing.T) {
	t.Helper()
	if err := b.clear(); err != nil {
		t.Fatal(err)
	}
}

func (b bench) clear() error {
	for table := range tables {
		if _, err := b.SQL(context.Background()).Exec(context.Background(), "DELETE FROM "+table); err != nil {
			return err
		}
	}
	return nil
}
