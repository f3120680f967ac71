package main

import (
	"fmt"
	"slices"
)

// observed is what Stripe holds for a tenant.
type observed struct {
	Customer *customer // nil: none
	// Trusted: the customer was just made or looked at; it need not be compared.
	Trusted bool
	Sub     *subscription // ours, the oldest that runs; nil: none
	// Others are more subscriptions marked as ours, and Doubles more customers.
	Others, Doubles []string
	// Lost: there was a subscription, and not this connector has ended it.
	Lost bool
	// Same: apart from seats, the tenant wants what it had last.
	Same bool
}

type customer struct {
	ID, Name, Email string
	Metadata        map[string]string
	Deleted         bool
}

type subscription struct {
	ID, Customer, Status string
	Items                []soldItem
	Pause                string
	CancelAtEnd          bool
	Collection           string
	DaysUntilDue         int64
	Schedule             string
	Metadata             map[string]string
	PeriodEnd, Created   int64 // Unix seconds
}

type soldItem struct {
	ID, Price string
	Quantity  int64
}

// finding is something that a person should know about a tenant.
type finding struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// policy is what the configuration says beyond prices.
type policy struct {
	Free      freeConfig
	FreePrice string // resolved, of zero_price
	Suspended string
	Deleted   deletedConfig
	Drift     driftConfig
	Today     string // for tags
}

// plan says what has to be done, and what a person should know. It is a pure
// function: `avhub-stripe preview` prints what it returns, and apply sends it.
// items are the desired lines with their prices resolved.
func plan(want desired, items []sold, have observed, p policy) (ops []op, findings []finding) {
	note := func(code, format string, args ...any) {
		findings = append(findings, finding{code, fmt.Sprintf(format, args...)})
	}
	for _, id := range have.Doubles {
		note("several_customers", "customer %s is marked as this tenant's, too; the oldest counts", id)
	}
	for _, id := range have.Others {
		note("several_subscriptions", "subscription %s is marked as this tenant's, too; the oldest counts", id)
	}
	if have.Sub != nil && want.Revision > 0 && number(have.Sub.Metadata[metaRevision]) > want.Revision {
		note("newer_revision", "the subscription was set by newer events than these")
		return nil, findings
	}
	if want.Gone {
		return leave(want, have, p), findings
	}
	if have.Customer == nil || have.Customer.Deleted {
		o := customerOp(createCustomer, "/v1/customers", want)
		o.because("%s has no customer", want.Tenant)
		return []op{o}, findings
	}
	if !have.Trusted {
		ops = append(ops, keepCustomer(want, *have.Customer, p, note)...)
	}
	if have.Sub == nil {
		switch {
		case len(items) == 0:
		case want.Suspended:
			note("waits", "there is no subscription to pause; it is made once the tenant is active again")
		case have.Lost && have.Same && p.Drift.Cancel != "heal":
			if p.Drift.Cancel == "report" {
				note("cancelled_elsewhere", "the subscription was ended in Stripe, and not by this connector; it is made anew when the plan changes, or with drift.cancel: heal")
			}
		default:
			ops = append(ops, createOp(have.Customer.ID, want, items))
		}
		return ops, findings
	}
	return append(ops, keep(want, items, *have.Sub, p, note)...), findings
}

// leave ends what a deleted tenant had.
func leave(want desired, have observed, p policy) []op {
	if have.Customer == nil || have.Customer.Deleted {
		return nil
	}
	var ops []op
	if have.Sub != nil {
		o := cancelOp(have.Sub.ID, p.Deleted.Prorate, p.Deleted.InvoiceNow)
		o.because("%s was deleted", want.Tenant)
		ops = append(ops, o)
	}
	switch {
	case p.Deleted.DeleteCustomer:
		o := op{Kind: deleteCustomer, Method: "DELETE", Path: "/v1/customers/" + have.Customer.ID}
		o.because("%s was deleted", want.Tenant)
		ops = append(ops, o)
	case have.Customer.Metadata[metaDeleted] == "":
		o := newOp(updateCustomer, "/v1/customers/"+have.Customer.ID)
		o.set("metadata["+metaDeleted+"]", p.Today)
		o.because("%s was deleted", want.Tenant)
		ops = append(ops, o)
	}
	return ops
}

// keepCustomer brings a customer's own fields in line when the tenant's changed.
// What a person changed in Stripe since stays, unless drift.customer heals it.
func keepCustomer(want desired, have customer, p policy, note func(string, string, ...any)) []op {
	same := have.Name == cut(want.Name, maxNameLength) && have.Email == want.Email && have.Metadata[metaSlug] == cut(want.Slug, maxMetaValue)
	back := have.Metadata[metaDeleted] != ""
	if have.Metadata[metaWrote] == want.wrote() && !back {
		if same || p.Drift.Customer == "ignore" {
			return nil
		}
		if p.Drift.Customer == "report" {
			note("drift_customer", "the customer's name or e-mail address was changed in Stripe")
			return nil
		}
	}
	if same && !back && have.Metadata[metaTenant] == want.Tenant && have.Metadata[metaWrote] != "" {
		return nil
	}
	o := customerOp(updateCustomer, "/v1/customers/"+have.ID, want)
	if back {
		o.set("metadata["+metaDeleted+"]", "")
	}
	o.because("the name or the e-mail address of %s changed", want.Tenant)
	return []op{o}
}

