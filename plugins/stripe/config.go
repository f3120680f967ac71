package main

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

type config struct {
	APIKey    string `json:"api_key" doc:"Secret or restricted key of the Stripe account, sk_test_… or rk_test_…; docs/stripe.md lists the rights that a restricted one needs." required:"true" secret:"true"`
	AllowLive bool   `json:"allow_live" doc:"Take a live key, which moves real money."`
	Account   string `json:"account" doc:"Id of the account that the key must belong to. Without it, the account that a tenant was first seen in is remembered, and another one is refused." pattern:"^acct_[A-Za-z0-9_]+$"`
	APIURL    string `json:"api_url" doc:"Where Stripe's API is. http:// only on this machine." default:"https://api.stripe.com" pattern:"^https?://[^/]+/?$"`

	PlanFrom     []string                 `json:"plan_from" doc:"Where it is told what a tenant pays for; the first that tells it counts. data.plan is the plan of the tenant in the mirror (a plain free there means that nobody told one, unless nothing else does), settings.plan is in its settings, subscription is the license type that it bought, licenses those that it has given out." enum:"data.plan|settings.plan|subscription|licenses" default:"[\"data.plan\", \"settings.plan\", \"subscription\", \"licenses\"]"`
	Plans        map[string]planConfig    `json:"plans" doc:"What each plan costs, by its name."`
	Licenses     map[string]licenseConfig `json:"licenses" doc:"What each license type costs, by its id or name."`
	Applications []string                 `json:"applications" doc:"Count only licenses and subscriptions of these applications. Without this key, of all."`
	EmailFrom    string                   `json:"email_from" doc:"Where the customer's e-mail address is: owner_email, or a member of the tenant's settings." default:"owner_email" pattern:"^(owner_email|settings\\.[A-Za-z0-9_.-]+)$" example:"settings.billing_email"`

	Collection   string `json:"collection" doc:"How money is collected, unless a plan says otherwise." enum:"send_invoice|charge_automatically" default:"send_invoice"`
	DaysUntilDue int64  `json:"days_until_due" doc:"Of an invoice that is sent, unless a plan says otherwise." default:"30" min:"1" max:"365"`
	Proration    string `json:"proration" doc:"What a change within a period costs, unless a plan says otherwise." enum:"create_prorations|none|always_invoice" default:"create_prorations"`

	Free      freeConfig    `json:"free" doc:"What happens to a subscription when its tenant goes to a free plan."`
	Suspended string        `json:"suspended" doc:"What happens to invoices while a tenant is suspended." enum:"void|keep_as_draft|mark_uncollectible" default:"void"`
	Deleted   deletedConfig `json:"deleted" doc:"What happens when a tenant is deleted; its subscription always ends."`

	Drift      driftConfig   `json:"drift" doc:"What happens when somebody changed in Stripe what this connector had set."`
	MaxCancels int           `json:"max_cancels" doc:"How many subscriptions may end within an hour before the connector stops and asks. 0: five, or two in a hundred of those that run, whichever is more." min:"0"`
	Coalesce   time.Duration `json:"coalesce" doc:"Least time between two changes of a tenant's seats; what changes in between is one change." default:"30s" min:"0s" max:"1h"`

	RequestsPerSecond int           `json:"requests_per_second" doc:"0: 20 with a test key, 80 with a live one. Stripe takes 25 and 100." min:"0" max:"10000"`
	Timeout           time.Duration `json:"timeout" doc:"For one request." default:"20s" min:"100ms" max:"50s"`
	MetricsListen     string        `json:"metrics_listen" doc:"Address on this machine at which GET /metrics shows Prometheus metrics. Without it, counts are only logged." example:"127.0.0.1:9466"`
}

// planConfig is what a plan costs: a price for the plan, one for each seat, or
// both.
type planConfig struct {
	Price         string `json:"price" doc:"Id of the price of the plan itself, once for each tenant." pattern:"^price_[A-Za-z0-9_]+$"`
	LookupKey     string `json:"lookup_key" doc:"Lookup key of that price, instead of its id."`
	SeatPrice     string `json:"seat_price" doc:"Id of the price of one seat." pattern:"^price_[A-Za-z0-9_]+$"`
	SeatLookupKey string `json:"seat_lookup_key" doc:"Lookup key of that price, instead of its id."`
	Seats         string `json:"seats" doc:"What counts as a seat: a license that was given out, one that was bought, or a person who is a member." enum:"assigned|purchased|members" default:"assigned"`
	MinSeats      int64  `json:"min_seats" doc:"Fewest seats that are paid." default:"1" min:"0"`
	Proration     string `json:"proration" doc:"Instead of the one for all plans." enum:"create_prorations|none|always_invoice"`
	Collection    string `json:"collection" doc:"Instead of the one for all plans." enum:"send_invoice|charge_automatically"`
	DaysUntilDue  int64  `json:"days_until_due" doc:"Instead of the one for all plans." min:"0" max:"365"`
	TrialDays     int64  `json:"trial_days" doc:"Days that a new subscription is free." min:"0" max:"730"`
}

