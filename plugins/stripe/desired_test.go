package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// licensed sells license types instead of plans.
func licensed(cfg map[string]any, _ *stripefake.Options) {
	delete(cfg, "plans")
	cfg["licenses"] = map[string]any{
		"lt_pro": map[string]any{"lookup_key": "lic_pro"}, "Basic": map[string]any{"lookup_key": "lic_basic", "seats": "assigned"},
		"lt_trial": map[string]any{"free": true},
	}
}

// Today's sender tells no plan: what a tenant pays is in what it bought, and in
// what it gave out. The mirror calls such a tenant free.
func TestATenantWithoutAPlanPaysForItsLicenses(t *testing.T) {
	t.Parallel()
	r := newRig(t, licensed)
	org := r.company("t1")
	r.settled(r.deliver(r.event("tenant.created", "t1", &org)))
	// tenant.app.granted in its subscription form
	org.Subscriptions = []plugin.ActiveSubscription{{SubscriptionID: "s1", ApplicationID: "app_1", LicenseTypeID: "lt_pro", LicenseTypeName: "Pro", Quantity: 5, Status: "ACTIVE"}}
	r.settled(r.deliver(r.event("tenant.app.granted", "t1", &org)))
	equal(t, "bought", r.sub("t1").Sold, "lic_pro×5")
	seats(&org, 3) // of them, which changes nothing
	n := r.mark()
	r.settled(r.deliver(r.event("license.assigned", "t1", &org)))
	equal(t, "requests when a seat that was bought is given out", r.requests(n), nil)
	org.Subscriptions[0].Quantity = 12
	r.settled(r.deliver(r.event("tenant.app.granted", "t1", &org)))
	equal(t, "bought more", r.sub("t1").Sold, "lic_pro×12")

	// license.* alone, of two types, one of them known by its name
	other := r.company("t2")
	other.Licenses = []plugin.LicenseCount{{ApplicationID: "app_1", LicenseTypeID: "lt_1", LicenseTypeName: "Basic", Count: 2}}
	r.settled(r.deliver(r.event("license.assigned", "t2", &other)))
	equal(t, "given out", r.sub("t2").Sold, "lic_basic×2")
	other.Licenses = append(other.Licenses, plugin.LicenseCount{ApplicationID: "app_1", LicenseTypeID: "lt_pro", LicenseTypeName: "Pro", Count: 1},
		plugin.LicenseCount{ApplicationID: "app_1", LicenseTypeID: "lt_trial", LicenseTypeName: "Trial", Count: 9})
	r.settled(r.deliver(r.event("license.changed", "t2", &other)))
	equal(t, "given out", r.sub("t2").Sold, "lic_basic×2 lic_pro×1")
	other.Licenses = other.Licenses[1:2]
	r.settled(r.deliver(r.event("license.revoked", "t2", &other)))
	equal(t, "given out", r.sub("t2").Sold, "lic_pro×1")
	other.Licenses = nil
	r.settled(r.deliver(r.event("license.revoked", "t2", &other)))
	if s := r.sub("t2"); !s.CancelAtEnd {
		t.Errorf("nobody has a license, and %+v goes on", s)
	}
}

