package stripefake

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// client sends requests to a fake.
type client struct {
	t    *testing.T
	fake *Server
	url  string
}

func newClient(t *testing.T, opts Options) *client {
	t.Helper()
	opts.Prices = append(opts.Prices, Price{ID: "price_a", LookupKey: "a", Amount: 3000}, Price{ID: "price_b", LookupKey: "b", Amount: 6000})
	opts.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fake := New(opts)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return &client{t, fake, server.URL}
}

// do returns the status (0: the connection was cut), the object, and the header.
func (c *client) do(method, path, key string, params ...string) (int, map[string]any, http.Header) {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(params); i += 2 {
		form.Add(params[i], params[i+1])
	}
	target, body := c.url+path, form.Encode()
	if method == http.MethodGet {
		target, body = target+"?"+body, ""
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk_test_x")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		c.t.Fatalf("%s %s: %s", method, path, raw)
	}
	return resp.StatusCode, out, resp.Header
}

// ok wants success and returns the object's id.
func (c *client) ok(method, path, key string, params ...string) string {
	c.t.Helper()
	status, out, _ := c.do(method, path, key, params...)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s answered %d %v", method, path, status, out)
	}
	id, _ := out["id"].(string)
	return id
}

func code(out map[string]any) string {
	e, _ := out["error"].(map[string]any)
	text, _ := e["code"].(string)
	if text == "" {
		text, _ = e["type"].(string)
	}
	return text
}

func (c *client) subscribed() (customer, subscription string) {
	c.t.Helper()
	customer = c.ok("POST", "/v1/customers", "", "name", "Acme", "email", "a@example.com", "metadata[avhub_tenant]", "t1")
	return customer, c.ok("POST", "/v1/subscriptions", "", "customer", customer, "items[0][price]", "price_a", "items[0][quantity]", "2",
		"collection_method", "send_invoice", "days_until_due", "30", "metadata[avhub_tenant]", "t1")
}

func TestAKeyAnswersTheSameForADay(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	first := c.ok("POST", "/v1/customers", "k", "name", "Acme")
	status, out, header := c.do("POST", "/v1/customers", "k", "name", "Acme")
	if status != 200 || out["id"] != first || header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d %v %v", status, out, header)
	}
	if status, out, _ := c.do("POST", "/v1/customers", "k", "name", "Other"); status != 400 || code(out) != "idempotency_error" {
		t.Errorf("other parameters under the same key: %d %v", status, out)
	}
	c.fake.Advance(24 * time.Hour)
	if again := c.ok("POST", "/v1/customers", "k", "name", "Acme"); again == first {
		t.Error("the key is remembered after a day")
	}
	if status, out, _ := c.do("POST", "/v1/customers", strings.Repeat("k", 256), "name", "Acme"); status != 400 {
		t.Errorf("a key of 256 characters: %d %v", status, out)
	}
}

func TestAKeyKeepsA500AndNotAMistake(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	c.fake.Fail(Fault{Match: On("POST /v1/customers"), Status: 500, Saved: true})
	for range 2 {
		if status, _, _ := c.do("POST", "/v1/customers", "k", "name", "Acme"); status != 500 {
			t.Errorf("answered %d", status)
		}
	}
	if status, _, _ := c.do("POST", "/v1/customers", "k2", "email", "no address"); status != 400 {
		t.Errorf("answered %d", status)
	}
	c.ok("POST", "/v1/customers", "k2", "email", "a@example.com")
}

func TestAKeyInFlightIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	hold := make(chan struct{})
	c.fake.Fail(Fault{Match: On("POST /v1/customers"), Hold: hold})
	// Whichever comes first is held, and only the other is answered.
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			status, out, _ := c.do("POST", "/v1/customers", "k", "name", "Acme")
			answers <- strings.TrimSpace(strconv.Itoa(status) + " " + code(out))
		}()
	}
	first := <-answers
	close(hold)
	if second := <-answers; first != "409 idempotency_key_in_use" || second != "200" {
		t.Errorf("answered %s, then %s", first, second)
	}
	if n := len(c.fake.Customers()); n != 1 {
		t.Errorf("%d customers", n)
	}
}

func TestACutAfterTheEffectLeavesTheEffect(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	c.fake.Fail(Fault{Match: On("POST /v1/customers"), Cut: true, AfterEffect: true})
	if status, _, _ := c.do("POST", "/v1/customers", "k", "name", "Acme"); status != 0 {
		t.Errorf("answered %d", status)
	}
	if status, _, header := c.do("POST", "/v1/customers", "k", "name", "Acme"); status != 200 || header.Get("Idempotent-Replayed") == "" || len(c.fake.Customers()) != 1 {
		t.Errorf("answered %d %v; %d customers", status, header, len(c.fake.Customers()))
	}
}

