package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	stripe "github.com/stripe/stripe-go/v79"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin"
)

// The life of a company at Stripe's own test mode. The very same test runs at
// the simulated Stripe; only key and address differ.

// testKeyVar holds a key of test mode.
const testKeyVar = "AVHUB_STRIPE_TEST_KEY"

const (
	clockName = "avhub test"
	// lifeWithin bounds the whole test; Stripe takes seconds to move a clock.
	lifeWithin = 8 * time.Minute
	// forgotten is how old a clock is that a killed test has left.
	forgotten = time.Hour
)

// testModeKey refuses what could move money, before anything is sent.
func testModeKey(key string) error {
	if !strings.HasPrefix(key, "sk_test_") && !strings.HasPrefix(key, "rk_test_") {
		return fmt.Errorf("%s is no key of test mode; it begins with sk_test_ or rk_test_", testKeyVar)
	}
	return nil
}

func TestOnlyAKeyOfTestModeIsTaken(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"sk_live_canary", "rk_live_canary", "pk_test_canary", "", "canary sk_test_x"} {
		if err := testModeKey(key); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"sk_test_x", "rk_test_x"} {
		if err := testModeKey(key); err != nil {
			t.Error(err)
		}
	}
}

func TestTheLifeOfACompanyInStripesTestMode(t *testing.T) {
	t.Parallel()
	key := os.Getenv(testKeyVar)
	if key == "" {
		t.Skipf("%s is not set to a key of Stripe's test mode", testKeyVar)
	}
	if err := testModeKey(key); err != nil {
		t.Fatal(err)
	}
	newLife(t, key, "https://api.stripe.com").play()
}

func TestTheLifeOfACompanyAtTheSimulatedStripe(t *testing.T) {
	t.Parallel()
	fake := stripefake.New(stripefake.Options{Key: "rk_test_x", SearchLag: time.Minute})
	url := serve(t, fake)
	for range 2 { // the second finds the prices, and nothing else
		t.Run("life", func(t *testing.T) { newLife(t, "rk_test_x", url).play() })
	}
	for _, c := range fake.Customers() {
		if !c.Deleted {
			t.Errorf("customer %s was left behind", c.ID)
		}
	}
	count := map[string]int{}
	for _, req := range fake.Requests() {
		if req.Changed { // what was repeated after a lost reply changes nothing
			count[req.Operation()]++
		}
		if req.Operation() == "POST /v1/customers" && req.Form.Get("test_clock") == "" {
			t.Error("a customer was made outside of the test's clock")
		}
	}
	equal(t, "prices made", count["POST /v1/prices"], 3)
	equal(t, "subscriptions made", count["POST /v1/subscriptions"], 4)
}

// life is a rig without a fake of its own.
type life struct {
	*rig
	hand  *api // of the test itself
	clock string
	began time.Time
	names map[string]string // of prices
	org   plugin.Organization
}

// aClock is what test_helpers answers.
type aClock struct {
	stripe.TestHelpersTestClock
}

func newLife(t *testing.T, key, url string) *life {
	t.Helper()
	cfg := map[string]any{
		"api_key": key, "api_url": url, "coalesce": "0s", "drift": map[string]any{"every": "0s"}, "max_cancels": 1000, "days_until_due": 90,
		"plans": map[string]any{
			"pro":        map[string]any{"lookup_key": "avhub_test_pro", "seat_lookup_key": "avhub_test_seat"},
			"enterprise": map[string]any{"lookup_key": "avhub_test_enterprise", "seat_lookup_key": "avhub_test_seat", "min_seats": 10},
		},
	}
	l := &life{rig: &rig{t: t, cfg: cfg, url: url, states: map[string][]byte{}, now: time.Now}, names: map[string]string{}, began: time.Now()}
	l.hand = newAPI(config{APIKey: key, APIURL: url, Timeout: 20 * time.Second}, newMetrics())
	t.Cleanup(l.hand.close)
	l.tidy()
	var made aClock
	l.send(http.MethodPost, "/v1/test_helpers/test_clocks", &made, "frozen_time", strconv.FormatInt(l.began.Unix(), 10), "name", clockName)
	l.clock = made.ID
	t.Cleanup(func() { l.send(http.MethodDelete, "/v1/test_helpers/test_clocks/"+l.clock, &aClock{}) }) // customers go with it
	l.via = func(next http.RoundTripper) http.RoundTripper { return clocked{next, l.clock} }
	l.start()
	t.Cleanup(func() { l.stop() })
	l.sell()
	l.org = l.company("avhub_test_" + strings.ToLower(rand.Text()))
	return l
}

