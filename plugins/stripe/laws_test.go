package main

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/plugintest"
)

// lawful is an account that sells what the kit's tenants want.
func lawful(t testing.TB) (config, *stripefake.Server) {
	fake := stripefake.New(stripefake.Options{Prices: sortiment()})
	server := plugintest.NewServer(t, witnessed(t, fake))
	return config{
		APIKey: testKey, APIURL: server.URL, RequestsPerSecond: 5000, MaxCancels: 1000, PlanFrom: []string{"data.plan"},
		Plans: map[string]planConfig{
			"starter": {LookupKey: "starter"},
			"pro":     {LookupKey: "pro", SeatLookupKey: "seat"},
			"enterprise": {Price: "price_enterprise", SeatPrice: "price_seat", Seats: "members", MinSeats: 3,
				Collection: "charge_automatically"},
		},
	}, fake
}

// inDetail shows everything that is in the account, but for what the fake makes
// up and for times.
func inDetail(t testing.TB) (config, func() any) {
	cfg, fake := lawful(t)
	return cfg, func() any {
		out := map[string][]any{}
		for _, c := range fake.Customers() {
			tenant := c.Metadata["avhub_tenant"]
			delete(c.Metadata, "avhub_deleted")
			out[tenant] = append(out[tenant], map[string]any{"name": c.Name, "email": c.Email, "metadata": c.Metadata, "deleted": c.Deleted})
		}
		for _, s := range fake.Subscriptions() {
			tenant := s.Metadata["avhub_tenant"]
			delete(s.Metadata, "avhub_revision")
			s.ID, s.Customer = "", ""
			out[tenant] = append(out[tenant], s)
		}
		return out
	}
}

// charged shows whom each tenant's money comes from, and for what. It leaves out
// what is paused, over, or about to be: that tells the way, and a connector that
// is given only the newest of several events has not gone it.
func charged(t testing.TB) (config, func() any) {
	cfg, fake := lawful(t)
	return cfg, func() any {
		out := map[string][]string{}
		tenants := map[string]string{}
		for _, c := range fake.Customers() {
			tenants[c.ID] = c.Metadata["avhub_tenant"]
			if c.Metadata["avhub_deleted"] == "" && !c.Deleted {
				out[tenants[c.ID]] = append(out[tenants[c.ID]], c.Name+" "+c.Email)
			}
		}
		for _, s := range fake.Subscriptions() {
			if !s.Ended() && !s.CancelAtEnd && s.Pause == "" {
				out[tenants[s.Customer]] = append(out[tenants[s.Customer]], s.Sold+" "+s.Collection)
			}
		}
		for tenant := range out {
			slices.Sort(out[tenant])
		}
		return out
	}
}

// always is the connector without waiting between changes of seats, which the
// kit would take for a failure.
func always() plugin.Plugin[config, state] {
	p := connectorPlugin()
	inner := p.Open
	p.Open = func(ctx context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
		cfg.Coalesce = 0
		return inner(ctx, cfg, log)
	}
	return p
}

// TestLaws judges the connector as hubs run it.
func TestLaws(t *testing.T) {
	t.Parallel()
	p := always()
	p.Info.KeepsHistory = false // charged shows none
	plugintest.Run(t, p, charged)
}

// TestLawsInDetail judges one that is given every event, and looks at everything.
func TestLawsInDetail(t *testing.T) {
	t.Parallel()
	p := always()
	p.Info.Coalesce = false
	plugintest.Run(t, p, inDetail)
}