func TestSearchLagsAndListsDoNot(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{SearchLag: time.Minute})
	c.subscribed()
	count := func(path string, params ...string) int {
		_, out, _ := c.do("GET", path, "", params...)
		data, _ := out["data"].([]any)
		return len(data)
	}
	query := []string{"query", "metadata['avhub_tenant']:'t1'"}
	if n := count("/v1/customers/search", query...); n != 0 {
		t.Errorf("search finds %d at once", n)
	}
	if n := count("/v1/customers", "email", "a@example.com"); n != 1 {
		t.Errorf("the list has %d", n)
	}
	c.fake.Advance(time.Minute)
	if n := count("/v1/customers/search", query...); n != 1 {
		t.Errorf("search finds %d after a minute", n)
	}
}

func TestAnItemWithoutItsIDIsAnotherItem(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	_, sub := c.subscribed()
	c.ok("POST", "/v1/subscriptions/"+sub, "", "items[0][price]", "price_b", "items[0][quantity]", "1")
	if got := c.fake.Subscriptions()[0].Sold; got != "a×2 b×1" {
		t.Errorf("it has %s", got)
	}
	if status, _, _ := c.do("POST", "/v1/subscriptions/"+sub, "", "items[0][price]", "price_a"); status != 400 {
		t.Errorf("one price twice: %d", status)
	}
}

func TestAChangeWithinAPeriodIsProrated(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	_, sub := c.subscribed()
	_, out, _ := c.do("GET", "/v1/subscriptions/"+sub, "")
	item := out["items"].(map[string]any)["data"].([]any)[0].(map[string]any)["id"].(string)
	c.fake.Advance(31 * 24 * time.Hour / 2)
	c.ok("POST", "/v1/subscriptions/"+sub, "", "items[0][id]", item, "items[0][price]", "price_b", "items[0][quantity]", "2", "proration_behavior", "create_prorations")
	var amounts []int64
	for _, l := range c.fake.Lines() {
		if l.Proration {
			amounts = append(amounts, l.Amount/100)
		}
	}
	if !slices.Equal(amounts, []int64{-30, 60}) {
		t.Errorf("lines %v, want half of 60.00 back and half of 120.00 to pay", amounts)
	}
	_, next, _ := c.do("GET", "/v1/invoices/upcoming", "", "subscription", sub)
	if total := next["total"].(float64); int64(total/100) != 150 {
		t.Errorf("the next invoice is %v", total)
	}
}

func TestPausingCancellingAndPeriods(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	_, sub := c.subscribed()
	state := func() string { return c.fake.Subscriptions()[0].Status + c.fake.Subscriptions()[0].Pause }
	c.ok("POST", "/v1/subscriptions/"+sub, "", "pause_collection[behavior]", "void")
	if state() != "activevoid" {
		t.Error(state())
	}
	c.ok("POST", "/v1/subscriptions/"+sub, "", "pause_collection", "", "cancel_at_period_end", "true")
	if state() != "active" || !c.fake.Subscriptions()[0].CancelAtEnd {
		t.Error(c.fake.Subscriptions())
	}
	c.fake.Advance(40 * 24 * time.Hour)
	if state() != "canceled" {
		t.Error(state())
	}
	if status, _, _ := c.do("POST", "/v1/subscriptions/"+sub, "", "cancel_at_period_end", "false"); status != 400 {
		t.Errorf("changing an ended one: %d", status)
	}
}

