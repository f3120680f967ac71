package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	stripe "github.com/stripe/stripe-go/v79"
)

// difference is something that Stripe holds and that this connector did not set.
type difference struct {
	Tenant       string `json:"tenant"`
	Customer     string `json:"customer,omitempty"`
	Subscription string `json:"subscription,omitempty"`
	// Field is "price", "quantity", "cancel", "pause", "items", "schedule",
	// "customer", or "several" where more than one is marked as ours.
	Field string `json:"field"`
	Text  string `json:"text"`
	// Action is "reported" or "healed".
	Action string `json:"action"`
}

// comparison of all subscriptions with what was set there. It needs nothing but
// Stripe: what was set stands in the metadata.
type comparison struct {
	c    *connector
	heal bool
	// progress is told how many subscriptions were read; nil: nobody asks.
	progress func(n int)
}

// compared is what came of it.
type compared struct {
	Subscriptions int          `json:"subscriptions"`
	Tenants       int          `json:"tenants"`
	Differences   []difference `json:"differences"`
}

// run compares everything.
func (d comparison) run(ctx context.Context) (compared, error) {
	out := compared{Differences: []difference{}}
	all, err := d.c.eyes.subscriptions(ctx, [][2]string{{"expand[0]", "data.customer"}}, d.progress)
	if err != nil {
		return out, err
	}
	type one struct {
		sub      subscription
		customer *customer
	}
	byTenant := map[string][]one{}
	for _, s := range all {
		sub := subscriptionOf(s)
		if !sub.ours() {
			continue
		}
		o := one{sub: sub}
		if s.Customer != nil {
			o.customer = customerOf(s.Customer)
		}
		byTenant[sub.Metadata[metaTenant]] = append(byTenant[sub.Metadata[metaTenant]], o)
		out.Subscriptions++
	}
	out.Tenants = len(byTenant)
	var tenants []string
	for tenant := range byTenant {
		tenants = append(tenants, tenant)
	}
	slices.Sort(tenants)
	for _, tenant := range tenants {
		mine := byTenant[tenant]
		slices.SortFunc(mine, func(a, b one) int {
			return cmp.Or(cmp.Compare(a.sub.Created, b.sub.Created), strings.Compare(a.sub.ID, b.sub.ID))
		})
		for _, other := range mine[1:] {
			out.Differences = append(out.Differences, difference{tenant, other.sub.Customer, other.sub.ID, "several",
				"one more subscription is marked as this tenant's; the oldest counts", "reported"})
		}
		found, err := d.one(ctx, tenant, mine[0].sub, mine[0].customer)
		if err != nil {
			return out, err
		}
		out.Differences = append(out.Differences, found...)
	}
	ended, err := d.ended(ctx, func(tenant string) bool { return len(byTenant[tenant]) > 0 })
	out.Differences = append(out.Differences, ended...)
	return out, err
}

