package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	stripe "github.com/stripe/stripe-go/v79"
)

// cancelGuard stops a mistake in the configuration, or upstream, from ending
// everybody's subscription.
type cancelGuard struct {
	api  *api
	most int // 0: see config.MaxCancels
	now  func() time.Time

	mu     sync.Mutex
	seeded bool
	recent []int64 // Unix seconds, within the last hour
	base   int     // subscriptions that run, or as many as were counted
	// counted: base are all.
	counted bool
}

const (
	leastCancels = 5
	cancelShare  = 50 // one in so many
)

// tooManyCancels stops the connector.
type tooManyCancels struct{ most int }

func (e *tooManyCancels) Error() string {
	return fmt.Sprintf("more than %d subscriptions would end within an hour, which looks like a mistake, so everything stops; nothing is lost. "+
		"Look at the configuration's plans and free.plans, and at what AuthVital says of the tenants; if it is meant, raise max_cancels", e.most)
}

// allow counts one more, or says that it is too many. What other processes, and
// earlier lives of this one, have ended within the hour is asked of Stripe once.
func (g *cancelGuard) allow(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if !g.seeded {
		earlier, err := g.earlier(ctx, now)
		if err != nil {
			return err
		}
		g.recent, g.seeded = earlier, true
	}
	most := g.most
	n := since(&g.recent, now, time.Hour)
	if most == 0 {
		most = leastCancels
		if n >= most {
			if err := g.count(ctx, (n+1)*cancelShare); err != nil {
				return err
			}
			most = max(most, g.base/cancelShare)
		}
	}
	if n >= most {
		return &tooManyCancels{most}
	}
	g.recent = append(g.recent, now.Unix())
	return nil
}

// earlier are the endings of our subscriptions that Stripe tells of.
func (g *cancelGuard) earlier(ctx context.Context, now time.Time) ([]int64, error) {
	var out []int64
	err := g.events(ctx, now.Add(-time.Hour).Unix(), []string{"customer.subscription.deleted", "customer.subscription.updated"}, func(e *stripe.Event) {
		if ourEvent(e) && ended(string(e.Type), e.Data.Object, e.Data.PreviousAttributes) {
			out = append([]int64{e.Created}, out...) // the newest comes first
		}
	})
	return out, err
}

// events reads Stripe's events of these types, newest first, from a time on.
func (g *cancelGuard) events(ctx context.Context, from int64, types []string, each func(*stripe.Event)) error {
	after := ""
	for {
		params := [][2]string{{"limit", "100"}}
		if from > 0 {
			params = append(params, [2]string{"created[gte]", fmt.Sprint(from)})
		}
		for i, t := range types {
			params = append(params, [2]string{fmt.Sprintf("types[%d]", i), t})
		}
		if after != "" {
			params = append(params, [2]string{"starting_after", after})
		}
		var page stripe.EventList
		if err := g.api.get(ctx, "list events", "/v1/events", params, &page); err != nil {
			return fmt.Errorf("asking Stripe which subscriptions ended: %w", err)
		}
		for _, e := range page.Data {
			if e.Data != nil {
				each(e)
			}
		}
		if !page.HasMore || len(page.Data) == 0 {
			return nil
		}
		after = page.Data[len(page.Data)-1].ID
	}
}

// ourEvent tells whether a request of ours brought an event about.
func ourEvent(e *stripe.Event) bool {
	return e.Request != nil && strings.HasPrefix(e.Request.IdempotencyKey, keyPrefix)
}

// ended tells whether an event is the end of a plan's subscription, or the
// decision to let it end with its period.
func ended(typ string, object, before map[string]any) bool {
	metadata, _ := object["metadata"].(map[string]any)
	if metadata[metaRole] != rolePlan {
		return false
	}
	if typ == "customer.subscription.deleted" {
		return true
	}
	return object["cancel_at_period_end"] == true && before["cancel_at_period_end"] == false
}

// count counts subscriptions that run, until there are enough.
func (g *cancelGuard) count(ctx context.Context, enough int) error {
	if g.base >= enough || g.counted {
		return nil
	}
	g.base = 0
	err := eyes{g.api}.pages(ctx, nil, func(page []*stripe.Subscription) bool {
		for _, s := range page {
			if sub := subscriptionOf(s); sub.ours() {
				g.base++
			}
		}
		return g.base < enough
	})
	g.counted = err == nil && g.base < enough
	return err
}
