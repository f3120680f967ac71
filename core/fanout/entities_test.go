package fanout_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// A real mirror: what an event tells of travels with it, and what belongs to a
// tenant is counted for the plugin that asks for it, and for no other.
func TestEventsTravelWithWhatTheyTellOf(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		m := mirror.New(b.store, mirror.Options{})
		ctx := context.Background()
		var assigned int64
		for i, body := range []string{
			`{"id":"e1","type":"tenant.created","timestamp":"2026-01-02T03:04:05Z","tenant_id":"t1","application_id":null,"data":{"tenant_id":"t1","name":"Fjord"}}`,
			`{"id":"e2","type":"member.joined","timestamp":"2026-01-02T03:04:06Z","tenant_id":"t1","application_id":null,"data":{"membership_id":"m","sub":"p1"}}`,
			`{"id":"e3","type":"license.assigned","timestamp":"2026-01-02T03:04:07Z","tenant_id":"t1","application_id":"a1","data":{"assignment_id":"l","sub":"p1","license_type_id":"lt"}}`,
		} {
			ev, err := event.DecodeWebhook([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			ev.Source, ev.ReceivedAt, ev.Evidence.Body = "s", time.Now().UTC(), []byte(body)
			if err := b.store.InTx(ctx, func(ctx context.Context) error { return m.Apply(ctx, []*event.Event{ev}) }); err != nil {
				t.Fatal(err)
			}
			receipt, err := b.journal.Append(ctx, ev)
			if err != nil {
				t.Fatal(err)
			}
			if assigned = receipt.Position; assigned != int64(i+1) {
				t.Fatalf("position %d", assigned)
			}
		}
		for name, asks := range map[string]bool{"asks": true, "plain": false} {
			b.plugin = &fake{counts: asks, deliver: func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }}
			r := b.start(func(cfg *fanout.Config, deps *fanout.Deps) { cfg.Name, deps.Mirror = name, m })
			b.until("the license is delivered", func() bool { return slices.Contains(b.plugin.delivered(), "e3") })
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			found := map[string]string{}
			for _, e := range b.plugin.entities("e3") {
				found[e.GetKind()+" "+e.GetId()] = string(e.GetJson())
			}
			for _, want := range []string{"identity p1", "license l", "organization t1", "application a1"} {
				if _, ok := found[want]; !ok {
					t.Errorf("%s did not come with the event: %v", want, found)
				}
			}
			if found["application a1"] != "" || !strings.Contains(found["license l"], `"status":"active"`) {
				t.Errorf("entities are %v", found)
			}
			var org plugin.Organization
			if err := json.Unmarshal([]byte(found["organization t1"]), &org); err != nil {
				t.Fatal(err)
			}
			if counted := org.Members["user"] == 1 && len(org.Licenses) == 1 && org.Licenses[0].Count == 1; counted != asks || (org.Members != nil) != asks {
				t.Errorf("%s: the organization is %+v", name, org)
			}
		}
	})
}

func (f *fake) entities(id string) []*pluginpb.Entity {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range f.seen {
		if ev.GetId() == id {
			return ev.GetEntities()
		}
	}
	return nil
}
