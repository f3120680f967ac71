package stripefake

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

type subscription struct {
	id, customer, status           string
	items                          []*item
	metadata                       map[string]string
	pause                          string // behaviour; empty: collecting
	cancelAtEnd                    bool
	collection                     string
	daysDue                        int64
	schedule                       string
	created, begins, ends          time.Time // and the period
	trialEnd, cancelledAt, endedAt time.Time
	found                          time.Time // by search, from this time on
	invoices                       []time.Time
}

type item struct {
	id       string
	price    *Price
	quantity int64
}

type schedule struct{ id, subscription, status string }

func (x *subscription) ended() bool {
	return x.status == "canceled" || x.status == "incomplete_expired"
}

// sold is what is on the subscription, in a line.
func (x *subscription) sold() string {
	var parts []string
	for _, it := range x.items {
		name := it.price.LookupKey
		if name == "" {
			name = it.price.ID
		}
		parts = append(parts, fmt.Sprintf("%s×%d", name, it.quantity))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func (s *Server) subscription(id string) *subscription {
	for _, x := range s.subscriptions {
		if x.id == id {
			return x
		}
	}
	return nil
}

// newest returns the subscriptions that fit, newest first.
func (s *Server) newest(fits func(*subscription) bool) []*subscription {
	var out []*subscription
	for i := len(s.subscriptions) - 1; i >= 0; i-- {
		if fits(s.subscriptions[i]) {
			out = append(out, s.subscriptions[i])
		}
	}
	return out
}

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

func (s *Server) subscriptionJSON(x *subscription, expand []string) map[string]any {
	var items []any
	for _, it := range x.items {
		items = append(items, map[string]any{
			"id": it.id, "object": "subscription_item", "price": priceJSON(it.price), "quantity": it.quantity,
			"subscription": x.id, "metadata": map[string]string{},
		})
	}
	out := map[string]any{
		"id": x.id, "object": "subscription", "customer": x.customer, "status": x.status, "metadata": x.metadata,
		"items": listJSON("/v1/subscription_items?subscription="+x.id, items, false), "cancel_at_period_end": x.cancelAtEnd,
		"collection_method": x.collection, "created": x.created.Unix(), "start_date": x.created.Unix(),
		"current_period_start": x.begins.Unix(), "current_period_end": x.ends.Unix(), "trial_end": stamp(x.trialEnd),
		"canceled_at": stamp(x.cancelledAt), "ended_at": stamp(x.endedAt), "cancel_at": nil, "pause_collection": nil,
		"schedule": nullable(x.schedule), "livemode": false, "currency": "eur", "days_until_due": nil,
	}
	if x.cancelAtEnd {
		out["cancel_at"] = x.ends.Unix()
	}
	if x.pause != "" {
		out["pause_collection"] = map[string]any{"behavior": x.pause, "resumes_at": nil}
	}
	if x.collection == "send_invoice" {
		out["days_until_due"] = x.daysDue
	}
	if slices.Contains(expand, "data.customer") || slices.Contains(expand, "customer") {
		out["customer"] = s.customerJSON(s.customer(x.customer), nil)
	}
	return out
}

func (s *Server) createSubscription(p *params) (any, *failure) {
	id := p.text("customer")
	c := s.customer(id)
	if c == nil || c.Deleted {
		return nil, missing("customer", id, "customer")
	}
	x := &subscription{customer: id, status: "active", metadata: map[string]string{}, collection: "charge_automatically"}
	setMetadata(x.metadata, p.members("metadata"))
	if f := s.collect(x, p); f != nil {
		return nil, f
	}
	for _, o := range p.objects("items") {
		if f := s.addItem(x, o); f != nil {
			return nil, f
		}
	}
	trial, f := p.number("trial_period_days", 0)
	if f != nil {
		return nil, f
	}
	behavior := p.text("payment_behavior")
	_, _ = p.text("proration_behavior"), p.list("expand")
	if f := p.rest(); f != nil {
		return nil, f
	}
	if len(x.items) == 0 {
		return nil, invalid("items", "Missing required param: items")
	}
	if c.declines != "" && trial == 0 && x.collection == "charge_automatically" {
		if behavior == "error_if_incomplete" {
			return nil, declined(c)
		}
		x.status = "incomplete"
	}
	now := s.at(x.customer)
	x.id, x.created, x.begins, x.found = s.newID("sub"), now, now, s.now().Add(s.opts.SearchLag)
	x.ends = x.nextEnd(now)
	if trial > 0 {
		x.status, x.trialEnd = "trialing", now.AddDate(0, 0, int(trial))
		x.ends = x.trialEnd
	}
	for _, it := range x.items {
		it.id = s.newID("si")
	}
	s.subscriptions = append(s.subscriptions, x)
	s.invoice(x)
	s.changed(x, "created "+x.sold())
	return s.subscriptionJSON(x, nil), nil
}

func declined(c *customer) *failure {
	return &failure{status: http.StatusPaymentRequired, Type: "card_error", Code: "card_declined", DeclineCode: c.declines, Message: "Your card was declined."}
}

// collect reads how money is collected.
func (s *Server) collect(x *subscription, p *params) *failure {
	if m := p.text("collection_method"); m != "" {
		if m != "send_invoice" && m != "charge_automatically" {
			return invalid("collection_method", "Invalid collection_method: must be one of charge_automatically or send_invoice")
		}
		x.collection = m
	}
	days, f := p.number("days_until_due", x.daysDue)
	if f != nil {
		return f
	}
	x.daysDue = days
	if x.collection == "send_invoice" && days == 0 {
		return invalid("days_until_due", "You must specify `days_until_due` when `collection_method` is `send_invoice`.")
	}
	if x.collection != "send_invoice" && p.has("days_until_due") {
		return invalid("days_until_due", "You can only specify `days_until_due` if `collection_method` is `send_invoice`.")
	}
	return nil
}

func quantityOf(o map[string]string, otherwise int64) (int64, *failure) {
	text, ok := o["quantity"]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid("quantity", "This value must be greater than or equal to 0.")
	}
	return n, nil
}

// addItem adds an item that a request describes without an id.
func (s *Server) addItem(x *subscription, o map[string]string) *failure {
	price, f := s.sellable(o["price"], "items[0][price]")
	if f != nil {
		return f
	}
	for _, it := range x.items {
		if it.price == price {
			return invalid("items", "Cannot add multiple subscription items with the same plan: %s", price.ID)
		}
	}
	n, f := quantityOf(o, 1)
	if f != nil {
		return f
	}
	x.items = append(x.items, &item{price: price, quantity: n})
	return nil
}

// changeItems does what items says. An item without an id is a new one.
func (s *Server) changeItems(x *subscription, objects []map[string]string) *failure {
	for _, o := range objects {
		if o["id"] == "" {
			if f := s.addItem(x, o); f != nil {
				return f
			}
			continue
		}
		at := slices.IndexFunc(x.items, func(it *item) bool { return it.id == o["id"] })
		if at < 0 {
			return missing("subscription_item", o["id"], "items[0][id]")
		}
		if o["deleted"] == "true" {
			x.items = slices.Delete(x.items, at, at+1)
			continue
		}
		otherwise := x.items[at].quantity
		if id := o["price"]; id != "" && id != x.items[at].price.ID {
			price, f := s.sellable(id, "items[0][price]")
			if f != nil {
				return f
			}
			for _, it := range x.items {
				if it.price == price {
					return invalid("items", "Cannot add multiple subscription items with the same plan: %s", price.ID)
				}
			}
			x.items[at].price, otherwise = price, 1
		}
		n, f := quantityOf(o, otherwise)
		if f != nil {
			return f
		}
		x.items[at].quantity = n
	}
	if len(x.items) == 0 {
		return invalid("items", "A subscription must have at least one active plan.")
	}
	return nil
}

// copied is a copy to work on, so that a refused request changes nothing.
func (x *subscription) copied() *subscription {
	out := *x
	out.metadata = maps.Clone(x.metadata)
	out.items = nil
	for _, it := range x.items {
		one := *it
		out.items = append(out.items, &one)
	}
	return &out
}

func (s *Server) updateSubscription(id string, p *params) (any, *failure) {
	x := s.subscription(id)
	switch {
	case x == nil:
		return nil, missing("subscription", id, "id")
	case x.ended():
		return nil, invalid("", "A canceled subscription can only update its cancellation_details and metadata.")
	case x.schedule != "":
		return nil, invalid("", "The subscription is managed by the subscription schedule `%s`, and updating it directly is not allowed.", x.schedule)
	}
	next := x.copied()
	setMetadata(next.metadata, p.members("metadata"))
	if f := s.collect(next, p); f != nil {
		return nil, f
	}
	if f := s.changeItems(next, p.objects("items")); f != nil {
		return nil, f
	}
	if p.has("cancel_at_period_end") {
		next.cancelAtEnd = p.flag("cancel_at_period_end")
	}
	if behavior, ok := p.members("pause_collection")["behavior"]; ok {
		if !slices.Contains([]string{"void", "keep_as_draft", "mark_uncollectible"}, behavior) {
			return nil, invalid("pause_collection[behavior]", "Invalid behavior")
		}
		next.pause = behavior
	} else if p.has("pause_collection") && p.text("pause_collection") == "" {
		next.pause = ""
	}
	proration := p.text("proration_behavior")
	behavior := p.text("payment_behavior")
	_ = p.list("expand")
	if f := p.rest(); f != nil {
		return nil, f
	}
	c := s.customer(x.customer)
	if c.declines != "" && proration == "always_invoice" && next.collection == "charge_automatically" && behavior == "error_if_incomplete" {
		return nil, declined(c)
	}
	s.commit(x, next, proration)
	return s.subscriptionJSON(x, nil), nil
}

// commit puts a changed copy in the place of a subscription.
func (s *Server) commit(x, next *subscription, proration string) {
	now := s.at(x.customer)
	for _, it := range next.items {
		if it.id == "" {
			it.id = s.newID("si")
		}
	}
	before, after := x.copied(), next
	if before.sold() != after.sold() {
		s.prorate(before, after, proration)
	}
	switch {
	case !before.cancelAtEnd && after.cancelAtEnd:
		after.cancelledAt = now
	case before.cancelAtEnd && !after.cancelAtEnd:
		after.cancelledAt = time.Time{}
	}
	*x = *after
	if before.sold() != after.sold() {
		s.changed(x, before.sold()+" → "+after.sold())
	}
	if before.cancelAtEnd != after.cancelAtEnd {
		s.tell("customer.subscription.updated", x, map[string]any{"cancel_at_period_end": before.cancelAtEnd})
		s.changed(x, map[bool]string{true: "to end with the period", false: "not to end after all"}[after.cancelAtEnd])
	}
	if before.pause != after.pause {
		s.changed(x, map[bool]string{true: "collecting again", false: "paused: " + after.pause}[after.pause == ""])
	}
	if before.collection != after.collection || before.daysDue != after.daysDue {
		s.changed(x, "collected by "+after.collection)
	}
	if !maps.Equal(before.metadata, after.metadata) {
		s.effects++
		x.found = s.now().Add(s.opts.SearchLag)
	}
}

func (s *Server) cancelSubscription(id string, p *params) (any, *failure) {
	x := s.subscription(id)
	if x == nil || x.ended() {
		return nil, missing("subscription", id, "id")
	}
	prorate, now := p.flag("prorate"), p.flag("invoice_now")
	if f := p.rest(); f != nil {
		return nil, f
	}
	if prorate {
		s.credit(x)
	}
	if now {
		s.invoice(x)
	}
	s.end(x, "canceled")
	return s.subscriptionJSON(x, nil), nil
}

func (s *Server) end(x *subscription, status string) {
	x.status, x.endedAt = status, s.at(x.customer)
	if x.cancelledAt.IsZero() {
		x.cancelledAt = x.endedAt
	}
	s.changed(x, "ended")
	s.tell("customer.subscription.deleted", x, nil)
}

func (s *Server) listSubscriptions(p *params) (any, *failure) {
	of, status, after, expand := p.text("customer"), p.text("status"), p.text("starting_after"), p.list("expand")
	clock := p.text("test_clock")
	limit, f := p.number("limit", 10)
	if f == nil {
		f = p.rest()
	}
	if f != nil {
		return nil, f
	}
	all := s.newest(func(x *subscription) bool {
		switch {
		case of != "" && x.customer != of, of == "" && !s.customer(x.customer).lives(clock):
			return false
		case status == "all":
			return true
		case status == "":
			return !x.ended()
		}
		return x.status == status
	})
	page, more := pageOf(all, func(x *subscription) string { return x.id }, after, int(limit))
	var data []any
	for _, x := range page {
		data = append(data, s.subscriptionJSON(x, expand))
	}
	return listJSON("/v1/subscriptions", data, more), nil
}
