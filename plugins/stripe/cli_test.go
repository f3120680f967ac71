package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
)

// shell runs verbs against a rig's Stripe, with a hub's configuration.
func (r *rig) shell(input string, args ...string) (code int, out, errOut string) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "avhub.yaml")
	hub := map[string]any{"plugins": []any{map[string]any{"name": "audit", "command": []any{"./bin/other"}},
		map[string]any{"name": "billing", "command": []any{"./bin/avhub-stripe"}, "config": r.cfg}}}
	if err := os.WriteFile(file, asJSON(r.t, hub), 0o600); err != nil {
		r.t.Fatal(err)
	}
	var o, e bytes.Buffer
	code = command(r.t.Context(), append(append([]string{"avhub-stripe"}, args...), "--config", file), strings.NewReader(input), &o, &e)
	return code, o.String(), e.String()
}

func TestPreviewShowsWhatWouldBeDoneAndWhatItCosts(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	n := r.mark()
	org.Plan, org.UpdatedAt = "enterprise", r.fake.Now().Add(time.Minute)
	hub := asJSON(t, map[string]any{"tenant_id": "t2", "name": "New", "plan": "pro", "status": "active", "owner_email": "t2@example.com",
		"with": map[string]any{"licenses": map[string]any{"data": []any{map[string]any{"assignment_id": "a", "license_type_id": "lt", "status": "active"},
			map[string]any{"assignment_id": "b", "license_type_id": "lt", "status": "revoked"}}, "total": 2, "more": false}}})
	unknown := r.company("t3")
	unknown.Plan = "platinum"
	input := string(asJSON(t, org)) + "\n[" + string(hub) + "," + string(asJSON(t, unknown)) + "]"
	code, out, errOut := r.shell(input, "preview")
	if code != 0 {
		t.Fatalf("%d %s", code, errOut)
	}
	for _, want := range []string{"update subscription", "price_enterprise×1 instead of price_pro×1", "EUR", "create customer", "create subscription", "unmapped_plan"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	code, out, errOut = r.shell(string(asJSON(t, org)), "preview", "--json")
	var all []previewed
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all) != 1 || len(all[0].Do) != 1 || all[0].Do[0].Next == nil {
		t.Fatalf("%d %s %s %v", code, out, errOut, err)
	}
	if r.writes(n) != 0 {
		t.Error("preview changed something")
	}
	// The very request is what is sent then.
	r.tell(org)
	last := r.fake.Requests()[r.mark()-1]
	for _, kv := range all[0].Do[0].Form {
		if kv[0] != "metadata[avhub_revision]" && last.Form.Get(kv[0]) != kv[1] {
			t.Errorf("%s is %q, and preview said %q", kv[0], last.Form.Get(kv[0]), kv[1])
		}
	}
}

func TestShowDriftAndAdopt(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(_ map[string]any, o *stripefake.Options) { o.SearchLag = 0 })
	r.paying("t1")
	if code, out, _ := r.shell("", "drift"); code != 0 || !strings.Contains(out, "1 subscriptions of 1 tenants are as they were set") {
		t.Errorf("%d %s", code, out)
	}
	mine := r.sub("t1").ID
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.SetItem(mine, 1, "", 50) })
	if code, out, _ := r.shell("", "drift"); code != 1 || !strings.Contains(out, "t1") || !strings.Contains(out, "quantity") {
		t.Errorf("%d %s", code, out)
	}
	code, out, _ := r.shell("", "show", "t1")
	for _, want := range []string{"t1@example.com", "/customers/cus_", "price_seat×50", "quantity: it has 50"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, it does not say %q:\n%s", code, want, out)
		}
	}
	r.cfg["drift"] = map[string]any{"quantity": "heal"}
	if code, out, errOut := r.shell("", "drift", "--heal", "--json"); code != 0 || !strings.Contains(out, `"healed"`) {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×3")

	var cus, sub string
	r.fake.Dashboard(func(d stripefake.Dashboard) {
		cus = d.AddCustomer("By hand", "hand@example.com", nil)
		sub = d.AddSubscription(cus, "price_starter", 1, nil)
	})
	n := r.mark()
	adopt := []string{"adopt", "--tenant", "t7", "--customer", cus, "--subscription", sub}
	if code, out, errOut := r.shell("", adopt...); code != 0 || !strings.Contains(out, "add --yes") || r.writes(n) != 0 {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	if code, out, errOut := r.shell("", append(adopt, "--yes")...); code != 0 {
		t.Fatalf("%d %s %s", code, out, errOut)
	}
	org := r.company("t7")
	org.Plan, org.OwnerEmail = "pro", "hand@example.com"
	r.tell(org)
	if s := r.sub("t7"); s.ID != sub || s.Sold != "pro×1 seat×1" {
		t.Errorf("it has %+v", s)
	}
	if code, _, errOut := r.shell("", "adopt", "--tenant", "t8", "--customer", cus); code != 1 || !strings.Contains(errOut, "of tenant t7") {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestWrongUseOfTheVerbsIsSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, tc := range []struct {
		input string
		args  []string
		code  int
		says  string
	}{
		{"", []string{"show"}, 2, "the tenant's id"},
		{"", []string{"show", "nobody"}, 1, "no customer in Stripe is marked"},
		{"", []string{"adopt", "--tenant", "t1"}, 2, "--customer cus_…"},
		{"", []string{"adopt", "--tenant", "t1", "--customer", "cus_nobody"}, 1, "has no customer cus_nobody"},
		{"no json", []string{"preview"}, 1, "it is no JSON"},
		{`{"name": "x"}`, []string{"preview"}, 1, "lacks tenant_id"},
		{`{"tenant_id":"t","with":{"licenses":{"data":[],"more":true}}}`, []string{"preview"}, 1, "more than the 100 licenses"},
		{"", []string{"preview"}, 1, "there are none"},
		{"", []string{"drift", "--plugin", "other"}, 1, "there is no plugin other"},
		{"", []string{"drift", "--what"}, 2, "unknown flag"},
	} {
		code, _, errOut := r.shell(tc.input, tc.args...)
		if code != tc.code || !strings.Contains(errOut, tc.says) || strings.Contains(errOut, testKey) {
			t.Errorf("%v: %d %s", tc.args, code, errOut)
		}
	}
	t.Run("fake", func(t *testing.T) {
		var out bytes.Buffer
		for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"--price", "pro"}, {"--price", "pro=1.234"}} {
			if code := command(t.Context(), append([]string{"avhub-stripe", "fake"}, args...), strings.NewReader(""), &out, &out); code != 2 {
				t.Errorf("%v: %d %s", args, code, out.String())
			}
		}
		out.Reset()
		if code := command(t.Context(), []string{"avhub-stripe", "fake", "--leash"}, strings.NewReader(""), &out, &out); code != 0 || !strings.HasPrefix(out.String(), "http://127.0.0.1:") {
			t.Errorf("%d %s", code, out.String())
		}
	})
}

