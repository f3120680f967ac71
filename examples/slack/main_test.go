package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func routes(list ...map[string]any) []any {
	var out []any
	for _, r := range list {
		out = append(out, r)
	}
	return out
}

func TestTheFirstRouteThatFitsTakesAnEvent(t *testing.T) {
	t.Parallel()
	cfg, _, look := world(t)
	cfg["routes"] = routes(
		map[string]any{"events": []string{"tenant.updated"}, "mute": true},
		map[string]any{"events": []string{"tenant.*"}, "tenants": []string{"t9", "acme"}, "channel": "#vip", "template": "vip {{.Tenant}}"},
		map[string]any{"events": []string{"tenant.*", "license.assigned"}, "channel": "#sales", "template": "{{.Event.Type}}"},
		map[string]any{"events": []string{"member.*"}, "channel": "#people", "template": "{{if eq .Event.Type \"member.left\"}}bye {{.Person}}{{end}}"},
	)
	h := configured(t, cfg)
	other := func(typ string) *pluginpb.Event {
		ev := happened("e", typ, `{"email":"ada@example.com"}`)
		ev.TenantId, ev.Subject, ev.Entities = "t2", "organization:t2", nil
		return ev
	}
	for _, tc := range []struct {
		ev   *pluginpb.Event
		want pluginpb.Verdict_Kind
		why  string
	}{
		{happened("1", "tenant.updated", `{}`), pluginpb.Verdict_KIND_SKIPPED, "routes[0] mutes it"},
		{happened("2", "tenant.deleted", `{}`), pluginpb.Verdict_KIND_APPLIED, ""},
		{other("tenant.deleted"), pluginpb.Verdict_KIND_APPLIED, ""},
		{other("license.assigned"), pluginpb.Verdict_KIND_APPLIED, ""},
		{other("license.revoked"), pluginpb.Verdict_KIND_SKIPPED, "no route is for it"},
		{other("member.joined"), pluginpb.Verdict_KIND_SKIPPED, "nothing to say"},
		{other("member.left"), pluginpb.Verdict_KIND_APPLIED, ""},
	} {
		if v := h.apply(tc.ev); v.GetKind() != tc.want || !strings.Contains(v.GetReason(), tc.why) {
			t.Errorf("%s of %s: %v", tc.ev.GetType(), tc.ev.GetTenantId(), v)
		}
	}
	want := "[#vip vip Acme #sales tenant.deleted #sales license.assigned #people bye ada@example.com]"
	if got := fmt.Sprint(look()); got != want {
		t.Errorf("the channels have\n%s\nwant\n%s", got, want)
	}
}

func TestWhatCameWithAnEventCannotMentionLinkOrFakeALine(t *testing.T) {
	t.Parallel()
	hostile := `<!channel> <@U1> & <https://evil.example|free> @channel @Here @everyone\n*Alert*: \u2028all \u202egood`
	cfg, s, look := world(t)
	cfg["routes"] = routes(map[string]any{"events": []string{"*"}, "channel": "#all",
		"template": `{{.Data.name}}/{{code .Data.name}}/{{link .Data.url .Data.name}}/{{link "https://x.example/?a=1&b=<|>" "see"}}/{{printf "%s" .Data.name}}/{{join .Data.list ", "}}<!here>`})
	h := configured(t, cfg)
	data := fmt.Sprintf(`{"name":"%s","url":"javascript:alert(1)","list":["<a>","b"]}`, hostile)
	if v := h.apply(happened("1", "tenant.created", data)); v.GetKind() != pluginpb.Verdict_KIND_APPLIED {
		t.Fatal(v)
	}
	safe := "&lt;!channel&gt; &lt;@U1&gt; &amp; &lt;https://evil.example|free&gt; @\u200bchannel @\u200bHere @\u200beveryone *Alert*:  all good"
	want := safe + "/`" + safe + "`/" + safe + "/<https://x.example/?a=1&amp;b=%3C%7C%3E|see>/" + safe + "/&lt;a&gt;, b<!here>"
	got := look().([]string)[0]
	if got != "#all "+want {
		t.Errorf("posted\n%s\nwant\n%s", got, want)
	}
	r := s.messages[0].request
	if r["parse"] != "none" || r["link_names"] != false || r["unfurl_links"] != false {
		t.Errorf("the request is %v", r)
	}
}

