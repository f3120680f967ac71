package laws

import (
	"fmt"
	"math/rand/v2"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Sample makes n events such as the laws are judged with, of the types that
// match patterns, keyed in an order. The same seed makes the same events. There
// are fewer than n if the types cannot come so often.
func Sample(seed uint64, n int, order pluginpb.Order, patterns ...string) []*pluginpb.Event {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := newProvider(order, fmt.Sprintf("%08x", uint32(seed)))
	var out []*pluginpb.Event
	for range 20 {
		for _, s := range write(rng, wanted(patterns), flavour{steps: n}).steps {
			if t, ok := p.event(s); ok && len(out) < n {
				out = append(out, t.ev)
			}
		}
	}
	return out
}
