package main

import (
	"fmt"
	"net/http"
	"strings"
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
	last := int64(0)
	for _, id := range []string{"1", "2", "3"} {
		ev := happened(id, "tenant.created", `{}`)
		last = ev.GetPosition()
		if v := h.apply(ev); v.GetKind() != pluginpb.Verdict_KIND_APPLIED {
			t.Fatal(v)
		}
	}
	if got := fmt.Sprint(look()); got != "[C024BE91L 1 C024BE91L 2 C024BE91L 3]" || s.called() != "chat.postMessage chat.postMessage chat.postMessage" {
		t.Errorf("%s after %s", got, s.called())
	}
	if got := string(h.states["tenant:t1"]); got != fmt.Sprintf(`{"told":%d}`, last) {
		t.Errorf("the state is %s", got)
	}
}

// What the laws do not try: they kill the process where a verdict gets lost, and
// let the history always be had.
func TestWithExactlyOnceAMessageStandsThereOnce(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(h *hub, cfg map[string]any, s *workspace, ev *pluginpb.Event){
		"the verdict was lost, the process lives": func(h *hub, _ map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.deliver(ev, false)
			h.deliver(ev, true)
			h.apply(ev)
		},
		"an operator wants it delivered again": func(h *hub, _ map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.apply(ev)
			ev.Replay = true
			h.apply(ev)
		},
		"it comes again after newer ones": func(h *hub, cfg map[string]any, _ *workspace, ev *pluginpb.Event) {
			h.apply(ev)
			h = h.restarted(cfg)
			h.apply(ev)
		},
		"the history was not to be had": func(h *hub, cfg map[string]any, s *workspace, ev *pluginpb.Event) {
			h.deliver(ev, false)
			h.deliver(ev, true)
			h = h.restarted(cfg)
			n := 0
			s.interfere(func(method string, done bool) (int, string, bool) {
				if method == "conversations.history" && !done {
					n++
				}
				return 500, "", method == "conversations.history" && n == 1
			})
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
	if v := h.apply(happened("y", "tenant.created", `{}`)); v.GetKind() != pluginpb.Verdict_KIND_REJECT || strings.Contains(string(h.states["tenant:t1"]), "pending") {
		t.Errorf("%v, states %s", v, h.states)
	}
	if got := fmt.Sprint(look()); got != "[C024BE91L x]" {
		t.Error(got)
	}
}

func TestWithExactlyOnceAMessageThatSomebodyRemovedIsPostedAgainOnRequest(t *testing.T) {
	t.Parallel()
	cfg, s, look := onceWorld(t)
	h := configured(t, cfg)
	ev := happened("x", "tenant.created", `{}`)
	h.apply(ev)
	s.mu.Lock()
	s.messages = nil
	s.mu.Unlock()
	ev.Replay = true
	if v := h.apply(ev); v.GetKind() != pluginpb.Verdict_KIND_APPLIED || fmt.Sprint(look()) != "[C024BE91L x]" {
		t.Errorf("%v, %v", v, look())
	}
}