// licenseConfig is what one license of a type costs.
type licenseConfig struct {
	Price     string `json:"price" doc:"Id of the price of one license." pattern:"^price_[A-Za-z0-9_]+$"`
	LookupKey string `json:"lookup_key" doc:"Lookup key of that price, instead of its id."`
	Seats     string `json:"seats" doc:"How many are paid: as many as were bought, or as were given out. A tenant that bought none pays those that it gave out." enum:"purchased|assigned" default:"purchased"`
	MinSeats  int64  `json:"min_seats" doc:"Fewest that are paid." default:"1" min:"0"`
	Free      bool   `json:"free" doc:"It costs nothing."`
}

type freeConfig struct {
	Plans     []string `json:"plans" doc:"Names of plans that cost nothing." default:"[\"free\"]"`
	Policy    string   `json:"policy" doc:"The subscription ends with its period, ends at once with what is left given back, or goes on at a price of zero." enum:"cancel_at_period_end|cancel_now|zero_price" default:"cancel_at_period_end"`
	Price     string   `json:"price" doc:"Id of the price of zero." pattern:"^price_[A-Za-z0-9_]+$"`
	LookupKey string   `json:"lookup_key" doc:"Lookup key of that price, instead of its id."`
}

type deletedConfig struct {
	Prorate        bool `json:"prorate" doc:"Give back what is left of the period."`
	InvoiceNow     bool `json:"invoice_now" doc:"Make a last invoice at once, of what is open."`
	DeleteCustomer bool `json:"delete_customer" doc:"Delete the customer in Stripe, too. Otherwise it stays, tagged with avhub_deleted."`
}

type driftConfig struct {
	Every    time.Duration `json:"every" doc:"How often all subscriptions are compared. 0s: only when asked." default:"1h" min:"0s"`
	Price    string        `json:"price" doc:"Another price." enum:"report|heal|ignore" default:"report"`
	Quantity string        `json:"quantity" doc:"Another quantity." enum:"report|heal|ignore" default:"report"`
	Cancel   string        `json:"cancel" doc:"A subscription that was ended, or is going to end." enum:"report|heal|ignore" default:"report"`
	Pause    string        `json:"pause" doc:"Collection that was paused, or goes on again." enum:"report|heal|ignore" default:"report"`
	Items    string        `json:"items" doc:"An item more, or one less." enum:"report|heal|ignore" default:"report"`
	Customer string        `json:"customer" doc:"Another name or e-mail address of the customer." enum:"report|heal|ignore" default:"report"`
	Schedule string        `json:"schedule" doc:"A subscription that was put under a schedule cannot be changed: it is left as it is, or released." enum:"skip|release" default:"skip"`
}

// live tells whether the key moves real money.
func (c *config) live() bool {
	return strings.HasPrefix(c.APIKey, "sk_live_") || strings.HasPrefix(c.APIKey, "rk_live_")
}

func (c *config) test() bool {
	return strings.HasPrefix(c.APIKey, "sk_test_") || strings.HasPrefix(c.APIKey, "rk_test_")
}

