package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/plugin"
)

// desired is what Stripe should hold for a tenant. It is a function of the
// tenant's row in the mirror and of the configuration alone.
type desired struct {
	Tenant, Name, Email, Slug string
	// Revision is the time of the newest event that shows in the row, in Unix
	// microseconds; 0: not known.
	Revision int64
	// Gone: the tenant was deleted. Suspended: it must not be charged for now.
	Gone, Suspended bool
	// Plan is the name of what it pays for, and From the place that told it.
	Plan, From string
	// Lines is what it pays for; none: nothing.
	Lines []line
	Terms terms
}

// line is a price and how many of it.
type line struct {
	Ref      priceRef
	Quantity int64
	// Seats: the quantity counts people.
	Seats bool
}

// terms are how money is collected.
type terms struct {
	Proration, Collection string
	DaysUntilDue, Trial   int64
}

// errUnmapped says that the configuration does not know what a tenant pays for.
var errUnmapped = errors.New("unmapped_plan")

// desire works out what a tenant should have.
func (c *config) desire(org plugin.Organization) (desired, error) {
	d := desired{
		Tenant: org.TenantID, Name: org.Name, Email: c.email(org), Slug: org.Slug,
		Suspended: org.Status == "suspended", Gone: org.Status == "deleted",
		Terms: terms{Proration: c.Proration, Collection: c.Collection, DaysUntilDue: c.DaysUntilDue},
	}
	if !org.UpdatedAt.IsZero() {
		d.Revision = org.UpdatedAt.UnixMicro()
	}
	if d.Gone {
		return d, nil
	}
	told := c.told(org)
	d.Plan, d.From = told.plan, told.from
	if told.unmapped != "" {
		return d, fmt.Errorf("%w: %s is %q in the mirror, and the configuration has no price for it; add it to %s, or to free.plans if it costs nothing. "+
			"Nothing was changed in Stripe", errUnmapped, told.from, told.unmapped, told.belongs)
	}
	if d.Lines = told.lines; d.Lines == nil {
		return d, nil // free
	}
	if p, ok := c.Plans[told.plan]; ok && told.ofPlan {
		d.Terms.Trial = p.TrialDays
		if p.Proration != "" {
			d.Terms.Proration = p.Proration
		}
		if p.Collection != "" {
			d.Terms.Collection = p.Collection
		}
		if p.DaysUntilDue > 0 {
			d.Terms.DaysUntilDue = p.DaysUntilDue
		}
	}
	if d.Terms.Collection != "send_invoice" {
		d.Terms.DaysUntilDue = 0
	}
	return d, nil
}

// telling is what one place says about a plan.
type telling struct {
	plan, from string
	lines      []line // nil: free
	ofPlan     bool   // terms of Plans[plan] hold
	// unmapped is a name that the configuration lacks, and belongs where.
	unmapped, belongs string
}

// told asks the places in their order. The mirror calls a tenant free of which
// nobody told a plan, so free counts only when no other place tells anything.
func (c *config) told(org plugin.Organization) telling {
	var free telling
	for _, from := range c.PlanFrom {
		var t telling
		var ok bool
		switch from {
		case "data.plan":
			if c.onlyFromSubscription(org) {
				continue
			}
			t, ok = c.ofPlan(org, org.Plan, from)
		case "settings.plan":
			var name string
			_ = json.Unmarshal(org.Settings["plan"], &name) // what is no text tells no plan
			t, ok = c.ofPlan(org, name, from)
		case "subscription":
			t, ok = c.ofSubscriptions(org)
		case "licenses":
			t, ok = c.ofLicenses(org)
		}
		switch {
		case !ok:
		case from == "data.plan" && t.plan == "free" && t.lines == nil && t.unmapped == "":
			free = t
		default:
			return t
		}
	}
	return free
}

// onlyFromSubscription tells whether the mirror has the plan from what the tenant
// bought, as mirror.plan_from can say: then it is the name of a license type.
func (c *config) onlyFromSubscription(org plugin.Organization) bool {
	if _, known := c.Plans[org.Plan]; known || len(c.Licenses) == 0 {
		return false
	}
	return slices.ContainsFunc(org.Subscriptions, func(s plugin.ActiveSubscription) bool {
		return s.LicenseTypeName == org.Plan || s.LicenseTypeID == org.Plan
	})
}

