package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// chapter is something that happens to a company, so long after what came before.
type chapter struct {
	after  time.Duration
	typ    string
	change func(org *plugin.Organization)
	gone   bool
}

const month = 30 * 24 * time.Hour

// year is the life of a company.
func year() []chapter {
	to := func(plan string) func(*plugin.Organization) { return func(o *plugin.Organization) { o.Plan = plan } }
	people := func(n int64) func(*plugin.Organization) { return func(o *plugin.Organization) { seats(o, n) } }
	status := func(s string) func(*plugin.Organization) { return func(o *plugin.Organization) { o.Status = s } }
	return []chapter{
		{0, "tenant.created", func(*plugin.Organization) {}, false},
		{7 * 24 * time.Hour, "license.assigned", people(3), false},
		{time.Hour, "tenant.updated", to("pro"), false},
		{month, "license.assigned", people(5), false},
		{month, "license.revoked", people(4), false},
		{month, "license.assigned", people(12), false},
		{time.Hour, "tenant.updated", to("enterprise"), false},
		{month, "license.assigned", people(15), false},
		{month, "tenant.suspended", status("suspended"), false},
		{month, "tenant.updated", status("active"), false},
		{month, "license.revoked", people(6), false},
		{time.Hour, "tenant.updated", to("pro"), false},
		{2 * month, "tenant.updated", to("free"), false},
		{2 * time.Hour, "tenant.updated", to("pro"), false},
		{month, "tenant.deleted", nil, true},
	}
}

// written is the history that this life should have.
func written() []string {
	return []string{
		"created pro×1 seat×3",
		"pro×1 seat×3 → pro×1 seat×5",
		"pro×1 seat×5 → pro×1 seat×4",
		"pro×1 seat×4 → pro×1 seat×12",
		"pro×1 seat×12 → enterprise×1 seat×12",
		"enterprise×1 seat×12 → enterprise×1 seat×15",
		"paused: void",
		"collecting again",
		"enterprise×1 seat×15 → enterprise×1 seat×10", // the fewest that it pays
		"enterprise×1 seat×10 → pro×1 seat×6",
		"to end with the period",
		"not to end after all",
		"ended",
	}
}

// live plays the year. Within each chapter's minute its event comes twice, among
// others that tell nothing new and some of earlier chapters, in any order; rows
// come as they stand by then.
func live(r *rig, rng *rand.Rand, deliver func(ev *pluginpb.Event)) {
	org := r.company("t1")
	known, gone := false, false
	var earlier []*pluginpb.Event
	for _, ch := range year() {
		r.fake.Advance(ch.after)
		events := []string{ch.typ, ch.typ, "member.joined", "member.joined", "earlier", "earlier"}
		rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for _, typ := range events {
			r.fake.Advance(10 * time.Second)
			if typ == ch.typ {
				if known = true; ch.gone {
					gone = true
				} else {
					ch.change(&org)
				}
			}
			row := &org
			if !known || gone {
				row = nil
			}
			ev := r.event(typ, "t1", row)
			if typ == "earlier" {
				if len(earlier) == 0 {
					continue
				}
				again := earlier[rng.IntN(len(earlier))]
				again.Entities, ev = ev.Entities, again
			} else {
				earlier = append(earlier, ev)
			}
			deliver(ev)
		}
	}
}

func TestAYearOfACompanysLifeIsBilledAsIntendedWithTheFewestRequests(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		r := newRig(t, func(cfg map[string]any, _ *stripefake.Options) { cfg["coalesce"] = "30s" })
		live(r, rand.New(rand.NewPCG(seed, 1)), func(ev *pluginpb.Event) {
			v := r.deliver(ev)
			for v.GetKind() == retried && v.GetThrottled() { // seats are coalesced
				r.fake.Advance(time.Duration(v.GetRetryAfterMs()) * time.Millisecond)
				v = r.deliver(ev)
			}
			r.settled(v)
		})
		equal(t, "history", r.fake.History("t1"), written())
		if n, c := len(r.fake.Subscriptions()), r.customers("t1"); n != 1 || len(c) != 1 || c[0].Metadata["avhub_deleted"] == "" {
			t.Errorf("%d subscriptions, customers %+v", n, c)
		}
		// A look for each change and a request that makes it: nothing else.
		equal(t, "requests", r.fake.Counts(), []string{
			"13 GET /v1/customers/{id}",
			"11 POST /v1/subscriptions/{id}",
			"1 DELETE /v1/subscriptions/{id}",
			"1 GET /v1/account",
			"1 GET /v1/customers",
			"1 GET /v1/events",
			"1 GET /v1/prices",
			"1 POST /v1/customers",
			"1 POST /v1/customers/{id}",
			"1 POST /v1/subscriptions",
		})
	}
}
