package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

// older is a mirror that does not know how to apply some events yet.
type older struct {
	*mirror.Mirror
	learned atomic.Bool
	refuses func(ev *event.Event) string // empty: it can
}

func (o *older) Apply(ctx context.Context, events []*event.Event) error {
	var known, refused []*event.Event
	reasons := map[*event.Event]string{}
	for _, ev := range events {
		if reason := o.refuses(ev); !o.learned.Load() && reason != "" {
			reasons[ev] = reason
			refused = append(refused, ev)
		} else {
			known = append(known, ev)
		}
	}
	if err := o.Mirror.Apply(ctx, known); err != nil {
		return err
	}
	for _, ev := range refused {
		ev.Changes, ev.ChangesOmitted, ev.Superseded, ev.Failed = nil, 0, false, reasons[ev]
	}
	return nil
}

// mirrored is a running journal with a real mirror behind a wrapper.
func mirrored(t *testing.T, url string, wrap func(*mirror.Mirror) journal.Projector) (*bundle, *mirror.Mirror) {
	t.Helper()
	st := storetest.Open(t, url)
	m := mirror.New(st, mirror.Options{})
	b := &bundle{t: t, store: st, journal: journal.New(st, wrap(m), journal.Options{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.journal.Run(ctx) }()
	b.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(b.stop)
	return b, m
}

func subject(t *testing.T, id, typ, sub, rest string) *event.Event {
	t.Helper()
	return decoded(t, "s", fmt.Appendf(nil, `{"id":%q,"type":%q,"timestamp":"2026-01-02T03:04:05.678Z","tenant_id":"t1","application_id":null,"data":{"sub":%q%s}}`,
		id, typ, sub, rest))
}

// appendAll appends events, many at a time.
func (b *bundle) appendAll(events ...*event.Event) {
	b.t.Helper()
	var wg sync.WaitGroup
	for _, ev := range events {
		wg.Go(func() {
			if _, err := b.append(ev); err != nil {
				b.t.Error(err)
			}
		})
	}
	wg.Wait()
}

func (b *bundle) failed() (ids []string) {
	b.t.Helper()
	events, err := b.journal.Read(context.Background(), journal.Query{Failed: true, Limit: 10000})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, ev := range events {
		ids = append(ids, ev.ID)
	}
	slices.Sort(ids)
	return ids
}

func (b *bundle) wantMirror(m *mirror.Mirror) *mirror.Report {
	b.t.Helper()
	r, err := m.Verify(context.Background(), b.journal, mirror.VerifyOptions{Examples: 5})
	if err != nil {
		b.t.Fatal(err)
	}
	if !r.Clean() {
		said, _ := json.MarshalIndent(r, "", " ")
		b.t.Fatalf("the mirror is not what the journal says:\n%s", said)
	}
	return r
}

func TestWhatFailedIsAppliedByAMirrorThatKnowsMore(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		var old *older
		b, m := mirrored(t, url, func(m *mirror.Mirror) journal.Projector {
			old = &older{Mirror: m, refuses: func(ev *event.Event) string {
				if strings.Contains(string(ev.Data), "odd") {
					return "data.locale: want a language"
				}
				return ""
			}}
			return old
		})
		var events []*event.Event
		for i := range 250 { // more than one transaction's worth
			events = append(events,
				subject(t, fmt.Sprintf("odd%03d", i), event.TypeSubjectUpdated, fmt.Sprintf("p%03d", i), `,"locale":"odd"`),
				subject(t, fmt.Sprintf("fine%03d", i), event.TypeSubjectCreated, fmt.Sprintf("p%03d", i), `,"email":"a@b.example"`))
		}
		events = append(events, subject(t, "hopeless", event.TypeSubjectUpdated, "p000", `,"email":7`))
		b.appendAll(events...)
		if n := len(b.failed()); n != 251 {
			t.Fatalf("%d failed", n)
		}
		if r := b.wantMirror(m); r.Failed != 251 || r.Appliable != 250 {
			t.Errorf("verify tells of %d failed and %d appliable", r.Failed, r.Appliable)
		}

		// The older one can try, and only fails again.
		if got, err := b.journal.Reapply(ctx, journal.Reapplication{}); err != nil || got.Applied != 0 || got.Failed != 251 || len(got.StillFailed) != 251 {
			t.Fatalf("%d applied, %d failed, %v", got.Applied, got.Failed, err)
		}
		old.learned.Store(true)
		tried, err := b.journal.Reapply(ctx, journal.Reapplication{DryRun: true})
		if err != nil || tried.Applied != 250 || len(b.failed()) != 251 {
			t.Fatalf("dry run: %+v %v, and then %d failed", tried, err, len(b.failed()))
		}
		b.wantMirror(m)

		// New events arrive meanwhile, and each is in a committed whole.
		arrived := make(chan struct{})
		go func() {
			defer close(arrived)
			for i := range 100 {
				_, _ = b.append(subject(t, fmt.Sprintf("new%03d", i), event.TypeSubjectUpdated, fmt.Sprintf("p%03d", i+100), `,"locale":"odd"`))
			}
		}()
		changed := 0
		got, err := b.journal.Reapply(ctx, journal.Reapplication{Changed: func(context.Context) error { changed++; return nil }})
		<-arrived
		if err != nil || got.Applied != 250 || got.Failed != 1 || got.StillFailed[0].ID != "hopeless" || !strings.Contains(got.StillFailed[0].Reason, "email") {
			t.Fatalf("%+v %v", got, err)
		}
		if changed != 3 {
			t.Errorf("told of %d changes", changed)
		}
		if ids := b.failed(); !slices.Equal(ids, []string{"hopeless"}) {
			t.Errorf("still failed: %v", ids)
		}
		b.wantMirror(m)
		// Of whom nothing new arrived: what says the same as that changes nothing.
		found, err := b.journal.Find(ctx, "odd007")
		if err != nil || found[0].Failed != "" || len(found[0].Changes) == 0 && !found[0].Superseded {
			t.Errorf("the journal says %+v (%v)", found, err)
		}
	})
}

