package simulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// order asks the world for an event.
type order struct {
	typ     string
	channel event.Channel // empty: the one that suits
	tenant  string        // slug or id; empty: the newest, or none
	set     map[string]any
	who     *person // of a person's event; nil: somebody who fits
}

// draft is an event in the making.
type draft struct {
	order
	w   *world
	t   *tenant
	msg Message
}

// builder returns what makes the data of a type and lets the world take the
// event's course; nil for an unknown type. A system webhook gets form 1 of types
// that have two.
func builder(typ string) func(*draft) (fields, error) {
	switch typ {
	case event.TypeSubjectCreated:
		return (*draft).subjectCreated
	case event.TypeSubjectUpdated:
		return (*draft).subjectUpdated
	case event.TypeSubjectDeleted:
		return (*draft).subjectGone
	case event.TypeSubjectDeactivated:
		return (*draft).subjectDeactivated
	case event.TypeMemberJoined:
		return (*draft).memberJoined
	case event.TypeMemberLeft:
		return (*draft).memberLeft
	case event.TypeMemberRoleChanged:
		return (*draft).memberRoleChanged
	case event.TypeMemberSuspended:
		return (*draft).memberSuspended
	case event.TypeMemberActivated:
		return (*draft).memberActivated
	case event.TypeAppAccessGranted:
		return (*draft).accessGranted
	case event.TypeAppAccessRevoked:
		return (*draft).accessRevoked
	case event.TypeAppAccessRoleChanged:
		return (*draft).accessRoleChanged
	case event.TypeInviteCreated:
		return (*draft).inviteCreated
	case event.TypeInviteAccepted:
		return (*draft).inviteAccepted
	case event.TypeInviteDeleted:
		return (*draft).inviteGone
	case event.TypeInviteExpired:
		return (*draft).inviteGone
	case event.TypeLicenseAssigned:
		return (*draft).licenseAssigned
	case event.TypeLicenseRevoked:
		return (*draft).licenseRevoked
	case event.TypeLicenseChanged:
		return (*draft).licenseChanged
	case event.TypeTenantCreated:
		return (*draft).tenantCreated
	case event.TypeTenantUpdated:
		return (*draft).tenantUpdated
	case event.TypeTenantDeleted:
		return (*draft).tenantDeleted
	case event.TypeTenantSuspended:
		return (*draft).tenantSuspended
	case event.TypeTenantAppGranted:
		return (*draft).tenantAppGranted
	case event.TypeTenantAppRevoked:
		return (*draft).tenantAppRevoked
	case event.TypeApplicationCreated:
		return (*draft).applicationCreated
	case event.TypeApplicationUpdated:
		return (*draft).applicationUpdated
	case event.TypeApplicationDeleted:
		return (*draft).applicationDeleted
	case event.TypeSSOProviderAdded:
		return (*draft).providerAdded
	case event.TypeSSOProviderUpdated:
		return (*draft).providerUpdated
	case event.TypeSSOProviderRemoved:
		return (*draft).providerRemoved
	}
	return nil
}

// build makes an event out of the world. An unknown type is made of what is set
// alone. Errors tell the user what to ask for instead; they may come after the
// world has moved, which does no harm: it is only a simulation.
func (w *world) build(o order) (Message, error) {
	d := &draft{order: o, w: w}
	if o.typ == "" {
		return Message{}, fmt.Errorf("making an event: it has no type; one is %s", event.TypeTenantUpdated)
	}
	if o.tenant != "" {
		if o.typ == event.TypeTenantCreated {
			return Message{}, fmt.Errorf("making a %s: it makes a new tenant, so none can be named; set name or slug instead", o.typ)
		}
		if d.t = w.findTenant(o.tenant); d.t == nil {
			return Message{}, w.unknownTenant(o.tenant)
		}
	}
	if err := d.chooseChannel(); err != nil {
		return Message{}, err
	}
	d.msg = Message{Channel: d.channel, Type: d.typ}
	builds := builder(d.typ)
	if builds == nil {
		data := fields{}
		if d.t != nil {
			d.msg.TenantID = d.t.id()
		}
		if err := data.putAll(d.set); err != nil {
			return Message{}, fmt.Errorf("making a %s: %w", d.typ, err)
		}
		d.msg.Data = data
		return d.msg, nil
	}
	data, err := builds(d)
	if err == nil {
		// What was asked for stands in the data, whatever the form has room for.
		err = data.putAll(d.set)
	}
	if err != nil {
		return Message{}, fmt.Errorf("making a %s: %w", d.typ, err)
	}
	d.msg.Data = data
	return d.msg, nil
}

