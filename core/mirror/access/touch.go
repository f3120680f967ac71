package access

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// maxTags is how many things one commit changes before everything is taken to
// have changed.
const maxTags = 4096

// touch adds what decisions or tenants were read from and changes name. A row
// that is new is told with all its values, so that one that nobody has read yet
// is found by the person and the tenant in it; of one that goes with its
// tenant only that is told, but whoever has read it depends on its id.
func (c *Checker) touch(t *touched, changes []event.Change, omitted int) {
	if omitted > 0 {
		t.everything = true
	}
	for i := range changes {
		ch := &changes[i]
		switch ch.Entity {
		case event.KindIdentity:
			if ch.Field == "exists" || ch.Field == "is_active" {
				c.add(t, kindIdentity, ch.ID)
			}
		case event.KindOrganization:
			c.touchOrganization(t, ch)
		case event.KindMembership:
			c.add(t, kindMembership, ch.ID)
			c.addOwners(t, ch)
		case event.KindAppAccess:
			person, _, _ := strings.Cut(ch.ID, "/")
			if sub, err := url.PathUnescape(person); err == nil {
				c.add(t, kindIdentity, sub)
			}
			c.addOwners(t, ch)
		case event.KindApplication, event.KindSSOProvider, event.KindInvitation,
			event.KindLicense, event.KindSubscription:
			// No decision depends on these.
		default:
			t.everything = true // a kind of a newer avhub
		}
	}
	if len(t.tags) > maxTags {
		t.everything = true
	}
	if t.everything {
		t.tags = nil
	}
}

func (c *Checker) touchOrganization(t *touched, ch *event.Change) {
	switch ch.Field {
	case "slug":
		c.addBoth(t, kindSlug, ch)
		c.add(t, kindOrganization, ch.ID)
	case "exists", "status", "plan", "name":
		c.add(t, kindOrganization, ch.ID)
	}
}

// addOwners adds whom a row belonged to and belongs to now.
func (c *Checker) addOwners(t *touched, ch *event.Change) {
	switch ch.Field {
	case "identity_id":
		c.addBoth(t, kindIdentity, ch)
	case "organization_id":
		c.addBoth(t, kindOrganization, ch)
	}
}

func (c *Checker) addBoth(t *touched, k kind, ch *event.Change) {
	for _, value := range []json.RawMessage{ch.Before, ch.After} {
		var id string
		if json.Unmarshal(value, &id) == nil && id != "" {
			c.add(t, k, id)
		}
	}
}

func (c *Checker) add(t *touched, k kind, id string) {
	if !t.everything {
		t.tags = append(t.tags, c.stamps.tag(k, id))
	}
}

// touchTenant adds the tenant that an event is about. A deletion of one that has
// no row changes no row, and yet the tenant is known to be deleted then.
func (c *Checker) touchTenant(t *touched, ev *event.Event) {
	if id, ok := strings.CutPrefix(ev.Subject(), event.KindOrganization+":"); ok {
		c.add(t, kindOrganization, id)
	}
}
