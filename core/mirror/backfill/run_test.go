package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/mirror/backfill"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
)

func TestMembersWhoWereThereBeforeTheFirstEventAreInTheMirror(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		sum := b.run(t, nil)
		if got, want := counts(sum), "app_access 2/0/0, application 1/0/0, identity 2/0/0, membership 3/0/0, organization 2/0/0"; got != want {
			t.Errorf("rows: %s, want %s", got, want)
		}
		if sum.Units != 3 || sum.Members != 9 || sum.Facts != 5 || fmt.Sprint(sum.Skipped) != "map[duplicate:1 invited:1 unknown_status:1 unusable:1]" {
			t.Errorf("%+v", sum)
		}
		if want := []string{"application/web", "tenant/t1", "tenant/t2"}; !slices.Equal(b.units(), want) {
			t.Errorf("asked for other units than %v", want)
		}
		var problems []string
		for _, p := range sum.Problems {
			problems = append(problems, fmt.Sprintf("%s %d %s", p.Unit, p.Number, p.ID))
		}
		if want := []string{"tenant/t1 4 m5", "tenant/t1 5 m6", "tenant/t1 6 m2"}; !slices.Equal(problems, want) {
			t.Errorf("problems %q, want %q", problems, want)
		}
		ctx := t.Context()
		who, err := b.Read().Identity.Get(ctx, "p1")
		if err != nil || *who.Email != "p1@a.example" || !who.HasAppAccess {
			t.Errorf("%v, %v", who, err)
		}
		m, err := b.Read().Membership.Get(ctx, "m2")
		if err != nil || m.Status != "suspended" || fmt.Sprint(m.Roles) != "[member]" || !m.CreatedAt.Equal(time.Date(2025, 2, 3, 4, 5, 6, 0, time.UTC)) {
			t.Errorf("%v, %v", m, err)
		}
		for _, nobody := range []string{"m3", "m5", "m6"} {
			if row, err := b.Read().Membership.Get(ctx, nobody); err == nil {
				t.Errorf("a membership was made: %v", row)
			}
		}
	})
}

func TestASecondBackfillChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.run(t, nil)
		before := b.dump(t, false)
		sum := b.run(t, nil)
		if got, want := counts(sum), "app_access 0/0/2, application 0/0/1, identity 0/0/2, membership 0/0/3, organization 0/0/2"; got != want || sum.Facts != 0 || sum.Units != 3 {
			t.Errorf("rows: %s, want %s; %+v", got, want, sum)
		}
		if after := b.dump(t, false); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

func TestADryRunTellsWhatTheRunThenDoesAndWritesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		for range 2 { // empty, then with what changed
			before := b.dump(t, false)
			dry := b.run(t, func(o *backfill.Options) { o.DryRun = true; o.Source.API.Tenants = []string{"t1", "t2"} })
			if b.dump(t, false) != before {
				t.Error("a dry run wrote")
			}
			if n, err := b.Read().BackfillRun.Query().Count(t.Context()); err != nil || before == "" && n != 0 {
				t.Errorf("a dry run keeps its progress: %d, %v", n, err)
			}
			done := b.run(t, nil)
			if counts(dry) != counts(done) || dry.Facts != done.Facts || len(dry.Changes) == 0 || !dry.DryRun {
				t.Errorf("dry: %s, %d facts, %d changes; done: %s, %d facts", counts(dry), dry.Facts, len(dry.Changes), counts(done), done.Facts)
			}
			b.tenants["t1"][0]["user"].(object)["email"] = "new@a.example"
			b.tenants["t1"][1]["status"] = "ACTIVE"
			b.small2()
		}
	})
}

// small2 makes small's tenant lose a member and gain one.
func (b *bench) small2() {
	b.tenants["t1"] = append(b.tenants["t1"][:1:1], inTenant("m9", "p9", "ACTIVE", tenantRole("owner")))
}