func TestEveryTypeHasWordsForWhatHappened(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ typ, data, want string }{
		{"tenant.created", `{"name":"Acme"}`, "New tenant *Acme*, plan pro"},
		{"tenant.suspended", `{"reason":"unpaid"}`, "Tenant *Acme* is suspended: unpaid"},
		{"tenant.app.granted", `{"subscription_id":"s","quantity_purchased":12,"license_type_name":"pro","application_name":"Notes"}`, "*Acme* has subscribed to Notes: 12 × pro"},
		{"tenant.app.granted", `{"user_id":"u","user_email":"ada@example.com","application_name":"Notes"}`, "ada@example.com of *Acme* may use Notes"},
		{"member.joined", `{"given_name":"Ada","family_name":"L","tenant_roles":["owner","admin"]}`, "Ada L has joined *Acme* as owner, admin"},
		{"license.changed", `{"email":"a@b","license_type_name":"pro","previous_license_type_name":"free"}`, "a@b of *Acme* has another license: pro instead of free"},
		{"sso.provider_removed", `{"provider_type":"okta"}`, "The login with okta of *Acme* is removed"},
		{"something.new", `{"email":"a@b"}`, "something.new in *Acme*: a@b"},
	} {
		cfg, _, look := world(t)
		h := configured(t, cfg)
		if v := h.apply(happened("1", tc.typ, tc.data)); v.GetKind() != pluginpb.Verdict_KIND_APPLIED || fmt.Sprint(look()) != "[#all "+tc.want+"]" {
			t.Errorf("%s: %v, %v", tc.typ, v, look())
		}
	}
	cfg, _, look := world(t)
	ev := happened("1", "tenant.updated", `{}`)
	ev.Changes = []*pluginpb.Change{
		{Entity: "organization", Id: "t1", Field: "plan", Before: []byte(`"free"`), After: []byte(`"pro"`)},
		{Entity: "organization", Id: "t1", Field: "owner_email", Before: []byte(`null`), After: []byte(`"a@b"`)},
		{Entity: "application", Id: "x", Field: "exists", Before: []byte(`true`), After: []byte(`false`)},
		{Entity: "organization", Id: "t1", Field: "allow_signups", Before: []byte(`true`), After: []byte(`null`)},
	}
	configured(t, cfg).apply(ev)
	if got := fmt.Sprint(look()); got != "[#all Tenant *Acme* has changed: plan free → pro, owner_email a@b, allow_signups true → nothing]" {
		t.Error(got)
	}
	for _, typ := range append(knownTypes(), "something.new") {
		for _, v := range []view{fullSample(typ), bareSample(typ)} {
			if text, err := (&template{}).write(v); err != nil || strings.Contains(text, "%!") || strings.Contains(text, "no value") || strings.TrimSpace(text) == "" {
				t.Errorf("%s: %q, %v", typ, text, err)
			}
		}
	}
}

