package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestRow9_WhatSomebodyEditedIsFoundAndReportedHealedOrLeft(t *testing.T) {
	t.Parallel()
	edits := map[string]func(d stripefake.Dashboard, sub string){
		"price":    func(d stripefake.Dashboard, sub string) { d.SetItem(sub, 0, "price_other", 1) },
		"quantity": func(d stripefake.Dashboard, sub string) { d.SetItem(sub, 1, "", 50) },
		"cancel":   func(d stripefake.Dashboard, sub string) { d.Cancel(sub, true) },
		"pause":    func(d stripefake.Dashboard, sub string) { d.Pause(sub, "keep_as_draft") },
		"items":    func(d stripefake.Dashboard, sub string) { d.AddItem(sub, "price_other", 1) },
	}
	for field, edit := range edits {
		for _, policy := range []string{"report", "heal", "ignore"} {
			t.Run(field+" "+policy, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) {
					cfg["drift"] = map[string]any{"every": "0s", field: policy}
				})
				org := r.paying("t1")
				before := r.sub("t1")
				r.fake.Dashboard(func(d stripefake.Dashboard) { edit(d, before.ID) })
				edited := r.sub("t1")
				found, err := comparison{c: r.wide, heal: true}.run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, x := range found.Differences {
					got = append(got, x.Tenant+" "+x.Field+" "+x.Action)
				}
				switch policy {
				case "report":
					equal(t, "found", got, []string{"t1 " + field + " reported"})
					equal(t, "subscription", r.sub("t1"), edited)
				case "heal":
					equal(t, "found", got, []string{"t1 " + field + " healed"})
					equal(t, "subscription", r.sub("t1"), before)
				default:
					equal(t, "found", got, nil)
					equal(t, "subscription", r.sub("t1"), edited)
				}
				// An event that changes something else does to it what the policy says,
				// and a change of its own overrules it.
				org.Status = "suspended"
				if field != "pause" {
					r.tell(org)
					now := r.sub("t1")
					now.Pause, now.Metadata = edited.Pause, edited.Metadata
					if policy == "heal" {
						edited = before
						now.Metadata = edited.Metadata
						now.Pause = ""
					}
					equal(t, "what an event about something else leaves", now, edited)
				}
			})
		}
	}
}

func TestRow9_WhatSomebodyEndedIsReportedAndNotBoughtAgainUnasked(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	mine := r.sub("t1").ID
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.Cancel(mine, false) })
	found, err := comparison{c: r.wide, heal: true}.run(t.Context())
	if err != nil || len(found.Differences) != 1 || found.Differences[0].Field != "cancel" {
		t.Fatalf("found %+v %v", found, err)
	}
	for n := range int64(2) { // more people, twice
		seats(&org, 4+n)
		r.tell(org)
		if st := r.state("t1"); st.Finding == nil || st.Finding.Code != "cancelled_elsewhere" || st.Status != "ended in Stripe" {
			t.Fatalf("remembered is %+v", st)
		}
	}
	equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×3", "ended"})
	org.Plan = "starter" // another plan is a new decision
	r.tell(org)
	equal(t, "what is paid for", r.sub("t1").Sold, "starter×1")
	// What this connector ended is no news.
	r.settled(r.deliver(r.event("tenant.deleted", "t1", nil)))
	if found, err = (comparison{c: r.wide}).run(t.Context()); err != nil || slices.ContainsFunc(found.Differences, func(d difference) bool { return d.Tenant != "t1" }) || len(found.Differences) > 1 {
		t.Errorf("found %+v %v", found, err)
	}
}

func TestRow11_TheOldestCountsAndTheRestIsReported(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	mine := map[string]string{"avhub_tenant": "t1"}
	ours := map[string]string{"avhub_tenant": "t1", "avhub_role": "plan"}
	var first, second, oldest string
	r.fake.Dashboard(func(d stripefake.Dashboard) {
		first = d.AddCustomer("Acme", "t1@example.com", mine)
		oldest = d.AddSubscription(first, "price_starter", 1, ours)
	})
	r.fake.Advance(time.Minute)
	r.fake.Dashboard(func(d stripefake.Dashboard) {
		second = d.AddCustomer("Acme", "t1@example.com", mine)
		d.AddSubscription(first, "price_other", 1, ours)
		d.AddSubscription(first, "price_other", 1, nil) // foreign: nobody's business
	})
	org := r.company("t1")
	org.Plan = "pro"
	r.tell(org)
	if st := r.state("t1"); st.Customer != first || st.Subscription != oldest || st.Finding == nil || !strings.Contains(st.Finding.Text, second) {
		t.Errorf("remembered is %+v", st)
	}
	var sold []string
	for _, s := range r.fake.Subscriptions() {
		sold = append(sold, s.Sold)
	}
	equal(t, "subscriptions", sold, []string{"pro×1 seat×1", "other×1", "other×1"})
	if !strings.Contains(r.logs.String(), "several_subscriptions") {
		t.Error("the log says nothing of the second subscription")
	}
	found, err := comparison{c: r.wide, heal: true}.run(t.Context())
	if err != nil || len(found.Differences) != 1 || found.Differences[0].Field != "several" {
		t.Errorf("found %+v %v", found, err)
	}
}

