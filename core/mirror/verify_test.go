package mirror_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// Both sides are looked at as they were at one moment, so what comes meanwhile is
// no difference.
func TestVerifyIsNotMisledByWhatArrivesMeanwhile(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		b := withJournal(t, fresh, mirror.Options{})
		b.FoldWithin(5)
		b.journal(t, history(1))
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for seed := 2; ; seed++ {
				for some := range slices.Chunk(history(seed), 7) {
					b.journal(t, some)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		var last int64
		for range 10 {
			r := b.verify(t)
			if !r.Clean() {
				t.Errorf("at position %d:\n%s", r.Position, strings.Join(tellReport(r), "\n"))
			}
			if r.Position < last || r.Events != r.Position {
				t.Errorf("%d events up to position %d, after %d", r.Events, r.Position, last)
			}
			last = r.Position
		}
		close(stop)
		<-stopped
	})
}

// What was done to single columns is told as it is, of whatever type they are.
func TestVerifyTellsWhichColumnsDiffer(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, []*event.Event{
			about(1, event.TypeTenantCreated, "t1", data{
				"tenant_id": "t1", "name": "Fjord",
				"settings": data{"require_mfa": true, "session_lifetime_minutes": 30, "theme": data{"n": 1.5, "a": "x"}},
			}).event(t),
			about(2, event.TypeTenantSuspended, "t1", data{"tenant_id": "t1", "suspended_at": "2026-03-02T00:00:00Z"}).event(t),
		})
		b.wantClean(t)
		for statement, want := range map[string]string{
			`name = 'Fjorb'`:                   `name: "Fjord", found "Fjorb"`,
			`name = ''`:                        `name: "Fjord", found ""`,
			`plan = 'pro'`:                     `plan: "free", found "pro"`,
			`require_mfa = NULL`:               `require_mfa: true, found null`,
			`require_mfa = (1 = 0)`:            `require_mfa: true, found false`,
			`session_lifetime_minutes = 31`:    `session_lifetime_minutes: 30, found 31`,
			`settings = '{"a":1}'`:             `settings: {"require_mfa":true,"session_lifetime_minutes":30,"theme":{"a":"x","n":1.5}}, found`,
			`suspended_at = created_at`:        `suspended_at: "2026-03-02T00:00:00.000000Z", found "2026-`,
			`suspended_reason = 'somebody''s'`: `suspended_reason: null, found "somebody's"`,
			`updated_at = suspended_at`:        `updated_at: "2026-03-01T`,
			`sync_state = NULL`:                `sync_state: , found`,
		} {
			b.exec(t, `UPDATE av_organizations SET `+statement)
			lines := tellReport(b.verify(t))
			if len(lines) != 1 || !strings.Contains(lines[0], want) {
				t.Errorf("%s is told as\n%s\nwant %s", statement, strings.Join(lines, "\n"), want)
			}
			if _, err := b.Rebuild(context.Background(), b.log, mirror.RebuildOptions{}); err != nil {
				t.Fatal(err)
			}
			b.wantClean(t)
		}
		// The same in another writing, and the hub's own clock, are no difference.
		b.exec(t, `UPDATE av_organizations SET settings = ?, synced_at = created_at`,
			`{"theme": {"n": 15e-1, "a": "\u0078"}, "session_lifetime_minutes": 30.0, "require_mfa": true}`)
		b.wantClean(t)
	})
}

func TestAnEventThatWasChangedInTheJournalIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		ctx := context.Background()
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, []*event.Event{person.event(t), tenant.event(t)})
		b.exec(t, `UPDATE avhub_events SET body = ? WHERE position = 2`, []byte("junk"))
		before := b.dump(ctx, t)
		_, verified := b.Verify(ctx, b.log, mirror.VerifyOptions{})
		_, rebuilt := b.Rebuild(ctx, b.log, mirror.RebuildOptions{})
		for _, err := range []error{verified, rebuilt} {
			if err == nil || !strings.Contains(err.Error(), "event at position 2 is not readable") {
				t.Errorf("%v", err)
			}
		}
		if diff := compare(before, b.dump(ctx, t)); diff != "" {
			t.Errorf("rows changed:\n%s", diff)
		}
	})
}

// What this version cannot use of what another one applied is told, and not
// hidden behind a difference.
func TestVerifyCountsWhatThisVersionCannotUse(t *testing.T) {
	onEach(t, func(t *testing.T, fresh bench) {
		b := withJournal(t, fresh, mirror.Options{})
		b.journal(t, []*event.Event{person.event(t)})
		b.journal(t, []*event.Event{about(2, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": 7}).event(t)})
		if r := b.verify(t); r.Failed != 1 || r.Appliable != 0 || r.Refused != 0 {
			t.Errorf("%+v", r.Tally)
		}
		b.exec(t, `UPDATE avhub_events SET failed = '' WHERE position = 2`)
		if r := b.verify(t); r.Failed != 0 || r.Refused != 1 || !r.Clean() {
			t.Errorf("%+v", r.Tally)
		}
		b.exec(t, `UPDATE avhub_events SET failed = 'too new' WHERE position = 1`)
		if r := b.verify(t); r.Failed != 1 || r.Appliable != 1 || r.Clean() {
			t.Errorf("%+v", r.Tally)
		}
	})
}