func TestTheFirstPlaceThatTellsAPlanCounts(t *testing.T) {
	t.Parallel()
	cfg := config{Plans: map[string]planConfig{"pro": {Price: "price_pro", SeatPrice: "price_seat"}, "gold": {Price: "price_gold"}},
		Licenses: map[string]licenseConfig{"lt_pro": {Price: "price_lic", Seats: "purchased"}, "lt_free": {Free: true}},
		Free:     freeConfig{Plans: []string{"free", "community"}}, EmailFrom: "settings.billing.email"}
	all := []string{"data.plan", "settings.plan", "subscription", "licenses"}
	bought := func(id string) func(*plugin.Organization) {
		return func(o *plugin.Organization) {
			o.Subscriptions = []plugin.ActiveSubscription{{ApplicationID: "app_1", LicenseTypeID: id, LicenseTypeName: "Named " + id, Quantity: 4}}
		}
	}
	for name, tc := range map[string]struct {
		from []string
		set  func(o *plugin.Organization)
		want string // from: plan price×n …; or the name that is not known
	}{
		"a plan":                           {all, func(o *plugin.Organization) { o.Plan = "pro" }, "data.plan: pro price_pro×1 price_seat×0"},
		"a plan counts before settings":    {all, func(o *plugin.Organization) { o.Plan, o.Settings = "pro", plan1("gold") }, "data.plan: pro price_pro×1 price_seat×0"},
		"another order":                    {[]string{"settings.plan", "data.plan"}, func(o *plugin.Organization) { o.Plan, o.Settings = "pro", plan1("gold") }, "settings.plan: gold price_gold×1"},
		"free where nobody told it":        {all, bought("lt_pro"), "subscription: lt_pro price_lic×4"},
		"free and nothing else":            {all, func(*plugin.Organization) {}, "data.plan: free"},
		"a free plan that somebody told":   {all, func(o *plugin.Organization) { o.Plan = "community"; bought("lt_pro")(o) }, "data.plan: community"},
		"only the plan":                    {[]string{"data.plan"}, bought("lt_pro"), "data.plan: free"},
		"a license that costs nothing":     {all, bought("lt_free"), "subscription: lt_free"},
		"the mirror has it from a license": {all, func(o *plugin.Organization) { bought("lt_pro")(o); o.Plan = "Named lt_pro" }, "subscription: lt_pro price_lic×4"},
		"an unknown plan":                  {all, func(o *plugin.Organization) { o.Plan = "platinum" }, "unmapped platinum"},
		"an unknown plan in settings":      {all, func(o *plugin.Organization) { o.Settings = plan1("platinum") }, "unmapped platinum"},
		"an unknown license type":          {all, bought("lt_new"), "unmapped Named lt_new"},
		"what was given out":               {all, func(o *plugin.Organization) { seats(o, 7) }, "licenses: lt_pro price_lic×7"},
		"no text where a plan should be": {all, func(o *plugin.Organization) {
			o.Settings = map[string]json.RawMessage{"plan": json.RawMessage(`{"x":[1]}`)}
		}, "data.plan: free"},
		"deleted": {all, func(o *plugin.Organization) { o.Plan, o.Status = "pro", "deleted" }, ": "},
	} {
		cfg.PlanFrom = tc.from
		org := plugin.Organization{TenantID: "t1", Plan: "free", Status: "active"}
		tc.set(&org)
		want, err := cfg.desire(org)
		got := want.From + ": " + want.Plan
		for _, l := range want.Lines {
			got += " " + l.Ref.String() + "×" + string('0'+rune(l.Quantity))
		}
		if errors.Is(err, errUnmapped) {
			got = "unmapped " + strings.Split(err.Error(), `"`)[1]
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	org := plugin.Organization{Settings: map[string]json.RawMessage{"billing": json.RawMessage(`{"email":"b@example.com"}`)}}
	if got := cfg.email(org); got != "b@example.com" {
		t.Errorf("the e-mail address is %q", got)
	}
}

func TestAnUnknownPlanIsRejectedAndEndsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	n := r.mark()
	org.Plan = "platinum"
	r.want(r.deliver(r.event("tenant.updated", "t1", &org)), rejected, "unmapped_plan", "platinum")
	equal(t, "requests", r.requests(n), nil)
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×3")
	if st := r.state("t1"); st.Finding == nil || st.Finding.Code != "unmapped_plan" {
		t.Errorf("remembered is %+v", st)
	}
}

func TestAFreePlanEndsASubscriptionAsConfigured(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string][]string{
		"cancel_at_period_end": {"created pro×1 seat×3", "to end with the period", "not to end after all"},
		"cancel_now":           {"created pro×1 seat×3", "ended", "created pro×1 seat×3"},
		"zero_price":           {"created pro×1 seat×3", "pro×1 seat×3 → zero×1", "zero×1 → pro×1 seat×3"},
	} {
		r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) {
			free := map[string]any{"policy": policy}
			if policy == "zero_price" {
				free["lookup_key"] = "zero"
			}
			cfg["free"] = free
		})
		org := r.paying("t1")
		for _, p := range []string{"free", "pro"} {
			org.Plan = p
			r.tell(org)
		}
		equal(t, policy, r.fake.History("t1"), want)
	}
	// After the period it is over, and paying again is another subscription.
	r := newRig(t, nil)
	org := r.paying("t1")
	org.Plan = "free"
	r.tell(org)
	r.fake.Advance(2 * month)
	org.Plan = "pro"
	r.tell(org)
	equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×3", "to end with the period", "ended", "created pro×1 seat×3"})
}

