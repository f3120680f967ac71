package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	stripe "github.com/stripe/stripe-go/v79"
)

// eyes looks at what Stripe holds.
type eyes struct{ api *api }

// customer looks at a customer and its subscriptions, in one request. One that
// was never there, or is deleted, is nil.
func (e eyes) customer(ctx context.Context, tenant, id string) (observed, error) {
	var c stripe.Customer
	err := e.api.get(ctx, "get customer", "/v1/customers/"+id, [][2]string{{"expand[0]", "subscriptions"}}, &c)
	var failed *apiError
	switch {
	case errors.As(err, &failed) && failed.Status == http.StatusNotFound && failed.missing("id", "customer", ""):
		return observed{}, nil
	case err != nil:
		return observed{}, fmt.Errorf("looking at customer %s: %w", id, err)
	case c.Deleted:
		return observed{Customer: &customer{ID: id, Deleted: true}}, nil
	}
	have := observed{Customer: customerOf(&c)}
	var all []*stripe.Subscription
	if c.Subscriptions != nil {
		all = c.Subscriptions.Data
	}
	if c.Subscriptions == nil || c.Subscriptions.HasMore {
		if all, err = e.subscriptions(ctx, [][2]string{{"customer", id}}, nil); err != nil {
			return observed{}, err
		}
	}
	have.sort(tenant, all)
	return have, nil
}

// sort finds ours among a customer's subscriptions; the oldest counts.
func (o *observed) sort(tenant string, all []*stripe.Subscription) {
	var ours []subscription
	for _, s := range all {
		if sub := subscriptionOf(s); sub.ours() && sub.Metadata[metaTenant] == tenant {
			ours = append(ours, sub)
		}
	}
	slices.SortFunc(ours, func(a, b subscription) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID))
	})
	for i := range ours {
		if i == 0 {
			o.Sub = &ours[0]
			continue
		}
		o.Others = append(o.Others, ours[i].ID)
	}
}

// ours tells whether a subscription is marked as ours, and not over.
func (s subscription) ours() bool {
	return s.Metadata[metaRole] == rolePlan && s.Metadata[metaTenant] != "" && !s.over()
}

func (s subscription) over() bool {
	return s.Status == string(stripe.SubscriptionStatusCanceled) || s.Status == string(stripe.SubscriptionStatusIncompleteExpired)
}

// subscriptions lists all pages, newest first. Each page is told to progress.
func (e eyes) subscriptions(ctx context.Context, filter [][2]string, progress func(n int)) ([]*stripe.Subscription, error) {
	var out []*stripe.Subscription
	err := e.pages(ctx, filter, func(page []*stripe.Subscription) bool {
		out = append(out, page...)
		if progress != nil {
			progress(len(out))
		}
		return true
	})
	return out, err
}

// pages lists subscriptions page by page, until each returns false.
func (e eyes) pages(ctx context.Context, filter [][2]string, each func([]*stripe.Subscription) bool) error {
	after := ""
	for {
		params := append([][2]string{{"limit", "100"}}, filter...)
		if after != "" {
			params = append(params, [2]string{"starting_after", after})
		}
		var page stripe.SubscriptionList
		if err := e.api.get(ctx, "list subscriptions", "/v1/subscriptions", params, &page); err != nil {
			return fmt.Errorf("listing subscriptions: %w", err)
		}
		if !each(page.Data) || !page.HasMore || len(page.Data) == 0 {
			return nil
		}
		after = page.Data[len(page.Data)-1].ID
	}
}

// find looks for a tenant's customers without knowing an id: by e-mail address,
// and, if asked to, by search, which finds what was made a minute ago or more.
// The oldest comes first.
func (e eyes) find(ctx context.Context, tenant, email string, search bool) ([]string, error) {
	var found []*stripe.Customer
	if email != "" {
		after := ""
		for {
			params := [][2]string{{"email", email}, {"limit", "100"}}
			if after != "" {
				params = append(params, [2]string{"starting_after", after})
			}
			var page stripe.CustomerList
			if err := e.api.get(ctx, "list customers", "/v1/customers", params, &page); err != nil {
				return nil, fmt.Errorf("looking for the tenant's customer by its e-mail address: %w", err)
			}
			found = append(found, page.Data...)
			if !page.HasMore || len(page.Data) == 0 {
				break
			}
			after = page.Data[len(page.Data)-1].ID
		}
	}
	mark := func(c *stripe.Customer) bool { return c.Deleted || c.Metadata[metaTenant] != tenant }
	found = slices.DeleteFunc(found, mark)
	if len(found) == 0 && search {
		var result stripe.CustomerSearchResult
		query := fmt.Sprintf("metadata['%s']:'%s'", metaTenant, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(tenant))
		err := e.api.get(ctx, "search customers", "/v1/customers/search", [][2]string{{"query", query}, {"limit", "100"}}, &result)
		if err != nil {
			return nil, fmt.Errorf("searching the tenant's customer: %w", err)
		}
		found = slices.DeleteFunc(result.Data, mark)
	}
	slices.SortFunc(found, func(a, b *stripe.Customer) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID))
	})
	var ids []string
	for _, c := range found {
		ids = append(ids, c.ID)
	}
	return ids, nil
}

// account asks whose key it is.
func (e eyes) account(ctx context.Context) (string, error) {
	var a stripe.Account
	if err := e.api.get(ctx, "get account", "/v1/account", nil, &a); err != nil {
		return "", fmt.Errorf("asking Stripe whose key it is: %w", err)
	}
	return a.ID, nil
}

func customerOf(c *stripe.Customer) *customer {
	return &customer{ID: c.ID, Name: c.Name, Email: c.Email, Metadata: c.Metadata, Deleted: c.Deleted}
}

func subscriptionOf(s *stripe.Subscription) subscription {
	out := subscription{
		ID: s.ID, Status: string(s.Status), CancelAtEnd: s.CancelAtPeriodEnd, Collection: string(s.CollectionMethod),
		DaysUntilDue: s.DaysUntilDue, Metadata: s.Metadata, PeriodEnd: s.CurrentPeriodEnd, Created: s.Created,
	}
	if s.Customer != nil {
		out.Customer = s.Customer.ID
	}
	if s.PauseCollection != nil {
		out.Pause = string(s.PauseCollection.Behavior)
	}
	if s.Schedule != nil {
		out.Schedule = s.Schedule.ID
	}
	if s.Items != nil {
		for _, it := range s.Items.Data {
			one := soldItem{ID: it.ID, Quantity: it.Quantity}
			if it.Price != nil {
				one.Price = it.Price.ID
			}
			out.Items = append(out.Items, one)
		}
	}
	return out
}