func TestWhoIsNotListedAnyMoreHasLeftUnlessEventsSayOtherwise(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.run(t, nil)
		// An event told of this one; the provider's answer may be older than it.
		if _, err := b.SQL(t.Context()).Exec(t.Context(), `INSERT INTO av_memberships
			(membership_id, identity_id, organization_id, status, created_at, updated_at, synced_at) VALUES ('m7', 'p7', 't1', 'active', ?, ?, ?)`,
			start, start, start); err != nil {
			t.Fatal(err)
		}
		b.tenants["t1"] = b.tenants["t1"][:1]
		b.apps["web"] = b.apps["web"][:1]
		b.tenants["t2"] = []object{inTenant("m4", "p1", "Active")} // may use the application no more
		sum := b.run(t, nil)
		if sum.Departed != 2 {
			t.Errorf("%+v", sum)
		}
		for id, want := range map[string]string{"m1": "active", "m2": "left", "m4": "active", "m7": "active"} {
			if m, err := b.Read().Membership.Get(t.Context(), id); err != nil || m.Status != want {
				t.Errorf("%s is %v, want %s (%v)", id, m, want, err)
			}
		}
		for id, want := range map[string]bool{"p1/app_web/t1": true, "p1/app_web/t2": false} {
			if a, err := b.Read().AppAccess.Get(t.Context(), id); err != nil || a.HasAccess != want {
				t.Errorf("%s: %v, want %v (%v)", id, a, want, err)
			}
		}
		if sum := b.run(t, nil); sum.Facts != 0 {
			t.Errorf("said again: %+v", sum)
		}
		b.small()
		b.run(t, nil)
		if m, err := b.Read().Membership.Get(t.Context(), "m2"); err != nil || m.Status != "suspended" {
			t.Errorf("back again: %v, %v", m, err)
		}
	})
}

func TestNobodyIsSaidToHaveLeftByAnAnswerThatMayLackHim(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.run(t, nil)
		for name, spoil := range map[string]func(){
			"fewer than the provider says there are": func() { b.total = 1; b.tenants["t1"] = b.tenants["t1"][:1] },
			"one without an id":                      func() { b.tenants["t1"] = append(b.tenants["t1"][:1:1], object{"id": 7}) },
			"none at all":                            func() { b.tenants["t1"] = []object{} },
			"refused":                                func() { b.trouble["tenant/t1"] = 403 },
		} {
			b.small()
			spoil()
			if sum := b.run(t, nil); sum.Departed != 0 {
				t.Errorf("%s: %+v", name, sum)
			}
			b.total = 0
			delete(b.trouble, "tenant/t1")
		}
	})
}

// What is interrupted at any transaction, and gone on with, ends in the rows of a
// run that nobody disturbed.
func TestLaw7_ABackfillThatIsInterruptedAnywhereGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		const tenants, each = 3, 250
		b.fillProvider(tenants, each)
		calm := newBench(t, "sqlite://"+t.TempDir()+"/calm.db")
		calm.fillProvider(tenants, each)
		calm.run(t, nil)

		interrupted := 0
		for at := 2; ; at += 2 {
			ctx, cancel := context.WithCancel(t.Context())
			o := b.options()
			steps := 0
			o.Progress = func(backfill.Progress) {
				if steps++; steps == at {
					cancel()
				}
			}
			_, err := backfill.Run(ctx, o)
			cancel()
			b.now = b.now.Add(time.Second)
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			interrupted++
		}
		if interrupted < 3 {
			t.Errorf("interrupted only %d times", interrupted)
		}
		if got, want := b.dump(t, true), calm.dump(t, true); len(strings.Split(want, "\n")) < 4*tenants*each || normal(got) != normal(want) {
			t.Errorf("%d bytes of rows, want %d", len(got), len(want))
		}
		if sum := b.run(t, nil); sum.Facts != 0 || sum.ResumedFrom != nil {
			t.Errorf("after all: %+v", sum)
		}
	})
}

// normal is a dump in which the databases' own ways to write values are alike.
func normal(dump string) string {
	return strings.NewReplacer("=true", "=1", "=false", "=0", `", "`, `","`).Replace(dump)
}

func TestUnitsThatWereReadAreNotReadAgainByTheRunThatGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		b.trouble["tenant/t1"] = 403
		first := b.run(t, nil)
		began := b.now
		if len(first.Failed) != 1 || first.Failed[0].Unit != "tenant/t1" || !strings.Contains(first.Failed[0].Error, "403: trouble") {
			t.Fatalf("%+v", first)
		}
		b.units()
		// Named ones are always read, and are nothing to the run.
		b.run(t, func(o *backfill.Options) { o.Tenants = []string{"t2"} })
		if got := b.units(); !slices.Equal(got, []string{"tenant/t2"}) {
			t.Errorf("asked for %v", got)
		}
		delete(b.trouble, "tenant/t1")
		next := b.run(t, nil)
		if got := b.units(); !slices.Equal(got, []string{"tenant/t1"}) || next.Earlier != 2 || next.ResumedFrom == nil || !next.ResumedFrom.Equal(began) {
			t.Errorf("asked for %v: %+v", got, next)
		}
		if sum := b.run(t, nil); len(b.units()) != 3 || sum.ResumedFrom != nil {
			t.Errorf("after the run was over: %+v", sum)
		}

		for name, change := range map[string]func(*backfill.Options){
			"restarted": func(o *backfill.Options) { o.Restart = true },
			"too old":   func(*backfill.Options) { b.now = b.now.Add(7 * time.Hour) },
		} {
			b.trouble["tenant/t1"] = 403
			b.run(t, nil)
			delete(b.trouble, "tenant/t1")
			b.units()
			if sum := b.run(t, change); len(b.units()) != 3 || sum.ResumedFrom != nil {
				t.Errorf("%s: %+v", name, sum)
			}
		}
	})
}

