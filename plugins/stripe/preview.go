package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	stripe "github.com/stripe/stripe-go/v79"

	"github.com/avhub/avhub/sdk/plugin"
)

// previewed is what would be done for a tenant.
type previewed struct {
	Tenant   string      `json:"tenant"`
	Plan     string      `json:"plan"`
	Told     string      `json:"told_by,omitempty"`
	Customer string      `json:"customer,omitempty"`
	Do       []previewOp `json:"do"`
	Findings []finding   `json:"findings,omitempty"`
	Problem  string      `json:"problem,omitempty"`
}

type previewOp struct {
	op
	// Next is the next invoice after it, in the currency's smallest unit; nil:
	// Stripe was not asked.
	Next     *int64 `json:"next_invoice,omitempty"`
	Currency string `json:"currency,omitempty"`
}

func (c *cli) previewVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "preview [FILE]",
		Short: "show what would be done for tenants, and what it costs them",
		Long: "Reads tenants as the hub prints them, from a file or from standard input, looks at what Stripe holds, and\n" +
			"prints the requests that would be sent, with the next invoice as Stripe would make it. Nothing is changed.\n" +
			"It goes by the very plan that the connector applies; only what the connector remembers of a tenant is not known here.",
		Example: "  avhub org show acme --json --with subscriptions,licenses,members | avhub-stripe preview\n" +
			"  avhub-stripe preview tenants.json --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return wrongUse("it takes one file, or none")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			in := c.in
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("reading tenants: %w", err)
				}
				defer f.Close()
				in = f
			}
			orgs, err := readTenants(in)
			if err != nil {
				return err
			}
			conn, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.api.close()
			tell, done := c.progress("tenants looked at")
			all := []previewed{}
			for i, org := range orgs {
				one, err := conn.preview(cmd.Context(), org)
				if err != nil {
					done()
					return fmt.Errorf("looking at tenant %s: %w", org.TenantID, err)
				}
				all = append(all, one)
				if tell != nil {
					tell(i + 1)
				}
			}
			done()
			if c.json {
				return c.print(all)
			}
			c.printPreview(all)
			return nil
		},
	}
}

// preview plans for one tenant and asks what it would cost.
func (c *connector) preview(ctx context.Context, org plugin.Organization) (previewed, error) {
	want, err := c.cfg.desire(org)
	out := previewed{Tenant: org.TenantID, Plan: want.Plan, Told: want.From, Do: []previewOp{}}
	if errors.Is(err, errUnmapped) {
		out.Problem = err.Error()
		return out, nil
	}
	r := &run{c: c, want: want, st: &state{}, created: org.CreatedAt}
	if err := r.observe(ctx); err != nil {
		return out, err
	}
	out.Customer = r.st.Customer
	items, err := c.catalog.resolve(ctx, want)
	if errors.Is(err, errCatalog) {
		out.Problem = err.Error()
		return out, nil
	}
	if err != nil {
		return out, err
	}
	p := c.cfg.policy(c.now())
	if ref := c.cfg.Free.ref(); ref != (priceRef{}) && len(items) == 0 {
		if p.FreePrice, err = c.catalog.price(ctx, ref, "free.price"); err != nil {
			return out, err
		}
	}
	ops, findings := plan(want, items, r.have, p)
	if len(ops) == 1 && ops[0].Kind == createCustomer {
		more, _ := plan(want, items, observed{Customer: &customer{ID: "(new)"}, Trusted: true}, p)
		ops = append(ops, more...)
	}
	out.Findings = findings
	for _, o := range ops {
		one := previewOp{op: o}
		if err := c.price(ctx, r.st.Customer, &one); err != nil {
			return out, err
		}
		out.Do = append(out.Do, one)
	}
	return out, nil
}

// price asks Stripe for the next invoice as it would be.
func (c *connector) price(ctx context.Context, customer string, o *previewOp) error {
	params := [][2]string{}
	switch {
	case o.Kind == createSubscription && customer != "":
		params = append(params, [2]string{"customer", customer})
	case o.Kind == updateSubscription && o.sellsSomething():
		params = append(params, [2]string{"subscription", strings.TrimPrefix(o.Path, "/v1/subscriptions/")})
	default:
		return nil
	}
	for _, kv := range o.Form {
		switch {
		case strings.HasPrefix(kv[0], "items["):
			params = append(params, [2]string{"subscription_" + kv[0], kv[1]})
		case kv[0] == "proration_behavior":
			params = append(params, [2]string{"subscription_proration_behavior", kv[1]})
		}
	}
	var next stripe.Invoice
	if err := c.api.get(ctx, "upcoming invoice", "/v1/invoices/upcoming", params, &next); err != nil {
		return fmt.Errorf("asking for the next invoice: %w", err)
	}
	o.Next, o.Currency = &next.Total, string(next.Currency)
	return nil
}

