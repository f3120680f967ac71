package session_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/mirror/session"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/prometheus/client_golang/prometheus"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *time.Time {
	t := now.Add(d)
	return &t
}

func each(t *testing.T, test func(t *testing.T, st *store.Store, url string)) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) { test(t, storetest.Open(t, url), url) })
}

// add writes sessions as the team's application does, with the generated client.
func add(t *testing.T, st *store.Store, name string, expires, revoked *time.Time) {
	t.Helper()
	err := st.Ent(t.Context()).IdentitySession.Create().SetIdentityID(name).
		SetNillableExpiresAt(expires).SetNillableRevokedAt(revoked).Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

func left(t *testing.T, st *store.Store) string {
	t.Helper()
	var names []string
	err := st.ReadSQL().Query(t.Context(), func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, `SELECT identity_id FROM av_identity_sessions`)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func clean(t *testing.T, st *store.Store, opts session.Options) session.Result {
	t.Helper()
	opts.Now = func() time.Time { return now }
	got, err := session.Cleanup(t.Context(), st, opts)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSessionsThatAreOverAreRemovedAndNoOthers(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, _ string) {
		const keep = 24 * time.Hour
		add(t, st, "open", nil, nil)
		add(t, st, "running", at(time.Hour), nil)
		add(t, st, "just-expired", at(-time.Hour), nil)
		add(t, st, "just-kept", at(-keep), nil)
		add(t, st, "just-revoked", nil, at(-time.Hour))
		add(t, st, "expired", at(-keep-time.Millisecond), nil)
		add(t, st, "revoked", at(time.Hour), at(-keep-time.Millisecond))
		add(t, st, "revoked-forever", nil, at(-keep-time.Second))
		add(t, st, "both", at(-keep-time.Hour), at(-keep-2*time.Hour))
		add(t, st, "expired-then-revoked", at(-keep-time.Hour), at(-time.Hour))
		want := session.Result{Expired: 2, Revoked: 3}
		if got := clean(t, st, session.Options{Keep: keep, DryRun: true}); got != want {
			t.Errorf("it would remove %+v, want %+v", got, want)
		}
		if n := len(strings.Fields(left(t, st))); n != 10 {
			t.Fatalf("a dry run removed something: %d are left", n)
		}
		if got := clean(t, st, session.Options{Keep: keep}); got != want {
			t.Errorf("removed %+v, want %+v", got, want)
		}
		if got := left(t, st); got != "just-expired just-kept just-revoked open running" {
			t.Errorf("left: %s", got)
		}
		if got := clean(t, st, session.Options{Keep: keep}); got != (session.Result{}) {
			t.Errorf("the second run removed %+v", got)
		}
	})
}

// SQLite keeps times as text in the zone in which they were written, and text
// does not compare like time.
func TestTimesAreComparedAsTimesWhateverTheirZone(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, _ string) {
		for _, hours := range []int{-12, -5, 0, 3, 14} {
			zone := time.FixedZone("", hours*3600+1800)
			for name, ago := range map[string]time.Duration{"over": time.Minute, "not": -time.Minute} {
				ends := now.Add(-ago).Add(123456 * time.Microsecond).In(zone)
				add(t, st, name, &ends, nil)
				add(t, st, name, nil, &ends)
				whole := now.Add(-ago).In(zone)
				add(t, st, name, &whole, nil)
			}
		}
		if got := clean(t, st, session.Options{}); got != (session.Result{Expired: 10, Revoked: 5}) {
			t.Errorf("%+v", got)
		}
		if got := left(t, st); strings.Contains(got, "over") || len(strings.Fields(got)) != 15 {
			t.Errorf("left: %s", got)
		}
	})
}

