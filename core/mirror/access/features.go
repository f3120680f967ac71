package access

import (
	"context"
	"errors"
	"slices"
)

// everyPlan stands in the configuration for every plan.
const everyPlan = "*"

// HasFeature tells whether the plan of the tenant with an id has a feature. A
// tenant that is suspended, deleted or not known has none. An error means that
// the database could not be asked.
func (c *Checker) HasFeature(ctx context.Context, tenant, feature string) (bool, error) {
	t, err := c.Tenant(ctx, tenant)
	switch {
	case errors.Is(err, ErrUnknownTenant):
		return false, nil
	case err != nil:
		return false, err
	}
	return c.has(t, feature), nil
}

func (c *Checker) has(t Tenant, feature string) bool {
	return t.Active() && (slices.Contains(c.features[everyPlan], feature) ||
		t.Plan != everyPlan && slices.Contains(c.features[t.Plan], feature))
}

// Features lists the features that a tenant has, in alphabetical order.
func (c *Checker) Features(t Tenant) []string {
	if !t.Active() {
		return nil
	}
	all := slices.Concat(c.features[everyPlan], c.features[t.Plan])
	slices.Sort(all)
	return slices.Compact(all)
}
