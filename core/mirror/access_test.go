package mirror_test

import (
	"strings"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

var (
	member = about(1, event.TypeMemberJoined, "t1", data{"membership_id": "m", "sub": "p1", "tenant_roles": []string{"owner"}})
	grant  = about(2, event.TypeAppAccessGranted, "t1", data{"membership_id": "m", "sub": "p1", "role_id": "r1", "role_name": "Editor", "role_slug": "editor"}).in("a1")
	seat   = about(1, event.TypeLicenseAssigned, "t1", data{"assignment_id": "l", "sub": "p1", "license_type_id": "lt1", "license_type_name": "Crew"}).in("a1")
	invite = about(1, event.TypeInviteCreated, "t1", data{
		"invite_id": "i", "membership_id": "m", "email": "new@a.example", "tenant_roles": []string{"viewer"}, "invited_by_sub": "p1", "expires_at": "2026-03-08T00:00:00Z",
	})
)

var ownApplication = mirror.Options{ApplicationID: "a1"}

var membershipCases = []effectCase{
	{
		name: "member.role_changed changes the roles of the membership", before: []said{person, member},
		then:    about(2, event.TypeMemberRoleChanged, "t1", data{"membership_id": "m", "sub": "p1", "tenant_roles": []string{"viewer"}, "previous_roles": []string{"owner"}}),
		changes: []string{`membership m roles ["owner"] → ["viewer"]`, `identity p1 app_role "owner" → "viewer"`},
	},
	{
		name: "member.suspended of a known member", before: []said{person, member},
		then:    about(2, event.TypeMemberSuspended, "t1", data{"membership_id": "m", "sub": "p1"}),
		changes: []string{`membership m status "active" → "suspended"`},
	},
	{
		name: "member.activated lets a suspended member back in", before: []said{person, member, about(2, event.TypeMemberSuspended, "t1", data{"membership_id": "m", "sub": "p1"})},
		then:    about(3, event.TypeMemberActivated, "t1", data{"membership_id": "m", "sub": "p1"}),
		changes: []string{`membership m status "suspended" → "active"`},
	},
	{
		name:    "member.activated is worth a row",
		then:    about(3, event.TypeMemberActivated, "t1", data{"membership_id": "m", "sub": "p1"}),
		changes: newMembership("t1", "active"),
	},
	{
		name: "a suspension that comes late loses to an activation", before: []said{person, member, about(4, event.TypeMemberActivated, "t1", data{"membership_id": "m", "sub": "p1"})},
		then: about(3, event.TypeMemberSuspended, "t1", data{"membership_id": "m", "sub": "p1"}), superseded: true,
	},
	{
		name: "who left keeps the roles of the past, and may join again", before: []said{person, member, about(2, event.TypeMemberLeft, "t1", data{"membership_id": "m", "sub": "p1"})},
		then: about(3, event.TypeMemberJoined, "t1", data{"membership_id": "m", "sub": "p1", "tenant_roles": []string{"viewer"}}),
		changes: []string{
			`membership m status "left" → "active"`, `membership m roles ["owner"] → ["viewer"]`,
			`identity p1 tenant_id null → "t1"`, `identity p1 app_role null → "viewer"`,
		},
	},
	{
		name: "a person has a membership in each tenant", before: []said{person, member},
		then: about(2, event.TypeMemberSuspended, "t2", data{"membership_id": "m2", "sub": "p1"}),
		changes: []string{
			`membership m2 exists false → true`, `membership m2 identity_id null → "p1"`,
			`membership m2 organization_id null → "t2"`, `membership m2 status null → "suspended"`,
		},
	},
	{
		name: "leaving brings no membership back that went with its person", before: []said{person, member, about(3, event.TypeSubjectDeleted, "", data{"sub": "p1"})},
		then: about(4, event.TypeMemberLeft, "t1", data{"membership_id": "m", "sub": "p1"}),
	},
	{
		name: "joining after the tenant's deletion brings the membership back", before: []said{person, member, about(3, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"})},
		then: about(4, event.TypeMemberJoined, "t1", data{"membership_id": "m", "sub": "p1"}),
		changes: []string{
			`membership m exists false → true`, `membership m identity_id null → "p1"`,
			`membership m organization_id null → "t1"`, `membership m status null → "active"`,
		},
	},
}

var accessCases = []effectCase{
	{
		name: "app_access.granted of the configured application", opts: ownApplication, before: []said{person}, then: grant,
		changes: append(newAccess("true"), grantedRole("p1/a1/t1", `identity p1 has_app_access false → true`, `identity p1 app_role "member" → "editor"`)...),
	},
	{
		name: "app_access.granted of another application leaves the flat view alone", opts: ownApplication, before: []said{person},
		then: about(2, event.TypeAppAccessGranted, "t1", data{"sub": "p1", "role_slug": "editor", "family_name": "H"}).in("a2"),
		changes: []string{
			`app_access p1/a2/t1 exists false → true`, `app_access p1/a2/t1 identity_id null → "p1"`, `app_access p1/a2/t1 application_id null → "a2"`,
			`app_access p1/a2/t1 organization_id null → "t1"`, `app_access p1/a2/t1 has_access null → true`, `app_access p1/a2/t1 role_slug null → "editor"`,
			`identity p1 family_name null → "H"`,
		},
	},
	{
		name: "app_access.revoked of another application leaves the flat view alone", opts: ownApplication,
		before:  []said{person, grant, about(2, event.TypeAppAccessGranted, "t1", data{"sub": "p1", "role_slug": "viewer"}).in("a2")},
		then:    about(3, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a2"),
		changes: []string{`app_access p1/a2/t1 has_access true → false`},
	},
	{
		name: "app_access.role_changed of another application leaves the flat view alone", opts: ownApplication,
		before:  []said{person, grant, about(2, event.TypeAppAccessGranted, "t1", data{"sub": "p1", "role_slug": "viewer"}).in("a2")},
		then:    about(3, event.TypeAppAccessRoleChanged, "t1", data{"sub": "p1", "role_slug": "editor"}).in("a2"),
		changes: []string{`app_access p1/a2/t1 role_slug "viewer" → "editor"`},
	},
	{
		name: "app_access.revoked keeps the role of the past", before: []said{person, grant},
		then:    about(3, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a1"),
		changes: []string{`app_access p1/a1/t1 has_access true → false`, `identity p1 has_app_access true → false`, `identity p1 app_role "editor" → null`},
	},
	{
		name: "app_access.role_changed is about who has access", before: []said{person, grant, about(3, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a1")},
		then: about(4, event.TypeAppAccessRoleChanged, "t1", data{"sub": "p1", "role_slug": "viewer"}).in("a1"),
		changes: []string{
			`app_access p1/a1/t1 has_access false → true`, `app_access p1/a1/t1 role_slug "editor" → "viewer"`, `identity p1 app_role null → "viewer"`,
		},
	},
	{
		name: "access as one of another tenant is another row", before: []said{person, grant},
		then:    about(3, event.TypeAppAccessRevoked, "t2", data{"sub": "p1"}).in("a1"),
		changes: append(newAccessOf("p1/a1/t2", "t2", "false"), `identity p1 has_app_access true → false`, `identity p1 app_role "editor" → null`),
	},
	{
		name: "access without a tenant has a row of its own", before: []said{person},
		then: about(3, event.TypeAppAccessRoleChanged, "", data{"sub": "p1"}).in("a1"),
		changes: []string{
			`app_access p1/a1/ exists false → true`, `app_access p1/a1/ identity_id null → "p1"`, `app_access p1/a1/ application_id null → "a1"`,
			`app_access p1/a1/ has_access null → true`,
		},
	},
	{
		name: "app_access.* without an application is poison", before: []said{person},
		then: about(3, event.TypeAppAccessGranted, "t1", data{"sub": "p1"}), failed: "field application_id",
	},
	{
		name: "a key of access that no index can hold is poison",
		then: about(2, event.TypeAppAccessRevoked, strings.Repeat("å", 250), data{"sub": strings.Repeat("ø", 250)}).in("a1"), failed: "field application_id",
	},
	{
		name: "tenant.app.granted to a person is access, and no more", before: []said{person},
		then: told(2, event.TypeTenantAppGranted, data{
			"tenant_id": "t1", "application_id": "a1", "user_id": "p1", "user_email": "x@a.example", "access_type": "AUTO_OWNER",
			"role_id": "r1", "role_name": "Editor", "role_slug": "editor",
		}),
		changes: append(newAccess("true"), grantedRole("p1/a1/t1", `app_access p1/a1/t1 access_type null → "AUTO_OWNER"`)...),
	},
	{
		name: "tenant.app.granted in the envelope of a webhook",
		then: about(2, event.TypeTenantAppGranted, "t1", data{"user_id": "p1"}).in("a1"), changes: newAccess("true"),
	},
	{
		name: "tenant.app.revoked ends what app_access.granted gave", before: []said{person, grant},
		then:    told(3, event.TypeTenantAppRevoked, data{"tenant_id": "t1", "application_id": "a1", "user_id": "p1"}),
		changes: []string{`app_access p1/a1/t1 has_access true → false`},
	},
	{
		name: "tenant.app.revoked of somebody unknown is worth a row",
		then: told(3, event.TypeTenantAppRevoked, data{"tenant_id": "t1", "application_id": "a1", "user_id": "p1"}), changes: newAccess("false"),
	},
	{
		name: "tenant.app.revoked needs a person", then: told(3, event.TypeTenantAppRevoked, data{"tenant_id": "t1", "application_id": "a1"}), failed: "field user_id",
	},
	{
		name: "a grant that comes late is known to be over", before: []said{about(5, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a1")},
		then:    told(3, event.TypeTenantAppGranted, data{"tenant_id": "t1", "application_id": "a1", "user_id": "p1", "access_type": "GRANTED"}),
		changes: []string{`app_access p1/a1/t1 access_type null → "GRANTED"`},
	},
	{
		name: "the parts of a key are told apart", then: about(3, event.TypeTenantAppRevoked, "t/1", data{"user_id": "p 1"}).in("a/1"),
		changes: []string{
			`app_access p%201/a%2F1/t%2F1 exists false → true`, `app_access p%201/a%2F1/t%2F1 identity_id null → "p 1"`,
			`app_access p%201/a%2F1/t%2F1 application_id null → "a/1"`, `app_access p%201/a%2F1/t%2F1 organization_id null → "t/1"`,
			`app_access p%201/a%2F1/t%2F1 has_access null → false`,
		},
	},
}

// grantedRole are the changes of a row that comes with the role of a grant, and
// more.
func grantedRole(id string, more ...string) []string {
	return append(more, `app_access `+id+` role_id null → "r1"`, `app_access `+id+` role_name null → "Editor"`, `app_access `+id+` role_slug null → "editor"`)
}

var licenseCases = []effectCase{
	{
		name: "license.assigned", then: seat,
		changes: append(newLicense("active"), `license l license_type_id null → "lt1"`, `license l license_type_name null → "Crew"`),
	},
	{
		name: "license.changed", before: []said{seat},
		then: about(2, event.TypeLicenseChanged, "t1", data{
			"assignment_id": "l", "sub": "p1", "license_type_id": "lt2", "license_type_name": "Lead", "previous_license_type_id": "lt1", "previous_license_type_name": "Crew",
		}).in("a1"),
		changes: []string{`license l license_type_id "lt1" → "lt2"`, `license l license_type_name "Crew" → "Lead"`},
	},
	{
		name: "license.changed of an unknown license",
		then: about(2, event.TypeLicenseChanged, "t1", data{"assignment_id": "l", "sub": "p1"}).in("a1"), changes: newLicense("active"),
	},
	{
		name: "license.revoked", before: []said{seat},
		then:    about(2, event.TypeLicenseRevoked, "t1", data{"assignment_id": "l", "sub": "p1"}).in("a1"),
		changes: []string{`license l status "active" → "revoked"`},
	},
	{
		name: "license.revoked of an unknown license is worth a row",
		then: about(2, event.TypeLicenseRevoked, "t1", data{"assignment_id": "l", "sub": "p1"}).in("a1"), changes: newLicense("revoked"),
	},
	{
		name: "license.assigned is known to be over when it is heard of late", before: []said{about(5, event.TypeLicenseRevoked, "t1", data{"assignment_id": "l", "sub": "p1"}).in("a1")},
		then: seat, changes: []string{`license l license_type_id null → "lt1"`, `license l license_type_name null → "Crew"`},
	},
	{
		name: "license.revoked brings nothing back after the tenant's deletion", before: []said{seat, about(3, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"})},
		then: about(4, event.TypeLicenseRevoked, "t1", data{"assignment_id": "l", "sub": "p1"}).in("a1"),
	},
	{
		name: "a license may go to another person", before: []said{seat},
		then:    about(2, event.TypeLicenseAssigned, "t1", data{"assignment_id": "l", "sub": "p2"}).in("a1"),
		changes: []string{`license l identity_id "p1" → "p2"`},
	},
	{
		name: "a license type of another type is poison", before: []said{seat},
		then: about(2, event.TypeLicenseChanged, "t1", data{"assignment_id": "l", "sub": "p1", "license_type_name": 7}), failed: "field license_type_name",
	},
}

// newLicense are the changes of a row that comes with nothing but its status.
func newLicense(status string) []string {
	return []string{
		`license l exists false → true`, `license l identity_id null → "p1"`, `license l organization_id null → "t1"`,
		`license l application_id null → "a1"`, `license l status null → "` + status + `"`,
	}
}

var invitationCases = []effectCase{
	{
		name: "invite.created", then: invite,
		changes: append(newInvitation("pending"), `invitation i membership_id null → "m"`, `invitation i email null → "new@a.example"`,
			`invitation i roles null → ["viewer"]`, `invitation i invited_by_sub null → "p1"`, `invitation i expires_at null → "2026-03-08T00:00:00.000000Z"`),
	},
	invitationEnds(event.TypeInviteAccepted, "accepted"),
	invitationEnds(event.TypeInviteDeleted, "deleted"),
	invitationEnds(event.TypeInviteExpired, "expired"),
	{
		name: "invite.accepted of an unknown invitation", then: about(2, event.TypeInviteAccepted, "t1", data{"invite_id": "i", "sub": "p2", "given_name": "New"}),
		changes: newInvitation("accepted"),
	},
	{
		name: "invite.deleted of an unknown invitation is worth a row", then: about(2, event.TypeInviteDeleted, "t1", data{"invite_id": "i"}),
		changes: newInvitation("deleted"),
	},
	{
		name: "invite.expired of an unknown invitation is worth a row", then: about(2, event.TypeInviteExpired, "t1", data{"invite_id": "i"}),
		changes: newInvitation("expired"),
	},
	{
		name: "invite.created is known to be over when it is heard of late", before: []said{about(2, event.TypeInviteExpired, "t1", data{"invite_id": "i"})},
		then: invite,
		changes: []string{
			`invitation i membership_id null → "m"`, `invitation i email null → "new@a.example"`, `invitation i roles null → ["viewer"]`,
			`invitation i invited_by_sub null → "p1"`, `invitation i expires_at null → "2026-03-08T00:00:00.000000Z"`,
		},
	},
	{
		name: "invite.expired brings nothing back after the tenant's deletion", before: []said{about(3, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"})},
		then: about(4, event.TypeInviteExpired, "t1", data{"invite_id": "i"}),
	},
	{
		name: "invite.deleted loses to a newer invitation under the same id", before: []said{about(5, event.TypeInviteCreated, "t1", data{"invite_id": "i"})},
		then: about(4, event.TypeInviteDeleted, "t1", data{"invite_id": "i"}), superseded: true,
	},
	{
		name: "a time that is none is poison", then: about(2, event.TypeInviteCreated, "t1", data{"invite_id": "i", "expires_at": "soon"}), failed: "field expires_at",
	},
}

func invitationEnds(typ, status string) effectCase {
	return effectCase{
		name: typ, before: []said{invite}, then: about(2, typ, "t1", data{"invite_id": "i", "membership_id": "m", "email": "new@a.example"}),
		changes: []string{`invitation i status "pending" → "` + status + `"`},
	}
}

// newInvitation are the changes of a row that comes with nothing but its status.
func newInvitation(status string) []string {
	return []string{
		`invitation i exists false → true`, `invitation i organization_id null → "t1"`, `invitation i status null → "` + status + `"`,
	}
}
