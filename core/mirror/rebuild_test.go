package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
)

// journaled is a mirror that a running journal writes.
type journaled struct {
	bench
	log  *journal.Journal
	next int
}

func withJournal(t testing.TB, b bench, opts mirror.Options) *journaled {
	t.Helper()
	b.Mirror = mirror.New(b.Store, opts)
	j := journal.New(b.Store, b.Mirror, journal.Options{})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return &journaled{bench: b, log: j}
}

// journal appends events, many at a time, and waits until they are durable. Ids
// are made distinct, as histories use some twice.
func (b *journaled) journal(t testing.TB, events []*event.Event) {
	t.Helper()
	errs := make(chan error, len(events))
	for _, ev := range events {
		b.next++
		ev := renamed(t, ev, fmt.Sprintf("%s-%d", ev.ID, b.next))
		go func() {
			_, err := b.log.Append(context.Background(), ev)
			errs <- err
		}()
	}
	for range events {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// renamed is an event as if its sender had given it another id.
func renamed(t testing.TB, ev *event.Event, id string) *event.Event {
	t.Helper()
	if ev.Channel != event.ChannelWebhook {
		return ev
	}
	var envelope map[string]any
	if err := json.Unmarshal(ev.Evidence.Body, &envelope); err != nil {
		t.Fatal(err)
	}
	envelope["id"] = id
	body, err := json.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	again, err := event.DecodeWebhook(body)
	if err != nil {
		t.Fatal(err)
	}
	again.Source, again.Evidence.Body = ev.Source, body
	return again
}

func (b *journaled) verify(t testing.TB) *mirror.Report {
	t.Helper()
	r, err := b.Verify(context.Background(), b.log, mirror.VerifyOptions{Examples: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantClean proves the mirror.
func (b *journaled) wantClean(t testing.TB) {
	t.Helper()
	if r := b.verify(t); !r.Clean() {
		t.Fatalf("the mirror is not what the journal says:\n%s", strings.Join(tellReport(r), "\n"))
	}
}

// tellReport is a line for each entity that differs: table, entity, id.
func tellReport(r *mirror.Report) []string {
	var lines []string
	for _, table := range r.Tables {
		for _, d := range table.Examples {
			lines = append(lines, fmt.Sprintf("%s %s/%s %s: %s, found %s", table.Table, d.Entity, d.ID, d.Field, d.Expected, d.Found))
		}
	}
	sort.Strings(lines)
	return lines
}

func (b *journaled) exec(t testing.TB, statement string, args ...any) int64 {
	t.Helper()
	n, err := b.SQL(context.Background()).Exec(context.Background(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return n
}

// history is a long one in which much happens to few.
func history(seed int) []*event.Event { return histories(150, 150).Example(seed) }

// damage does something to some rows by SQL, and returns which lines a report must
// have for it: "table entity/id".
func (b *journaled) damage(t testing.TB, random *rand.Rand) []string {
	t.Helper()
	kinds := map[string]string{
		"av_identities": "identity", "av_organizations": "organization", "av_applications": "application", "av_sso_providers": "sso_provider",
		"av_memberships": "membership", "av_app_access": "app_access", "av_licenses": "license", "av_subscriptions": "subscription",
		"av_invitations": "invitation",
	}
	var done []string
	names := make([]string, 0, len(kinds))
	for table := range kinds {
		names = append(names, table)
	}
	sort.Strings(names)
	all := b.dump(context.Background(), t)
	for _, table := range names {
		var ids []string
		for key := range all {
			if id, ok := strings.CutPrefix(key, table+" "); ok {
				ids = append(ids, id)
			}
		}
		sort.Strings(ids)
		key, kind := tables[table], kinds[table]
		if random.IntN(3) == 0 {
			b.exec(t, fmt.Sprintf(`INSERT INTO %s (%s, created_at, updated_at, synced_at%s) VALUES (?, ?, ?, ?%s)`, table, key,
				map[bool]string{true: ", provider_id"}[table == "av_sso_providers"], map[bool]string{true: ", 'x'"}[table == "av_sso_providers"]),
				"zz-nobody", store.Now(), store.Now(), store.Now())
			done = append(done, table+" "+kind+"/zz-nobody")
		}
		for _, id := range ids {
			switch random.IntN(6) {
			case 0:
				b.exec(t, fmt.Sprintf(`DELETE FROM %s WHERE %s = ?`, table, key), id)
			case 1:
				b.exec(t, fmt.Sprintf(`UPDATE %s SET created_at = ? WHERE %s = ?`, table, key), time.Unix(1, 0).UTC(), id)
			case 2:
				junk := [][]byte{[]byte("junk"), nil, []byte(`{"v":1,"clocks":[],"deleted":-1,"alive":-1,"first":-1,"fields":{},"left":[]}`)}[random.IntN(3)]
				b.exec(t, fmt.Sprintf(`UPDATE %s SET sync_state = ? WHERE %s = ?`, table, key), junk, id)
			default:
				continue
			}
			done = append(done, table+" "+kind+"/"+id)
		}
	}
	b.exec(t, `INSERT INTO avhub_mirror_graves (id, sync_state) VALUES (?, ?)`, "nothing/x", []byte("{}"))
	done = append(done, "avhub_mirror_graves nothing/x")
	for key := range all {
		id, ok := strings.CutPrefix(key, "avhub_mirror_graves ")
		if !ok || random.IntN(3) > 0 {
			continue
		}
		if random.IntN(2) == 0 {
			b.exec(t, `DELETE FROM avhub_mirror_graves WHERE id = ?`, id)
		} else {
			b.exec(t, `UPDATE avhub_mirror_graves SET sync_state = ? WHERE id = ?`, []byte("{}"), id)
		}
		done = append(done, "avhub_mirror_graves "+id)
	}
	sort.Strings(done)
	return done
}

func TestLaw3_VerifyNamesExactlyWhatIsDamagedAndRebuildMendsIt(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		random := rand.New(rand.NewPCG(3, 5))
		opts := mirror.Options{PlanApplication: "a1"}
		b := withJournal(t, fresh, opts)
		b.FoldWithin(3) // most of what is folded has been put away before
		rounds := 5
		if testing.Short() {
			rounds = 2
		}
		for round := range rounds {
			b.journal(t, history(round))
			b.wantClean(t)
			damaged := b.damage(t, random)
			var found []string
			for _, line := range tellReport(b.verify(t)) {
				words := strings.Fields(line)
				found = append(found, words[0]+" "+words[1])
			}
			sort.Strings(found)
			if found = slices.Compact(found); !slices.Equal(found, damaged) {
				t.Fatalf("verify found\n%s\nbut damaged was\n%s", strings.Join(found, "\n"), strings.Join(damaged, "\n"))
			}
			// More arrives while it is mended, also about what is damaged.
			more := history(100 + round)
			arrived := make(chan struct{})
			go func() {
				defer close(arrived)
				for i := 0; i < len(more); i += 5 {
					b.journal(t, more[i:min(i+5, len(more))])
				}
			}()
			done, err := b.Rebuild(context.Background(), b.log, mirror.RebuildOptions{})
			<-arrived
			if err != nil {
				t.Fatal(err)
			}
			if done.Changed() == 0 {
				t.Error("nothing was mended")
			}
			// What came after the last look, on the ground of rows that were whole.
			b.wantClean(t)
		}
	})
}

func TestLaw7_ARebuildThatEndsAnywhereIsFinishedByTheNext(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		b := withJournal(t, fresh, mirror.Options{})
		var people []*event.Event
		for i := range 1100 { // several chunks
			people = append(people, about(1, event.TypeSubjectCreated, "t1", data{"sub": fmt.Sprintf("p%04d", i), "email": "x@a.example"}).event(t))
		}
		b.journal(t, append(people, history(1)...))
		for chunks := 0; ; chunks++ {
			b.exec(t, `UPDATE av_identities SET email = 'wrong'`)
			b.exec(t, `DELETE FROM av_organizations`)
			ctx, stop := context.WithCancel(context.Background())
			written := 0
			_, err := b.Rebuild(ctx, b.log, mirror.RebuildOptions{Progress: func(p mirror.Progress) {
				if p.Stage != mirror.StageWrite {
					if chunks == 0 {
						stop()
					}
					return
				}
				if written++; written == chunks {
					stop()
				}
			}})
			stop()
			if err == nil {
				if chunks < 3 {
					t.Errorf("it took only %d chunks", chunks)
				}
				b.wantClean(t)
				return
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			// Every row is either old or new; and the journal goes on with both.
			for key, row := range b.dump(context.Background(), t) {
				if is, ok := row["email"]; ok && strings.HasPrefix(key, "av_identities p0") && is != "wrong" && is != "x@a.example" {
					t.Fatalf("%s: %v", key, is)
				}
			}
			b.journal(t, history(10+chunks))
			if _, err := b.Rebuild(context.Background(), b.log, mirror.RebuildOptions{}); err != nil {
				t.Fatal(err)
			}
			b.wantClean(t)
		}
	})
}

func TestOtherRulesAreToldAndARebuildBringsRowsToThem(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		ctx := context.Background()
		b := withJournal(t, fresh, mirror.Options{})
		same := func(m *mirror.Mirror, want bool) {
			t.Helper()
			got, err := m.CheckRules(ctx)
			if err != nil || got != want {
				t.Errorf("same rules: %v (%v), want %v", got, err, want)
			}
		}
		marking := mirror.New(b.Store, mirror.Options{MarkDeleted: true, ApplicationID: "a1"})
		same(marking, true) // nothing is there yet
		same(b.Mirror, true)
		b.journal(t, []*event.Event{
			tenant.event(t), about(2, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}).event(t),
			about(3, event.TypeAppAccessGranted, "t2", data{"sub": "p1", "role_slug": "owner"}).in("a2").event(t),
		})
		same(b.Mirror, true)
		same(marking, false)
		r, err := marking.Verify(ctx, b.log, mirror.VerifyOptions{})
		if err != nil || r.Clean() || !r.OtherRules {
			t.Fatalf("verified under other rules: %+v, %v", r, err)
		}
		if _, err := marking.Rebuild(ctx, b.log, mirror.RebuildOptions{Entities: []string{event.KindOrganization}}); err != nil {
			t.Fatal(err)
		}
		expect(t, b.row(t, "av_organizations", "t1"), data{"status": "deleted"})
		expect(t, b.row(t, "av_identities", "p1"), data{"app_role": "owner"})
		same(marking, false) // not all of it
		if _, err := marking.Rebuild(ctx, b.log, mirror.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		expect(t, b.row(t, "av_identities", "p1"), data{"app_role": nil})
		same(marking, true)
		same(b.Mirror, false)
	})
}

func TestADryRunOnlyTells(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		ctx := context.Background()
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, []*event.Event{person.event(t), tenant.event(t)})
		b.exec(t, `DELETE FROM av_organizations`)
		b.exec(t, `UPDATE av_identities SET locale = 'xx'`)
		before := b.dump(ctx, t)
		done, err := b.Rebuild(ctx, b.log, mirror.RebuildOptions{DryRun: true})
		if err != nil || done.Changed() != 2 {
			t.Fatalf("%+v, %v", done, err)
		}
		if diff := compare(before, b.dump(ctx, t)); diff != "" {
			t.Errorf("it changed something:\n%s", diff)
		}
	})
}

func TestAJournalWithoutItsBeginningIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		ctx := context.Background()
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, history(1))
		refused := func(want error) {
			t.Helper()
			before := b.dump(ctx, t)
			if _, err := b.Verify(ctx, b.log, mirror.VerifyOptions{}); !errors.Is(err, want) {
				t.Errorf("verify: %v", err)
			}
			if _, err := b.Rebuild(ctx, b.log, mirror.RebuildOptions{}); !errors.Is(err, want) {
				t.Errorf("rebuild: %v", err)
			}
			if diff := compare(before, b.dump(ctx, t)); diff != "" {
				t.Errorf("it changed something:\n%s", diff)
			}
		}
		b.exec(t, `DELETE FROM avhub_events WHERE position = 40`)
		refused(mirror.ErrGap)
		b.exec(t, `DELETE FROM avhub_events WHERE position <= 40`)
		b.exec(t, `INSERT INTO avhub_counters (name, value) VALUES ('journal_first', 41)`)
		refused(mirror.ErrPruned)
		b.exec(t, `DELETE FROM avhub_events`)
		refused(mirror.ErrPruned)
	})
}

// Whoever remembers what it read is told that rows changed without an event.
func TestARebuildThatChangesRowsIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		ctx := context.Background()
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, []*event.Event{person.event(t)})
		epoch := func() (n int64) {
			for _, c := range b.Read().Counter.Query().AllX(ctx) {
				if c.ID == "mirror_epoch" {
					n = c.Value
				}
			}
			return n
		}
		rebuild := func() {
			t.Helper()
			if _, err := b.Rebuild(ctx, b.log, mirror.RebuildOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		rebuild()
		if n := epoch(); n != 0 {
			t.Errorf("nothing changed, and the epoch is %d", n)
		}
		for want := range int64(2) {
			b.exec(t, `DELETE FROM av_identities`)
			if rebuild(); epoch() != want+1 {
				t.Errorf("the epoch is %d, want %d", epoch(), want+1)
			}
		}
	})
}