// one compares a subscription, and heals what may be healed.
func (d comparison) one(ctx context.Context, tenant string, sub subscription, who *customer) ([]difference, error) {
	found := differences(sub, who, d.c.cfg.Drift)
	if !d.heal || !slices.ContainsFunc(found, func(x difference) bool { return x.Action == "healed" }) {
		for i := range found {
			found[i].Action = "reported"
		}
		return found, nil
	}
	unlock, err := d.c.busy.lock(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer unlock()
	account, err := d.c.whose(ctx, "")
	if err != nil {
		return nil, err
	}
	// It may have changed since it was listed.
	var now stripe.Subscription
	if err := d.c.api.get(ctx, "get subscription", "/v1/subscriptions/"+sub.ID, nil, &now); err != nil {
		return nil, fmt.Errorf("looking at subscription %s: %w", sub.ID, err)
	}
	sub = subscriptionOf(&now)
	if !sub.ours() {
		return nil, nil
	}
	found = differences(sub, who, d.c.cfg.Drift)
	for _, o := range healing(sub, d.c.cfg.Drift) {
		var got stripe.Subscription
		var into stripe.LastResponseSetter = &got
		if o.Kind == releaseSchedule {
			into = &stripe.SubscriptionSchedule{}
		}
		if o.Ends {
			if err := d.c.guard.allow(ctx); err != nil {
				return found, err
			}
		}
		if _, err := d.c.api.send(ctx, o, keyOf(account, o, tenant, d.c.now().UnixMicro(), 0), into); err != nil {
			return found, fmt.Errorf("healing subscription %s: %w", sub.ID, err)
		}
	}
	return found, nil
}

// remembered is what a subscription's metadata says that was set.
func remembered(sub subscription) (want desired, items []sold, p policy) {
	want = desired{Tenant: sub.Metadata[metaTenant], Plan: sub.Metadata[metaPlan], Suspended: sub.Metadata[metaPause] != "",
		Terms: terms{Proration: "create_prorations"}}
	if sub.Metadata[metaEnd] != "true" {
		items = was(sub)
	}
	return want, items, policy{Suspended: sub.Metadata[metaPause], Free: freeConfig{Policy: "cancel_at_period_end"}}
}

// differences compares a subscription with its metadata. It is pure.
func differences(sub subscription, who *customer, policies driftConfig) []difference {
	var out []difference
	add := func(field, action, text string) {
		if action == "ignore" {
			return
		}
		done := map[string]string{"heal": "healed", "release": "healed"}[action]
		if done == "" {
			done = "reported"
		}
		out = append(out, difference{sub.Metadata[metaTenant], sub.Customer, sub.ID, field, text, done})
	}
	action := map[string]string{"price": policies.Price, "quantity": policies.Quantity, "cancel": policies.Cancel,
		"pause": policies.Pause, "items": policies.Items}
	want, items, p := remembered(sub)
	p.Drift = driftConfig{Price: "report", Quantity: "report", Cancel: "report", Pause: "report", Items: "report"}
	if sub.Schedule != "" {
		add("schedule", policies.Schedule, "it is under schedule "+sub.Schedule)
		sub.Schedule = ""
	}
	keep(want, items, sub, p, func(code, format string, args ...any) {
		field := strings.TrimPrefix(code, "drift_")
		add(field, action[field], fmt.Sprintf(format, args...))
	})
	if who != nil && who.Metadata[metaWrote] != "" {
		if as := (desired{Name: who.Name, Email: who.Email, Slug: who.Metadata[metaSlug]}); as.wrote() != who.Metadata[metaWrote] && policies.Customer != "ignore" {
			add("customer", "report", "the customer's name or e-mail address was changed in Stripe")
		}
	}
	return out
}

// healing sets back what may be healed. It leaves the metadata alone: if newer
// events set something in between, that shows as drift the next time, and not as
// if it had been meant.
func healing(sub subscription, policies driftConfig) []op {
	want, items, p := remembered(sub)
	p.Drift = policies
	for _, field := range []*string{&p.Drift.Price, &p.Drift.Quantity, &p.Drift.Cancel, &p.Drift.Pause, &p.Drift.Items} {
		if *field != "heal" {
			*field = "ignore"
		}
	}
	ops := keep(want, items, sub, p, func(string, string, ...any) {})
	for i := range ops {
		ops[i].Form = slices.DeleteFunc(ops[i].Form, func(kv [2]string) bool { return strings.HasPrefix(kv[0], "metadata[") })
	}
	return ops
}

// ended finds tenants whose subscription somebody else ended. Stripe tells of
// them for 30 days.
func (d comparison) ended(ctx context.Context, runs func(tenant string) bool) ([]difference, error) {
	if d.c.cfg.Drift.Cancel == "ignore" {
		return nil, nil
	}
	var out []difference
	var told []string
	err := d.c.guard.events(ctx, 0, []string{"customer.subscription.deleted"}, func(e *stripe.Event) {
		metadata, _ := e.Data.Object["metadata"].(map[string]any)
		tenant, _ := metadata[metaTenant].(string)
		if metadata[metaRole] != rolePlan || metadata[metaEnd] == "true" || ourEvent(e) || tenant == "" || runs(tenant) || slices.Contains(told, tenant) {
			return
		}
		told = append(told, tenant)
		id, _ := e.Data.Object["id"].(string)
		out = append(out, difference{Tenant: tenant, Subscription: id, Field: "cancel",
			Text: "it was ended in Stripe, on " + time.Unix(e.Created, 0).UTC().Format(time.DateOnly), Action: "reported"})
	})
	return out, err
}

// every compares again and again, until ctx ends.
func (c *connector) every(ctx context.Context, d time.Duration) {
	for {
		timer := time.NewTimer(d - d/10 + rand.N(d/5+1)) // hubs do not do it all at once
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		c.compare(ctx)
	}
}

// compare runs the job once.
func (c *connector) compare(ctx context.Context) {
	result, err := comparison{c: c, heal: true}.run(ctx)
	if err != nil {
		var wait *waitError
		if ctx.Err() == nil && !errors.As(err, &wait) {
			c.log.Error("comparing subscriptions with what was set failed; it is tried again", "error", err.Error(), "after", c.cfg.Drift.Every)
		}
		return
	}
	c.metrics.drift.Reset()
	for _, x := range result.Differences {
		c.metrics.drift.WithLabelValues(x.Field).Inc()
		c.log.Warn("drift", "tenant", x.Tenant, "subscription", x.Subscription, "field", x.Field, "difference", x.Text, "action", x.Action)
	}
	c.metrics.driftRun.SetToCurrentTime()
	c.seen.put(result.Differences)
	c.log.Info("subscriptions were compared with what was set", "subscriptions", result.Subscriptions, "differences", len(result.Differences))
}

// driftSeen holds what the job found, until the tenant's next event writes it
// into its state.
type driftSeen struct {
	mu sync.Mutex
	of map[string][]string
}

// mostSeen bounds it; more is in the log.
const mostSeen = 10_000

func (s *driftSeen) put(all []difference) {
	of := map[string][]string{}
	for _, d := range all {
		if len(of) < mostSeen && len(of[d.Tenant]) < 10 && d.Action == "reported" {
			of[d.Tenant] = append(of[d.Tenant], d.Field+": "+d.Text)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = of
}

func (s *driftSeen) take(tenant string) ([]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.of[tenant]
	delete(s.of, tenant)
	return found, ok
}