func TestASuspendedTenantIsNotChargedForWhatItNeverHad(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.company("t1")
	org.Plan, org.Status = "pro", "suspended"
	r.tell(org)
	if n := len(r.fake.Subscriptions()); n != 0 {
		t.Fatalf("%d subscriptions", n)
	}
	org.Status = "active"
	r.tell(org)
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×1")
}

func TestATenantThatComesBackKeepsItsCustomer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.paying("t1")
	r.settled(r.deliver(r.event("tenant.deleted", "t1", nil)))
	r.fake.Advance(time.Hour)
	r.tell(org)
	if c := r.customers("t1"); len(c) != 1 || c[0].Metadata["avhub_deleted"] != "" {
		t.Errorf("customers %+v", c)
	}
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×3")
	// With delete_customer it is another one.
	r.cfg["deleted"] = map[string]any{"delete_customer": true, "prorate": true, "invoice_now": true}
	r.restart()
	r.settled(r.deliver(r.event("tenant.deleted", "t1", nil)))
	if c := r.customers("t1"); len(c) != 0 {
		t.Errorf("customers %+v", c)
	}
	r.tell(org)
	if c := r.customers("t1"); len(c) != 1 {
		t.Errorf("customers %+v", c)
	}
}

func TestEventsThatAreAboutNoKnownTenantAreLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.want(r.deliver(r.event("license.assigned", "t9", nil)), skipped, "not known yet")
	ev := r.event("subject.deleted", "", nil)
	r.want(r.deliver(ev), skipped, "no tenant")
	equal(t, "requests", r.requests(0), nil)
	// One that was deleted before this connector knew it.
	r.fake.Dashboard(func(d stripefake.Dashboard) {
		c := d.AddCustomer("Old", "old@example.com", map[string]string{"avhub_tenant": "t8"})
		d.AddSubscription(c, "price_pro", 1, map[string]string{"avhub_tenant": "t8", "avhub_role": "plan"})
	})
	r.fake.Advance(time.Hour)
	r.settled(r.deliver(r.event("tenant.deleted", "t8", nil)))
	if s := r.fake.Subscriptions()[0]; !s.Ended() {
		t.Errorf("it goes on: %+v", s)
	}
}

func TestABurstOfTenantsKeepsWithinTheLimits(t *testing.T) {
	t.Parallel()
	// Forty times Stripe's own figures, so that it takes seconds.
	const tenants, faster = 2000, 40
	r := newRig(t, func(cfg map[string]any, opts *stripefake.Options) {
		cfg["requests_per_second"], opts.PerSecond = testRate*faster, 25*faster
	})
	var waiting []*pluginpb.Event
	for i := range tenants {
		org := r.company("t" + strings.Repeat("x", i%7) + time.Duration(i).String())
		if i%2 == 0 {
			org.Plan = "pro"
		}
		waiting = append(waiting, r.event("tenant.created", org.TenantID, &org))
	}
	ctx := t.Context()
	began := time.Now()
	for len(waiting) > 0 {
		n := min(256, len(waiting))
		req := &pluginpb.DeliverRequest{Events: waiting[:n], States: map[string][]byte{}}
		for _, ev := range req.Events {
			if s := r.states[ev.GetKey()]; s != nil {
				req.States[ev.GetKey()] = s
			}
		}
		resp, err := r.client.Deliver(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for k, s := range resp.GetStates() {
			r.states[k] = s
		}
		next := waiting[n:]
		for i, v := range resp.GetVerdicts() {
			switch v.GetKind() {
			case applied, skipped:
			case pluginpb.Verdict_KIND_AGAIN, pluginpb.Verdict_KIND_HELD:
				next = append(next, req.Events[i])
			default:
				t.Fatalf("answered %v: %s", v.GetKind(), v.GetReason())
			}
		}
		waiting = next
	}
	if n, c, s := r.fake.Limited(), len(r.fake.Customers()), len(r.fake.Subscriptions()); n > 0 || c != tenants || s != tenants/2 {
		t.Errorf("%d requests over the limit, %d customers, %d subscriptions", n, c, s)
	}
	t.Logf("%d requests in %v: %.0f a second, and %d are allowed", r.mark(), time.Since(began), float64(r.mark())/time.Since(began).Seconds(), 25*faster)
}

func plan1(name string) map[string]json.RawMessage {
	return map[string]json.RawMessage{"plan": json.RawMessage(`"` + name + `"`)}
}