func TestABadConfigurationIsToldWithPlaceAndWayOut(t *testing.T) {
	t.Parallel()
	h := serve(t)
	text := func(template string) map[string]any {
		return map[string]any{"routes": routes(map[string]any{"events": []string{"*"}, "mute": true},
			map[string]any{"events": []string{"tenant.*"}, "channel": "#a", "template": template})}
	}
	for _, tc := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"token": ""}, "token: is missing; set token"},
		{map[string]any{"webhook_url": "https://hooks.example/canary"}, "webhook_url: is one way too many"},
		{map[string]any{"token": "xoxb canary"}, "token: holds characters"},
		{map[string]any{"api_url": "https://:1:/"}, "api_url: is no address"},
		{map[string]any{"token": "", "webhook_url": "https://hooks.example/canary"}, "routes[0].channel: cannot be chosen"},
		{map[string]any{"exactly_once": true}, "routes[0].channel: is a name; with exactly_once a channel is named by its id"},
		{map[string]any{"routes": routes(map[string]any{"events": []string{"*"}})}, "routes[0].channel: is missing"},
		{map[string]any{"routes": routes(map[string]any{"events": []string{"*"}, "mute": true, "channel": "#a"})}, "routes[0].mute: goes with neither"},
		{map[string]any{"routes": []any{}}, "routes: is empty"},
		{map[string]any{"routes": routes(map[string]any{"events": []string{"tenant.*.x"}, "channel": "#a"})}, "routes[0].events[0]: has the wrong form"},
		{text("{{.Tenant"), "routes[1].template: cannot be read: line 1: unclosed action; there are .Tenant, .Person"},
		{text("a\n{{.Organisation.Name}}"), "can't evaluate field Organisation; there are .Tenant"},
		{text("{{.Organization.Nmae}}"), "can't evaluate field Nmae in Organization"},
		{text("{{nofunc 1}}"), `function "nofunc" not defined`},
		{text("{{slice .Data.name 0 3}}"), "when what it names is missing"},
		{text("{{range 100000}}xxxxxxxxxx{{end}}"), "longer than Slack's"},
		{text(`{{template "nowhere" .}}`), "nowhere"},
	} {
		cfg, _, _ := world(t)
		for key, value := range tc.change {
			cfg[key] = value
			if value == "" {
				delete(cfg, key)
			}
		}
		for _, dry := range []bool{true, false} {
			wrong := h.configure(cfg, dry)
			if len(wrong) != 1 || !strings.Contains(wrong[0], tc.want) || strings.Contains(wrong[0], "canary") {
				t.Errorf("%v, dry %v: %q, want %q", tc.change, dry, wrong, tc.want)
			}
		}
	}
	for _, good := range []string{"{{with .Changed \"plan\"}}{{.Before}} → {{.After}}{{end}}", "{{when .Event.Time}} {{.Organization.SuspendedAt}}",
		"{{if .Data.quantity_purchased}}{{if gt .Data.quantity_purchased 5}}many{{end}}{{end}}", "{{define \"x\"}}{{.}}{{end}}{{template \"x\" .Tenant}}"} {
		cfg, _, _ := world(t)
		cfg["routes"] = text(good)["routes"]
		if wrong := h.configure(cfg, true); len(wrong) > 0 {
			t.Errorf("%s: %v", good, wrong)
		}
	}
}

func TestSlacksAnswerBecomesTheVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		body   string
		after  string
		kind   pluginpb.Verdict_Kind
		ms     int64
		says   string
	}{
		{200, `{"ok":true}`, "", pluginpb.Verdict_KIND_APPLIED, 0, ""},
		{429, `{"ok":false,"error":"ratelimited"}`, "30", pluginpb.Verdict_KIND_RETRY, 30_000, "fewer"},
		{429, ``, "", pluginpb.Verdict_KIND_RETRY, 30_000, "fewer"},
		{200, `{"ok":false,"error":"ratelimited"}`, "7", pluginpb.Verdict_KIND_RETRY, 7_000, "fewer"},
		{200, `{"ok":false,"error":"internal_error"}`, "", pluginpb.Verdict_KIND_RETRY, 0, "of its own"},
		{500, ``, "", pluginpb.Verdict_KIND_RETRY, 0, "500"},
		{503, ``, "9", pluginpb.Verdict_KIND_RETRY, 9_000, "503"},
		{200, `<html>login</html>`, "", pluginpb.Verdict_KIND_RETRY, 0, "api_url"},
		{302, ``, "", pluginpb.Verdict_KIND_REJECT, 0, "302"},
		{200, `{"ok":false,"error":"invalid_auth"}`, "", pluginpb.Verdict_KIND_HALT, 0, "does not know the token"},
		{200, `{"ok":false,"error":"token_revoked"}`, "", pluginpb.Verdict_KIND_HALT, 0, "install the app again"},
		{200, `{"ok":false,"error":"account_inactive"}`, "", pluginpb.Verdict_KIND_HALT, 0, "closed"},
		{200, `{"ok":false,"error":"not_authed"}`, "", pluginpb.Verdict_KIND_HALT, 0, "no token"},
		{200, `{"ok":false,"error":"missing_scope","needed":"chat:write"}`, "", pluginpb.Verdict_KIND_HALT, 0, "missing_scope (chat:write)"},
		{200, `{"ok":false,"error":"channel_not_found"}`, "", pluginpb.Verdict_KIND_REJECT, 0, "posting to #all: asking Slack: it answered channel_not_found: there is no such channel"},
		{200, `{"ok":false,"error":"is_archived"}`, "", pluginpb.Verdict_KIND_REJECT, 0, "archived"},
		{200, `{"ok":false,"error":"msg_too_long"}`, "", pluginpb.Verdict_KIND_REJECT, 0, "shorten"},
		{200, `{"ok":false,"error":"<new> error` + strings.Repeat("x", 500) + `"}`, "", pluginpb.Verdict_KIND_REJECT, 0, "it answered _new_error"},
	} {
		cfg, s, look := world(t)
		h := configured(t, cfg)
		s.header = http.Header{"Retry-After": {tc.after}, "Location": {"/api/chat.postMessage"}}
		s.interfere(func(_ string, done bool) (int, string, bool) { return tc.status, tc.body, !done })
		v := h.apply(happened("1", "tenant.created", `{}`))
		if v.GetKind() != tc.kind || v.GetRetryAfterMs() != tc.ms || v.GetThrottled() != (tc.ms > 0) || !strings.Contains(v.GetReason(), tc.says) || len(v.GetReason()) > 300 {
			t.Errorf("%d %.60s: %v", tc.status, tc.body, v)
		}
		if len(look().([]string)) != 0 || s.called() != "chat.postMessage" {
			t.Errorf("%d %.60s: %v after %s", tc.status, tc.body, look(), s.called())
		}
	}
}