func (o op) sellsSomething() bool {
	for _, kv := range o.Form {
		if strings.HasPrefix(kv[0], "items[") {
			return true
		}
	}
	return false
}

func (c *cli) printPreview(all []previewed) {
	rows := [][]string{{"TENANT", "PLAN", "DO", "BECAUSE", "NEXT INVOICE"}}
	for _, t := range all {
		name := t.Plan
		if name == "" {
			name = "-"
		}
		for _, o := range t.Do {
			money := "-"
			if o.Next != nil {
				money = amount(*o.Next, o.Currency)
			}
			rows = append(rows, []string{t.Tenant, name, string(o.Kind), strings.Join(o.Why, "; "), money})
		}
		switch {
		case t.Problem != "":
			rows = append(rows, []string{t.Tenant, name, "nothing", t.Problem, "-"})
		case len(t.Do) == 0:
			rows = append(rows, []string{t.Tenant, name, "nothing", "Stripe holds what it should", "-"})
		}
		for _, f := range t.Findings {
			rows = append(rows, []string{t.Tenant, name, "look", f.Text, "-"})
		}
	}
	c.table(rows)
}

// amount is money for people. Currencies without cents come as they are.
func amount(n int64, currency string) string {
	if wholeOnly(currency) {
		return fmt.Sprintf("%d %s", n, strings.ToUpper(currency))
	}
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%02d %s", sign, n/100, n%100, strings.ToUpper(currency))
}

// wholeOnly tells whether a currency, in small letters, has no cents.
func wholeOnly(currency string) bool {
	return slices.Contains([]string{"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"}, currency)
}

// maxTenants bounds what preview reads, in bytes.
const maxTenants = 64 << 20

// readTenants reads objects, or lists of them, one after the other.
func readTenants(in io.Reader) ([]plugin.Organization, error) {
	dec := json.NewDecoder(io.LimitReader(in, maxTenants))
	var out []plugin.Organization
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("reading tenants: it is no JSON; pipe the output of `avhub org show TENANT --json --with subscriptions,licenses,members` in")
		}
		list := []json.RawMessage{raw}
		if raw[0] == '[' {
			if err := json.Unmarshal(raw, &list); err != nil {
				return nil, fmt.Errorf("reading tenants: %w", err)
			}
		}
		for _, one := range list {
			org, err := readTenant(one)
			if err != nil {
				return nil, err
			}
			out = append(out, org)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("reading tenants: there are none")
	}
	return out, nil
}

// related are the rows that a hub prints with a tenant.
type related struct {
	Data []struct {
		plugin.ActiveSubscription
		MembershipID string `json:"membership_id"`
	} `json:"data"`
	More bool `json:"more"`
}

// readTenant reads a tenant with counts, or with rows to be counted.
func readTenant(raw []byte) (plugin.Organization, error) {
	var t struct {
		plugin.Organization
		With *struct {
			Subscriptions *related `json:"subscriptions"`
			Licenses      *related `json:"licenses"`
			Members       *related `json:"members"`
		} `json:"with"`
	}
	if err := json.Unmarshal(raw, &t); err != nil || t.TenantID == "" {
		return t.Organization, errors.New("reading tenants: an object is no tenant as the hub prints one; it lacks tenant_id, or a member has the wrong type")
	}
	if t.With == nil {
		return t.Organization, nil
	}
	for name, rel := range map[string]*related{"subscriptions": t.With.Subscriptions, "licenses": t.With.Licenses, "members": t.With.Members} {
		if rel == nil {
			continue
		}
		if rel.More {
			return t.Organization, fmt.Errorf("reading tenant %s: it has more than the 100 %s that come with it, so they cannot be counted here", t.TenantID, name)
		}
		for _, row := range rel.Data {
			if !strings.EqualFold(row.Status, "active") {
				continue
			}
			switch name {
			case "subscriptions":
				t.Subscriptions = append(t.Subscriptions, row.ActiveSubscription)
			case "licenses":
				t.Licenses = append(t.Licenses, plugin.LicenseCount{ApplicationID: row.ApplicationID, LicenseTypeID: row.LicenseTypeID, LicenseTypeName: row.LicenseTypeName, Count: 1})
			case "members":
				if t.Organization.Members == nil {
					t.Organization.Members = map[string]int64{}
				}
				t.Organization.Members["user"]++
			}
		}
	}
	return t.Organization, nil
}