func TestAConfigurationIsRefusedInClearWords(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	plans := func(p map[string]any) map[string]any { return map[string]any{"plans": p} }
	for says, set := range map[string]map[string]any{
		"plans.pro: has no price; set price or lookup_key":                                          plans(map[string]any{"pro": map[string]any{}}),
		"plans.pro: is the price of plan gold, too":                                                 plans(map[string]any{"gold": map[string]any{"lookup_key": "a"}, "pro": map[string]any{"lookup_key": "a"}}),
		"plans.pro: has seats at the price of plan gold":                                            plans(map[string]any{"gold": map[string]any{"seat_lookup_key": "s"}, "pro": map[string]any{"lookup_key": "a", "seat_lookup_key": "s"}}),
		"plans.free: is in free.plans, too":                                                         plans(map[string]any{"free": map[string]any{"lookup_key": "a"}}),
		"plans: is missing":                                                                         plans(nil),
		"licenses.lt: is the price of plan pro, too":                                                {"plans": map[string]any{"pro": map[string]any{"price": "price_1"}}, "licenses": map[string]any{"lt": map[string]any{"price": "price_1"}}},
		"licenses.lt: is free and has a price":                                                      {"licenses": map[string]any{"lt": map[string]any{"lookup_key": "z", "free": true}}},
		"api_key: is a live key, which moves real money":                                            {"api_key": "rk_live_canary12345"},
		"api_key: is a publishable key":                                                             {"api_key": "pk_test_canary12345"},
		"api_key: is no key of Stripe's":                                                            {"api_key": "canary12345"},
		"free.policy: is not allowed; it takes one of cancel_at_period_end, cancel_now, zero_price": {"free": map[string]any{"policy": "never"}},
		"suspended: is not allowed":                                                                 {"suspended": "shrug"},
		"free: has no price; zero_price needs":                                                      {"free": map[string]any{"policy": "zero_price"}},
		"api_url: would send the key in the clear":                                                  {"api_url": "http://stripe.example.com"},
		"metrics_listen: is no address on this machine":                                             {"metrics_listen": "0.0.0.0:1"},
		"plan_from[1]: is there already":                                                            {"plan_from": []string{"licenses", "licenses"}},
	} {
		was := r.cfg
		r.cfg = with(was, set)
		diags := r.configure()
		r.cfg = was
		if !strings.Contains(diags, says) || strings.Contains(diags, "canary") {
			t.Errorf("it does not say %q but %q", says, diags)
		}
	}
}

func TestMetricsAreShownOnThisMachine(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	m.request("get customer", 200, 0)
	m.finding(finding{Code: "card_declined"})
	m.tenant("changed")
	next := newMetrics()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	stop, err := m.expose(addr)
	if err != nil {
		t.Fatal(err)
	}
	again, err := next.expose(addr) // the next configuration takes over
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	next.request("list prices", 429, 0)
	text := fetch(t, "http://"+addr+"/metrics")
	if !strings.Contains(text, `avhub_stripe_requests_total{operation="list prices",outcome="429"} 1`) || strings.Contains(text, "card_declined") {
		t.Errorf("shown is\n%s", text)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
}
