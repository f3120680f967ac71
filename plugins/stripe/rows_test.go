package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// The rows of the table of failures in docs/stripe.md, by number. Row 1 is in
// kill_test.go, too, with processes that are killed.

const (
	applied  = pluginpb.Verdict_KIND_APPLIED
	skipped  = pluginpb.Verdict_KIND_SKIPPED
	retried  = pluginpb.Verdict_KIND_RETRY
	rejected = pluginpb.Verdict_KIND_REJECT
	halted   = pluginpb.Verdict_KIND_HALT
	again    = pluginpb.Verdict_KIND_AGAIN
)

// paying is a tenant with three seats on pro.
func (r *rig) paying(id string) plugin.Organization {
	r.t.Helper()
	org := r.company(id)
	org.Plan = "pro"
	seats(&org, 3)
	r.tell(org)
	return org
}

func lost(operation string) stripefake.Fault {
	return stripefake.Fault{Match: stripefake.On(operation), AfterEffect: true, Cut: true}
}

func TestRow1_WhatWasIntendedLongAgoIsLookedForAndNotMadeTwice(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"POST /v1/customers", "POST /v1/subscriptions"} {
		for _, reached := range []bool{true, false} {
			r := newRig(t, nil)
			org := r.company("t1")
			org.Plan = "pro"
			f := lost(operation)
			f.AfterEffect = reached
			r.fake.Fail(f)
			ev := r.event("tenant.updated", "t1", &org)
			r.want(r.deliver(ev), retried)
			r.restart()
			r.fake.Advance(25 * time.Hour) // Stripe has forgotten the key
			r.settled(r.deliver(ev))
			equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×1"})
			if n := len(r.customers("t1")); n != 1 {
				t.Errorf("%s, reached %v: %d customers", operation, reached, n)
			}
		}
	}
}

func TestRow2_EventsAgainOutOfOrderOrReplayedChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.company("t1")
	org.Plan = "pro"
	var events []*pluginpb.Event
	for n := range int64(4) {
		seats(&org, n+1)
		events = append(events, r.event("license.assigned", "t1", &org))
		r.settled(r.deliver(events[n]))
	}
	want, n := r.fake.Subscriptions(), r.mark()
	for _, ev := range slices.Backward(events) {
		ev.Entities = events[3].Entities // rows come as they stand
		for _, replay := range []bool{false, true} {
			ev.Replay = replay
			r.settled(r.deliver(ev))
		}
	}
	equal(t, "subscriptions", r.fake.Subscriptions(), want)
	if w := r.writes(n); w != 0 {
		t.Errorf("%d requests changed something: %v", w, r.requests(n))
	}
	// A hub that knows less must not win either.
	old := events[0]
	old.Replay = false
	old.Entities = r.event("license.assigned", "t1", &org).Entities
	stale := org
	seats(&stale, 1)
	stale.UpdatedAt = r.fake.Now().Add(-time.Hour)
	old.Entities[0].Json = asJSON(t, stale)
	r.want(r.deliver(old), skipped, "newer events")
	delete(r.states, "tenant:t1")
	r.want(r.deliver(old), skipped, "newer events")
	equal(t, "subscriptions after stale rows", r.fake.Subscriptions(), want)
}

func TestRow3_ThereAndBackAndThereAgainAreFourChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	for _, p := range []string{"starter", "pro", "starter", "pro"} {
		r.fake.Advance(time.Hour)
		org.Plan = p
		r.tell(org)
	}
	equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×3", "pro×1 seat×3 → starter×1", "starter×1 → pro×1 seat×3",
		"pro×1 seat×3 → starter×1", "starter×1 → pro×1 seat×3"})
}

func TestRow3_CancelledAndBoughtAgainWithinADayIsAnotherSubscription(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["free"] = map[string]any{"policy": "cancel_now"} })
	org := r.paying("t1")
	for _, p := range []string{"free", "pro", "free", "pro"} {
		org.Plan = p
		r.tell(org)
	}
	equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×3", "ended", "created pro×1 seat×3", "ended", "created pro×1 seat×3"})
	// Without what it remembered, too, it must find what runs.
	delete(r.states, "tenant:t1")
	org.Plan = "starter"
	r.fake.Advance(3 * time.Minute)
	r.tell(org)
	equal(t, "what is paid for", r.sub("t1").Sold, "starter×1")
}