func TestReapplyTakesWhatItsFilterSelects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		var old *older
		b, m := mirrored(t, url, func(m *mirror.Mirror) journal.Projector {
			old = &older{Mirror: m, refuses: func(*event.Event) string { return "too new" }}
			return old
		})
		for i, typ := range []string{event.TypeSubjectCreated, event.TypeSubjectUpdated, event.TypeSubjectCreated, event.TypeSubjectUpdated} {
			if _, err := b.append(subject(t, fmt.Sprintf("e%d", i+1), typ, "p", "")); err != nil {
				t.Fatal(err)
			}
		}
		old.learned.Store(true)
		for _, c := range []struct {
			takes journal.Reapplication
			left  []string
		}{
			{journal.Reapplication{Positions: []int64{}}, []string{"e1", "e2", "e3", "e4"}},
			{journal.Reapplication{Since: store.Now().AddDate(0, 0, 1)}, []string{"e1", "e2", "e3", "e4"}},
			{journal.Reapplication{Positions: []int64{3, 3, 77}}, []string{"e1", "e2", "e4"}},
			{journal.Reapplication{Types: []string{"subject.created"}}, []string{"e2", "e4"}},
			{journal.Reapplication{Positions: []int64{1, 2}}, []string{"e4"}},
			{journal.Reapplication{}, nil},
		} {
			if _, err := b.journal.Reapply(ctx, c.takes); err != nil {
				t.Fatal(err)
			}
			if left := b.failed(); !slices.Equal(left, c.left) {
				t.Errorf("%+v left %v, want %v", c.takes, left, c.left)
			}
			b.wantMirror(m)
		}
	})
}

