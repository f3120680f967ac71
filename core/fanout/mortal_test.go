package fanout_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// mortal is a plugin whose process dies of one event, or of all of them, taking
// with it all calls that it has at that time. It starts again at once.
type mortal struct {
	fake
	poison string // empty: everything is
	slow   string // an event that the plugin takes long for, unless it dies meanwhile

	mu        sync.Mutex
	mended    bool
	life      chan struct{} // closed when the process dies
	died      int
	excused   bool // the last death
	unexcused int  // deaths
}

func newMortal(poison string) *mortal {
	m := &mortal{poison: poison, life: make(chan struct{}), excused: true}
	m.order = plugin.PerTenant
	m.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
		return applied(), fmt.Appendf(state, "%s ", ev.GetId())
	}
	return m
}

func (m *mortal) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	m.mu.Lock()
	life := m.life
	kills := !m.mended && (m.poison == "" || slices.ContainsFunc(req.GetEvents(), func(ev *pluginpb.Event) bool { return ev.GetId() == m.poison }))
	m.mu.Unlock()
	long := 2 * time.Millisecond
	if slices.ContainsFunc(req.GetEvents(), func(ev *pluginpb.Event) bool { return ev.GetId() == m.slow }) {
		long = 200 * time.Millisecond
	}
	// The others are in the middle of it when it happens.
	select {
	case <-life:
	case <-time.After(long):
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if life == m.life && kills {
		close(m.life)
		m.life = make(chan struct{})
		m.died++
		if !m.excused {
			m.unexcused++
		}
		m.excused = false
	}
	if life != m.life {
		return nil, fmt.Errorf("delivering: %w", &plugin.Crash{Exit: "exit status 2", Tail: "panic: " + m.poison + " is not for me\n\ngoroutine 7 [running]:"})
	}
	return m.fake.Deliver(ctx, req)
}

func (m *mortal) Excuse() { m.mu.Lock(); defer m.mu.Unlock(); m.excused = true }
func (m *mortal) Wake()   {}

func (m *mortal) mend() { m.mu.Lock(); defer m.mu.Unlock(); m.mended = true }

func (m *mortal) deaths() int { m.mu.Lock(); defer m.mu.Unlock(); return m.died }

func (m *mortal) missing() int { m.mu.Lock(); defer m.mu.Unlock(); return m.unexcused }

// gated ends calls with events of the tenant "busy" one by one.
type gated struct {
	*fake
	step, free chan struct{}
	calls      *atomic.Int64
}

func (g *gated) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	if slices.ContainsFunc(req.GetEvents(), func(ev *pluginpb.Event) bool { return ev.GetTenantId() == "busy" }) {
		g.calls.Add(1)
		select {
		case <-g.step:
		case <-g.free:
		}
	}
	return g.fake.Deliver(ctx, req)
}

func withPlugin(p fanout.Plugin) func(*fanout.Config, *fanout.Deps) {
	return func(_ *fanout.Config, d *fanout.Deps) { d.Plugin = p }
}
