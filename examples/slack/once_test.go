package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func onceWorld(t *testing.T) (map[string]any, *workspace, func() any) {
	t.Helper()
	cfg, s, look := world(t)
	cfg["exactly_once"] = true
	cfg["routes"] = routes(map[string]any{"events": []string{"*"}, "channel": "C024BE91L", "template": "{{.Event.ID}}"})
	return cfg, s, look
}

func TestWithExactlyOnceTheGoodWayAsksForNoHistory(t *testing.T) {
	t.Parallel()
	cfg, s, look := onceWorld(t)
	h := configured(t, cfg)
	for _, id := range []string{"1", "2", "3"} {
		if v := h.apply(happened(id, "tenant.created", `{}`)); v.GetKind() != pluginpb.Verdict_KIND_APPLIED {
			t.Fatal(v)
		}
	}
	if got := fmt.Sprint(look()); got != "[C024BE91L 1 C024BE91L 2 C024BE91L 3]" || s.called() != "chat.postMessage chat.postMessage chat.postMessage" {
		t.Errorf("%s after %s", got, s.called())
	}
	if len(h.states) != 0 {
		t.Errorf("something is left in the states: %s", h.states)
	}
}

// Whatever is lost on the way, the message stands there once.
func TestWithExactlyOnceAMessageStandsThereOnce(t *testing.T) {
	t.Parallel()
	lose := func(method string, when bool, status int) func(string, bool) (int, string, bool) {
		n := 0
		return func(m string, done bool) (int, string, bool) {
			if m == method && done == when && n == 0 {
				n++
				return status, "", true
			}
			return 0, "", false
		}
	}
	for name, run := range map[string]func(h *hub, cfg map[string]any, s *workspace, ev *pluginpb.Event){
		"killed after the intent": func(h *hub, cfg map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.deliver(ev, false)
			h = h.restarted(cfg)
			h.apply(ev)
		},
		"killed before the intent was saved": func(h *hub, cfg map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.deliver(ev, true)
			h = h.restarted(cfg)
			h.apply(ev)
		},
		"killed after the message": func(h *hub, cfg map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.deliver(ev, false)
			h.deliver(ev, true)
			h = h.restarted(cfg)
			h.apply(ev)
		},
		"the verdict was lost, the process lives": func(h *hub, _ map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.deliver(ev, false)
			h.deliver(ev, true)
			h.apply(ev)
		},
		"the answer was lost": func(h *hub, _ map[string]any, s *workspace, ev *pluginpb.Event) {
			s.interfere(lose("chat.postMessage", true, 500))
			if v := h.apply(ev); v.GetKind() != pluginpb.Verdict_KIND_RETRY {
				t.Error(v)
			}
			h.apply(ev)
		},
		"the request was lost": func(h *hub, _ map[string]any, s *workspace, ev *pluginpb.Event) {
			s.interfere(lose("chat.postMessage", false, 500))
			h.apply(ev)
			h.apply(ev)
		},
		"the history was not to be had": func(h *hub, cfg map[string]any, s *workspace, ev *pluginpb.Event) {
			h.deliver(ev, false)
			h.deliver(ev, true)
			h = h.restarted(cfg)
			s.interfere(lose("conversations.history", false, 500))
			if v := h.apply(ev); v.GetKind() != pluginpb.Verdict_KIND_RETRY {
				t.Error(v)
			}
			h.apply(ev)
		},
	} {
		cfg, s, look := onceWorld(t)
		h := configured(t, cfg)
		for _, id := range []string{"a", "b", "c"} { // so that the history has pages
			h.apply(happened(id, "tenant.created", `{}`))
		}
		run(h, cfg, s, happened("x", "tenant.created", `{}`))
		if got := fmt.Sprint(look()); got != "[C024BE91L a C024BE91L b C024BE91L c C024BE91L x]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestWithExactlyOnceWhatWasRefusedIsPostedLaterWithoutASearch(t *testing.T) {
	t.Parallel()
	cfg, s, look := onceWorld(t)
	h := configured(t, cfg)
	s.header = http.Header{"Retry-After": {"1"}}
	s.interfere(func(_ string, done bool) (int, string, bool) {
		return 200, `{"ok":false,"error":"invalid_auth"}`, !done
	})
	ev := happened("x", "tenant.created", `{}`)
	if v := h.apply(ev); v.GetKind() != pluginpb.Verdict_KIND_HALT {
		t.Error(v)
	}
	s.interfere(nil)
	if v := h.apply(ev); v.GetKind() != pluginpb.Verdict_KIND_APPLIED || s.called() != "chat.postMessage" {
		t.Errorf("%v after %s", v, s.called())
	}
	s.interfere(func(_ string, done bool) (int, string, bool) { return 200, `{"ok":false,"error":"is_archived"}`, !done })
	if v := h.apply(happened("y", "tenant.created", `{}`)); v.GetKind() != pluginpb.Verdict_KIND_REJECT || len(h.states) != 0 {
		t.Errorf("%v, states %s", v, h.states)
	}
	if got := fmt.Sprint(look()); got != "[C024BE91L x]" {
		t.Error(got)
	}
}
