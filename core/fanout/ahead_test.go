package fanout_test

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// One call takes long, and the cursor waits for it. What other keys settled
// meanwhile is not delivered again when another hub takes over in the middle.
func TestLaw5_WhatSettlesBehindASlowCallIsNotDeliveredAgain(t *testing.T) {
	const others = 1200
	onBoth(t, func(t *testing.T, b *bundle) {
		free := make(chan struct{})
		release := sync.OnceFunc(func() { close(free) })
		defer release()
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetKey() == "tenant:slow" {
				<-free
			}
			return applied(), nil
		}
		// The slow call holds a batch of its own: what comes later goes in others.
		b.append("slow", "slow", "{}")
		first := b.start()
		b.until("the slow call is under way", func() bool { return len(b.plugin.delivered()) == 1 })
		var wg sync.WaitGroup
		for sender := range 64 {
			wg.Go(func() {
				for i := sender; i < others; i += 64 {
					b.append(fmt.Sprintf("t%d", i%100), fmt.Sprintf("e%d", i), "{}")
				}
			})
		}
		wg.Wait()
		b.until("the others are delivered", func() bool { return len(b.plugin.delivered()) == others+1 })
		b.until("and noted", func() bool {
			var keys int
			err := b.store.ReadSQL().Query(t.Context(), func(rows *sql.Rows) error { return rows.Scan(&keys) },
				`SELECT COUNT(*) FROM avhub_plugin_states s WHERE s.position >= (SELECT MAX(position) FROM avhub_events e WHERE 'p/tenant:' || e.tenant_id = s.id)`)
			if err != nil {
				t.Fatal(err)
			}
			return keys == 100
		})
		second := b.start() // takes over, as after a crash of the first
		release()
		if err := first.wait(); err == nil {
			t.Error("the first hub did not notice that another has taken over")
		}
		b.until("all is settled", b.settled)
		times := map[string]int{}
		for _, id := range b.plugin.delivered() {
			times[id]++
		}
		for id, n := range times {
			if n != 1 && !strings.HasPrefix(id, "slow") {
				t.Errorf("%s was delivered %d times", id, n)
			}
		}
		if err := second.end(); err != nil {
			t.Error(err)
		}
	})
}
