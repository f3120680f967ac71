package journal_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/internal/storetest"
)

// fill journals events by SQL alone, each received a second after the one before
// it, but for what at says.
func (b *bundle) fill(n int64, at func(position int64) time.Time) {
	b.t.Helper()
	ctx := context.Background()
	db := b.store.SQL(ctx)
	var rows [][]any
	flush := func() {
		err := b.store.InTx(ctx, func(ctx context.Context) error {
			return b.store.SQL(ctx).Insert(ctx, `INSERT INTO avhub_events (position, source, channel, event_id, type, received_at, tenant_lane, subject_lane, body)`, rows, "")
		})
		if err != nil {
			b.t.Fatal(err)
		}
		rows = rows[:0]
	}
	for p := int64(1); p <= n; p++ {
		id := fmt.Sprintf("e%d", p)
		rows = append(rows, []any{p, "s", "webhook", id, "test.happened", at(p).UnixMicro(), 0, 0, body(id, "t", "{}")})
		if len(rows) == 1000 {
			flush()
		}
	}
	flush()
	if _, err := db.Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES ('journal', ?)`, n); err != nil {
		b.t.Fatal(err)
	}
}

func TestATimeIsFoundByLookingAtFewEvents(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	second := func(p int64) time.Time { return start.Add(time.Duration(p) * time.Second) }
	const n = 40_000
	storetest.Each(t, func(t *testing.T, url string) {
		for name, c := range map[string]struct {
			at    func(int64) time.Time
			since time.Time
			count int   // of events since then
			more  int   // that may be in the list, too: their clock was ahead
			after int64 // where it begins to read, at least
		}{
			"in order":       {second, second(30_001), n - 30_000, 0, 25_000},
			"before all":     {second, start, n, 0, 0},
			"after all":      {second, second(n + 1), 0, 0, 35_000},
			"a little mixed": {func(p int64) time.Time { return second(p ^ 255) }, second(30_000), n - 30_000 + 1, 0, 25_000},
			"a clock was ahead for a while": {func(p int64) time.Time {
				if p > 10_000 && p <= 11_000 {
					return second(p).Add(1000 * time.Hour)
				}
				return second(p)
			}, second(30_001), n - 30_000, 1000, -1},
			"a clock was behind for a while": {func(p int64) time.Time {
				if p > 29_000 && p <= 33_000 {
					return second(p).Add(-1000 * time.Hour)
				}
				return second(p)
			}, second(25_001), n - 25_000 - 4_000, 0, -1},
		} {
			t.Run(name, func(t *testing.T) {
				b := setup(t, url, projector{}, journal.Options{})
				for _, table := range []string{"avhub_events", "avhub_counters"} {
					if _, err := b.store.SQL(t.Context()).Exec(t.Context(), `DELETE FROM `+table); err != nil {
						t.Fatal(err)
					}
				}
				b.fill(n, c.at)
				got, err := b.journal.Read(t.Context(), journal.Query{Since: c.since, Limit: n, Newest: true})
				if err != nil {
					t.Fatal(err)
				}
				if len(got) < c.count || len(got) > c.count+c.more {
					t.Errorf("%d events since then, want %d", len(got), c.count)
				}
				after, err := b.journal.Seek(t.Context(), c.since)
				if err != nil || after < c.after {
					t.Errorf("it would read from %d on: %v", after, err)
				}
			})
		}
	})
}

// A hub's clock decides about no order and no duplicate.
func TestLaw2_AClockThatJumpsChangesNeitherOrderNorDuplicates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		b := setup(t, url, projector{}, journal.Options{Now: func() time.Time { return now }})
		jumps := []time.Duration{0, time.Hour, -2 * time.Hour, 365 * 24 * time.Hour, -730 * 24 * time.Hour}
		for i, by := range jumps {
			now = now.Add(by)
			ev := decoded(t, "s", body(fmt.Sprint(i), "t", "{}"))
			ev.ReceivedAt = now
			if r, err := b.append(ev); err != nil || r != (journal.Receipt{Outcome: journal.Accepted, Position: int64(i + 1)}) {
				t.Errorf("event %d: %+v %v", i, r, err)
			}
			for old := range i + 1 {
				ev := decoded(t, "s", body(fmt.Sprint(old), "t", "{}"))
				ev.ReceivedAt = now
				if r, err := b.append(ev); err != nil || r != (journal.Receipt{Outcome: journal.Duplicate, Position: int64(old + 1)}) {
					t.Errorf("event %d again after jump %d: %+v %v", old, i, r, err)
				}
			}
		}
		for i, ev := range b.all() {
			if ev.ID != fmt.Sprint(i) || ev.Position != int64(i+1) {
				t.Errorf("event %s is at %d", ev.ID, ev.Position)
			}
		}
	})
}