func TestAChannelThatIsThrottledIsLeftAlone(t *testing.T) {
	t.Parallel()
	cfg, s, _ := world(t)
	cfg["routes"] = routes(map[string]any{"events": []string{"tenant.*"}, "channel": "#a"}, map[string]any{"events": []string{"*"}, "channel": "#b"})
	h := configured(t, cfg)
	s.header = http.Header{"Retry-After": {"60"}}
	s.interfere(func(string, bool) (int, string, bool) { return 429, "", true })
	h.apply(happened("1", "tenant.created", `{}`))
	s.interfere(nil)
	v := h.apply(happened("2", "tenant.created", `{}`))
	if !v.GetThrottled() || v.GetRetryAfterMs() > 60_000 || v.GetRetryAfterMs() < 30_000 || s.called() != "" {
		t.Errorf("%v, after %q", v, s.called())
	}
	if v := h.apply(happened("3", "member.left", `{}`)); v.GetKind() != pluginpb.Verdict_KIND_APPLIED {
		t.Errorf("another channel: %v", v)
	}
}

func TestAnIncomingWebhookPostsAndItsEndStopsTheConnector(t *testing.T) {
	t.Parallel()
	cfg, s, look := world(t)
	cfg["webhook_url"] = strings.TrimSuffix(cfg["api_url"].(string), "/api/") + "/services/T0/B0/canary"
	delete(cfg, "token")
	cfg["routes"] = routes(map[string]any{"events": []string{"*"}})
	h := configured(t, cfg)
	if v := h.apply(happened("1", "tenant.deleted", `{}`)); v.GetKind() != pluginpb.Verdict_KIND_APPLIED || fmt.Sprint(look()) != "[ Tenant *Acme* is gone]" {
		t.Errorf("%v, %v", v, look())
	}
	if _, there := s.messages[0].request["channel"]; there {
		t.Error("an incoming webhook was told a channel")
	}
	for _, tc := range []struct {
		status int
		body   string
		kind   pluginpb.Verdict_Kind
	}{
		{404, "no_service", pluginpb.Verdict_KIND_HALT}, {403, "action_prohibited", pluginpb.Verdict_KIND_HALT},
		{410, "channel_is_archived", pluginpb.Verdict_KIND_HALT}, {400, "invalid_payload", pluginpb.Verdict_KIND_REJECT},
		{500, "rollup_error", pluginpb.Verdict_KIND_RETRY}, {429, "rate_limited", pluginpb.Verdict_KIND_RETRY},
	} {
		s.interfere(func(string, bool) (int, string, bool) { return tc.status, tc.body, true })
		if v := h.apply(happened("1", "tenant.deleted", `{}`)); v.GetKind() != tc.kind {
			t.Errorf("%d %s: %v", tc.status, tc.body, v)
		}
	}
	if resp, err := h.Check(t.Context(), &pluginpb.CheckRequest{}); err != nil || len(resp.GetDiagnostics()) > 0 {
		t.Error(resp, err)
	}
}