// A replay sends no revision, so that equal changes have equal parameters: only
// their keys tell them apart.
func TestRow3_EqualChangesOnReplayHaveKeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) {
		cfg["drift"] = map[string]any{"every": "0s", "quantity": "heal", "cancel": "heal"}
	})
	org := r.paying("t1")
	replay := func() {
		t.Helper()
		r.fake.Advance(time.Minute)
		ev := r.event("tenant.updated", "t1", &org)
		ev.Replay = true
		r.settled(r.deliver(ev))
	}
	want := []string{"created pro×1 seat×3"}
	for range 3 {
		mine := r.sub("t1").ID
		r.fake.Dashboard(func(d stripefake.Dashboard) { d.SetItem(mine, 1, "", 50) })
		replay()
		want = append(want, "by hand: pro×1 seat×50", "pro×1 seat×50 → pro×1 seat×3")
	}
	for range 3 {
		mine := r.sub("t1").ID
		r.fake.Dashboard(func(d stripefake.Dashboard) { d.Cancel(mine, false) })
		replay()
		want = append(want, "ended", "created pro×1 seat×3")
	}
	equal(t, "history", r.fake.History("t1"), want)
	for _, req := range r.fake.Requests() {
		if req.Replayed {
			t.Errorf("Stripe took %s for one that it had answered before", req.Operation())
		}
	}
}

func TestRow4_TooManyRequestsWaitLongerEachTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	r.fake.Fail(stripefake.Fault{Status: 429, Type: "invalid_request_error", Code: "lock_timeout", Times: 8})
	org.Plan = "starter"
	ev := r.event("tenant.updated", "t1", &org)
	for i := range 8 {
		v := r.deliver(ev)
		r.want(v, retried, "429")
		low, high := shortestBackoff<<i/2, shortestBackoff<<i
		if i >= 7 {
			low, high = longestBackoff/2, longestBackoff
		}
		if d := time.Duration(v.GetRetryAfterMs()) * time.Millisecond; !v.GetThrottled() || d < low-time.Millisecond || d > high {
			t.Errorf("refusal %d: wait for %v (throttled %v), want %v to %v", i+1, d, v.GetThrottled(), low, high)
		}
	}
	r.settled(r.deliver(ev))
	if n := r.state("t1").Refused; n != 0 {
		t.Errorf("%d refusals are remembered", n)
	}
	// The limit of the account: nobody sends anything for a while.
	r.fake.Fail(stripefake.Fault{Status: 429, Code: "rate_limit", Type: "invalid_request_error", RetryAfter: "3"})
	org.Plan = "pro"
	v := r.deliver(r.event("tenant.updated", "t1", &org))
	if r.want(v, retried); v.GetRetryAfterMs() < 3000 || !v.GetThrottled() {
		t.Errorf("it waits for %d ms although Stripe asked for 3 s", v.GetRetryAfterMs())
	}
	n := r.mark()
	other := r.company("t2")
	r.want(r.deliver(r.event("tenant.created", "t2", &other)), retried, "asked to wait")
	equal(t, "requests while Stripe is left alone", r.requests(n), nil)
}

func TestRow5_AKeyStandsForOneSetOfParameters(t *testing.T) {
	t.Parallel()
	keys := map[string]string{}
	for _, account := range []string{"acct_1", "acct_2"} {
		for _, tenant := range []string{"t1", strings.Repeat("long/tenant id ", 60)} {
			for n := range int64(3) {
				for attempt := range 2 {
					for q := range int64(3) {
						o := createOp("cus_1", desired{Tenant: tenant, Terms: terms{Collection: "send_invoice", DaysUntilDue: 30}}, []sold{{Price: "price_a", Quantity: q}})
						key := keyOf(account, o, tenant, n, attempt)
						what := fmt.Sprint(account, tenant, n, attempt, o.encoded())
						if other, taken := keys[key]; taken && other != what {
							t.Fatalf("%s stands for %s and for %s", key, what, other)
						}
						keys[key] = what
						if len(key) > 255 || strings.Contains(key, "tenant id") {
							t.Fatalf("the key %s", key)
						}
					}
				}
			}
		}
	}
	if len(keys) != 72 {
		t.Errorf("%d keys", len(keys))
	}
	// Should Stripe say so nevertheless, another key is tried.
	r := newRig(t, nil)
	org := r.company("t1")
	r.fake.Fail(stripefake.Fault{Match: stripefake.On("POST /v1/customers"), Status: 400, Type: "idempotency_error"})
	ev := r.event("tenant.created", "t1", &org)
	r.want(r.deliver(ev), retried)
	r.settled(r.deliver(ev))
	if n := len(r.customers("t1")); n != 1 {
		t.Errorf("%d customers", n)
	}
}

func TestRow6_WhatWasCutOffIsLookedAtBeforeItIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"POST /v1/customers", "POST /v1/subscriptions", "POST /v1/subscriptions/{id}", "DELETE /v1/subscriptions/{id}"} {
		for name, f := range map[string]stripefake.Fault{
			"cut after the effect":  lost(operation),
			"cut before the effect": {Match: stripefake.On(operation), Cut: true},
			"500 after the effect":  {Match: stripefake.On(operation), AfterEffect: true, Status: 500},
			"500 that is stored":    {Match: stripefake.On(operation), Saved: true, Status: 500},
		} {
			t.Run(operation+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["free"] = map[string]any{"policy": "cancel_now"} })
				r.fake.Fail(f)
				org := r.company("t1")
				tries := 0
				for i, p := range []string{"free", "pro", "starter", "free"} {
					org.Plan = p
					ev := r.event("tenant.updated", "t1", &org)
					for r.deliver(ev).GetKind() == retried {
						if tries++; tries > 3 {
							t.Fatalf("step %d does not end: %v", i, r.requests(0))
						}
					}
				}
				if tries == 0 {
					t.Error("nothing went wrong")
				}
				equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×1", "pro×1 seat×1 → starter×1", "ended"})
				if n := len(r.customers("t1")); n != 1 {
					t.Errorf("%d customers", n)
				}
			})
		}
	}
}

