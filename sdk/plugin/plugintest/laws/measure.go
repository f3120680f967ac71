package laws

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Measured is what a connector got done.
type Measured struct {
	Events, Requests int
	Took             time.Duration
}

const (
	// measuredCall is the hub's largest batch.
	measuredCall = 256
	// measuredTenants is of how many tenants its events are.
	measuredTenants = 64
)

// Measure delivers n events in a fresh world, in calls as large as a hub's.
func Measure(ctx context.Context, s Subject, n int) (Measured, error) {
	e := &engine{s: s, salt: "measured"}
	if err := e.describe(ctx); err != nil {
		return Measured{}, err
	}
	st, err := e.stage(ctx, s.Start)
	if err != nil {
		return Measured{}, err
	}
	defer st.close()
	if st.world.Gate != nil {
		st.world.Gate.KeepAlive = true
	}
	calls, err := e.measuredCalls(n)
	if err != nil {
		return Measured{}, err
	}
	began := time.Now()
	for _, call := range calls {
		if _, err := st.settle(ctx, call...); err != nil {
			return Measured{}, err
		}
	}
	return Measured{Events: n, Requests: st.world.Gate.Requests(), Took: time.Since(began)}, nil
}

// measuredCalls are made before the clock runs. They are of types that can come
// again and again, if the connector wants any.
func (e *engine) measuredCalls(n int) ([][]*pluginpb.Event, error) {
	types := slices.DeleteFunc(repeatable(), func(typ string) bool { return !slices.Contains(e.types, typ) })
	if len(types) == 0 {
		types = e.types
	}
	rng := rand.New(rand.NewPCG(1, 1))
	p := e.newProvider(e.salt)
	var out [][]*pluginpb.Event
	var call []*pluginpb.Event
	for made, tries := 0, 0; made < n; tries++ {
		if tries > 10*n+1000 {
			return nil, errors.New("the types that the connector wants do not come often enough to measure")
		}
		who := rng.IntN(1 << 20)
		t, ok := p.event(step{types[rng.IntN(len(types))], who%measuredTenants + 1, who/measuredTenants%measuredTenants + 1, rng.IntN(2), rng.IntN(8)})
		if !ok {
			continue
		}
		made++
		if call = append(call, t.ev); len(call) == measuredCall {
			out, call = append(out, call), nil
		}
	}
	if len(call) > 0 {
		out = append(out, call)
	}
	return out, nil
}
