package retention_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

const day = 24 * time.Hour

// projector fails events of the type test.failed.
type projector struct{ works bool }

func (p *projector) Apply(_ context.Context, events []*event.Event) error {
	for _, ev := range events {
		ev.Failed = ""
		if ev.Type == "test.failed" && !p.works {
			ev.Failed = "not possible"
		}
	}
	return nil
}

// world is a journal with a clock of its own.
type world struct {
	*testing.T
	store   *store.Store
	journal *journal.Journal
	mirror  *projector
	now     time.Time
	holds   []retention.Hold
	ids     int
}

func onEach(t *testing.T, test func(w *world)) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		w := &world{T: t, store: storetest.Open(t, url), mirror: &projector{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		w.journal = journal.New(w.store, w.mirror, journal.Options{Now: func() time.Time { return w.now }})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); w.journal.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		test(w)
	})
}

func (w *world) event(id, kind string, received time.Time) *event.Event {
	w.Helper()
	body := fmt.Appendf(nil, `{"id":%q,"type":%q,"timestamp":"2026-01-02T03:04:05.678Z","tenant_id":"t","application_id":null,"data":{}}`, id, kind)
	ev, err := event.DecodeWebhook(body)
	if err != nil {
		w.Fatal(err)
	}
	ev.Source, ev.ReceivedAt = "s", received
	ev.Evidence = event.Evidence{KeyID: "k", Signature: []byte{1}, SignedTimestamp: "1", Body: body}
	return ev
}