// keep brings a subscription in line.
func keep(want desired, items []sold, have subscription, p policy, note func(string, string, ...any)) []op {
	o := newOp(updateSubscription, "/v1/subscriptions/"+have.ID)
	paying, end := len(items) > 0, false
	if !paying {
		switch p.Free.Policy {
		case "cancel_now":
			o = cancelOp(have.ID, true, false)
			o.because("%s is free now", want.Tenant)
			return released(have, p, note, []op{o})
		case "zero_price":
			items = []sold{{Price: p.FreePrice, Quantity: 1}}
		default:
			end = true
		}
	}
	pause := ""
	if want.Suspended {
		pause = p.Suspended
	}

	target := was(have)
	if len(items) > 0 {
		changes := changeItems(items, have, p, note)
		o.items(changes.list)
		for _, why := range changes.why {
			o.because("%s", why)
		}
		o.Counts = changes.counts
		if len(changes.list) > 0 {
			o.set("proration_behavior", want.Terms.Proration)
			o.Invoices = want.Terms.Proration == "always_invoice"
			if have.Collection == "charge_automatically" {
				o.set("payment_behavior", "error_if_incomplete")
			}
		}
		target = items
	}
	ending(&o, want, end, have, p, note)
	pausing(&o, want, pause, have, p, note)
	if paying && have.Metadata[metaPlan] != want.Plan && want.Terms.Collection != "" &&
		(have.Collection != want.Terms.Collection || want.Terms.DaysUntilDue > 0 && have.DaysUntilDue != want.Terms.DaysUntilDue) {
		o.set("collection_method", want.Terms.Collection)
		if want.Terms.DaysUntilDue > 0 {
			o.setNumber("days_until_due", want.Terms.DaysUntilDue)
		}
		o.because("%s is collected by %s", want.Plan, want.Terms.Collection)
	}
	if len(o.Form) == 0 {
		return nil
	}
	if !paying && p.Free.Policy == "zero_price" && have.Metadata[metaPlan] != want.Plan {
		o.Ends = true // nobody pays any more
	}
	o.marks(want, target, pause, end)
	return released(have, p, note, []op{o})
}

// ending lets a subscription end with its period, or not after all.
func ending(o *op, want desired, end bool, have subscription, p policy, note func(string, string, ...any)) {
	ours := have.Metadata[metaEnd] == "true"
	switch {
	case end && !have.CancelAtEnd:
		if ours && p.Drift.Cancel != "heal" {
			if p.Drift.Cancel == "report" {
				note("drift_cancel", "it was to end with its period, and goes on by a change in Stripe")
			}
			return
		}
		o.set("cancel_at_period_end", "true")
		o.because("%s is free now", want.Tenant)
		o.Ends = true
	case !end && have.CancelAtEnd:
		if !ours && p.Drift.Cancel != "heal" {
			if p.Drift.Cancel == "report" {
				note("drift_cancel", "somebody let it end with its period, in Stripe")
			}
			return
		}
		o.set("cancel_at_period_end", "false")
		o.because("%s pays again", want.Tenant)
	}
}

// pausing pauses collection, or goes on with it.
func pausing(o *op, want desired, pause string, have subscription, p policy, note func(string, string, ...any)) {
	if have.Pause == pause {
		return
	}
	if have.Metadata[metaPause] == pause && p.Drift.Pause != "heal" {
		if p.Drift.Pause == "report" {
			note("drift_pause", "collection was paused, or goes on, by a change in Stripe")
		}
		return
	}
	if pause == "" {
		o.set("pause_collection", "")
		o.because("%s is active", want.Tenant)
		return
	}
	o.set("pause_collection[behavior]", pause)
	o.because("%s is suspended", want.Tenant)
}

// released sees to it that nothing is changed under a schedule.
func released(have subscription, p policy, note func(string, string, ...any), ops []op) []op {
	if have.Schedule == "" {
		return ops
	}
	note("under_schedule", "the subscription is under schedule %s, which decides what it holds", have.Schedule)
	if p.Drift.Schedule != "release" {
		return nil
	}
	o := newOp(releaseSchedule, "/v1/subscription_schedules/"+have.Schedule+"/release")
	o.because("drift.schedule is release")
	return append([]op{o}, ops...)
}

// was is what this connector set last; what is there, if it is not known.
func was(have subscription) []sold {
	if items := parseItems(have.Metadata[metaItems]); items != nil {
		return items
	}
	var out []sold
	for _, it := range have.Items {
		out = append(out, sold{Price: it.Price, Quantity: it.Quantity})
	}
	slices.SortFunc(out, func(a, b sold) int { return cmpText(a.Price, b.Price) })
	return out
}