// What the database refuses, or what makes the mirror stumble, costs the event
// alone: when it comes, and when it is tried again.
func TestLaw6_AnEventThatMakesTheMirrorPanicCostsOnlyItself(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		var broken atomic.Bool
		broken.Store(true)
		b, m := mirrored(t, url, func(m *mirror.Mirror) journal.Projector {
			return projector{func(ctx context.Context, events []*event.Event) error {
				for _, ev := range events {
					if broken.Load() && ev.ID == "bad" {
						panic("index out of range")
					}
				}
				return m.Apply(ctx, events)
			}}
		})
		var events []*event.Event
		for i := range 20 {
			events = append(events, subject(t, fmt.Sprint("good", i), event.TypeSubjectCreated, fmt.Sprint("p", i), ""))
		}
		b.appendAll(append(events, subject(t, "bad", event.TypeSubjectCreated, "p", ""))...)
		wantBad := func() {
			t.Helper()
			failed, err := b.journal.Read(ctx, journal.Query{Failed: true})
			if err != nil || len(failed) != 1 || failed[0].ID != "bad" || !strings.Contains(failed[0].Failed, "index out of range") ||
				strings.Contains(failed[0].Failed, "goroutine") {
				t.Fatalf("failed: %+v %v", failed, err)
			}
			if n := b.store.Read().Identity.Query().CountX(ctx); n != 20 {
				t.Errorf("%d people", n)
			}
		}
		wantBad()
		if got, err := b.journal.Reapply(ctx, journal.Reapplication{}); err != nil || got.Failed != 1 || got.Applied != 0 {
			t.Fatalf("%+v %v", got, err)
		}
		wantBad()
		broken.Store(false)
		if got, err := b.journal.Reapply(ctx, journal.Reapplication{}); err != nil || got.Applied != 1 {
			t.Fatalf("%+v %v", got, err)
		}
		b.wantMirror(m)
	})
}

// A lost database is no event's fault, and what was committed is told.
func TestReapplyEndsWhenTheDatabaseFails(t *testing.T) {
	t.Parallel()
	fails := false
	full := errors.New("disk full")
	b, _ := mirrored(t, storetest.SQLite(t), func(m *mirror.Mirror) journal.Projector {
		return projector{func(ctx context.Context, events []*event.Event) error {
			for _, ev := range events {
				ev.Failed = "not now"
			}
			if fails {
				return full
			}
			return nil
		}}
	})
	b.appendAll(subject(t, "e", event.TypeSubjectCreated, "p", ""))
	fails = true
	if _, err := b.journal.Reapply(context.Background(), journal.Reapplication{}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if ids := b.failed(); len(ids) != 1 {
		t.Errorf("failed: %v", ids)
	}
}

// Who passed over events that failed can find out which were applied after all.
func TestWhichEventsWereReappliedIsNotedOnceAndNotByADryRun(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		var old *older
		b, _ := mirrored(t, url, func(m *mirror.Mirror) journal.Projector {
			old = &older{Mirror: m, refuses: func(ev *event.Event) string { return "too new" }}
			return old
		})
		b.appendAll(subject(t, "e1", event.TypeSubjectCreated, "p1", ``))
		b.appendAll(subject(t, "e2", event.TypeSubjectCreated, "p2", `,"email":7`))
		old.learned.Store(true)
		for _, r := range []journal.Reapplication{{DryRun: true}, {}, {}} {
			if _, err := b.journal.Reapply(ctx, r); err != nil {
				t.Fatal(err)
			}
			noted, err := b.store.Read().ReappliedEvent.Query().All(ctx)
			if err != nil || r.DryRun != (len(noted) == 0) || len(noted) > 1 {
				t.Fatalf("%v, %v", noted, err)
			}
			if len(noted) == 1 && (noted[0].Position != 1 || noted[0].TenantID != "t1" || noted[0].TenantKey != "tenant:t1") {
				t.Errorf("%+v", noted[0])
			}
		}
	})
}
