package mirror

import (
	"strings"

	"github.com/avhub/avhub/core/event"
)

// An organization's plan is read from the first place that tells one, in an
// order that the configuration chooses. Each place has registers of its own, so
// that the order is applied to what is known, not to what arrives:
//
//	plan             data.plan
//	plan_settings    data.settings.plan
//	subscription.ID  the license type of a subscription, null unless it is active
//
// An event of a tenant that tells any plan assigns both of the first two, so
// that what the last such event says is told by it alone: a provider that goes
// over from one form of events to the other leaves no plan of old standing.

// The places where a plan is told, as the configuration names them.
const (
	PlanFromData         = "data.plan"
	PlanFromSettings     = "data.settings.plan"
	PlanFromSubscription = "subscription"
)

const (
	planField         = "plan"
	planSettingsField = "plan_settings"
	subscriptionDot   = "subscription."
)

// planOrder are the places in the order in which they are asked.
type planOrder []string

func newPlanOrder(from []string) *planOrder {
	if from == nil {
		from = []string{PlanFromData, PlanFromSettings, PlanFromSubscription}
	}
	o := planOrder(from)
	return &o
}

// pick returns the plan that a state tells beyond floor; nil: none.
func (o *planOrder) pick(s *state, floor clock) []byte {
	for _, place := range *o {
		var value []byte
		switch place {
		case PlanFromData:
			value = s.beyond(planField, floor)
		case PlanFromSettings:
			value = s.beyond(planSettingsField, floor)
		case PlanFromSubscription:
			value = s.subscribed(floor)
		}
		if value != nil {
			return value
		}
	}
	return nil
}

// beyond returns what a register holds, nil for nothing.
func (s *state) beyond(field string, floor clock) []byte {
	if r := s.find(field); r != nil && r.at.after(floor) && !isNull(r.value) {
		return r.value
	}
	return nil
}

// subscribed returns the license type of the active subscription that was told
// last, nil without one.
func (s *state) subscribed(floor clock) []byte {
	var newest *register
	for i := range s.registers {
		r := &s.registers[i]
		if !strings.HasPrefix(r.field, subscriptionDot) || !r.at.after(floor) || isNull(r.value) {
			continue
		}
		if newest == nil || r.at.after(newest.at) {
			newest = r
		}
	}
	if newest == nil {
		return nil
	}
	return newest.value
}

// plan assigns what an event tells of the plan, if it tells one. Settings
// without a plan say nothing about it.
func (e *effect) plan(told, inSettings event.Opt[string]) {
	if !told.Set && !inSettings.Set {
		return
	}
	e.textOrNull(planField, told)
	e.textOrNull(planSettingsField, inSettings)
}

// planOf is what a subscription says about its tenant's plan. It makes no
// organization: it counts once there is one.
func (ms *models) planOf(tenant string, d *event.TenantAppData) *effect {
	e := &effect{model: ms.organizations, id: tenant}
	name := d.LicenseTypeName
	if name.Value == "" {
		name = d.LicenseTypeID
	}
	if name.Value == "" || !strings.EqualFold(d.Status.Value, "active") {
		name = event.Opt[string]{Set: true, Null: true}
	}
	e.text(subscriptionDot+d.SubscriptionID.Value, name)
	return e
}
