package event

// The event types that AuthVital emits or reserves. Others may arrive: they are
// no errors, only the mirror has nothing to do for them.
const (
	TypeSubjectCreated     = "subject.created"
	TypeSubjectUpdated     = "subject.updated"
	TypeSubjectDeleted     = "subject.deleted"
	TypeSubjectDeactivated = "subject.deactivated"

	TypeMemberJoined      = "member.joined"
	TypeMemberLeft        = "member.left"
	TypeMemberRoleChanged = "member.role_changed"
	TypeMemberSuspended   = "member.suspended"
	TypeMemberActivated   = "member.activated"

	TypeAppAccessGranted     = "app_access.granted"
	TypeAppAccessRevoked     = "app_access.revoked"
	TypeAppAccessRoleChanged = "app_access.role_changed"

	TypeInviteCreated  = "invite.created"
	TypeInviteAccepted = "invite.accepted"
	TypeInviteDeleted  = "invite.deleted"
	TypeInviteExpired  = "invite.expired"

	TypeLicenseAssigned = "license.assigned"
	TypeLicenseRevoked  = "license.revoked"
	TypeLicenseChanged  = "license.changed"

	TypeTenantCreated   = "tenant.created"
	TypeTenantUpdated   = "tenant.updated"
	TypeTenantDeleted   = "tenant.deleted"
	TypeTenantSuspended = "tenant.suspended"

	TypeTenantAppGranted = "tenant.app.granted"
	TypeTenantAppRevoked = "tenant.app.revoked"

	TypeApplicationCreated = "application.created"
	TypeApplicationUpdated = "application.updated"
	TypeApplicationDeleted = "application.deleted"

	TypeSSOProviderAdded   = "sso.provider_added"
	TypeSSOProviderUpdated = "sso.provider_updated"
	TypeSSOProviderRemoved = "sso.provider_removed"
)

// Family is a group of event types whose data is one Go type.
type Family string

// The families, and the type of their data.
const (
	FamilySubject     Family = "subject"     // SubjectData
	FamilyMember      Family = "member"      // MemberData
	FamilyAppAccess   Family = "app_access"  // AppAccessData
	FamilyInvite      Family = "invite"      // InviteData
	FamilyLicense     Family = "license"     // LicenseData
	FamilyTenant      Family = "tenant"      // TenantData
	FamilyTenantApp   Family = "tenant.app"  // TenantAppData
	FamilyApplication Family = "application" // ApplicationData
	FamilySSO         Family = "sso"         // SSOProviderData
)

// The kinds of entity that an event can be about: what stands before the colon
// in Event.Subject, and in Change.Entity.
const (
	KindIdentity     = "identity"
	KindOrganization = "organization"
	KindApplication  = "application"
	KindSSOProvider  = "sso_provider"
	KindInvitation   = "invitation"
	KindType         = "type" // nothing better is known

	// Entities of changes alone: the events that make them are about a person
	// or an organization.

	KindMembership   = "membership"
	KindAppAccess    = "app_access"
	KindLicense      = "license"
	KindSubscription = "subscription"
)

// TypeInfo describes one event type.
type TypeInfo struct {
	Type    string
	Family  Family
	Summary string // one sentence
	Forms   []Form // at least one
}

// Form is one of the shapes in which a type's data is sent. All forms of a type
// decode into the same Go type.
type Form struct {
	// Name is "short" or "long" where the sender's and the documented shape
	// differ in length only, "form1" (made by the system dispatcher) or "form2"
	// (documented for application webhooks), and "user" or "subscription" for
	// tenant.app.*.
	Name string
	// Kind is the kind of entity that Event.Subject names.
	Kind string
	// Channels carry the form. On Pub/Sub the event_source is "system_webhook"
	// for a form that ChannelSystem carries too, else "sync_event".
	Channels []Channel
}

// Known tells whether the catalog has the type.
func Known(typ string) bool {
	_, ok := familyOf(typ)
	return ok
}

// Lookup returns what the catalog says about the type.
func Lookup(typ string) (TypeInfo, bool) {
	if !Known(typ) {
		return TypeInfo{}, false
	}
	for _, info := range Catalog() {
		if info.Type == typ {
			return info, true
		}
	}
	return TypeInfo{}, false
}

