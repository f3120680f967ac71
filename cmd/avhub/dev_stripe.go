package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/avhub/avhub/config"
)

const (
	// stripeKeyVar holds the key with which dev bills in Stripe's test mode.
	stripeKeyVar = "STRIPE_API_KEY"
	// stripeURLVar names another address of its API: something that stands in for it.
	stripeURLVar = "STRIPE_API_URL"

	stripeURL       = "https://api.stripe.com"
	stripeDashboard = "https://dashboard.stripe.com/test/customers"

	// setUpWithin is enough for a handful of prices.
	setUpWithin = time.Minute
)

// stripeTestKey is the key of test mode that the environment holds; empty: none,
// so Stripe is simulated. The companies of dev are made up, so a live key must
// not bill them.
func stripeTestKey() (string, error) {
	key := os.Getenv(stripeKeyVar)
	switch {
	case key == "", strings.HasPrefix(key, "sk_test_"), strings.HasPrefix(key, "rk_test_"):
		return key, nil
	case liveKey(key):
		return "", fmt.Errorf("%s is a live key, and the companies of dev are made up: nobody may be billed for them. "+
			"Use a test key (sk_test_… or rk_test_…), or unset %s for a simulated Stripe", stripeKeyVar, stripeKeyVar)
	}
	return "", fmt.Errorf("%s is no test key of Stripe's (sk_test_… or rk_test_…); use one, or unset %s for a simulated Stripe", stripeKeyVar, stripeKeyVar)
}

func liveKey(key string) bool {
	return strings.HasPrefix(key, "sk_live_") || strings.HasPrefix(key, "rk_live_")
}

// refuseLiveKeys keeps a configuration for production from billing made-up
// companies.
func refuseLiveKeys(cfg *config.Config) error {
	for _, p := range cfg.Plugins {
		if key, ok := p.Config["api_key"].(string); ok && liveKey(key) {
			return fmt.Errorf("plugin %s has a live key of Stripe's, and the companies of dev are made up: nobody may be billed for them; give it a test key", p.Name)
		}
	}
	return nil
}

// testBilling makes the story's prices in test mode where they are missing.
func (c *cli) testBilling(ctx context.Context, key string, folder devFolder) (_ devBilling, err error) {
	b := devBilling{stripe: stripeURL, key: key}
	if other := os.Getenv(stripeURLVar); other != "" {
		b.stripe = other
	}
	if b.program, err = findBundled("avhub-stripe"); err != nil {
		return devBilling{}, fmt.Errorf("%s is set, so companies are to be billed: %w", stripeKeyVar, err)
	}
	c.say("Stripe: looking for the story's prices in test mode, and making those that are missing")
	// The file names the variable, not the key.
	text, err := json.Marshal(b.config("${" + stripeKeyVar + "}"))
	if err != nil {
		return devBilling{}, fmt.Errorf("writing the connector's configuration: %w", err)
	}
	const file = "stripe.json"
	if err := folder.write(file, text); err != nil {
		return devBilling{}, err
	}
	defer func() { err = errors.Join(err, os.Remove(folder.path(file))) }()
	ctx, cancel := context.WithTimeout(ctx, setUpWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.program, "setup", "--yes", "--json", "-c", folder.path(file),
		"--price", "starter=19", "--price", "pro=49", "--price", "enterprise=199", "--price", "seat=5")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		why := strings.TrimSpace(said.String())
		if ctx.Err() != nil {
			why = fmt.Sprintf("%s does not answer", b.stripe)
		}
		return devBilling{}, fmt.Errorf("making the story's prices in Stripe's test mode: %s: %w", clean(why), err)
	}
	var found struct {
		Account string `json:"account"`
		Prices  []struct {
			LookupKey string `json:"lookup_key"`
			Do        string `json:"do"`
		} `json:"prices"`
	}
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		return devBilling{}, fmt.Errorf("making the story's prices in Stripe's test mode: reading what %s says: %w", b.program, err)
	}
	for _, p := range found.Prices {
		if p.Do == "created" {
			c.say("Stripe: made the price %s", clean(p.LookupKey))
		}
	}
	return b, nil
}

// dashboard is where people see who pays for what.
func (b devBilling) dashboard() (address, remark string) {
	switch {
	case b.key == "":
		return b.stripe, "simulated; its page shows who pays for what"
	case b.stripe == stripeURL:
		return stripeDashboard, "test mode: no money moves; the customers stay there"
	}
	return b.stripe, "stands in for Stripe's test mode; the customers stay there"
}
