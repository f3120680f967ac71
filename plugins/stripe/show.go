package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	stripe "github.com/stripe/stripe-go/v79"
)

// shown is what Stripe holds for a tenant.
type shown struct {
	Tenant        string     `json:"tenant"`
	Customer      string     `json:"customer"`
	Name          string     `json:"name"`
	Email         string     `json:"email"`
	Link          string     `json:"link"`
	Deleted       string     `json:"deleted,omitempty"` // the day on which the tenant was
	Others        []string   `json:"other_customers,omitempty"`
	Subscriptions []shownSub `json:"subscriptions"`
}

type shownSub struct {
	ID          string       `json:"id"`
	Plan        string       `json:"plan"`
	Status      string       `json:"status"`
	Items       []stateRow   `json:"items"`
	Pause       string       `json:"pause,omitempty"`
	Ends        bool         `json:"ends_with_period"`
	PeriodEnd   time.Time    `json:"period_end"`
	Schedule    string       `json:"schedule,omitempty"`
	Counts      bool         `json:"counts"` // it is the one that this connector keeps
	Differences []difference `json:"differences,omitempty"`
}

func (c *cli) showVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "show TENANT",
		Short: "show what Stripe holds for a tenant",
		Long: "Finds the tenant's customer by the mark that this connector left, and shows it with its subscriptions and\n" +
			"what differs from what was set. Stripe's search finds a customer a minute after it was made.\n" +
			"What the connector remembers of a tenant is shown by avhub plugin state.",
		Example: "  avhub-stripe show tnt_42\n  avhub-stripe show tnt_42 --json | jq .link",
		Args:    args(1, "the tenant's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.api.close()
			s, err := conn.show(cmd.Context(), args[0])
			switch {
			case err != nil:
				return err
			case c.json:
				return c.print(s)
			}
			c.printShown(s)
			return nil
		},
	}
}

func (c *connector) show(ctx context.Context, tenant string) (shown, error) {
	out := shown{Tenant: tenant, Subscriptions: []shownSub{}}
	found, err := c.eyes.find(ctx, tenant, "", true)
	if err != nil {
		return out, err
	}
	if len(found) == 0 {
		return out, fmt.Errorf("no customer in Stripe is marked as that of tenant %s; one that was just made is found a minute later", tenant)
	}
	out.Customer, out.Others = found[0], found[1:]
	have, err := c.eyes.customer(ctx, tenant, out.Customer)
	if err != nil {
		return out, err
	}
	if have.Customer == nil || have.Customer.Deleted {
		return out, fmt.Errorf("customer %s was deleted in Stripe; the next event of tenant %s makes another one", out.Customer, tenant)
	}
	out.Name, out.Email, out.Deleted = have.Customer.Name, have.Customer.Email, have.Customer.Metadata[metaDeleted]
	out.Link = c.cfg.dashboard() + "/customers/" + out.Customer
	all, err := c.eyes.subscriptions(ctx, [][2]string{{"customer", out.Customer}, {"status", "all"}}, nil)
	if err != nil {
		return out, err
	}
	for _, s := range all {
		sub := subscriptionOf(s)
		if sub.Metadata[metaRole] != rolePlan {
			continue
		}
		one := shownSub{ID: sub.ID, Plan: sub.Metadata[metaPlan], Status: sub.Status, Pause: sub.Pause, Ends: sub.CancelAtEnd, Schedule: sub.Schedule,
			PeriodEnd: time.Unix(sub.PeriodEnd, 0).UTC(), Counts: have.Sub != nil && have.Sub.ID == sub.ID, Items: []stateRow{}}
		for _, it := range sub.Items {
			one.Items = append(one.Items, stateRow{it.Price, it.Quantity})
		}
		if one.Counts {
			one.Differences = differences(sub, have.Customer, c.cfg.Drift)
			for i := range one.Differences {
				one.Differences[i].Action = "reported"
			}
		}
		out.Subscriptions = append(out.Subscriptions, one)
	}
	return out, nil
}

func (c *cli) printShown(s shown) {
	rows := [][]string{{"tenant", s.Tenant}, {"customer", s.Customer}, {"name", s.Name}, {"e-mail", s.Email}, {"in Stripe", s.Link}}
	if s.Deleted != "" {
		rows = append(rows, []string{"deleted", s.Deleted})
	}
	for _, id := range s.Others {
		rows = append(rows, []string{"one more", id + ", marked as this tenant's, too"})
	}
	c.table(rows)
	if len(s.Subscriptions) == 0 {
		fmt.Fprintln(c.out, "\nIt pays for nothing.")
		return
	}
	fmt.Fprintln(c.out)
	rows = [][]string{{"SUBSCRIPTION", "PLAN", "STATUS", "ITEMS", "PERIOD ENDS"}}
	var notes []string
	for _, sub := range s.Subscriptions {
		var items []string
		for _, it := range sub.Items {
			items = append(items, fmt.Sprintf("%s×%d", it.Price, it.Quantity))
		}
		status := sub.Status
		if sub.Pause != "" {
			status += ", paused (" + sub.Pause + ")"
		}
		if sub.Ends {
			status += ", ends with its period"
		}
		rows = append(rows, []string{sub.ID, sub.Plan, status, strings.Join(items, " "), sub.PeriodEnd.Format(time.DateOnly)})
		for _, d := range sub.Differences {
			notes = append(notes, d.Field+": "+d.Text)
		}
	}
	c.table(rows)
	for _, n := range notes {
		fmt.Fprintln(c.out, clean(n))
	}
}