// Catalog returns all known types, grouped by family. The caller owns the
// result.
func Catalog() []TypeInfo {
	sync := []Channel{ChannelWebhook, ChannelPubSub}
	system := []Channel{ChannelSystem, ChannelPubSub}
	documented := []Channel{ChannelWebhook}
	short := func(kind string) []Form { return []Form{{"short", kind, sync}} }
	shortAndLong := func(kind string) []Form {
		return []Form{{"short", kind, sync}, {"long", kind, documented}}
	}
	twoForms := func(kind string) []Form {
		return []Form{{"form1", kind, system}, {"form2", kind, documented}}
	}
	user := Form{"user", KindIdentity, system}
	subscription := Form{"subscription", KindOrganization, system}

	return []TypeInfo{
		{TypeSubjectCreated, FamilySubject, "A person or machine exists and can log in.", shortAndLong(KindIdentity)},
		{TypeSubjectUpdated, FamilySubject, "Profile fields of a subject changed; `changed_fields` says which.", shortAndLong(KindIdentity)},
		{TypeSubjectDeleted, FamilySubject, "A subject is gone from the provider.", short(KindIdentity)},
		{TypeSubjectDeactivated, FamilySubject, "A subject cannot log into any application any more.", short(KindIdentity)},

		{TypeMemberJoined, FamilyMember, "A person became an active member of a tenant.", shortAndLong(KindIdentity)},
		{TypeMemberLeft, FamilyMember, "A person is no longer a member of a tenant.", short(KindIdentity)},
		{TypeMemberRoleChanged, FamilyMember, "A member's roles in a tenant changed.", shortAndLong(KindIdentity)},
		{TypeMemberSuspended, FamilyMember, "A membership is suspended.", short(KindIdentity)},
		{TypeMemberActivated, FamilyMember, "A suspended membership is active again.", short(KindIdentity)},

		{TypeAppAccessGranted, FamilyAppAccess, "A person may use the application, in a role.", short(KindIdentity)},
		{TypeAppAccessRevoked, FamilyAppAccess, "A person may not use the application any more.", short(KindIdentity)},
		{TypeAppAccessRoleChanged, FamilyAppAccess, "A person's role in the application changed.", short(KindIdentity)},

		{TypeInviteCreated, FamilyInvite, "Somebody was invited into a tenant.", short(KindInvitation)},
		{TypeInviteAccepted, FamilyInvite, "An invitation was accepted; `sub` is the person.", short(KindInvitation)},
		{TypeInviteDeleted, FamilyInvite, "An invitation was withdrawn.", short(KindInvitation)},
		{TypeInviteExpired, FamilyInvite, "An invitation expired.", short(KindInvitation)},

		{TypeLicenseAssigned, FamilyLicense, "A person was given a license.", short(KindIdentity)},
		{TypeLicenseRevoked, FamilyLicense, "A person's license was taken back.", short(KindIdentity)},
		{TypeLicenseChanged, FamilyLicense, "A person's license is of another type now.", short(KindIdentity)},

		{TypeTenantCreated, FamilyTenant, "A tenant exists.", twoForms(KindOrganization)},
		{TypeTenantUpdated, FamilyTenant, "A tenant changed; `changed_fields` says where (`members`: only its membership).", twoForms(KindOrganization)},
		{TypeTenantDeleted, FamilyTenant, "A tenant is gone.", twoForms(KindOrganization)},
		{TypeTenantSuspended, FamilyTenant, "A tenant is suspended.", twoForms(KindOrganization)},

		{TypeTenantAppGranted, FamilyTenantApp, "A tenant's person may use an application (user form), or the tenant bought it (subscription form).", []Form{user, subscription}},
		{TypeTenantAppRevoked, FamilyTenantApp, "A tenant's person may not use an application any more.", []Form{user}},

		{TypeApplicationCreated, FamilyApplication, "An application exists.", twoForms(KindApplication)},
		{TypeApplicationUpdated, FamilyApplication, "An application changed; `changed_fields` says where.", twoForms(KindApplication)},
		{TypeApplicationDeleted, FamilyApplication, "An application is gone.", twoForms(KindApplication)},

		{TypeSSOProviderAdded, FamilySSO, "A login provider was added, or set anew.", twoForms(KindSSOProvider)},
		{TypeSSOProviderUpdated, FamilySSO, "A login provider changed; `changed_fields` says where.", twoForms(KindSSOProvider)},
		{TypeSSOProviderRemoved, FamilySSO, "A login provider was removed.", twoForms(KindSSOProvider)},
	}
}

// familyOf returns the family of a known type. It is a switch because it runs
// several times per event.
func familyOf(typ string) (Family, bool) {
	switch typ {
	case TypeSubjectCreated, TypeSubjectUpdated, TypeSubjectDeleted, TypeSubjectDeactivated:
		return FamilySubject, true
	case TypeMemberJoined, TypeMemberLeft, TypeMemberRoleChanged, TypeMemberSuspended, TypeMemberActivated:
		return FamilyMember, true
	case TypeAppAccessGranted, TypeAppAccessRevoked, TypeAppAccessRoleChanged:
		return FamilyAppAccess, true
	case TypeInviteCreated, TypeInviteAccepted, TypeInviteDeleted, TypeInviteExpired:
		return FamilyInvite, true
	case TypeLicenseAssigned, TypeLicenseRevoked, TypeLicenseChanged:
		return FamilyLicense, true
	case TypeTenantCreated, TypeTenantUpdated, TypeTenantDeleted, TypeTenantSuspended:
		return FamilyTenant, true
	case TypeTenantAppGranted, TypeTenantAppRevoked:
		return FamilyTenantApp, true
	case TypeApplicationCreated, TypeApplicationUpdated, TypeApplicationDeleted:
		return FamilyApplication, true
	case TypeSSOProviderAdded, TypeSSOProviderUpdated, TypeSSOProviderRemoved:
		return FamilySSO, true
	}
	return "", false
}