func TestSessionsGoWithPeopleWhoseRowsGo(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		ctx := context.Background()
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, []*event.Event{person.event(t), about(2, event.TypeMemberLeft, "t1", data{"sub": "early", "membership_id": "m"}).event(t)})
		for _, sub := range []string{"ghost", "p1", "early"} {
			b.Ent(ctx).IdentitySession.Create().SetIdentityID(sub).SaveX(ctx)
		}
		b.exec(t, `INSERT INTO av_identities (sub, created_at, updated_at, synced_at) VALUES (?, ?, ?, ?)`, "ghost", store.Now(), store.Now(), store.Now())
		b.exec(t, `UPDATE av_identities SET locale = 'xx' WHERE sub = 'p1'`)
		b.exec(t, `UPDATE avhub_mirror_graves SET sync_state = ?`, []byte("x"))
		if _, err := b.Rebuild(ctx, b.log, mirror.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		b.wantClean(t)
		var left []string
		for _, s := range b.Read().IdentitySession.Query().AllX(ctx) {
			left = append(left, s.IdentityID)
		}
		if sort.Strings(left); !slices.Equal(left, []string{"early", "p1"}) {
			t.Errorf("sessions are left of %v", left)
		}
	})
}

// unlearned is a mirror that cannot apply anything yet.
type unlearned struct {
	*mirror.Mirror
	learned atomic.Bool
}

