package isolated_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

// Whatever crashes between whichever two transactions, each tenant's database
// ends as a mirror to which exactly the events that concern the tenant were
// applied, in order, and the facts that first fills have read about the tenant,
// to the byte of sync_state.
func TestLaw3_ATenantsDatabaseIsAFunctionOfItsEventsOverAnyCrash(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, hubURL, tenantURL string) {
		seeds := 6
		if strings.HasPrefix(tenantURL, "postgres") || strings.HasPrefix(hubURL, "postgres") {
			seeds = 2
		}
		if testing.Short() {
			seeds = 1
		}
		for seed := range seeds {
			history(t, uint64(seed+1), hubURL, tenantURL)
			if strings.HasPrefix(hubURL, "sqlite") {
				hubURL = storetest.SQLite(t)
			} else {
				hubURL = pgtest.URL(t)
			}
			tenantURL = strings.Replace(tenantURL, "{tenant_id}", "x{tenant_id}", 1) // another set of databases
		}
	})
}

func history(t *testing.T, seed uint64, hubURL, tenantURL string) {
	t.Helper()
	ctx := context.Background()
	r := setup(t, hubURL, isolated.Config{URL: tenantURL, MaxOpen: 2})
	w := &world{Rand: rand.New(rand.NewPCG(seed, 3)), t: t, tenants: []string{"t1", "T1", "a/b"}}
	r.Sizes(1+w.IntN(7), 1+w.IntN(4))
	var all []said
	var facts []mirror.Fact
	for len(all) < 120 {
		switch w.IntN(11) {
		case 0, 1:
			more := w.some(1 + w.IntN(12))
			all = append(all, more...)
			for _, s := range more {
				r.append(s.Event)
			}
		case 2, 3:
			if _, err := r.Dispatch(ctx); err != nil {
				t.Fatal(err)
			}
		case 4:
			r.restart()
			r.Sizes(1+w.IntN(7), 1+w.IntN(4))
		case 5:
			if w.IntN(4) == 0 {
				if _, err := isolated.Rebuild(ctx, r.hub, w.one(w.tenants...)); err != nil {
					t.Fatal(err)
				}
			}
		case 6:
			some := []mirror.Fact{w.fact(), w.fact(), w.fact(), w.fact()}
			facts = append(facts, some...)
			r.fill(some...)
		default:
			r.reader.failAfter(w.IntN(6)) // somewhere between two transactions
			_, err := r.Feed(ctx, w.one(w.tenants...), w.IntN(2) == 0)
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			r.reader.failAfter(0)
		}
	}
	r.settle()
	for _, tenant := range w.tenants {
		want := replay(t, tenantURL, concern(all, tenant, facts...), of(facts, tenant)...)
		got := dump(ctx, t, r.open(tenant).ReadSQL())
		if d := diff(want, got); d != "" {
			t.Fatalf("seed %d, tenant %q:\n%s", seed, tenant, d)
		}
		if len(want) < 5 {
			t.Fatalf("seed %d, tenant %q: only %d rows and graves; the history says too little", seed, tenant, len(want))
		}
	}
}

// of returns the facts about a tenant.
func of(facts []mirror.Fact, tenant string) (some []mirror.Fact) {
	for _, f := range facts {
		if f.Tenant.ID == tenant {
			some = append(some, f)
		}
	}
	return some
}

// replay applies events to an empty mirror, in order, each by itself, and fills
// it with facts.
func replay(t *testing.T, url string, events []*event.Event, facts ...mirror.Fact) []string {
	t.Helper()
	var st *store.Store
	if strings.HasPrefix(url, "sqlite") {
		st = storetest.Open(t, storetest.SQLite(t))
	} else {
		st = storetest.Open(t, pgtest.URL(t))
	}
	m := mirror.New(st, mirror.Options{})
	ctx := context.Background()
	for _, ev := range events {
		if err := st.InTx(ctx, func(ctx context.Context) error { return m.Apply(ctx, []*event.Event{ev}) }); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, st, facts...)
	return dump(ctx, t, st.ReadSQL())
}