func TestRow12_ARevokedKeyStopsEverythingOnceAndLosesNothing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403} {
		r := newRig(t, nil)
		org := r.paying("t1")
		r.fake.Fail(stripefake.Fault{Status: status, Type: "invalid_request_error", Message: "no", Times: 1})
		org.Plan = "starter"
		ev := r.event("tenant.updated", "t1", &org)
		r.want(r.deliver(ev), halted, fmt.Sprint(status))
		if n := strings.Count(r.logs.String(), `"@level":"error"`) + strings.Count(r.logs.String(), `"level":"ERROR"`); n != 1 {
			t.Errorf("%d alerts in the log:\n%s", n, r.logs)
		}
		r.settled(r.deliver(ev)) // with another key
		equal(t, "what is paid for", r.sub("t1").Sold, "starter×1")
	}
}

func TestRow13_ASubscriptionUnderAScheduleIsLeftOrReleased(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"skip", "release"} {
		r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) {
			cfg["drift"] = map[string]any{"every": "0s", "schedule": policy}
		})
		org := r.paying("t1")
		mine := r.sub("t1").ID
		r.fake.Dashboard(func(d stripefake.Dashboard) { d.Schedule(mine) })
		org.Plan = "starter"
		r.tell(org)
		st, want := r.state("t1"), "pro×1 seat×3"
		if policy == "release" {
			want = "starter×1"
		}
		equal(t, policy+": what is paid for", r.sub("t1").Sold, want)
		if st.Finding == nil || st.Finding.Code != "under_schedule" {
			t.Errorf("%s: remembered is %+v", policy, st)
		}
	}
}

func TestRow14_SeatsAreRationedAndCoalesced(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["coalesce"] = "30s" })
	org := r.paying("t1")
	n := r.mark()
	for i := range int64(5) {
		seats(&org, 10+i)
		v := r.deliver(r.event("license.assigned", "t1", &org))
		if r.want(v, retried); !v.GetThrottled() || v.GetRetryAfterMs() > lookAgain.Milliseconds() {
			t.Errorf("it waits for %d ms", v.GetRetryAfterMs())
		}
	}
	equal(t, "requests within the 30 seconds", r.requests(n), nil)
	r.fake.Advance(31 * time.Second)
	r.tell(org)
	equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×3", "pro×1 seat×3 → pro×1 seat×14"})
	// Something else than seats does not wait.
	seats(&org, 20)
	org.Status = "suspended"
	r.tell(org)
	equal(t, "pause", r.sub("t1").Pause, "void")
}

func TestRow14_ASuspensionDoesNotWaitWithSeats(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["coalesce"] = "1h" })
	org := r.paying("t1")
	seats(&org, 9)
	ev := r.event("license.assigned", "t1", &org)
	v := r.deliver(ev)
	r.want(v, retried, "seats")
	// Its event stands behind, and is not delivered before the time that was asked
	// for; then the tenant comes as it stands.
	org.Status = "suspended"
	wait := time.Duration(v.GetRetryAfterMs()) * time.Millisecond
	if wait > 5*time.Second {
		t.Errorf("it comes after %v", wait)
	}
	r.fake.Advance(wait)
	ev.Entities = r.event("tenant.suspended", "t1", &org).Entities
	n := r.mark()
	r.settled(r.deliver(ev))
	if s := r.sub("t1"); s.Pause != "void" || s.Sold != "pro×1 seat×9" || r.writes(n) != 1 {
		t.Errorf("after %d requests it is %+v", r.writes(n), s)
	}
}

func TestRow14_AfterTwoHundredChangesOfSeatsAnHourItWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	for n := int64(1); ; n++ {
		if n > maxQuantityWrites {
			t.Fatal("it goes on after 200 changes within the hour")
		}
		seats(&org, 10+n)
		v := r.deliver(r.event("license.assigned", "t1", &org))
		if v.GetKind() == retried {
			r.want(v, retried, "200")
			if n != maxQuantityWrites {
				t.Errorf("it waits after %d", n)
			}
			break
		}
		r.settled(v)
		r.fake.Advance(time.Second)
	}
	if n := len(r.states["tenant:t1"]); n > 8<<10 {
		t.Errorf("the state has %d bytes", n)
	}
	r.fake.Advance(time.Hour)
	r.tell(org)
}

