package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/internal/pgtest"
)

// The hub is killed again and again while events come in. What got a 2xx is in
// the journal and in the mirror, and the plugin's committed state shows each
// exactly once.
func TestLaw7_KilledUnderLoadNothingIsLostOrDoubled(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		crash(t, "sqlite://"+filepath.Join(t.TempDir(), "hub.db"), 50)
	})
	t.Run("postgres", func(t *testing.T) { crash(t, pgtest.URL(t), 10) })
}

func crash(t *testing.T, storage string, kills int) {
	const tenants, senders = 40, 8
	h := newHub(t, storage)
	h.start()

	var stop atomic.Bool
	var mu sync.Mutex
	accepted := map[string]bool{}
	var wg sync.WaitGroup
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	for s := range senders {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				id := fmt.Sprintf("e-%d-%d", s, n)
				body := updated(id, fmt.Sprintf("t%d", (s*7+n)%tenants), n)
				headers := h.provider.Webhook(body)
				for { // like the provider: until it is accepted
					status, _, err := h.post(client, headers, body)
					if err == nil && status == http.StatusOK {
						break
					}
					if err == nil && status != http.StatusServiceUnavailable {
						t.Errorf("%s was answered with %d", id, status)
						return
					}
					if stop.Load() {
						return
					}
				}
				mu.Lock()
				accepted[id] = true
				mu.Unlock()
			}
		})
	}
	for range kills {
		// A random instant of its work, not a wait for anything.
		time.Sleep(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		h.kill()
		h.start()
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d events accepted over %d kills", len(accepted), kills)

	st := h.open()
	h.settle(st)
	if err := h.terminate(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	journaled := h.journaled(st)
	inJournal := map[string]int{}
	for tenant, ids := range journaled {
		for _, id := range ids {
			inJournal[id]++
		}
		org, err := st.Read().Organization.Get(context.Background(), tenant)
		if err != nil {
			t.Fatalf("tenant %s is not in the mirror: %v", tenant, err)
		}
		// All events of a tenant differ in time by n and, within it, by id.
		newest := slices.MaxFunc(ids, func(a, b string) int { return compareEvents(a, b) })
		if org.Name != "named by "+newest {
			t.Errorf("tenant %s is %q in the mirror, its newest event is %s", tenant, org.Name, newest)
		}
	}
	for id := range accepted {
		if inJournal[id] != 1 {
			t.Errorf("%s got a 2xx and is %d times in the journal", id, inJournal[id])
		}
	}
	h.checkState(st, journaled)
}

// updated is a change of a tenant's name. The n-th of a sender is n seconds
// after its first.
func updated(id, tenant string, n int) []byte {
	at := time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).Format("2006-01-02T15:04:05.000Z")
	return fmt.Appendf(nil, `{"id":%q,"type":"tenant.updated","timestamp":%q,"tenant_id":%q,"application_id":null,`+
		`"data":{"tenant_id":%q,"name":"named by %s","slug":%q,"plan":"pro","settings":{},"changed_fields":["name"],"previous_values":{}}}`,
		id, at, tenant, tenant, id, tenant)
}

func compareEvents(a, b string) int {
	var sa, na, sb, nb int
	_, _ = fmt.Sscanf(a, "e-%d-%d", &sa, &na)
	_, _ = fmt.Sscanf(b, "e-%d-%d", &sb, &nb)
	switch {
	case na != nb:
		return na - nb
	case a < b:
		return -1
	}
	return 1
}
