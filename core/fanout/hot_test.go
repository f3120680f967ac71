package fanout_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// A tenant has many times as many events waiting as the hub reads ahead, and the
// plugin is slow. What others send meanwhile reaches them after a few calls, not
// after all of that.
func TestLaw6_ATenantWithABacklogHoldsUpNobody(t *testing.T) {
	const backlog = 6_000
	onBoth(t, func(t *testing.T, b *bundle) {
		var calls atomic.Int64 // for the busy tenant
		step := make(chan struct{})
		free := make(chan struct{})
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		slow := &gated{fake: b.plugin, step: step, free: free, calls: &calls}
		var wg sync.WaitGroup
		for sender := range 64 {
			wg.Go(func() {
				for i := sender; i < backlog; i += 64 {
					b.append("busy", fmt.Sprintf("busy%d", i), "{}")
				}
			})
		}
		wg.Wait()
		for i := range 5 {
			b.append(fmt.Sprintf("quiet%d", i), fmt.Sprintf("quiet%d", i), "{}")
		}
		b.start(withPlugin(slow))
		quiet := func() bool {
			n := 0
			for _, id := range b.plugin.delivered() {
				if len(id) > 5 && id[:5] == "quiet" {
					n++
				}
			}
			return n == 5
		}
		b.until("the quiet tenants' events", func() bool {
			select {
			case step <- struct{}{}: // one more call of the busy tenant may end
			default:
			}
			return quiet()
		})
		if n := calls.Load(); n > 15 {
			t.Errorf("the quiet tenants waited for %d calls of the busy one", n)
		}
		close(free)
		b.until("all is settled", b.settled)
		n := 0
		var positions []int64
		b.plugin.mu.Lock()
		for _, ev := range b.plugin.seen {
			if ev.GetTenantId() == "busy" {
				n++
				positions = append(positions, ev.GetPosition())
			}
		}
		b.plugin.mu.Unlock()
		if n != backlog || !slices.IsSorted(positions) {
			t.Errorf("%d events of the busy tenant, in order %v", n, slices.IsSorted(positions))
		}
	})
}