func TestRow14_WhereNoMoreInvoicesAreMadeTheChangeComesWithTheNext(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["proration"] = "always_invoice" })
	org := r.paying("t1")
	invoices := r.sub("t1").Invoices
	for n := range int64(14) {
		seats(&org, 10+n)
		r.tell(org)
	}
	if made := r.sub("t1").Invoices - invoices; made != maxInvoicesPerMinute {
		t.Errorf("%d invoices within a minute", made)
	}
	if st := r.state("t1"); st.Finding == nil || st.Finding.Code != "invoice_ration" {
		t.Errorf("remembered is %+v", st)
	}
	for range 3 {
		r.fake.Advance(2 * time.Minute)
		for range 10 {
			org.Licenses[0].Count++
			r.tell(org)
		}
	}
	if made := r.sub("t1").Invoices - invoices; made != maxInvoicesPerDay {
		t.Errorf("%d invoices within a day", made)
	}
	equal(t, "seats", r.sub("t1").Sold, fmt.Sprintf("pro×1 seat×%d", org.Licenses[0].Count))
}

func TestRow15_AMappingThatWouldEndEverythingIsStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for i := range 12 {
		r.paying(fmt.Sprintf("t%d", i))
	}
	r.fake.Advance(10 * time.Minute)
	var halt *pluginpb.Verdict
	ended := 0
	for i := range 12 {
		org := r.company(fmt.Sprintf("t%d", i))
		if v := r.deliver(r.event("tenant.updated", org.TenantID, &org)); v.GetKind() == halted {
			halt = v
			break
		}
		ended++
		if i == 2 {
			r.restart() // which must not make it forget
		}
	}
	if halt == nil || ended != leastCancels {
		t.Fatalf("%d subscriptions end, %v", ended, halt)
	}
	r.want(halt, halted, "max_cancels", "more than 5")
	n := r.mark()
	r.restart()
	org := r.company("t11")
	r.want(r.deliver(r.event("tenant.updated", "t11", &org)), halted)
	if r.writes(n) != 0 {
		t.Error("something was changed after all")
	}
	r.cfg["max_cancels"] = 100 // the operator means it
	r.restart()
	r.tell(org)
	if !r.sub("t11").CancelAtEnd {
		t.Error("it goes on")
	}
}

func TestRow15_TwoInAHundredMayEnd(t *testing.T) {
	t.Parallel()
	g := &cancelGuard{seeded: true, base: 1000, counted: true, now: time.Now}
	for n := range 21 {
		if err := g.allow(t.Context()); (err != nil) != (n == 20) {
			t.Errorf("after %d: %v", n, err)
		}
	}
}

func TestRow16_ALiveKeyAndAnotherAccountAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	live := "sk_live_canaryOfTheTests"
	r.cfg["api_key"] = live
	if diags := r.configure(); !strings.Contains(diags, "api_key: is a live key, which moves real money; use a test key, or set allow_live: true") {
		t.Errorf("it says %q", diags)
	}
	// Another account, with the same tenants remembered.
	other := stripefake.New(stripefake.Options{Prices: sortiment(), Account: "acct_other"})
	r.cfg["api_key"], r.cfg["api_url"] = testKey, serve(t, other)
	r.restart()
	org.Plan = "starter"
	r.want(r.deliver(r.event("tenant.updated", "t1", &org)), halted, "acct_other", "acct_fake")
	fresh := r.company("t2")
	r.cfg["account"] = "acct_fake"
	r.restart()
	r.want(r.deliver(r.event("tenant.updated", "t2", &fresh)), halted, "acct_other", "acct_fake")
	for _, req := range other.Requests() {
		if req.Method != "GET" {
			t.Errorf("%s %s was sent to the other account", req.Method, req.Path)
		}
	}
}

func TestRow17_NoItemIsChangedWithoutItsID(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	for _, p := range []string{"enterprise", "starter", "pro", "enterprise"} {
		org.Plan = p
		seats(&org, int64(len(p)))
		r.tell(org)
	}
	for _, req := range r.fake.Requests() {
		if req.Operation() != "POST /v1/subscriptions/{id}" {
			continue
		}
		for i := 0; req.Form.Has(fmt.Sprintf("items[%d][price]", i)); i++ {
			if !req.Form.Has(fmt.Sprintf("items[%d][id]", i)) && req.Form.Get(fmt.Sprintf("items[%d][price]", i)) != "price_seat" {
				t.Errorf("an item without an id in %v", req.Form)
			}
		}
	}
	equal(t, "items", r.sub("t1").Sold, "enterprise×1 seat×10")
}