var errNoTenant = errors.New("there is no tenant")

func (w *world) unknownTenant(name string) error {
	if len(w.tenants) == 0 {
		return fmt.Errorf("%w %q, and no other yet; send a %s first", errNoTenant, name, event.TypeTenantCreated)
	}
	var known []string
	for _, t := range w.tenants[max(0, len(w.tenants)-20):] {
		known = append(known, t.slug())
	}
	return fmt.Errorf("%w %q; known ones are %s", errNoTenant, name, strings.Join(known, ", "))
}

// chooseChannel takes the channel that was asked for, if the type comes by it.
// Left to itself it takes the one that today's sender uses, unless only the
// other's form has room for what was asked: a plan, or a tenant's own
// application or login provider.
func (d *draft) chooseChannel() error {
	channels := []event.Channel{event.ChannelWebhook, event.ChannelSystem}
	if info, known := event.Lookup(d.typ); known {
		channels = slices.DeleteFunc(channels, func(c event.Channel) bool {
			return !slices.ContainsFunc(info.Forms, func(f event.Form) bool { return slices.Contains(f.Channels, c) })
		})
	}
	if d.channel != "" {
		if !slices.Contains(channels, d.channel) {
			return fmt.Errorf("making a %s: it does not come by channel %q; use %v", d.typ, d.channel, channels)
		}
		return nil
	}
	d.channel = channels[0]
	if !event.Known(d.typ) || len(channels) == 1 {
		return nil
	}
	form1 := true
	switch {
	case strings.HasPrefix(d.typ, "tenant."):
		for path := range d.set {
			if path == "plan" || path == "status" || path == "is_active" {
				form1 = false
			}
		}
		if d.typ == event.TypeTenantUpdated && len(d.set) == 0 {
			form1 = false // its change is one of the plan
		}
	default:
		form1 = d.t == nil
	}
	if form1 {
		d.channel = event.ChannelSystem
	}
	return nil
}

// system tells whether the event is made by the system dispatcher, in form 1.
func (d *draft) system() bool { return d.channel == event.ChannelSystem }

// tenant returns the tenant that the event is about.
func (d *draft) tenant() *tenant {
	if d.t == nil {
		d.t = d.w.someTenant()
	}
	d.msg.TenantID = d.t.id()
	return d.t
}

// forApplication addresses the event to an application, as those about people
// are.
func (d *draft) forApplication() { d.msg.ApplicationID = d.w.mainApp().id() }

// addressing are members that say what an event is about. Setting them changes
// the address, not the thing.
var addressing = []string{"tenant_id", "sub", "application_id", "provider_id", "updated_by_sub", "changed_fields", "previous_values"}

// change applies what was asked for, or else a change that suits, to what the
// event is about, and returns how an update tells of it.
func (d *draft) change(doc fields, otherwise map[string]any) (changed []string, previous fields, err error) {
	set := maps.Clone(d.set)
	for _, name := range addressing {
		delete(set, name)
	}
	if len(set) == 0 {
		set = otherwise
	}
	previous = fields{}
	for _, path := range slices.Sorted(maps.Keys(set)) {
		before, _ := doc.get(path)
		previous[path] = clone(before)
		if err := doc.put(path, clone(set[path])); err != nil {
			return nil, nil, err
		}
		changed = append(changed, path)
	}
	return changed, previous, nil
}
