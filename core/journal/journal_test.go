package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// projector is the mirror's place; apply may be nil.
type projector struct {
	apply func(ctx context.Context, events []*event.Event) error
}

func (p projector) Apply(ctx context.Context, events []*event.Event) error {
	if p.apply == nil {
		return nil
	}
	return p.apply(ctx, events)
}

type bundle struct {
	t       *testing.T
	store   *store.Store
	journal *journal.Journal
	stop    func()
}

func setup(t *testing.T, url string, p projector, opts journal.Options) *bundle {
	t.Helper()
	st := storetest.Open(t, url)
	b := &bundle{t: t, store: st, journal: journal.New(st, p, opts)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.journal.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
	t.Cleanup(b.stop)
	return b
}

func body(id, tenant, data string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"type":"test.happened","timestamp":"2026-01-02T03:04:05.678Z","tenant_id":%q,"application_id":null,"data":%s}`, id, tenant, data)
}

func decoded(t *testing.T, source string, body []byte) *event.Event {
	t.Helper()
	ev, err := event.DecodeWebhook(body)
	if err != nil {
		t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt = source, store.Now()
	ev.Evidence = event.Evidence{KeyID: "k1", Signature: []byte{1, 2, 3}, SignedTimestamp: "1700000000", Body: body}
	return ev
}

func (b *bundle) append(ev *event.Event) (journal.Receipt, error) {
	return b.journal.Append(context.Background(), ev)
}

func (b *bundle) all() []*event.Event {
	b.t.Helper()
	events, err := b.journal.Read(context.Background(), journal.Query{Limit: 10000})
	if err != nil {
		b.t.Fatal(err)
	}
	return events
}

func TestLaw1_WhatWasAcceptedIsReadBackAsItCame(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		b := setup(t, url, projector{func(_ context.Context, events []*event.Event) error {
			for _, ev := range events {
				ev.Changes = []event.Change{{Entity: "organization", ID: "t", Field: "plan", Before: []byte(`"free"`), After: []byte(`"pro"`)}}
				ev.ChangesOmitted, ev.Superseded = 2, true
			}
			return nil
		}}, journal.Options{})
		raw := body("e/1", "t", `{"name":"É \u0000 \"quoted\"", "n": 1.50}`)
		receipt, err := b.append(decoded(t, "authvital", raw))
		if err != nil || receipt != (journal.Receipt{Outcome: journal.Accepted, Position: 1}) {
			t.Fatal(receipt, err)
		}
		b.stop() // another process would read it
		got := b.all()
		if len(got) != 1 {
			t.Fatalf("%d events", len(got))
		}
		ev := got[0]
		if !bytes.Equal(ev.Evidence.Body, raw) || !bytes.Equal(ev.Evidence.Signature, []byte{1, 2, 3}) ||
			ev.Evidence.KeyID != "k1" || ev.Evidence.SignedTimestamp != "1700000000" {
			t.Errorf("evidence %+v", ev.Evidence)
		}
		if ev.ID != "e/1" || ev.Source != "authvital" || ev.Position != 1 || !ev.Superseded || ev.ChangesOmitted != 2 ||
			len(ev.Changes) != 1 || string(ev.Changes[0].After) != `"pro"` {
			t.Errorf("event %+v", ev)
		}
	})
}

func TestLaw2_TheSameEventIsJournaledOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		b := setup(t, url, projector{}, journal.Options{})
		other := setup(t, url, projector{}, journal.Options{}) // a second hub on the same database
		var mu sync.Mutex
		outcomes := map[journal.Outcome]int{}
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				to := b
				if i%2 == 1 {
					to = other
				}
				receipt, err := to.append(decoded(t, "authvital", body("same", "t", "{}")))
				if err != nil || receipt.Position != 1 {
					t.Error(receipt, err)
				}
				mu.Lock()
				defer mu.Unlock()
				outcomes[receipt.Outcome]++
			})
		}
		wg.Wait()
		if outcomes[journal.Accepted] != 1 || outcomes[journal.Duplicate] != 999 {
			t.Errorf("outcomes %v", outcomes)
		}
		if n := len(b.all()); n != 1 {
			t.Errorf("%d events in the journal", n)
		}
	})
}

func TestSourcesHaveIDsOfTheirOwn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		b := setup(t, url, projector{}, journal.Options{})
		for _, source := range []string{"one", "two"} {
			if receipt, err := b.append(decoded(t, source, body("same", "t", "{}"))); err != nil || receipt.Outcome != journal.Accepted {
				t.Errorf("%s: %v %v", source, receipt, err)
			}
		}
		found, err := b.journal.Find(context.Background(), "same")
		if err != nil || len(found) != 2 {
			t.Errorf("found %d, %v", len(found), err)
		}
		if _, err := b.journal.Find(context.Background(), "sam"); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("half an id: %v", err)
		}
	})
}

func TestTheSameIDWithAnotherBodyIsAConflict(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		var log bytes.Buffer
		b := setup(t, url, projector{}, journal.Options{Log: zerolog.New(&log)})
		first := body("e", "t", `{"plan":"pro"}`)
		if _, err := b.append(decoded(t, "s", first)); err != nil {
			t.Fatal(err)
		}
		receipt, err := b.append(decoded(t, "s", body("e", "t", `{"plan":"free"}`)))
		if err != nil || receipt != (journal.Receipt{Outcome: journal.Conflict, Position: 1}) {
			t.Fatal(receipt, err)
		}
		found, err := b.journal.Find(context.Background(), "e")
		if err != nil || len(found) != 1 || found[0].Conflicts != 1 || !bytes.Equal(found[0].Evidence.Body, first) {
			t.Errorf("%+v %v", found, err)
		}
		b.stop()
		if !strings.Contains(log.String(), "another body") || strings.Contains(log.String(), "plan") {
			t.Errorf("logged: %s", log.String())
		}
	})
}

func TestPositionsHaveNoGapsAndReadersMissNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		hubs := []*bundle{setup(t, url, projector{}, journal.Options{}), setup(t, url, projector{}, journal.Options{})}
		const events = 400
		reader := make(chan []int64)
		go func() { // reads on while both hubs append
			var seen []int64
			for after := int64(0); after < events; {
				got, err := hubs[0].journal.Read(context.Background(), journal.Query{After: after, Limit: 50})
				if err != nil {
					t.Error(err)
					break
				}
				for _, ev := range got {
					seen = append(seen, ev.Position)
					after = ev.Position
				}
			}
			reader <- seen
		}()
		var wg sync.WaitGroup
		for i := range events {
			wg.Go(func() {
				if _, err := hubs[i%2].append(decoded(t, "s", body(fmt.Sprint(i), "t", "{}"))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		seen := <-reader
		want := make([]int64, events)
		for i := range want {
			want[i] = int64(i + 1)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("the reader saw %v", seen)
		}
	})
}

func TestLaw6_AnEventThatTheDatabaseRefusesCostsOnlyItself(t *testing.T) {
	t.Parallel()
	refusal := &pgconn.PgError{Code: "22003", Message: "value out of range"}
	storetest.Each(t, func(t *testing.T, url string) {
		b := setup(t, url, projector{func(_ context.Context, events []*event.Event) error {
			for _, ev := range events {
				if ev.ID == "poison" {
					return refusal
				}
			}
			return nil
		}}, journal.Options{})
		var wg sync.WaitGroup
		for _, id := range []string{"a", "poison", "b", "c"} {
			wg.Go(func() {
				if r, err := b.append(decoded(t, "s", body(id, "t", "{}"))); err != nil || r.Outcome != journal.Accepted {
					t.Error(id, r, err)
				}
			})
		}
		wg.Wait()
		failed, err := b.journal.Read(context.Background(), journal.Query{Failed: true})
		if err != nil || len(failed) != 1 || failed[0].ID != "poison" || failed[0].Failed == "" {
			t.Errorf("failed: %+v %v", failed, err)
		}
		if n := len(b.all()); n != 4 {
			t.Errorf("%d events", n)
		}
	})
}

func TestNothingIsAcceptedWhileTheMirrorCannotFollow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		var broken = true
		var mu sync.Mutex
		b := setup(t, url, projector{func(context.Context, []*event.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if broken {
				return errors.New("disk full")
			}
			return nil
		}}, journal.Options{})
		ev := decoded(t, "s", body("e", "t", "{}"))
		if _, err := b.append(ev); err == nil {
			t.Fatal("accepted")
		}
		if n := len(b.all()); n != 0 {
			t.Fatalf("%d events were kept", n)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		if r, err := b.append(ev); err != nil || r != (journal.Receipt{Outcome: journal.Accepted, Position: 1}) {
			t.Errorf("after it was mended: %v %v", r, err)
		}
	})
}

func TestLaw10_AFullQueuePushesBack(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	entered := make(chan struct{}, 1)
	b := setup(t, storetest.SQLite(t), projector{func(context.Context, []*event.Event) error {
		entered <- struct{}{}
		<-hold
		return nil
	}}, journal.Options{QueueEvents: 2, QueueBytes: 10 << 10})
	results := make(chan error, 3)
	send := func(id string) {
		_, err := b.append(decoded(t, "s", body(id, "t", "{}")))
		results <- err
	}
	go send("0")
	<-entered // in the committer's hands; two more fit behind it
	go send("1")
	go send("2")
	for i := 0; ; i++ { // each that still finds room waits a moment for an answer, and fills it
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		_, err := b.journal.Append(ctx, decoded(t, "s", body(fmt.Sprint("over", i), "t", "{}")))
		cancel()
		if errors.Is(err, journal.ErrBusy) {
			break
		}
		if i > 10 {
			t.Fatalf("never busy: %v", err)
		}
	}
	big := body("big", "t", `{"x":"`+string(bytes.Repeat([]byte("y"), 20<<10))+`"}`)
	if _, err := b.append(decoded(t, "s", big)); !errors.Is(err, journal.ErrBusy) {
		t.Errorf("too many bytes: %v", err)
	}
	close(hold)
	go func() {
		for range entered {
		}
	}()
	for range 3 {
		if err := <-results; err != nil && !errors.Is(err, journal.ErrBusy) {
			t.Error(err)
		}
	}
}

func TestShutdownCommitsWhatWaitsAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		b := setup(t, url, projector{}, journal.Options{})
		accepted := make(chan string, 200)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				id := fmt.Sprint(i)
				switch _, err := b.append(decoded(t, "s", body(id, "t", "{}"))); {
				case err == nil:
					accepted <- id
				case !errors.Is(err, journal.ErrClosed):
					t.Error(err)
				}
			})
			if i == 100 {
				wg.Go(b.stop)
			}
		}
		wg.Wait()
		close(accepted)
		journaled := map[string]bool{}
		for _, ev := range b.all() {
			journaled[ev.ID] = true
		}
		n := 0
		for id := range accepted {
			n++
			if !journaled[id] {
				t.Errorf("%s was accepted and is not there", id)
			}
		}
		if n != len(journaled) {
			t.Errorf("%d accepted, %d journaled", n, len(journaled))
		}
	})
}

func TestReadSelects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		b := setup(t, url, projector{}, journal.Options{})
		for i := range 20 {
			raw := fmt.Appendf(nil, `{"id":"e%d","type":"tenant.%s","timestamp":"2026-01-02T03:04:05Z","tenant_id":"t%d","data":{"tenant_id":"t%d"}}`,
				i, []string{"created", "updated"}[i%2], i%3, i%3)
			if _, err := b.append(decoded(t, []string{"a", "b"}[i%2], raw)); err != nil {
				t.Fatal(err)
			}
		}
		lane := journal.TenantLane
		for name, c := range map[string]struct {
			q    journal.Query
			want []int64
		}{
			"after and until": {journal.Query{After: 3, Until: 6}, []int64{4, 5, 6}},
			"a lane":          {journal.Query{Lane: &lane, Key: "tenant:t1", Until: 9}, []int64{2, 5, 8}},
			"a tenant":        {journal.Query{TenantID: "t2", Until: 9}, []int64{3, 6, 9}},
			"a source":        {journal.Query{Source: "b", Until: 4}, []int64{2, 4}},
			"a type":          {journal.Query{Types: []string{"tenant.updated"}, Limit: 2}, []int64{2, 4}},
			"the newest":      {journal.Query{Newest: true, Limit: 2}, []int64{20, 19}},
			"the future":      {journal.Query{Since: time.Now().Add(time.Hour)}, nil},
			"a few bytes":     {journal.Query{MaxBytes: 200}, []int64{1, 2}},
		} {
			got, err := b.journal.Read(context.Background(), c.q)
			if err != nil {
				t.Fatal(name, err)
			}
			var positions []int64
			for _, ev := range got {
				positions = append(positions, ev.Position)
			}
			if !slices.Equal(positions, c.want) {
				t.Errorf("%s: %v, want %v", name, positions, c.want)
			}
		}
	})
}