func TestOldEventsAreNotTold(t *testing.T) {
	t.Parallel()
	cfg, _, look := world(t)
	cfg["max_age"] = "1h"
	h := configured(t, cfg)
	old := happened("1", "tenant.deleted", `{}`)
	old.OccurredAtUs = time.Now().Add(-61 * time.Minute).UnixMicro()
	if v := h.apply(old); v.GetKind() != pluginpb.Verdict_KIND_SKIPPED || !strings.Contains(v.GetReason(), "max_age") {
		t.Error(v)
	}
	old.Replay = true // somebody asked for it
	h.apply(old)
	h.apply(happened("2", "tenant.deleted", `{}`))
	if got := look().([]string); len(got) != 2 {
		t.Errorf("told %v", got)
	}
}

func TestDataOfTheWrongTypesCostsTheEventAlone(t *testing.T) {
	t.Parallel()
	cfg, _, look := world(t)
	h := configured(t, cfg)
	for _, tc := range []struct{ typ, data, says string }{
		{"tenant.created", `[]`, "no JSON object"},
		{"tenant.created", `{"name":{"a":[1]}}`, `field "name" must be string`},
		{"member.joined", `{"tenant_roles":"owner"}`, "tenant_roles"},
		{"tenant.app.granted", `{"quantity_purchased":"many"}`, "quantity_purchased"},
	} {
		if v := h.apply(happened("1", tc.typ, tc.data)); v.GetKind() != pluginpb.Verdict_KIND_REJECT || !strings.Contains(v.GetReason(), tc.says) {
			t.Errorf("%s %s: %v", tc.typ, tc.data, v)
		}
	}
	if v := h.apply(happened("2", "something.new", `{"name":{"a":[1]},"plan":7}`)); v.GetKind() != pluginpb.Verdict_KIND_APPLIED || len(look().([]string)) != 1 {
		t.Error(v, look())
	}
}

func TestCheckTellsWhatTheTokenLacks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ scopes, token, once, want string }{
		{"chat:write,channels:history", token, "true", ""},
		{"", token, "", ""},
		{"channels:read", token, "", "scope chat:write"},
		{"chat:write", token, "true", "channels:history"},
		{"", "xoxb-other", "", "does not know the token"},
	} {
		cfg, s, _ := world(t)
		s.scopes = tc.scopes
		cfg["token"], cfg["exactly_once"] = tc.token, tc.once == "true"
		cfg["routes"] = routes(map[string]any{"events": []string{"*"}, "channel": "C024BE91L"})
		resp, err := configured(t, cfg).Check(t.Context(), &pluginpb.CheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(resp.GetDiagnostics()); (tc.want == "") != (len(resp.GetDiagnostics()) == 0) || !strings.Contains(got, tc.want) {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestANetworkFaultIsTriedAgainAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hanging.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, address := range map[string]string{"refused": gone.URL, "slow": hanging.URL} {
		for _, way := range []string{"token", "webhook_url"} {
			cfg, _, _ := world(t)
			cfg["timeout"], cfg["api_url"] = "100ms", address
			if way == "webhook_url" {
				delete(cfg, "token")
				cfg["webhook_url"], cfg["routes"] = address+"/services/canary", routes(map[string]any{"events": []string{"*"}})
			}
			h := configured(t, cfg)
			v := h.apply(happened("1", "tenant.created", `{}`))
			if v.GetKind() != pluginpb.Verdict_KIND_RETRY || strings.Contains(v.GetReason()+h.log.String(), "canary") {
				t.Errorf("%s by %s: %v", name, way, v)
			}
		}
	}
}