func TestAUnitThatCannotBeReadCostsOnlyItself(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		for name, c := range map[string]struct {
			spoil  func(*backfill.Options)
			failed []string
			err    string
		}{
			"refused":      {func(*backfill.Options) { b.trouble["application/web"] = 403 }, []string{"application/web"}, ""},
			"down":         {func(*backfill.Options) { b.trouble["tenant/t1"] = 500 }, []string{"tenant/t1"}, ""},
			"named wrong":  {func(o *backfill.Options) { o.Source.API.Tenants = []string{"nobody"} }, []string{"tenant/nobody"}, ""},
			"never named":  {func(o *backfill.Options) { o.Source.API.Clients = nil; delete(b.tenants, "t2") }, nil, ""},
			"all is wrong": {func(o *backfill.Options) { o.Source.API.Tenants = []string{"a", "b", "c", "d", "e"} }, []string{"tenant/a", "tenant/b", "tenant/c", "tenant/d"}, "4 units in a row"},
			"credentials":  {func(*backfill.Options) { b.refuse = true }, nil, "client_secret right?"},
		} {
			t.Run(name, func(t *testing.T) {
				b.run(t, nil) // so that the mirror knows the tenants
				sum, err := b.try(t, func(o *backfill.Options) { o.Restart = true; c.spoil(o) })
				b.refuse, b.trouble = false, map[string]int{}
				b.small()
				var failed []string
				for _, f := range sum.Failed {
					failed = append(failed, f.Unit)
				}
				if !slices.Equal(failed, c.failed) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("failed %v, want %v; %v", failed, c.failed, err)
				}
				if name == "never named" && !slices.Equal(sum.Unknown, []string{"t2"}) {
					t.Errorf("%+v", sum)
				}
				if err == nil && len(failed) == 1 && sum.Units < 2 {
					t.Errorf("the others were not read: %+v", sum)
				}
			})
		}
	})
}

func TestNothingToReadIsAnErrorThatSaysWhatToEnter(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		_, err := b.try(t, func(o *backfill.Options) { o.Source.API.Clients = nil })
		if !errors.Is(err, backfill.ErrNothingToRead) || !strings.Contains(err.Error(), "api.clients") || len(b.units()) != 0 {
			t.Error(err)
		}
	})
}

// A team's own index is none of the hub's, see docs/mirror.md, and yet.
func TestAMemberWhomTheDatabaseRefusesCostsOnlyHimself(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		if _, err := b.SQL(t.Context()).Exec(t.Context(), `CREATE UNIQUE INDEX theirs ON av_identities (email)`); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			m := inTenant(fmt.Sprintf("m%d", i), fmt.Sprintf("p%d", i), "ACTIVE")
			if i == 33 {
				m["user"].(object)["email"] = "p7@a.example"
			}
			b.tenants["t1"] = append(b.tenants["t1"], m)
		}
		sum := b.run(t, func(o *backfill.Options) { o.Tenants = []string{"t1"} })
		if len(sum.Problems) != 1 || sum.Problems[0].Number != 34 || sum.Rows["identity"].Created != 49 {
			t.Errorf("%+v, %s", sum.Problems, counts(sum))
		}
	})
}

func TestProgressIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.small()
		var last backfill.Progress
		units := map[integration.Unit]bool{}
		b.run(t, func(o *backfill.Options) {
			o.Progress = func(p backfill.Progress) {
				if p.Members < last.Members || p.UnitsDone < last.UnitsDone || p.UnitsDone > p.UnitsTotal {
					t.Errorf("%+v after %+v", p, last)
				}
				last = p
				units[p.Unit] = true
			}
		})
		if last.UnitsDone != 3 || last.UnitsTotal != 3 || last.Members != 9 || len(units) != 3 {
			t.Errorf("%+v", last)
		}
	})
}
