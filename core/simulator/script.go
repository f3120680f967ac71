package simulator

import "github.com/avhub/avhub/core/event"

// The chapters of a company's life.

func (c *script) signUp() {
	c.scene("signs up", order{typ: event.TypeTenantCreated})
	c.s.mu.Lock()
	c.tenant = c.s.world.someTenant().slug()
	c.s.mu.Unlock()
	c.about("gets its first user, the owner", event.TypeSubjectCreated, nil)
	c.about("has its owner as a member", event.TypeMemberJoined, nil)
	c.about("buys five starter seats", event.TypeTenantAppGranted, map[string]any{
		"license_type_id": "lt_starter", "license_type_name": "starter", "quantity_purchased": 5, "status": "ACTIVE",
	})
	c.about("gives its owner a license", event.TypeLicenseAssigned, nil)
	c.about("lets its owner use the application", event.TypeAppAccessGranted, nil)
	c.about("upgrades to the starter plan", event.TypeTenantUpdated, map[string]any{"plan": "starter"})
}

func (c *script) grow() {
	c.about("gets a new user", event.TypeSubjectCreated, nil)
	c.about("adds a member", event.TypeMemberJoined, nil)
	c.about("lets its new member use the application", event.TypeAppAccessGranted, nil)
	c.about("gives its new member a license", event.TypeLicenseAssigned, nil)
	c.about("upgrades to the pro plan", event.TypeTenantUpdated, map[string]any{"plan": "pro"})
	c.about("invites somebody", event.TypeInviteCreated, nil)
	c.about("has an invitation accepted", event.TypeInviteAccepted, nil)
	c.about("gets the invited as a user", event.TypeSubjectCreated, nil)
	c.about("adds the invited as a member", event.TypeMemberJoined, nil)
	c.about("opens the application to the invited", event.TypeTenantAppGranted, nil)
	c.about("buys twelve pro seats", event.TypeTenantAppGranted, map[string]any{
		"license_type_id": "lt_pro", "license_type_name": "pro", "quantity_purchased": 12, "status": "ACTIVE",
	})
	c.about("gives somebody a better license", event.TypeLicenseChanged, nil)
}

func (c *script) settle() {
	c.about("sets up single sign-on", event.TypeSSOProviderAdded, nil)
	c.about("demands a second factor of everybody", event.TypeTenantUpdated, map[string]any{"settings.require_mfa": true})
	c.about("makes a member an admin", event.TypeMemberRoleChanged, nil)
	c.about("gives a member another role in the application", event.TypeAppAccessRoleChanged, nil)
	c.about("registers an application of its own", event.TypeApplicationCreated, nil)
	c.about("changes its application", event.TypeApplicationUpdated, nil)
	c.about("has a user who changes his profile", event.TypeSubjectUpdated, nil)
	c.about("invites somebody else", event.TypeInviteCreated, nil)
	c.about("sees the invitation expire", event.TypeInviteExpired, nil)
	c.about("invites somebody by mistake", event.TypeInviteCreated, nil)
	c.about("withdraws the invitation", event.TypeInviteDeleted, nil)
	c.about("switches single sign-on off", event.TypeSSOProviderUpdated, map[string]any{"is_enabled": false})
	c.about("suspends a member", event.TypeMemberSuspended, nil)
	c.about("lets the member back in", event.TypeMemberActivated, nil)
}

func (c *script) trouble() {
	c.about("does not pay and is suspended", event.TypeTenantSuspended, nil)
	c.about("pays and is active again", event.TypeTenantUpdated, map[string]any{"status": "active"})
}

// peopleLeave sees one person off, from everywhere.
func (c *script) peopleLeave() {
	c.s.mu.Lock()
	var who *person
	name := ""
	if t := c.s.world.findTenant(c.tenant); t != nil {
		who = c.s.world.someMember(t, func(m *member) bool { return m.who != t.owner }).who
		name = who.doc.text("name")
	}
	c.s.mu.Unlock()
	if who == nil {
		return
	}
	c.scene(name+" may not use the application any more", order{typ: event.TypeAppAccessRevoked, tenant: c.tenant, who: who})
	c.scene(name+" hands back the license", order{typ: event.TypeLicenseRevoked, tenant: c.tenant, who: who})
	c.scene(name+" leaves the company", order{typ: event.TypeMemberLeft, tenant: c.tenant, who: who})
	c.scene(name+" is locked out everywhere", order{typ: event.TypeSubjectDeactivated, tenant: c.tenant, who: who})
	c.scene(name+" is deleted", order{typ: event.TypeSubjectDeleted, tenant: c.tenant, who: who})
}

func (c *script) leave() {
	c.about("closes the application to a member", event.TypeTenantAppRevoked, nil)
	c.about("removes single sign-on", event.TypeSSOProviderRemoved, nil)
	c.about("deletes its application", event.TypeApplicationDeleted, nil)
	c.about("takes a license back", event.TypeLicenseRevoked, nil)
	c.about("loses a member", event.TypeMemberLeft, nil)
	c.about("leaves for good", event.TypeTenantDeleted, nil)
}