func TestRow7_ADeclinedCardIsAFindingAndNoLoop(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["collection"] = "charge_automatically" })
	org := r.company("t1")
	r.tell(org)
	customer := r.customers("t1")[0].ID
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.Decline(customer, "insufficient_funds") })
	org.Plan = "pro"
	r.tell(org)
	if st := r.state("t1"); st.Finding == nil || st.Finding.Code != "card_declined" || st.Pending != nil {
		t.Errorf("remembered is %+v", st)
	}
	n := r.mark()
	r.tell(org)
	equal(t, "requests of the same again", r.requests(n), nil)
	// The card is good again, and an operator replays.
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.Decline(customer, "") })
	ev := r.event("tenant.updated", "t1", &org)
	ev.Replay = true
	r.settled(r.deliver(ev))
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×1")
	if st := r.state("t1"); st.Finding != nil {
		t.Errorf("the finding is still there: %+v", st.Finding)
	}
	// No way to pay is the same kind of news.
	r.fake.Fail(stripefake.Fault{Match: stripefake.On("POST /v1/subscriptions"), Status: 400, Type: "invalid_request_error", Code: "resource_missing",
		Message: "This customer has no attached payment source or default payment method."})
	other := r.company("t2")
	other.Plan = "pro"
	r.tell(other)
	if st := r.state("t2"); st.Finding == nil || st.Finding.Code != "no_payment_method" {
		t.Errorf("remembered is %+v", st)
	}
}

func TestRow8_ACustomerDeletedInStripeIsMadeAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	for _, plan := range []string{"starter", "pro"} { // twice within a day
		first := r.customers("t1")[0].ID
		r.fake.Dashboard(func(d stripefake.Dashboard) { d.DeleteCustomer(first) })
		org.Plan = plan
		r.tell(org)
		if now := r.customers("t1"); len(now) != 1 || now[0].ID == first || r.sub("t1").Customer != now[0].ID {
			t.Fatalf("customers %+v", now)
		}
	}
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×3")
	// It vanishes between a look and the next request.
	other := r.company("t2")
	r.tell(other)
	gone := r.customers("t2")[0].ID
	other.Plan = "pro"
	ev := r.event("tenant.updated", "t2", &other)
	v, err := r.once(r.client, ev) // notes the intent
	if err != nil || v.GetKind() != pluginpb.Verdict_KIND_AGAIN {
		t.Fatalf("%v %v", v, err)
	}
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.DeleteCustomer(gone) })
	r.settled(r.deliver(ev))
	if now := r.customers("t2"); len(now) != 1 || now[0].ID == gone || r.sub("t2").Customer != now[0].ID {
		t.Errorf("customers %+v", now)
	}
}

func TestRow10_AnArchivedPriceIsLookedUpAgainOrRejectedByName(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.paying("t1")
	// The lookup key moves on to another price.
	r.fake.Dashboard(func(d stripefake.Dashboard) {
		d.ArchivePrice("price_pro")
		d.AddPrice(stripefake.Price{ID: "price_pro_2027", LookupKey: "pro", Amount: 5900})
	})
	other := r.company("t2")
	other.Plan = "pro"
	r.tell(other)
	equal(t, "state", r.state("t2").Items, []stateRow{{"price_pro_2027", 1}, {"price_seat", 1}})
	// Nothing can be had for it any more: by key, and by id.
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.ArchivePrice("price_pro_2027"); d.ArchivePrice("price_enterprise") })
	for tenant, plan := range map[string]string{"t3": "pro", "t4": "enterprise"} {
		org := r.company(tenant)
		org.Plan = plan
		ev := r.event("tenant.updated", tenant, &org)
		r.want(r.deliver(ev), rejected, "catalog_error", plan)
		if st := r.state(tenant); st.Pending != nil || st.Finding == nil || st.Finding.Code != "catalog_error" {
			t.Errorf("remembered of %s: %+v", tenant, st)
		}
	}
	equal(t, "history of the one that runs", r.fake.History("t1"), []string{"created pro×1 seat×3"})
	// It is put right, and the dead letter delivered again.
	r.fake.Dashboard(func(d stripefake.Dashboard) { d.AddPrice(stripefake.Price{ID: "price_pro_2028", LookupKey: "pro"}) })
	org := r.company("t3")
	org.Plan = "pro"
	r.tell(org)
	equal(t, "what is paid for", r.sub("t3").Sold, "pro×1 seat×1")
}
