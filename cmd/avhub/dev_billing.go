package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/config"
)

// devBilling is the connector that bills, and the Stripe that it is given: a
// simulated one, which is the same program, or Stripe's own test mode.
type devBilling struct {
	program string
	stripe  string // URL of the API; empty: the program is not built, so nobody is billed
	key     string // of test mode; empty: Stripe is simulated
}

// devBillingPlugin is the name of its plugin.
const devBillingPlugin = "stripe"

// startBilling starts a simulated Stripe that ends with ctx, and reports what it
// says of subscriptions. Without the program there is none.
func startBilling(ctx context.Context, done *sync.WaitGroup, report func(what string)) (devBilling, error) {
	program, err := findBundled("avhub-stripe")
	if err != nil {
		return devBilling{}, nil
	}
	cmd := exec.Command(program, "fake", "--leash", "--follow")
	// It ends when this pipe does, so also when dev is killed.
	leash, err := cmd.StdinPipe()
	if err != nil {
		return devBilling{}, fmt.Errorf("starting a simulated Stripe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return devBilling{}, fmt.Errorf("starting a simulated Stripe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return devBilling{}, fmt.Errorf("starting a simulated Stripe: %w", err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "http://127.0.0.1:") {
		_ = leash.Close()
		return devBilling{}, fmt.Errorf("starting a simulated Stripe: %s fake does not say where it is; run `make build`: %w", program, cmd.Wait())
	}
	url := lines.Text()
	stop := context.AfterFunc(ctx, func() { _ = leash.Close() })
	done.Go(func() {
		defer stop()
		for lines.Scan() {
			report(lines.Text())
		}
		_ = cmd.Wait()
	})
	return devBilling{program: program, stripe: url}, nil
}

// plugin is the connector's entry in the configuration.
func (b devBilling) plugin() config.Plugin {
	key := b.key
	if key == "" {
		key = "sk_test_simulated"
	}
	return config.Plugin{
		Name: devBillingPlugin, Command: []string{b.program}, Events: []string{"tenant.*", "license.*", "member.*", "subject.deleted"}, RetryFor: time.Hour, OnDead: "continue", Partitions: 1,
		Config: b.config(key),
	}
}

// config is the connector's own part of the entry.
func (b devBilling) config(key string) map[string]any {
	seats := func(plan string) map[string]any { return map[string]any{"lookup_key": plan, "seat_lookup_key": "seat"} }
	return map[string]any{
		"api_key": key, "api_url": b.stripe, "coalesce": "2s", "plan_from": []any{"data.plan"},
		"plans": map[string]any{"starter": seats("starter"), "pro": seats("pro"), "enterprise": seats("enterprise")},
	}
}
