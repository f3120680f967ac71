package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	stripe "github.com/stripe/stripe-go/v79"
)

// catalog finds the prices that the configuration names by lookup key. In
// Stripe a key can be moved on to another price, so what is known of it is
// believed for some minutes only.
type catalog struct {
	api *api
	cfg *config

	mu     sync.Mutex
	ids    map[string]string // by lookup key
	asked  time.Time
	asking chan struct{} // held while somebody asks
}

const (
	catalogFor = 10 * time.Minute
	// maxLookupKeys is how many Stripe takes in one request.
	maxLookupKeys = 10
)

func newCatalog(a *api, cfg *config) *catalog {
	return &catalog{api: a, cfg: cfg, asking: make(chan struct{}, 1)}
}

// errCatalog says that a price cannot be had.
var errCatalog = errors.New("catalog_error")

// resolve gives desired lines the ids of their prices.
func (c *catalog) resolve(ctx context.Context, want desired) ([]sold, error) {
	var out []sold
	for _, l := range want.Lines {
		id, err := c.price(ctx, l.Ref, "plan "+want.Plan)
		if err != nil {
			return nil, err
		}
		out = append(out, sold{Price: id, Quantity: l.Quantity, Seats: l.Seats})
	}
	slices.SortFunc(out, func(a, b sold) int { return cmpText(a.Price, b.Price) })
	return out, nil
}

func (c *catalog) price(ctx context.Context, ref priceRef, who string) (string, error) {
	if ref.Key == "" {
		return ref.ID, nil
	}
	known, _ := c.fresh()
	if id := known[ref.Key]; id == "" {
		c.forget() // it may have been put right since
	}
	ids, err := c.load(ctx)
	if err != nil {
		return "", fmt.Errorf("looking up prices: %w", err)
	}
	if id := ids[ref.Key]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("%w: %s: no active price in Stripe has the lookup key %q; create one or move the key to it. Running subscriptions stay as they are", errCatalog, who, ref.Key)
}

// forget asks anew the next time.
func (c *catalog) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Time{}
}

func (c *catalog) fresh() (map[string]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids, !c.asked.IsZero() && time.Since(c.asked) < catalogFor
}

func (c *catalog) load(ctx context.Context) (map[string]string, error) {
	if ids, ok := c.fresh(); ok {
		return ids, nil
	}
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if ids, ok := c.fresh(); ok { // somebody else has asked meanwhile
		return ids, nil
	}
	var keys []string
	for ref := range c.cfg.prices() {
		if ref.Key != "" {
			keys = append(keys, ref.Key)
		}
	}
	slices.Sort(keys)
	ids := map[string]string{}
	for some := range slices.Chunk(keys, maxLookupKeys) {
		params := [][2]string{{"active", "true"}, {"limit", "100"}}
		for i, k := range some {
			params = append(params, [2]string{fmt.Sprintf("lookup_keys[%d]", i), k})
		}
		var list stripe.PriceList
		if err := c.api.get(ctx, "list prices", "/v1/prices", params, &list); err != nil {
			return nil, err
		}
		for _, p := range list.Data {
			ids[p.LookupKey] = p.ID
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids, c.asked = ids, time.Now()
	return ids, nil
}

// check looks whether every price can be sold.
func (c *catalog) check(ctx context.Context) error {
	var errs []error
	all := c.cfg.prices()
	c.forget()
	for _, ref := range slices.SortedFunc(maps.Keys(all), func(a, b priceRef) int { return cmpText(a.String(), b.String()) }) {
		id, err := c.price(ctx, ref, all[ref])
		if err == nil && ref.Key == "" {
			err = c.checkOne(ctx, id, all[ref])
		}
		if err != nil && !errors.Is(err, errCatalog) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *catalog) checkOne(ctx context.Context, id, who string) error {
	var p stripe.Price
	err := c.api.get(ctx, "get price", "/v1/prices/"+id, nil, &p)
	var failed *apiError
	switch {
	case errors.As(err, &failed) && failed.Code == string(stripe.ErrorCodeResourceMissing):
		return fmt.Errorf("%w: %s: the account has no price %s", errCatalog, who, id)
	case err != nil:
		return fmt.Errorf("looking at price %s: %w", id, err)
	case !p.Active:
		return fmt.Errorf("%w: %s: price %s is archived; name an active one", errCatalog, who, id)
	case p.Recurring == nil:
		return fmt.Errorf("%w: %s: price %s is not recurring, and subscriptions need one that is", errCatalog, who, id)
	}
	return nil
}