func TestDeletedCustomersAndArchivedPrices(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	cus, _ := c.subscribed()
	c.fake.Dashboard(func(d Dashboard) { d.DeleteCustomer(cus); d.ArchivePrice("price_b") })
	status, out, _ := c.do("GET", "/v1/customers/"+cus, "")
	if status != 200 || out["deleted"] != true || c.fake.Subscriptions()[0].Status != "canceled" {
		t.Errorf("%d %v %v", status, out, c.fake.Subscriptions())
	}
	if status, out, _ := c.do("POST", "/v1/subscriptions", "", "customer", cus, "items[0][price]", "price_a"); status != 400 || code(out) != "resource_missing" {
		t.Errorf("%d %v", status, out)
	}
	other := c.ok("POST", "/v1/customers", "", "name", "Other")
	if status, out, _ := c.do("POST", "/v1/subscriptions", "", "customer", other, "items[0][price]", "price_b"); status != 400 || !strings.Contains(out["error"].(map[string]any)["message"].(string), "inactive") {
		t.Errorf("%d %v", status, out)
	}
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{PerSecond: 1000})
	cus, _ := c.subscribed()
	for _, tc := range []struct {
		method, path string
		params       []string
		status       int
	}{
		{"POST", "/v1/customers", []string{"nmae", "x"}, 400},
		{"POST", "/v1/subscriptions", []string{"customer", cus}, 400},
		{"POST", "/v1/subscriptions", []string{"customer", cus, "items[0][price]", "price_a", "collection_method", "send_invoice"}, 400},
		{"POST", "/v1/subscriptions", []string{"customer", cus, "items[0][price]", "price_nowhere"}, 400},
		{"GET", "/v1/subscriptions/sub_nowhere", nil, 404},
		{"GET", "/v1/customers/search", []string{"query", "drop table"}, 400},
		{"GET", "/v1/refunds", nil, 404},
	} {
		if status, out, _ := c.do(tc.method, tc.path, "", tc.params...); status != tc.status {
			t.Errorf("%s %s %v: %d %v", tc.method, tc.path, tc.params, status, out)
		}
	}
	req, _ := http.NewRequest("GET", c.url+"/v1/account", nil)
	req.Header.Set("Authorization", "Bearer sk_live_x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 401 {
		t.Errorf("a live key: %v %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestTheLimitIsPerSecond(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{PerSecond: 5})
	limited := 0
	for range 8 {
		if status, _, _ := c.do("GET", "/v1/account", ""); status == 429 {
			limited++
		}
	}
	if limited == 0 || limited != c.fake.Limited() {
		t.Errorf("%d refused, the fake counts %d", limited, c.fake.Limited())
	}
}

func TestATestClockStandsStillUntilItIsMovedAndTakesItsCustomersWithIt(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{})
	const clocks = "/v1/test_helpers/test_clocks"
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	unix := func(d time.Duration) string { return strconv.FormatInt(start.Add(d).Unix(), 10) }
	clock := c.ok("POST", clocks, "k1", "frozen_time", unix(0))
	cus := c.ok("POST", "/v1/customers", "k2", "email", "a@example.com", "test_clock", clock)
	sub := c.ok("POST", "/v1/subscriptions", "k3", "customer", cus, "items[0][price]", "price_a")
	c.fake.Advance(40 * 24 * time.Hour)
	if x := c.fake.Subscriptions()[0]; !x.PeriodEnd.Equal(start.AddDate(0, 1, 0)) {
		t.Errorf("the fake's own clock moved it: %v", x.PeriodEnd)
	}
	for _, path := range []string{"/v1/customers", "/v1/subscriptions"} {
		for query, want := range map[string]int{"": 0, clock: 1} {
			params := []string{}
			if query != "" {
				params = []string{"test_clock", query}
			}
			if _, out, _ := c.do("GET", path, "", params...); len(out["data"].([]any)) != want {
				t.Errorf("%s of %q lists %v", path, query, out["data"])
			}
		}
	}
	for d, want := range map[time.Duration]int{-time.Hour: 400, 100 * 24 * time.Hour: 400} {
		if status, _, _ := c.do("POST", clocks+"/"+clock+"/advance", "", "frozen_time", unix(d)); status != want {
			t.Errorf("moved by %v: %d", d, status)
		}
	}
	c.ok("POST", clocks+"/"+clock+"/advance", "", "frozen_time", unix(33*24*time.Hour))
	for _, want := range []string{"advancing", "ready"} {
		if _, out, _ := c.do("GET", clocks+"/"+clock, ""); out["status"] != want {
			t.Errorf("it is %v, want %s", out["status"], want)
		}
	}
	if x := c.fake.Subscriptions()[0]; x.ID != sub || !x.PeriodEnd.Equal(start.AddDate(0, 2, 0)) || x.Invoices != 2 {
		t.Errorf("after a period: %+v", x)
	}
	c.ok("DELETE", clocks+"/"+clock, "")
	if x := c.fake.Subscriptions()[0]; !x.Ended() || !c.fake.Customers()[0].Deleted {
		t.Errorf("its customer goes on: %+v", x)
	}
	if status, _, _ := c.do("GET", clocks+"/"+clock, ""); status != 404 {
		t.Errorf("it is still there: %d", status)
	}
}