// send is a request of the test's own, after which the clock is deleted too, so
// it has a time of its own.
func (l *life) send(method, path string, into stripe.LastResponseSetter, params ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), 30*time.Second)
	defer cancel()
	o := op{Kind: "of the test", Method: method, Path: path}
	for i := 0; i < len(params); i += 2 {
		o.set(params[i], params[i+1])
	}
	key := ""
	if method != http.MethodGet {
		key = "avhub:test:" + rand.Text()
	}
	if _, err := l.hand.send(ctx, o, key, into); err != nil {
		l.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// tidy removes the clocks of tests that were killed, and what lives by them.
func (l *life) tidy() {
	var all stripe.TestHelpersTestClockList
	l.send(http.MethodGet, "/v1/test_helpers/test_clocks", &all, "limit", "100")
	for _, c := range all.Data {
		if c.Name == clockName && time.Since(time.Unix(c.Created, 0)) > forgotten {
			l.send(http.MethodDelete, "/v1/test_helpers/test_clocks/"+c.ID, &aClock{})
		}
	}
}

// sell makes the prices where they are missing. They stay: Stripe deletes none.
func (l *life) sell() {
	l.t.Helper()
	out, err := l.wide.setup(l.t.Context(), setupWish{currency: "eur", interval: "month", yes: true,
		amounts: map[string]string{"avhub_test_pro": "49", "avhub_test_enterprise": "199", "avhub_test_seat": "5"}})
	if err != nil || out.Live {
		l.t.Fatalf("%+v %v", out, err)
	}
	for _, o := range out.Prices {
		l.names[o.Price] = strings.TrimPrefix(o.LookupKey, "avhub_test_")
	}
	l.restart() // it does not know them yet
}

// clocked puts the customers that the connector makes under the test's clock,
// and lets it find them there: lists leave out what lives by a clock unless they
// are asked for that one.
type clocked struct {
	next  http.RoundTripper
	clock string
}

func (c clocked) RoundTrip(req *http.Request) (*http.Response, error) {
	add := "test_clock=" + c.clock
	once := req.Clone(req.Context())
	switch {
	case req.Method == http.MethodPost && req.URL.Path == "/v1/customers":
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		body = append(body, "&"+add...)
		once.Body, once.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	case req.Method == http.MethodGet && (req.URL.Path == "/v1/customers" || req.URL.Path == "/v1/subscriptions" && !req.URL.Query().Has("customer")):
		once.URL.RawQuery += "&" + add
	}
	return c.next.RoundTrip(once)
}

// advance moves the clock and waits until everything has happened.
func (l *life) advance(to time.Time) {
	l.t.Helper()
	var c aClock
	path := "/v1/test_helpers/test_clocks/" + l.clock
	l.send(http.MethodPost, path+"/advance", &c, "frozen_time", strconv.FormatInt(to.Unix(), 10))
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	for wait := 10 * time.Millisecond; c.Status != stripe.TestHelpersTestClockStatusReady; wait = min(2*wait, 2*time.Second) {
		if c.Status == stripe.TestHelpersTestClockStatusInternalFailure {
			l.t.Fatal("Stripe's clock broke")
		}
		select {
		case <-time.After(wait):
		case <-deadline.C:
			l.t.Fatal("Stripe's clock does not arrive")
		}
		c = aClock{}
		l.send(http.MethodGet, path, &c)
	}
}

// holds wants Stripe to hold this for the company, asked past the connector.
func (l *life) holds(want string) *subscription {
	l.t.Helper()
	if time.Since(l.began) > lifeWithin {
		l.t.Fatalf("it takes longer than %v", lifeWithin)
	}
	have, err := eyes{l.hand}.customer(l.t.Context(), l.org.TenantID, l.state(l.org.TenantID).Customer)
	if err != nil {
		l.t.Fatal(err)
	}
	got := "nothing"
	if s := have.Sub; s != nil {
		var parts []string
		for _, it := range s.Items {
			parts = append(parts, fmt.Sprintf("%s×%d", l.names[it.Price], it.Quantity))
		}
		slices.Sort(parts)
		if got = strings.Join(parts, " "); s.Pause != "" {
			got += ", paused: " + s.Pause
		}
		if s.CancelAtEnd {
			got += ", ends with its period"
		}
	}
	if got != want || len(have.Others) > 0 {
		l.t.Fatalf("Stripe holds %s and %v, want %s\n%s", got, have.Others, want, l.logs)
	}
	return have.Sub
}

// becomes tells of the company as it stands, twice, and then to a connector that
// was killed and remembers nothing.
func (l *life) becomes(want string, change func(o *plugin.Organization)) *subscription {
	l.t.Helper()
	change(&l.org)
	ev := l.event("tenant.updated", l.org.TenantID, &l.org)
	l.settled(l.deliver(ev))
	first := l.holds(want)
	l.rig.want(l.deliver(ev), skipped, "Stripe holds what it should")
	l.restart()
	delete(l.states, ev.GetKey())
	l.settled(l.deliver(ev))
	if second := l.holds(want); first != nil && second.ID != first.ID {
		l.t.Fatalf("subscription %s became %s", first.ID, second.ID)
	}
	return first
}

func (l *life) play() {
	l.t.Helper()
	plan := func(name string, people int64) func(*plugin.Organization) {
		return func(o *plugin.Organization) { o.Plan = name; seats(o, people) }
	}
	status := func(s string) func(*plugin.Organization) { return func(o *plugin.Organization) { o.Status = s } }
	l.becomes("nothing", plan("free", 1))
	l.interrupted(plan("pro", 3))
	first := l.becomes("pro×1 seat×3", plan("pro", 3))
	l.becomes("pro×1 seat×5", plan("pro", 5))
	l.becomes("pro×1 seat×2", plan("pro", 2))
	l.becomes("enterprise×1 seat×10", plan("enterprise", 2))
	l.becomes("pro×1 seat×2", plan("pro", 2))
	l.becomes("pro×1 seat×2, paused: void", status("suspended"))
	l.becomes("pro×1 seat×2", status("active"))
	l.becomes("pro×1 seat×2, ends with its period", plan("free", 2))
	l.becomes("pro×1 seat×2", plan("pro", 2))

	l.advance(time.Unix(first.PeriodEnd, 0).Add(24 * time.Hour))
	renewed := l.becomes("pro×1 seat×4", plan("pro", 4))
	if renewed.ID != first.ID || renewed.PeriodEnd <= first.PeriodEnd {
		l.t.Errorf("after a period %+v became %+v", first, renewed)
	}
	l.becomes("pro×1 seat×4, ends with its period", plan("free", 4))
	l.advance(time.Unix(renewed.PeriodEnd, 0).Add(24 * time.Hour))
	l.holds("nothing")
	if again := l.becomes("pro×1 seat×4", plan("pro", 4)); again.ID == first.ID {
		l.t.Error("what has ended goes on")
	}
	found, err := comparison{c: l.wide}.run(l.t.Context())
	if err != nil || found.Subscriptions != 1 || len(found.Differences) > 0 {
		l.t.Errorf("compared: %+v %v", found, err)
	}

	customerID := l.state(l.org.TenantID).Customer
	gone := l.event("tenant.deleted", l.org.TenantID, nil)
	l.settled(l.deliver(gone))
	l.settled(l.deliver(gone))
	l.holds("nothing")
	var who stripe.Customer
	l.send(http.MethodGet, "/v1/customers/"+customerID, &who)
	if who.Metadata[metaDeleted] == "" || who.Metadata[metaTenant] != l.org.TenantID {
		l.t.Errorf("the customer is marked %v", who.Metadata)
	}
	all, err := eyes{l.hand}.subscriptions(l.t.Context(), [][2]string{{"customer", customerID}, {"status", "all"}}, nil)
	if err != nil || len(all) != 2 || slices.ContainsFunc(all, func(s *stripe.Subscription) bool { return s.EndedAt == 0 }) {
		l.t.Errorf("%d subscriptions, %v", len(all), err)
	}
}

// interrupted kills the connector once the intent to create is saved, and again
// after the creation, whose outcome is lost.
func (l *life) interrupted(change func(o *plugin.Organization)) {
	l.t.Helper()
	change(&l.org)
	ev := l.event("tenant.updated", l.org.TenantID, &l.org)
	if v, err := l.once(l.client, ev); err != nil || v.GetKind() != again {
		l.t.Fatalf("%v %v", v, err)
	}
	l.restart()
	saved := l.states[ev.GetKey()]
	if v, err := l.once(l.client, ev); err != nil || v.GetKind() == again {
		l.t.Fatalf("%v %v", v, err)
	}
	l.states[ev.GetKey()] = saved // the reply is lost
	l.restart()
	l.settled(l.deliver(ev))
}