// Validate finds what tags cannot say.
func (c *config) Validate() []schema.Problem {
	var problems []schema.Problem
	add := func(path schema.Path, summary, detail string) {
		problems = append(problems, schema.Problem{Path: path, Kind: schema.NotAllowed, Summary: summary, Detail: detail})
	}
	switch {
	case c.live() && !c.AllowLive:
		add(schema.Path{"api_key"}, "is a live key, which moves real money", "use a test key, or set allow_live: true once the plans are tried")
	case strings.HasPrefix(c.APIKey, "pk_"):
		add(schema.Path{"api_key"}, "is a publishable key, which may change nothing", "use a secret key (sk_test_…) or a restricted one (rk_test_…)")
	case !c.live() && !c.test():
		add(schema.Path{"api_key"}, "is no key of Stripe's", "it begins with sk_test_, rk_test_, sk_live_ or rk_live_")
	case strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		add(schema.Path{"api_key"}, "holds characters that no key has", "it is one word")
	}
	u, err := url.Parse(c.APIURL)
	switch {
	case err != nil || u.Host == "":
		add(schema.Path{"api_url"}, "is no address", "write it like https://api.stripe.com")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		add(schema.Path{"api_url"}, "would send the key in the clear", "use https://; http:// is for a simulated Stripe on this machine")
	}
	if c.MetricsListen != "" {
		if host, _, err := net.SplitHostPort(c.MetricsListen); err != nil || !loopback(host) {
			add(schema.Path{"metrics_listen"}, "is no address on this machine", "write it like 127.0.0.1:9466")
		}
	}
	for i, from := range c.PlanFrom {
		if slices.Index(c.PlanFrom, from) < i {
			add(schema.Path{"plan_from", i}, "is there already", "name each place once")
		}
	}
	c.validatePrices(add)
	return problems
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// validatePrices wants a price for each plan, and no price for two of them: what
// a subscription is for is told by its prices.
func (c *config) validatePrices(add func(schema.Path, string, string)) {
	if len(c.Plans) == 0 && len(c.Licenses) == 0 {
		add(schema.Path{"plans"}, "is missing", "say under plans what each plan costs, or under licenses what each license type costs")
	}
	owner := map[priceRef]string{}
	claim := func(at schema.Path, ref priceRef, who string) {
		if ref == (priceRef{}) {
			return
		}
		if other, taken := owner[ref]; taken {
			add(at, fmt.Sprintf("is the price of %s, too", other), "give each its own price, or nobody can tell from a subscription what was bought")
			return
		}
		owner[ref] = who
	}
	both := func(at schema.Path, price, key, name string) {
		if price != "" && key != "" {
			add(at, "has two prices", fmt.Sprintf("name it by %s or by its lookup key, not by both", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plans)) {
		p, at := c.Plans[name], schema.Path{"plans", name}
		both(at, p.Price, p.LookupKey, "price")
		both(at, p.SeatPrice, p.SeatLookupKey, "seat_price")
		base, seat := p.base(), p.seat()
		switch {
		case base == (priceRef{}) && seat == (priceRef{}):
			add(at, "has no price", "set price or lookup_key, seat_price or seat_lookup_key; a plan that costs nothing belongs into free.plans")
		case base == seat:
			add(at, "has the same price for the plan and for a seat", "they are two items of the subscription, which need two prices")
		case base == (priceRef{}):
			claim(at, seat, "plan "+name)
		default:
			claim(at, base, "plan "+name)
		}
		if slices.Contains(c.Free.Plans, name) {
			add(at, "is in free.plans, too", "a plan has a price or is free")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plans)) {
		// Several plans may share the price of a seat, beside prices of their own.
		if p := c.Plans[name]; p.base() != (priceRef{}) {
			if other, taken := owner[p.seat()]; taken && p.seat() != (priceRef{}) {
				add(schema.Path{"plans", name}, fmt.Sprintf("has seats at the price of %s", other), "give each its own price, or nobody can tell from a subscription what was bought")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Licenses)) {
		l, at := c.Licenses[name], schema.Path{"licenses", name}
		both(at, l.Price, l.LookupKey, "price")
		switch {
		case l.Free && l.ref() != (priceRef{}):
			add(at, "is free and has a price", "take one of the two out")
		case !l.Free && l.ref() == (priceRef{}):
			add(at, "has no price", "set price or lookup_key, or free: true if it costs nothing")
		default:
			claim(at, l.ref(), "license type "+name)
		}
	}
	zero := c.Free.ref()
	switch {
	case c.Free.Policy == "zero_price" && zero == (priceRef{}):
		add(schema.Path{"free"}, "has no price", "zero_price needs price or lookup_key of a price of zero")
	case c.Free.Policy != "zero_price" && zero != (priceRef{}):
		add(schema.Path{"free"}, "has a price that nobody pays", "it is for policy: zero_price")
	}
	claim(schema.Path{"free"}, zero, "what is free")
}

// priceRef names a price, by its id or by its lookup key.
type priceRef struct{ ID, Key string }

// String is how people name it.
func (r priceRef) String() string {
	if r.Key != "" {
		return r.Key
	}
	return r.ID
}

func (p planConfig) base() priceRef   { return priceRef{p.Price, p.LookupKey} }
func (p planConfig) seat() priceRef   { return priceRef{p.SeatPrice, p.SeatLookupKey} }
func (l licenseConfig) ref() priceRef { return priceRef{l.Price, l.LookupKey} }
func (f freeConfig) ref() priceRef    { return priceRef{f.Price, f.LookupKey} }

// prices are all that the configuration names, with who is sold at it.
func (c *config) prices() map[priceRef]string {
	out := map[priceRef]string{}
	for name, p := range c.Plans {
		out[p.base()], out[p.seat()] = "plan "+name, "seats of plan "+name
	}
	for name, l := range c.Licenses {
		out[l.ref()] = "license type " + name
	}
	out[c.Free.ref()] = "free.price"
	delete(out, priceRef{})
	return out
}
