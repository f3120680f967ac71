package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
)

// bare is a rig whose account sells nothing yet.
func bare(t *testing.T, prices ...stripefake.Price) *rig {
	return newRig(t, func(cfg map[string]any, opts *stripefake.Options) {
		opts.Prices = prices
		cfg["plans"] = map[string]any{
			"pro":        map[string]any{"lookup_key": "pro", "seat_lookup_key": "seat"},
			"enterprise": map[string]any{"lookup_key": "enterprise", "seat_lookup_key": "seat", "min_seats": 10},
		}
		cfg["free"] = map[string]any{"policy": "zero_price", "lookup_key": "zero"}
	})
}

func TestSetupMakesThePricesThatAreMissingAndNoOthers(t *testing.T) {
	t.Parallel()
	r := bare(t, stripefake.Price{ID: "price_seat", LookupKey: "seat", Amount: 700},
		stripefake.Price{ID: "price_old", LookupKey: "enterprise", Amount: 100, Archived: true})
	n := r.mark()
	amounts := []string{"setup", "--price", "pro=49", "--price", "enterprise=199.5", "--price", "seat=5"}
	code, out, errOut := r.shell("", amounts...)
	for _, want := range []string{"49.00 EUR a month", "price_old is archived", "left alone", "0.00 EUR", "add --yes"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d %s, it does not say %q:\n%s", code, errOut, want, out)
		}
	}
	if r.writes(n) != 0 {
		t.Fatal("without --yes something was changed")
	}
	code, out, errOut = r.shell("", append(amounts, "--yes", "--json")...)
	var done offered
	if err := json.Unmarshal([]byte(out), &done); code != 0 || err != nil || !done.Done || done.Live || done.Account != "acct_fake" || len(done.Prices) != 4 {
		t.Fatalf("%d %s %s %v", code, out, errOut, err)
	}
	var did []string
	for _, o := range done.Prices {
		did = append(did, o.LookupKey+" "+o.Do)
	}
	equal(t, "done", did, []string{"enterprise created", "pro created", "seat nothing", "zero created"})
	n = r.mark()
	if code, out, _ = r.shell("", append(amounts, "--yes")...); code != 0 || r.writes(n) != 0 || !strings.Contains(out, "has every lookup key") {
		t.Errorf("the second time: %d, %d changes\n%s", code, r.writes(n), out)
	}
	// And they can be sold.
	r.restart()
	org := r.paying("t1")
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×3")
	org.Plan = "enterprise"
	r.tell(org)
	equal(t, "what is paid for", r.sub("t1").Sold, "enterprise×1 seat×10")
}

func TestSetupWithoutAnAmountMakesNothing(t *testing.T) {
	t.Parallel()
	r := bare(t)
	n := r.mark()
	for says, flags := range map[string][]string{
		"what enterprise, pro costs":                   {"--price", "seat=5", "--yes"},
		"has no lookup key gold":                       {"--price", "gold=5", "--yes"},
		"is no amount of EUR":                          {"--price", "pro=5.001", "--yes"},
		"no amount of JPY with at most 0 digits":       {"--price", "pro=5.1", "--currency", "jpy"},
		"KWD has thousandths":                          {"--currency", "kwd"},
		"--currency takes three letters":               {"--currency", "euro"},
		"--interval takes month or year":               {"--interval", "week"},
		"once for each key":                            {"--price", "pro=5", "--price", "pro=6"},
		"\"-5\" is no amount":                          {"--price", "pro=-5"},
		"\"99999999999999999999\" is no amount of EUR": {"--price", "pro=99999999999999999999"},
	} {
		if code, _, errOut := r.shell("", append([]string{"setup"}, flags...)...); code != exitUsage || !strings.Contains(errOut, says) {
			t.Errorf("%v: %d %s", flags, code, errOut)
		}
	}
	if r.writes(n) != 0 {
		t.Error("something was made")
	}
}

func TestSetupSaysWhichPricesCannotBeSold(t *testing.T) {
	t.Parallel()
	r := bare(t, sortiment()...)
	r.cfg["plans"].(map[string]any)["gone"] = map[string]any{"price": "price_gone"}
	if code, out, errOut := r.shell("", "setup"); code != exitFailed || !strings.Contains(out, "has no price price_gone") || !strings.Contains(errOut, "1 of 5 prices cannot be sold") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	// What fails in between is said, and the next run goes on.
	r = bare(t)
	r.fake.Fail(stripefake.Fault{Match: func(req stripefake.Request) bool { return req.Form.Get("lookup_key") == "seat" }, Status: 403,
		Type: "invalid_request_error", Message: "The provided key does not have the required permissions"})
	all := []string{"setup", "--price", "pro=49", "--price", "enterprise=199", "--price", "seat=5", "--yes"}
	if code, _, errOut := r.shell("", all...); code != exitFailed || !strings.Contains(errOut, "making the price seat") || !strings.Contains(errOut, "required permissions") {
		t.Errorf("%d %s", code, errOut)
	}
	if code, out, errOut := r.shell("", all...); code != 0 || strings.Count(out, "created") != 2 {
		t.Errorf("%d %s %s", code, out, errOut)
	}
}
