package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// opKind is what an operation does, in words for people, metrics and keys.
type opKind string

const (
	createCustomer     opKind = "create customer"
	updateCustomer     opKind = "update customer"
	deleteCustomer     opKind = "delete customer"
	createSubscription opKind = "create subscription"
	updateSubscription opKind = "update subscription"
	cancelSubscription opKind = "cancel subscription"
	releaseSchedule    opKind = "release schedule"
)

// creates tells whether the operation makes something new, which must not be
// made twice.
func (k opKind) creates() bool { return k == createCustomer || k == createSubscription }

// op is a request that changes something. It is kept in the state of its tenant
// before it is sent, if it creates something, so it holds the very parameters.
type op struct {
	Kind   opKind      `json:"kind"`
	Method string      `json:"method"`
	Path   string      `json:"path"`
	Form   [][2]string `json:"form,omitempty"`
	// Why is for people.
	Why []string `json:"why,omitempty"`
	// Ends: a paid subscription ends by it. Counts: seats are written. Invoices:
	// an invoice is made at once.
	Ends     bool `json:"-"`
	Counts   bool `json:"-"`
	Invoices bool `json:"-"`
}

func (o *op) set(name, value string) { o.Form = append(o.Form, [2]string{name, value}) }

func (o *op) setNumber(name string, n int64) { o.set(name, strconv.FormatInt(n, 10)) }

func (o *op) because(format string, args ...any) { o.Why = append(o.Why, fmt.Sprintf(format, args...)) }

// encoded are the parameters as they are sent, in their order.
func (o op) encoded() string {
	var parts []string
	for _, kv := range o.Form {
		parts = append(parts, url.QueryEscape(kv[0])+"="+url.QueryEscape(kv[1]))
	}
	return strings.Join(parts, "&")
}

// The metadata that says what is ours, and what was set there, so that somebody
// else's change can be told from it.
const (
	metaTenant    = "avhub_tenant"
	metaSlug      = "avhub_slug"
	metaDeleted   = "avhub_deleted"
	metaWrote     = "avhub_wrote" // digest of name and e-mail address
	metaRole      = "avhub_role"
	rolePlan      = "plan"
	metaPlan      = "avhub_plan"
	metaItems     = "avhub_items" // "price_a=1,price_b=5"
	metaPause     = "avhub_pause"
	metaEnd       = "avhub_end" // "true": we let it end with its period
	metaRevision  = "avhub_revision"
	maxMetaValue  = 500
	maxNameLength = 256 // of a customer, says Stripe's reference
)

func newOp(kind opKind, path string) op { return op{Kind: kind, Method: http.MethodPost, Path: path} }

// customerOp sets what a customer is to be. kind is create or update.
func customerOp(kind opKind, path string, want desired) op {
	o := newOp(kind, path)
	o.set("name", cut(want.Name, maxNameLength))
	if want.Email != "" || kind == updateCustomer {
		o.set("email", want.Email)
	}
	o.set("metadata["+metaTenant+"]", want.Tenant)
	if want.Slug != "" || kind == updateCustomer {
		o.set("metadata["+metaSlug+"]", cut(want.Slug, maxMetaValue))
	}
	o.set("metadata["+metaWrote+"]", want.wrote())
	return o
}

// wrote is what a customer's own fields were set to.
func (d desired) wrote() string { return digest([]byte(d.Name + "\x00" + d.Email + "\x00" + d.Slug)) }

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n])
	}
	return text
}

// sold is an item of a subscription as it should be.
type sold struct {
	Price    string
	Quantity int64
	Seats    bool
}

// itemsValue is a list of items as metadata keeps it.
func itemsValue(items []sold) string {
	var parts []string
	for _, it := range items {
		parts = append(parts, fmt.Sprintf("%s=%d", it.Price, it.Quantity))
	}
	text := strings.Join(parts, ",")
	if len(text) > maxMetaValue {
		return "" // too many to remember; then everybody's changes look like ours
	}
	return text
}

// parseItems reads what itemsValue wrote; nil if it cannot be read.
func parseItems(text string) []sold {
	var out []sold
	for _, part := range strings.Split(text, ",") {
		price, n, ok := strings.Cut(part, "=")
		q, err := strconv.ParseInt(n, 10, 64)
		if !ok || err != nil || price == "" {
			return nil
		}
		out = append(out, sold{Price: price, Quantity: q})
	}
	return out
}

// marks sets the metadata of a subscription.
func (o *op) marks(want desired, items []sold, pause string, end bool) {
	o.set("metadata["+metaPlan+"]", cut(want.Plan, maxMetaValue))
	if len(items) > 0 {
		o.set("metadata["+metaItems+"]", itemsValue(items))
	}
	o.set("metadata["+metaPause+"]", pause)
	ends := ""
	if end {
		ends = "true"
	}
	o.set("metadata["+metaEnd+"]", ends)
	if want.Revision > 0 {
		o.setNumber("metadata["+metaRevision+"]", want.Revision)
	}
}

// createOp makes the subscription of a tenant.
func createOp(customer string, want desired, items []sold) op {
	o := newOp(createSubscription, "/v1/subscriptions")
	o.set("customer", customer)
	for i, it := range items {
		o.set(fmt.Sprintf("items[%d][price]", i), it.Price)
		o.setNumber(fmt.Sprintf("items[%d][quantity]", i), it.Quantity)
	}
	o.set("collection_method", want.Terms.Collection)
	if want.Terms.Collection == "send_invoice" {
		o.setNumber("days_until_due", want.Terms.DaysUntilDue)
	} else {
		o.set("payment_behavior", "error_if_incomplete")
	}
	if want.Terms.Trial > 0 {
		o.setNumber("trial_period_days", want.Terms.Trial)
	}
	o.set("metadata["+metaTenant+"]", want.Tenant)
	o.set("metadata["+metaRole+"]", rolePlan)
	o.set("metadata["+metaPlan+"]", cut(want.Plan, maxMetaValue))
	o.set("metadata["+metaItems+"]", itemsValue(items))
	if want.Revision > 0 {
		o.setNumber("metadata["+metaRevision+"]", want.Revision)
	}
	o.because("%s pays for %s", want.Tenant, want.Plan)
	o.Counts = true
	return o
}

// sells tells whether every item's price is among the parameters.
func (o op) sells(items []sold) bool {
	return !slices.ContainsFunc(items, func(it sold) bool {
		return !slices.ContainsFunc(o.Form, func(kv [2]string) bool { return kv[1] == it.Price })
	})
}

// cancelOp ends a subscription at once.
func cancelOp(id string, prorate, invoiceNow bool) op {
	o := op{Kind: cancelSubscription, Method: http.MethodDelete, Path: "/v1/subscriptions/" + id, Ends: true}
	o.set("prorate", strconv.FormatBool(prorate))
	o.set("invoice_now", strconv.FormatBool(invoiceNow))
	return o
}

// itemChange is what an update does to one item. An item that is there is only
// ever named by its id: named by its price, Stripe would add a second one.
type itemChange struct {
	ID       string // empty only where Price is new on the subscription
	Price    string
	Quantity int64
	Delete   bool
}

func (o *op) items(changes []itemChange) {
	for i, c := range changes {
		at := func(name string) string { return fmt.Sprintf("items[%d][%s]", i, name) }
		if c.ID != "" {
			o.set(at("id"), c.ID)
		}
		if c.Delete {
			o.set(at("deleted"), "true")
			continue
		}
		o.set(at("price"), c.Price)
		o.setNumber(at("quantity"), c.Quantity)
	}
}
