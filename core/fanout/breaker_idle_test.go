package fanout_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Thirty tenants fail for good, and nothing else happens: they are all that is
// tried. That does not make the plugin guilty, so the next event of a tenant that
// works does not wait.
func TestLaw6_TenantsThatFailForGoodDoNotOpenTheBreakerWhenAllElseIsDone(t *testing.T) {
	const bad, good = 30, 20
	onBoth(t, func(t *testing.T, b *bundle) {
		var mu sync.Mutex
		failures := map[string]int{}
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if !strings.HasPrefix(ev.GetTenantId(), "bad") {
				return applied(), nil
			}
			mu.Lock()
			defer mu.Unlock()
			failures[ev.GetTenantId()]++
			return verdict(pluginpb.Verdict_KIND_RETRY, "never"), nil
		}
		b.start()
		for i := range bad {
			b.append(fmt.Sprint("bad", i), fmt.Sprint("b", i), "{}")
			if i < good {
				b.append(fmt.Sprint("good", i), fmt.Sprint("g", i), "{}")
			}
		}
		b.until("each has failed many times", func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range bad {
				if failures[fmt.Sprint("bad", i)] < 12 {
					return false
				}
			}
			return true
		})
		if state := b.state(); state == fanout.BreakerOpen {
			t.Error("the breaker is open")
		}
		b.append("good0", "later", "{}")
		b.until("the others go on", func() bool { return slices.Contains(b.plugin.delivered(), "later") })
	})
}