// append journals n events that the hub receives now.
func (w *world) append(n int, kind string) {
	w.Helper()
	for range n {
		w.ids++
		if _, err := w.journal.Append(context.Background(), w.event(fmt.Sprintf("e%d", w.ids), kind, w.now)); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) retention(cfg retention.Config) *retention.Retention {
	return retention.New(cfg, retention.Deps{
		Store: w.store, Journal: w.journal, Now: func() time.Time { return w.now },
		Holders: []retention.Holder{func(context.Context) ([]retention.Hold, error) { return w.holds, nil }},
		Wait:    func(ctx context.Context, _ time.Duration) (bool, time.Duration) { return ctx.Err() == nil, 0 },
	})
}

// prune removes what is old as of now, for a clock that nobody doubts.
func (w *world) prune(r *retention.Retention) retention.Done {
	w.Helper()
	w.exec(`INSERT INTO avhub_counters (name, value) VALUES ('journal_clock', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, w.now.UnixMicro())
	done, err := r.Prune(context.Background(), nil)
	if err != nil {
		w.Fatal(err)
	}
	return done
}

func (w *world) exec(query string, args ...any) {
	w.Helper()
	if _, err := w.store.SQL(context.Background()).Exec(context.Background(), query, args...); err != nil {
		w.Fatal(err)
	}
}

// positions are those of all events that are there.
func (w *world) positions() (list []int64) {
	w.Helper()
	events, err := w.journal.Read(context.Background(), journal.Query{Limit: 100000})
	if err != nil {
		w.Fatal(err)
	}
	for _, ev := range events {
		list = append(list, ev.Position)
	}
	return list
}

func TestOldEventsGoAndTheOthersStay(t *testing.T) {
	onEach(t, func(w *world) {
		w.append(150, "test.happened")
		w.now = w.now.Add(89 * day)
		w.append(50, "test.happened")
		r := w.retention(retention.Config{Retain: 90 * day, DedupeFor: 30 * day})
		if done := w.prune(r); done.Events != 0 || done.First != 1 {
			t.Errorf("too early: %+v", done)
		}
		w.now = w.now.Add(2 * day)
		if done := w.prune(r); done != (retention.Done{Events: 150, IDs: 150, First: 151}) {
			t.Errorf("got %+v", done)
		}
		if got := w.positions(); len(got) != 50 || got[0] != 151 {
			t.Errorf("left: %v", got)
		}
		// Positions go on, also when nothing is left.
		w.now = w.now.Add(200 * day)
		if done := w.prune(r); done.Events != 50 || done.First != 201 {
			t.Errorf("got %+v", done)
		}
		w.append(1, "test.happened")
		if got := w.positions(); len(got) != 1 || got[0] != 201 {
			t.Errorf("after all were pruned the next one is at %v", got)
		}
		if done := w.prune(w.retention(retention.Config{})); done.Events != 0 {
			t.Errorf("for ever: %+v", done)
		}
	})
}

func TestWhatWasPrunedIsSaidToBe(t *testing.T) {
	onEach(t, func(w *world) {
		ctx := context.Background()
		w.append(10, "test.happened")
		w.now = w.now.Add(60 * day)
		w.append(10, "test.happened")
		w.now = w.now.Add(40 * day)
		w.prune(w.retention(retention.Config{Retain: 90 * day, DedupeFor: 365 * day}))
		for _, what := range []string{"e7", "7"} {
			_, err := w.journal.Find(ctx, what)
			if !errors.Is(err, journal.ErrPruned) || !strings.Contains(err.Error(), "position 11, received 2026-03-02") {
				t.Errorf("find %s: %v", what, err)
			}
		}
		if _, err := w.journal.Find(ctx, "4711"); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("an event that never was: %v", err)
		}
		if _, err := w.journal.Read(ctx, journal.Query{After: 9, Whole: true}); !errors.Is(err, journal.ErrPruned) {
			t.Errorf("reading over a gap: %v", err)
		}
		if events, err := w.journal.Read(ctx, journal.Query{After: 10, Whole: true}); err != nil || len(events) != 10 {
			t.Errorf("reading from the beginning: %d events, %v", len(events), err)
		}
		if events, err := w.journal.Read(ctx, journal.Query{After: 20, Whole: true}); err != nil || len(events) != 0 {
			t.Errorf("reading at the end: %d events, %v", len(events), err)
		}
	})
}

func TestLaw2_AnIdIsKnownForLongerThanItsEvent(t *testing.T) {
	onEach(t, func(w *world) {
		ctx := context.Background()
		first := w.event("once", "test.happened", w.now)
		if _, err := w.journal.Append(ctx, first); err != nil {
			t.Fatal(err)
		}
		w.append(5, "test.happened")
		r := w.retention(retention.Config{Retain: day, DedupeFor: 30 * day})
		w.now = w.now.Add(29 * day)
		if done := w.prune(r); done.Events != 6 || done.IDs != 0 {
			t.Errorf("got %+v", done)
		}
		again := w.event("once", "test.happened", w.now)
		if got, err := w.journal.Append(ctx, again); err != nil || got != (journal.Receipt{Outcome: journal.Duplicate, Position: 1}) {
			t.Errorf("the same again: %+v %v", got, err)
		}
		other := w.event("once", "test.other", w.now)
		if got, err := w.journal.Append(ctx, other); err != nil || got != (journal.Receipt{Outcome: journal.Conflict, Position: 1}) {
			t.Errorf("another body: %+v %v", got, err)
		}
		w.now = w.now.Add(2 * day)
		if is, err := r.Status(ctx); err != nil || is.Conflicts != 1 {
			t.Errorf("conflicts: %+v %v", is, err)
		}
		if done := w.prune(r); done.IDs != 6 {
			t.Errorf("got %+v", done)
		}
		if got, err := w.journal.Append(ctx, w.event("once", "test.happened", w.now)); err != nil || got != (journal.Receipt{Outcome: journal.Accepted, Position: 7}) {
			t.Errorf("after its id was forgotten: %+v %v", got, err)
		}
	})
}

func TestLaw2_AnIdStaysAsLongAsItsEvent(t *testing.T) {
	onEach(t, func(w *world) {
		w.append(20, "test.happened")
		w.append(1, "test.failed")
		w.holds = []retention.Hold{{By: "somebody", Position: 10}}
		w.now = w.now.Add(1000 * day)
		r := w.retention(retention.Config{Retain: 90 * day, DedupeFor: 30 * day})
		if done := w.prune(r); done.Events != 10 || done.IDs != 10 {
			t.Errorf("got %+v", done)
		}
		w.holds = nil
		if done := w.prune(r); done.Events != 10 || done.IDs != 10 || done.First != 22 {
			t.Errorf("got %+v: the event that failed is still there, and so is its id", done)
		}
	})
}

func TestWhatSomebodyNeedsStays(t *testing.T) {
	onEach(t, func(w *world) {
		w.append(100, "test.happened")
		w.now = w.now.Add(100 * day)
		r := w.retention(retention.Config{Retain: 90 * day})
		w.holds = []retention.Hold{{By: "a", Position: 70}, {By: "b", Position: 40}}
		is, err := r.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(is.Holds) != 2 || is.Holds[0].By != "b" || is.Events != 100 || is.First != 1 || is.Last != 100 || is.Bytes == 0 ||
			is.Expired != 0 || is.Retain != "90d" {
			t.Errorf("status: %+v", is)
		}
		if done := w.prune(r); done.Events != 40 || done.First != 41 {
			t.Errorf("got %+v", done)
		}
		w.append(10, "test.happened") // young ones
		is, err = r.Status(context.Background())
		if err != nil || is.Expired != 60 || is.Prunable != 0 || is.Holds[0].Holds != 60 || is.Holds[1].Holds != 30 {
			t.Errorf("status: %+v %v", is, err)
		}
		w.holds = []retention.Hold{{By: "a", Position: 0}}
		if done := w.prune(r); done.Events != 0 {
			t.Errorf("got %+v", done)
		}
	})
}

func TestAnEventThatFailedStaysUntilItIsReapplied(t *testing.T) {
	onEach(t, func(w *world) {
		ctx := context.Background()
		w.append(5, "test.happened")
		w.append(1, "test.failed")
		w.append(5, "test.happened")
		w.now = w.now.Add(100 * day)
		r := w.retention(retention.Config{Retain: 90 * day})
		if done := w.prune(r); done.Events != 10 || done.First != 12 {
			t.Errorf("got %+v", done)
		}
		if got := w.positions(); len(got) != 1 || got[0] != 6 {
			t.Errorf("left: %v", got)
		}
		if is, err := r.Status(ctx); err != nil || is.Failed != 1 || is.Events != 0 {
			t.Errorf("status: %+v %v", is, err)
		}
		w.mirror.works = true
		if got, err := w.journal.Reapply(ctx, journal.Reapplication{}); err != nil || got.Applied != 1 {
			t.Fatalf("reapply: %+v %v", got, err)
		}
		if done := w.prune(r); done.Events != 1 || len(w.positions()) != 0 {
			t.Errorf("got %+v, left %v", done, w.positions())
		}
	})
}

// A clock that was wrong for a while neither keeps what is old nor takes what is not.
func TestTimesFromAWrongClockAreNotBelieved(t *testing.T) {
	onEach(t, func(w *world) {
		start := w.now
		w.append(50, "test.happened") // 1-50
		w.now = start.Add(1000 * day)
		w.append(700, "test.happened") // 51-750, from the future
		w.now = start.Add(time.Hour)
		w.append(50, "test.happened") // 751-800
		r := w.retention(retention.Config{Retain: 90 * day, DedupeFor: 30 * day})
		w.now = start.Add(80 * day)
		w.append(50, "test.happened") // 801-850
		w.now = start.Add(-1000 * day)
		w.append(50, "test.happened") // 851-900, from the past
		w.now = start.Add(91 * day)
		w.append(50, "test.happened") // 901-950
		if done := w.prune(r); done.First != 801 {
			t.Errorf("got %+v", done)
		}
		w.now = start.Add(175 * day)
		if done := w.prune(r); done.First != 901 {
			t.Errorf("got %+v", done)
		}
	})
}

func TestAHubsClockThatJumpsAheadPrunesNothing(t *testing.T) {
	onEach(t, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w.append(50, "test.happened")
		looks := 0
		r := retention.New(retention.Config{Retain: 90 * day}, retention.Deps{
			Store: w.store, Journal: w.journal, Now: func() time.Time { return w.now },
			Before: func(context.Context, time.Time) error {
				looks++
				return nil
			},
			Wait: func(context.Context, time.Duration) (bool, time.Duration) {
				if looks == 1 {
					w.now = w.now.Add(366 * day) // and so are the next events
					w.append(10, "test.happened")
				}
				return looks < 600, time.Minute
			},
		})
		r.Run(ctx)
		if got := w.positions(); looks < 600 || len(got) != 60 {
			t.Errorf("%d events are left after %d looks", len(got), looks)
		}
	})
}
