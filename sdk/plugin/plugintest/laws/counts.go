package laws

import (
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/plugin"
)

// shown is a row as it comes with an event; nil if there is none. To a connector
// that asks for counts, an organization comes with what belongs to it.
func (p *provider) shown(at ref) []byte {
	have, ok := p.rows[at]
	if !ok {
		return nil
	}
	if p.counts && at.kind == "organization" {
		have = changed(have, p.belongings(at.id))
	}
	return mustJSON(have)
}

// belongings counts what belongs to a tenant, as the hub does.
func (p *provider) belongings(tenant string) row {
	subscriptions, licenses, members := []plugin.ActiveSubscription{}, map[string]int64{}, map[string]int64{}
	for _, at := range sortedRefs(p.rows) {
		have := p.rows[at]
		person, _ := have["identity_id"].(string)
		if have["organization_id"] != tenant || p.gone[ref{"identity", person}] {
			continue
		}
		switch value, _ := have["value"].(string); {
		case at.kind == "subscription":
			app, _ := have["application_id"].(string)
			seats, _ := have["quantity_purchased"].(int)
			subscriptions = append(subscriptions, plugin.ActiveSubscription{SubscriptionID: at.id, ApplicationID: app,
				LicenseTypeID: "lt_pro", LicenseTypeName: "Pro", Quantity: int64(seats), Status: "ACTIVE"})
		case at.kind == "license" && have["status"] == "active":
			licenses[value]++
		case at.kind == "membership" && have["status"] == "active":
			members["user"]++
		}
	}
	counts := []plugin.LicenseCount{}
	for value, n := range licenses {
		counts = append(counts, plugin.LicenseCount{ApplicationID: appRef(1).id, LicenseTypeID: "lt_" + value, LicenseTypeName: value, Count: n})
	}
	slices.SortFunc(counts, func(a, b plugin.LicenseCount) int { return strings.Compare(a.LicenseTypeID, b.LicenseTypeID) })
	return row{"subscriptions": subscriptions, "licenses": counts, "members": members}
}