// adoption is what adopt would do, or has done.
type adoption struct {
	Tenant string `json:"tenant"`
	Do     []op   `json:"do"`
	Done   bool   `json:"done"`
}

func (c *cli) adoptVerb() *cobra.Command {
	var tenant, customer, subscription string
	var yes bool
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "hand a customer and a subscription that are there already over to this connector",
		Long: "Marks a customer, and a subscription if one is named, as those of a tenant. From then on the connector keeps\n" +
			"them instead of making its own. Their prices and quantities stay until the tenant's next event.\n" +
			"Without --yes it only says what it would do.",
		Example: "  avhub-stripe adopt --tenant tnt_42 --customer cus_123 --subscription sub_456\n" +
			"  avhub-stripe adopt --tenant tnt_42 --customer cus_123 --subscription sub_456 --yes",
		Args: args(0, "flags only"),
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "`id` of the tenant")
	cmd.Flags().StringVar(&customer, "customer", "", "`id` of the customer, cus_…")
	cmd.Flags().StringVar(&subscription, "subscription", "", "`id` of its subscription, sub_…")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if tenant == "" || !strings.HasPrefix(customer, "cus_") || subscription != "" && !strings.HasPrefix(subscription, "sub_") {
			return wrongUse("it needs --tenant ID and --customer cus_…; --subscription takes sub_…")
		}
		conn, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		defer conn.api.close()
		a, err := conn.adopt(cmd.Context(), tenant, customer, subscription, yes)
		if err != nil {
			return err
		}
		if c.json {
			return c.print(a)
		}
		rows := [][]string{{"DO", "WHAT", "BECAUSE"}}
		for _, o := range a.Do {
			rows = append(rows, []string{string(o.Kind), o.Path, strings.Join(o.Why, "; ")})
		}
		if len(a.Do) == 0 {
			fmt.Fprintln(c.out, "They are this tenant's already.")
			return nil
		}
		c.table(rows)
		if !a.Done {
			fmt.Fprintln(c.out, "\nNothing was changed; add --yes to do it.")
		}
		return nil
	}
	return cmd
}

// adopt plans the marks, and sets them if it is asked to.
func (c *connector) adopt(ctx context.Context, tenant, customerID, subscriptionID string, yes bool) (adoption, error) {
	out := adoption{Tenant: tenant, Do: []op{}}
	var who stripe.Customer
	if err := c.api.get(ctx, "get customer", "/v1/customers/"+customerID, nil, &who); err != nil || who.Deleted {
		return out, cannotAdopt("customer", customerID, err)
	}
	if owner := who.Metadata[metaTenant]; owner != "" && owner != tenant {
		return out, fmt.Errorf("customer %s is marked as that of tenant %s", customerID, owner)
	} else if owner == "" {
		others, err := c.eyes.find(ctx, tenant, who.Email, true)
		if err != nil {
			return out, err
		}
		if len(others) > 0 {
			return out, fmt.Errorf("tenant %s has customer %s already; take the mark %s off that one first", tenant, others[0], metaTenant)
		}
		o := newOp(updateCustomer, "/v1/customers/"+customerID)
		o.set("metadata["+metaTenant+"]", tenant)
		o.because("it becomes the customer of %s", tenant)
		out.Do = append(out.Do, o)
	}
	if subscriptionID != "" {
		var sub stripe.Subscription
		if err := c.api.get(ctx, "get subscription", "/v1/subscriptions/"+subscriptionID, nil, &sub); err != nil {
			return out, cannotAdopt("subscription", subscriptionID, err)
		}
		s := subscriptionOf(&sub)
		switch owner := s.Metadata[metaTenant]; {
		case s.Customer != customerID:
			return out, fmt.Errorf("subscription %s is of customer %s", subscriptionID, s.Customer)
		case s.over():
			return out, fmt.Errorf("subscription %s is over", subscriptionID)
		case owner != "" && owner != tenant:
			return out, fmt.Errorf("subscription %s is marked as that of tenant %s", subscriptionID, owner)
		case !s.ours():
			o := newOp(updateSubscription, "/v1/subscriptions/"+subscriptionID)
			o.set("metadata["+metaTenant+"]", tenant)
			o.set("metadata["+metaRole+"]", rolePlan)
			o.because("it becomes what %s pays for its plan", tenant)
			out.Do = append(out.Do, o)
		}
	}
	if !yes {
		return out, nil
	}
	account, err := c.whose(ctx, "")
	if err != nil {
		return out, err
	}
	for _, o := range out.Do {
		var into stripe.LastResponseSetter = &stripe.Customer{}
		if o.Kind == updateSubscription {
			into = &stripe.Subscription{}
		}
		if _, err := c.api.send(ctx, o, keyOf(account, o, tenant, c.now().UnixMicro(), 0), into); err != nil {
			return out, fmt.Errorf("%s: %w", o.Kind, err)
		}
	}
	out.Done = true
	return out, nil
}

func cannotAdopt(what, id string, err error) error {
	var failed *apiError
	if err == nil || errors.As(err, &failed) && failed.Status == http.StatusNotFound {
		return fmt.Errorf("the account has no %s %s", what, id)
	}
	return fmt.Errorf("looking at %s %s: %w", what, id, err)
}
