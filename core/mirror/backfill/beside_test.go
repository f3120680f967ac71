package backfill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// happened are events about the provider's members, in all of its tenants.
func happened(t *testing.T, tenants, each int) []*event.Event {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 5))
	types := []string{event.TypeMemberSuspended, event.TypeMemberLeft, event.TypeMemberRoleChanged, event.TypeSubjectUpdated, event.TypeSubjectDeleted, event.TypeAppAccessRevoked}
	var events []*event.Event
	for i := range 300 {
		tenant, n := random.IntN(tenants), random.IntN(each)
		id := fmt.Sprintf("%d_%d", tenant, n)
		data, err := json.Marshal(object{"membership_id": "m" + id, "sub": "p" + id, "email": "told@a.example", "tenant_roles": []string{"told"}})
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"id":"e%d","type":%q,"timestamp":%q,"tenant_id":"t%d","application_id":"app_web","data":%s}`,
			i, types[random.IntN(len(types))], start.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), tenant, data)
		ev, err := event.DecodeWebhook([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	return events
}

func (b *bench) fillProvider(tenants, each int) {
	for i := range tenants {
		tenant := fmt.Sprintf("t%d", i)
		for j := range each {
			id := fmt.Sprintf("%d_%d", i, j)
			b.tenants[tenant] = append(b.tenants[tenant], inTenant("m"+id, "p"+id, "ACTIVE", tenantRole("member"), appRole("web", "editor")))
			if j%5 == 0 {
				b.apps["web"] = append(b.apps["web"], inApp("m"+id, "p"+id, tenant, "editor"))
			}
		}
	}
}

// A backfill while events arrive ends in the rows of one before the first event.
func TestLaw3_ABackfillBesideEventsEndsInTheRowsOfOneBeforeThem(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		const tenants, each = 3, 150
		events := happened(t, tenants, each)
		apply := func(b *bench, some []*event.Event) {
			err := b.InTx(context.Background(), func(ctx context.Context) error {
				if err := b.TakeTurn(ctx); err != nil {
					return err
				}
				return b.Apply(ctx, some)
			})
			if err != nil {
				t.Error(err)
			}
		}
		calm := newBench(t, "sqlite://"+t.TempDir()+"/calm.db")
		calm.fillProvider(tenants, each)
		calm.run(t, nil)
		apply(calm, events)

		b.fillProvider(tenants, each)
		var beside sync.WaitGroup
		beside.Go(func() {
			for rest := events; len(rest) > 0; {
				n := min(7, len(rest))
				apply(b, rest[:n])
				rest = rest[n:]
			}
		})
		b.run(t, nil)
		beside.Wait()
		if got, want := normal(b.dump(t, true)), normal(calm.dump(t, true)); got != want {
			diff(t, got, want)
		}
		// Once more, with all events there: nothing is new.
		if sum := b.run(t, nil); sum.Facts != 0 {
			t.Errorf("%+v", sum)
		}
	})
}

func diff(t *testing.T, got, want string) {
	t.Helper()
	t.Error("the rows differ")
	has := map[string]bool{}
	for line := range strings.SplitSeq(want, "\n") {
		has[line] = true
	}
	told := 0
	for line := range strings.SplitSeq(got, "\n") {
		if !has[line] && told < 5 {
			told++
			t.Errorf("differs: %s", line)
		}
	}
}

// Who keeps answers about the mirror learns that a backfill changed it.
func TestABackfillThatChangesRowsSaysSo(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		epoch := func() int64 {
			n, err := b.Read().Counter.Get(t.Context(), mirror.EpochCounter)
			if err != nil {
				return 0
			}
			return n.Value
		}
		b.small()
		b.run(t, func(o *options) { o.DryRun = true })
		if n := epoch(); n != 0 {
			t.Errorf("a dry run moved it to %d", n)
		}
		b.run(t, nil)
		first := epoch()
		b.run(t, nil)
		if n := epoch(); first == 0 || n != first {
			t.Errorf("after a run %d, after one that changed nothing %d", first, n)
		}
	})
}