func (c *config) ofPlan(org plugin.Organization, name, from string) (telling, bool) {
	t := telling{plan: name, from: from, ofPlan: true, belongs: "plans"}
	if name == "" {
		return t, false
	}
	if slices.Contains(c.Free.Plans, name) {
		return t, true
	}
	p, known := c.Plans[name]
	if !known {
		if len(c.Plans) == 0 {
			return t, false // plans are not what this configuration goes by
		}
		t.unmapped = name
		return t, true
	}
	if ref := p.base(); ref != (priceRef{}) {
		t.lines = append(t.lines, line{Ref: ref, Quantity: 1})
	}
	if ref := p.seat(); ref != (priceRef{}) {
		t.lines = append(t.lines, line{Ref: ref, Quantity: max(p.MinSeats, c.seats(org, p.Seats)), Seats: true})
	}
	return t, true
}

// seats counts what a plan calls seats.
func (c *config) seats(org plugin.Organization, what string) int64 {
	n := int64(0)
	switch what {
	case "members":
		n = org.Members["user"]
	case "purchased":
		for _, s := range org.Subscriptions {
			if c.counts(s.ApplicationID) {
				n += s.Quantity
			}
		}
	default:
		for _, l := range org.Licenses {
			if c.counts(l.ApplicationID) {
				n += l.Count
			}
		}
	}
	return n
}

func (c *config) counts(application string) bool {
	return len(c.Applications) == 0 || slices.Contains(c.Applications, application)
}

// license finds what a license type costs, by id or else by name.
func (c *config) license(id, name string) (string, licenseConfig, bool) {
	for _, key := range []string{id, name} {
		if l, ok := c.Licenses[key]; ok && key != "" {
			return key, l, true
		}
	}
	if name == "" {
		name = id
	}
	return name, licenseConfig{}, false
}

// ofSubscriptions goes by the license types that were bought.
func (c *config) ofSubscriptions(org plugin.Organization) (telling, bool) {
	given := map[string]int64{}
	for _, l := range org.Licenses {
		if key, _, ok := c.license(l.LicenseTypeID, l.LicenseTypeName); ok && c.counts(l.ApplicationID) {
			given[key] += l.Count
		}
	}
	counts := map[string]int64{}
	for _, s := range org.Subscriptions {
		if !c.counts(s.ApplicationID) {
			continue
		}
		key, l, ok := c.license(s.LicenseTypeID, s.LicenseTypeName)
		if !ok {
			if len(c.Licenses) == 0 {
				return telling{}, false
			}
			return telling{plan: key, from: "subscription", unmapped: key, belongs: "licenses"}, true
		}
		if l.Seats == "assigned" {
			counts[key] = given[key]
		} else {
			counts[key] += s.Quantity
		}
	}
	return c.ofCounts(counts, "subscription")
}

// ofLicenses goes by the licenses that were given out.
func (c *config) ofLicenses(org plugin.Organization) (telling, bool) {
	counts := map[string]int64{}
	for _, l := range org.Licenses {
		if !c.counts(l.ApplicationID) {
			continue
		}
		key, _, ok := c.license(l.LicenseTypeID, l.LicenseTypeName)
		if !ok {
			if len(c.Licenses) == 0 {
				return telling{}, false
			}
			return telling{plan: key, from: "licenses", unmapped: key, belongs: "licenses"}, true
		}
		counts[key] += l.Count
	}
	return c.ofCounts(counts, "licenses")
}

func (c *config) ofCounts(counts map[string]int64, from string) (telling, bool) {
	if len(counts) == 0 {
		return telling{}, false
	}
	names := slices.Sorted(maps.Keys(counts))
	t := telling{plan: strings.Join(names, "+"), from: from}
	for _, name := range names {
		if l := c.Licenses[name]; !l.Free {
			t.lines = append(t.lines, line{Ref: l.ref(), Quantity: max(l.MinSeats, counts[name]), Seats: true})
		}
	}
	return t, true
}

func (c *config) email(org plugin.Organization) string {
	path, inSettings := strings.CutPrefix(c.EmailFrom, "settings.")
	if !inSettings {
		return org.OwnerEmail
	}
	var email string
	var at any = org.Settings
	for _, name := range strings.Split(path, ".") {
		var raw json.RawMessage
		switch members := at.(type) {
		case map[string]json.RawMessage:
			raw = members[name]
		}
		var deeper map[string]json.RawMessage
		if json.Unmarshal(raw, &deeper) == nil {
			at = deeper
			continue
		}
		at = nil
		_ = json.Unmarshal(raw, &email) // what is no text is no address
	}
	return email
}

// fingerprint is the same for what leads to the same. Without seats it leaves
// out how many people there are.
func (d desired) fingerprint(seats bool) string {
	d.Revision, d.From = 0, ""
	d.Lines = slices.Clone(d.Lines)
	for i := range d.Lines {
		if !seats && d.Lines[i].Seats {
			d.Lines[i].Quantity = 0
		}
	}
	raw, err := json.Marshal(d)
	if err != nil {
		panic(err) // text and numbers alone
	}
	return digest(raw)
}

// digest is short enough for a metadata value, and long enough not to collide.
func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