func (u *unlearned) Apply(ctx context.Context, events []*event.Event) error {
	if u.learned.Load() {
		return u.Mirror.Apply(ctx, events)
	}
	for _, ev := range events {
		ev.Failed = "too new"
	}
	return nil
}

// What is applied again while the mirror is rebuilt without it is not lost.
func TestARebuildKeepsWhatIsReappliedMeanwhile(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		u := &unlearned{Mirror: b.Mirror}
		log := journal.New(b.Store, u, journal.Options{})
		go log.Run(ctx)
		for _, s := range []said{person, tenant} {
			if _, err := log.Append(ctx, s.event(t)); err != nil {
				t.Fatal(err)
			}
		}
		for _, stage := range []mirror.Stage{mirror.StageFold, mirror.StageCompare, mirror.StageWrite} {
			u.learned.Store(true)
			if _, err := b.SQL(ctx).Exec(ctx, `UPDATE avhub_events SET failed = 'too new'`); err != nil {
				t.Fatal(err)
			}
			b.empty(t)
			if _, err := b.SQL(ctx).Exec(ctx, `INSERT INTO avhub_mirror_graves (id, sync_state) VALUES (?, ?)`, "identity/ghost", []byte("{}")); err != nil {
				t.Fatal(err) // something to write
			}
			once := false
			_, err := b.Rebuild(ctx, log, mirror.RebuildOptions{Progress: func(p mirror.Progress) {
				if p.Stage != stage || once {
					return
				}
				once = true
				again := make(chan error)
				go func() { // as another process would
					_, err := log.Reapply(ctx, journal.Reapplication{})
					again <- err
				}()
				if err := <-again; err != nil {
					t.Error(err)
				}
			}})
			if err != nil || !once {
				t.Fatalf("%s: %v (reapplied: %v)", stage, err, once)
			}
			r, err := b.Verify(ctx, log, mirror.VerifyOptions{Examples: 9})
			if err != nil || !r.Clean() || r.Failed != 0 {
				t.Errorf("%s: %+v %v", stage, r, err)
			}
			if n := b.Store.Read().Identity.Query().CountX(ctx); n != 1 {
				t.Errorf("%s: %d people", stage, n)
			}
		}
	})
}
