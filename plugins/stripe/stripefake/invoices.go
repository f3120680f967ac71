package stripefake

import (
	"math"
	"time"
)

// Line is a line of an invoice that was made, or that is pending.
type Line struct {
	Subscription string
	Text         string
	Amount       int64 // cents; negative: a credit
	Proration    bool
	Invoiced     bool
	At           time.Time
}

// prorate adds the lines of a change within a period.
func (s *Server) prorate(before, after *subscription, behavior string) {
	if behavior == "none" || before.status == "trialing" {
		return
	}
	for _, line := range s.prorations(before, after) {
		line.Invoiced = behavior == "always_invoice"
		s.lines = append(s.lines, line)
	}
	if behavior == "always_invoice" {
		after.invoices = append(after.invoices, s.at(after.customer))
	}
}

// prorations are the lines for what is left of the period.
func (s *Server) prorations(before, after *subscription) []Line {
	left := s.left(before)
	var out []Line
	add := func(sign int64, text string, it *item) {
		amount := int64(math.Round(left * float64(it.price.Amount*it.quantity)))
		out = append(out, Line{Subscription: before.id, Text: text, Amount: sign * amount, Proration: true, At: s.at(before.customer)})
	}
	same := func(it *item, in []*item) bool {
		for _, other := range in {
			if other.price == it.price && other.quantity == it.quantity {
				return true
			}
		}
		return false
	}
	for _, it := range before.items {
		if !same(it, after.items) {
			add(-1, "Unused time on "+it.price.ID, it)
		}
	}
	for _, it := range after.items {
		if !same(it, before.items) {
			add(1, "Remaining time on "+it.price.ID, it)
		}
	}
	return out
}

// left is the part of the period that is left, 0 to 1.
func (s *Server) left(x *subscription) float64 {
	whole := x.ends.Sub(x.begins)
	if whole <= 0 {
		return 0
	}
	return max(0, min(1, float64(x.ends.Sub(s.at(x.customer)))/float64(whole)))
}

// credit gives back what is left when a subscription ends at once.
func (s *Server) credit(x *subscription) {
	for _, it := range x.items {
		amount := int64(math.Round(s.left(x) * float64(it.price.Amount*it.quantity)))
		s.lines = append(s.lines, Line{Subscription: x.id, Text: "Unused time on " + it.price.ID, Amount: -amount, Proration: true, At: s.at(x.customer)})
	}
}

// invoice bills a period.
func (s *Server) invoice(x *subscription) {
	x.invoices = append(x.invoices, s.at(x.customer))
	if x.pause != "" || x.status == "trialing" {
		return
	}
	for i := range s.lines {
		if s.lines[i].Subscription == x.id {
			s.lines[i].Invoiced = true
		}
	}
	for _, it := range x.items {
		s.lines = append(s.lines, Line{Subscription: x.id, Text: it.price.ID, Amount: it.price.Amount * it.quantity, Invoiced: true, At: s.at(x.customer)})
	}
}

// nextEnd is when a period that begins then ends.
func (x *subscription) nextEnd(from time.Time) time.Time {
	for _, it := range x.items {
		if it.price.Yearly {
			return from.AddDate(1, 0, 0)
		}
	}
	return from.AddDate(0, 1, 0)
}

// upcoming is the next invoice, with the changes that the parameters ask about.
func (s *Server) upcoming(p *params) (any, *failure) {
	customer, id := p.text("customer"), p.text("subscription")
	behavior := p.text("subscription_proration_behavior")
	objects := p.objects("subscription_items")
	if f := p.rest(); f != nil {
		return nil, f
	}
	x := s.subscription(id)
	if id != "" && (x == nil || x.ended()) {
		return nil, missing("subscription", id, "subscription")
	}
	if x == nil {
		if c := s.customer(customer); c == nil || c.Deleted {
			return nil, missing("customer", customer, "customer")
		}
		now := s.at(customer)
		x = &subscription{customer: customer, status: "active", begins: now}
		x.ends = x.nextEnd(now)
	}
	next := x.copied()
	if f := s.changeItems(next, objects); f != nil {
		return nil, f
	}
	var data []any
	total := int64(0)
	add := func(l Line) {
		total += l.Amount
		data = append(data, map[string]any{"object": "line_item", "amount": l.Amount, "currency": "eur", "description": l.Text, "proration": l.Proration})
	}
	for _, l := range s.lines {
		if l.Subscription == x.id && !l.Invoiced {
			add(l)
		}
	}
	if x.id != "" && behavior != "none" && x.sold() != next.sold() {
		for _, l := range s.prorations(x, next) {
			add(l)
		}
	}
	for _, it := range next.items {
		add(Line{Text: it.price.ID, Amount: it.price.Amount * it.quantity})
	}
	due := x.ends
	if x.id == "" {
		due = x.begins
	}
	return map[string]any{
		"object": "invoice", "currency": "eur", "total": total, "subtotal": total, "amount_due": max(0, total), "customer": x.customer,
		"subscription": nullable(x.id), "next_payment_attempt": due.Unix(), "period_end": due.Unix(),
		"lines": listJSON("/v1/invoices/upcoming/lines", data, false),
	}, nil
}
