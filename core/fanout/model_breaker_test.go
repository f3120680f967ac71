package fanout

import (
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// weighed holds the breaker against what the calls have told of tenants. With so
// few of them, five that failed are always more than half. wasOpen: it was, before
// this call came back.
func (h *modelHub) weighed(b *batch, wasOpen bool) {
	w, isOpen := h.w, h.c.breaker.isOpen()
	call := h.taking
	worked := false
	judged := call.call.req != nil && b.letters == nil && b.replay == nil
	if call.call.req != nil && b.err == nil {
		for i, v := range b.resp.GetVerdicts() {
			switch kind := v.GetKind(); {
			case kind == pluginpb.Verdict_KIND_APPLIED, kind == pluginpb.Verdict_KIND_SKIPPED, kind == pluginpb.Verdict_KIND_REJECT, v.GetThrottled():
				worked = true
			case kind == pluginpb.Verdict_KIND_RETRY && judged:
				tenant := b.items[i].ev.TenantKey()
				h.unlucky[tenant], h.failing[tenant] = w.now, w.now
			}
		}
	}
	if judged && b.err != nil && call.call.tried {
		for _, ev := range call.call.req.GetEvents() {
			h.unlucky[w.facts[ev.GetPosition()-1].tenant] = w.now
		}
	}
	recent := func(tenants map[string]time.Time) (n int) {
		for _, at := range tenants {
			if w.now.Sub(at) <= breakerWindow {
				n++
			}
		}
		return n
	}
	switch {
	case wasOpen && !isOpen && !worked:
		w.fail("%s closes its breaker, and nothing has worked", h.name)
	case wasOpen && isOpen && worked && b.probe:
		w.fail("%s leaves its breaker open after a probe that worked", h.name)
	case !wasOpen && isOpen && (worked || recent(h.unlucky) < breakerLeast):
		w.fail("%s opens its breaker for %d tenants", h.name, recent(h.unlucky))
	case !isOpen && judged && !worked && recent(h.failing) >= breakerLeast:
		w.fail("%s does not open its breaker for %d tenants", h.name, recent(h.failing))
	}
	if worked && judged || wasOpen && !isOpen {
		clear(h.unlucky)
		clear(h.failing)
	}
}
