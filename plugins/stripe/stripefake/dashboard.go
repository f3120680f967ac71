package stripefake

import "fmt"

// Dashboard is what a person does by hand, past the API and its rules.
type Dashboard struct{ s *Server }

// Dashboard lets a person edit.
func (s *Server) Dashboard(edit func(d Dashboard)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(Dashboard{s})
}

func (d Dashboard) must(id string) *subscription {
	x := d.s.subscription(id)
	if x == nil {
		panic(fmt.Sprintf("the fake has no subscription %s", id))
	}
	return x
}

// AddPrice adds a price and returns its id.
func (d Dashboard) AddPrice(p Price) string { return d.s.addPrice(p).ID }

// ArchivePrice makes a price unusable for what is new, and takes its lookup key.
func (d Dashboard) ArchivePrice(id string) {
	p := d.s.price(id)
	p.Archived, p.LookupKey = true, ""
}

// SetItem gives the n-th item another price (empty: the same) and a quantity.
func (d Dashboard) SetItem(subscription string, n int, price string, quantity int64) {
	x := d.must(subscription)
	if price != "" {
		x.items[n].price = d.s.price(price)
	}
	x.items[n].quantity = quantity
	d.s.changed(x, "by hand: "+x.sold())
}

// AddItem adds an item.
func (d Dashboard) AddItem(subscription, price string, quantity int64) {
	x := d.must(subscription)
	x.items = append(x.items, &item{id: d.s.newID("si"), price: d.s.price(price), quantity: quantity})
	d.s.changed(x, "by hand: "+x.sold())
}

// Cancel ends a subscription at once, or with its period.
func (d Dashboard) Cancel(subscription string, atPeriodEnd bool) {
	x := d.must(subscription)
	if !atPeriodEnd {
		d.s.end(x, "canceled")
		return
	}
	x.cancelAtEnd = true
	d.s.changed(x, "by hand: to end with the period")
}

// Pause pauses collection, or goes on with it if behavior is empty.
func (d Dashboard) Pause(subscription, behavior string) {
	x := d.must(subscription)
	x.pause = behavior
	d.s.changed(x, "by hand: pause "+behavior)
}

// Schedule puts a subscription under a schedule and returns that.
func (d Dashboard) Schedule(subscription string) string {
	x := d.must(subscription)
	x.schedule = d.s.newID("sub_sched")
	d.s.schedules[x.schedule] = &schedule{x.schedule, subscription, "active"}
	return x.schedule
}

// DeleteCustomer deletes a customer and ends its subscriptions.
func (d Dashboard) DeleteCustomer(id string) { _, _ = d.s.deleteCustomer(id) }

// Decline lets the customer's card be declined with this code; empty: not any more.
func (d Dashboard) Decline(customer, code string) { d.s.customer(customer).declines = code }

// AddCustomer adds a customer with metadata and returns its id.
func (d Dashboard) AddCustomer(name, email string, metadata map[string]string) string {
	now := d.s.now()
	c := &customer{Customer: Customer{ID: d.s.newID("cus"), Name: name, Email: email, Metadata: map[string]string{}, Created: now}, found: now}
	setMetadata(c.Metadata, metadata)
	d.s.customers = append(d.s.customers, c)
	return c.ID
}

// AddSubscription adds a subscription with one item and returns its id.
func (d Dashboard) AddSubscription(customer, price string, quantity int64, metadata map[string]string) string {
	now := d.s.now()
	x := &subscription{id: d.s.newID("sub"), customer: customer, status: "active", metadata: map[string]string{}, collection: "send_invoice",
		daysDue: 30, created: now, begins: now, ends: now.AddDate(0, 1, 0), found: now}
	setMetadata(x.metadata, metadata)
	x.items = []*item{{id: d.s.newID("si"), price: d.s.price(price), quantity: quantity}}
	d.s.subscriptions = append(d.s.subscriptions, x)
	d.s.changed(x, "by hand: created "+x.sold())
	return x.id
}