func TestATimeThatSQLiteCannotReadIsReportedAndItsSessionStays(t *testing.T) {
	t.Parallel()
	st := storetest.Open(t, storetest.SQLite(t))
	for _, text := range []string{"2020-01-02 03:04:05 +0000 UTC", "yesterday", "1700000000000"} {
		_, err := st.SQL(t.Context()).Exec(t.Context(),
			`INSERT INTO av_identity_sessions (identity_id, expires_at, created_at, updated_at) VALUES ('x', ?, '2020-01-01', '2020-01-01')`, text)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"2020-01-02T03:04:05Z", "2020-01-02 03:04:05.5+02:00", "2020-01-02 03:04:05"} {
		_, err := st.SQL(t.Context()).Exec(t.Context(),
			`INSERT INTO av_identity_sessions (identity_id, expires_at, created_at, updated_at) VALUES ('y', ?, '2020-01-01', '2020-01-01')`, text)
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := clean(t, st, session.Options{}); got != (session.Result{Expired: 3, Unreadable: 3}) || left(t, st) != "x x x" {
		t.Errorf("%+v, left: %s", got, left(t, st))
	}
}

func many(t testing.TB, st *store.Store, n int, expires time.Time) {
	t.Helper()
	ctx := context.Background()
	err := st.InTx(ctx, func(ctx context.Context) error {
		for from := 0; from < n; from += 1000 {
			var list []*ent.IdentitySessionCreate
			for i := from; i < min(n, from+1000); i++ {
				list = append(list, st.Ent(ctx).IdentitySession.Create().SetIdentityID(fmt.Sprint("p", i)).SetExpiresAt(expires))
			}
			if err := st.Ent(ctx).IdentitySession.CreateBulk(list...).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARunIsBoundedAndTheNextGoesOn(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, _ string) {
		many(t, st, 1700, *at(-time.Hour))
		var steps []int
		opts := session.Options{Max: 1200, Progress: func(r session.Result) { steps = append(steps, r.Removed()) }}
		if got := clean(t, st, opts); got != (session.Result{Expired: 1200, More: true}) {
			t.Errorf("%+v", got)
		}
		if fmt.Sprint(steps) != "[500 1000 1200]" {
			t.Errorf("steps %v: a transaction is too large for the journal to wait for", steps)
		}
		opts.Max = 500
		if got := clean(t, st, opts); got != (session.Result{Expired: 500}) {
			t.Errorf("what is removed exactly up to the limit is all there was: %+v", got)
		}
	})
}

func TestSeveralHubsRemoveEachSessionOnce(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, url string) {
		many(t, st, 3000, *at(-time.Hour))
		var removed atomic.Int64
		var hubs sync.WaitGroup
		for range 3 {
			mine := storetest.Open(t, url)
			hubs.Go(func() {
				got, err := session.Cleanup(t.Context(), mine, session.Options{Now: func() time.Time { return now }})
				if err != nil {
					t.Error(err)
				}
				removed.Add(int64(got.Removed()))
			})
		}
		hubs.Wait()
		removed.Add(int64(clean(t, st, session.Options{}).Removed())) // what all of them passed over
		if removed.Load() != 3000 || left(t, st) != "" {
			t.Errorf("%d were counted, left: %.40s", removed.Load(), left(t, st))
		}
	})
}

func TestASessionThatIsExtendedMeanwhileStays(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, _ string) {
		many(t, st, 600, *at(-time.Hour))
		extend := sync.OnceFunc(func() { // after the first 500 were found, before they are removed
			client := st.Ent(t.Context())
			id := client.IdentitySession.Query().FirstIDX(t.Context())
			if err := client.IdentitySession.UpdateOneID(id).SetExpiresAt(*at(time.Hour)).Exec(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if got := clean(t, st, session.AfterFind(session.Options{}, extend)); got != (session.Result{Expired: 599}) {
			t.Errorf("%+v", got)
		}
	})
}

func TestARunThatEndsEarlyTellsWhatItDid(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, _ string) {
		many(t, st, 700, *at(-time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		got, err := session.Cleanup(ctx, st, session.Options{
			Now: func() time.Time { return now }, Progress: func(session.Result) { cancel() },
		})
		if !errors.Is(err, context.Canceled) || got.Removed() != 500 {
			t.Errorf("%+v %v", got, err)
		}
	})
}

// waits is a clock for a schedule: it tells how long each wait was to be, and
// lets the test go on at once.
type waits struct{ asked, next chan time.Duration }

func (w waits) wait(ctx context.Context, d time.Duration) bool {
	select {
	case w.asked <- d:
	case <-ctx.Done():
		return false
	}
	select {
	case <-w.next:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestTheScheduleCleansUpAgainAndAgainAndBacksOffWhileTheDatabaseIsDown(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, url string) {
		mine, err := store.Open(t.Context(), url, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		reg := prometheus.NewRegistry()
		clock := waits{make(chan time.Duration), make(chan time.Duration)}
		s := session.NewSchedule(mine, time.Hour, session.Options{Now: func() time.Time { return now }}, session.Deps{Registerer: reg, Wait: clock.wait})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		within := func(when string, most time.Duration) {
			t.Helper()
			if d := <-clock.asked; d > most || d < most*9/10 {
				t.Errorf("%s it waits %s, want about %s", when, d, most)
			}
		}
		within("at first", time.Minute)
		for range 2 {
			add(t, st, "over", at(-time.Hour), nil)
			add(t, st, "over", nil, at(-time.Hour))
			clock.next <- 0
			within("after a run", time.Hour)
			if left(t, st) != "" {
				t.Errorf("left: %s", left(t, st))
			}
		}
		if got := counted(t, reg); got != "expired=2 revoked=2" {
			t.Errorf("counted %s", got)
		}
		if err := mine.Close(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []time.Duration{10, 20, 40, 80} {
			clock.next <- 0
			within("without a database", want*time.Second)
		}
		stop()
		<-done
	})
}

func TestAScheduleOfNeverDoesNothing(t *testing.T) {
	t.Parallel()
	st := storetest.Open(t, storetest.SQLite(t))
	session.NewSchedule(st, 0, session.Options{}, session.Deps{Wait: func(context.Context, time.Duration) bool {
		t.Error("it waits for a run")
		return false
	}}).Run(t.Context()) // returns at once
}

func counted(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var counts []string
	for _, f := range families {
		if f.GetName() == "avhub_sessions_removed_total" {
			for _, m := range f.GetMetric() {
				counts = append(counts, fmt.Sprintf("%s=%v", m.GetLabel()[0].GetValue(), m.GetCounter().GetValue()))
			}
		}
	}
	return strings.Join(counts, " ")
}

func TestActiveSessionsAreThoseThatAreNotOver(t *testing.T) {
	each(t, func(t *testing.T, st *store.Store, _ string) {
		east := at(time.Minute).In(time.FixedZone("", -10*3600)) // its text is before that of now
		add(t, st, "running", &east, nil)
		add(t, st, "forever", nil, nil)
		add(t, st, "expired", at(-time.Minute), nil)
		add(t, st, "revoked", at(time.Hour), at(-time.Minute))
		list, err := st.Read().IdentitySession.Query().Where(session.Active(st.Dialect(), now)).All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list {
			names = append(names, s.IdentityID)
		}
		if fmt.Sprint(names) != "[running forever]" {
			t.Errorf("active: %v", names)
		}
	})
}
