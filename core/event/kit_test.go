package event_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// The test kit for connectors makes events of its own, as it must not know the
// hub. They are what the hub would make of what the provider sends.
func TestTheEventsOfTheTestKitAreThoseOfTheCatalog(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for seed := range uint64(40) {
		perTenant := laws.Sample(seed, 60, pluginpb.Order_ORDER_PER_TENANT, "*")
		for i, ev := range laws.Sample(seed, 60, pluginpb.Order_ORDER_PER_SUBJECT, "*") {
			info, known := event.Lookup(ev.GetType())
			if !known {
				continue // the kit has one that nobody knows
			}
			seen[ev.GetType()] = true
			envelope := map[string]any{
				"id": ev.GetId(), "type": ev.GetType(), "timestamp": time.UnixMicro(ev.GetOccurredAtUs()).UTC(),
				"tenant_id": ev.GetTenantId(), "application_id": ev.GetApplicationId(), "data": json.RawMessage(ev.GetData()),
			}
			for _, member := range []string{"tenant_id", "application_id"} {
				if envelope[member] == "" {
					envelope[member] = nil
				}
			}
			body, err := json.Marshal(envelope)
			if err != nil {
				t.Fatal(err)
			}
			got, err := event.DecodeWebhook(body)
			if err != nil {
				t.Fatalf("%s: %v\n%s", ev.GetType(), err, body)
			}
			if got.Subject() != ev.GetSubject() || got.Subject() != ev.GetKey() || got.Revision() != ev.GetRevision() {
				t.Errorf("%s: subject %s, key %s, revision %d; the kit has %s, %s and %d",
					ev.GetType(), got.Subject(), got.Subject(), got.Revision(), ev.GetSubject(), ev.GetKey(), ev.GetRevision())
			}
			if key := got.TenantKey(); key != perTenant[i].GetKey() {
				t.Errorf("%s: the tenant's key is %s; the kit has %s", ev.GetType(), key, perTenant[i].GetKey())
			}
			if err := readable(got, info.Family); err != nil {
				t.Errorf("%s: %v\n%s", ev.GetType(), err, ev.GetData())
			}
		}
	}
	for _, info := range event.Catalog() {
		if !seen[info.Type] {
			t.Errorf("the kit never makes %s", info.Type)
		}
	}
}

func readable(ev *event.Event, family event.Family) (err error) {
	switch family {
	case event.FamilySubject:
		_, err = ev.SubjectData()
	case event.FamilyMember:
		_, err = ev.MemberData()
	case event.FamilyAppAccess:
		_, err = ev.AppAccessData()
	case event.FamilyInvite:
		_, err = ev.InviteData()
	case event.FamilyLicense:
		_, err = ev.LicenseData()
	case event.FamilyTenant:
		_, err = ev.TenantData()
	case event.FamilyTenantApp:
		_, err = ev.TenantAppData()
	case event.FamilyApplication:
		_, err = ev.ApplicationData()
	case event.FamilySSO:
		_, err = ev.SSOProviderData()
	}
	return err
}
