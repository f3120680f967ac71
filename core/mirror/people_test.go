package mirror_test

import "github.com/avhub/avhub/core/event"

var peopleCases = []effectCase{
	{
		name: "subject.updated applies changed fields alone", before: []said{person},
		then:    about(2, event.TypeSubjectUpdated, "t1", data{"sub": "p1", "email": "new@a.example", "given_name": "Other", "changed_fields": []string{"email"}}),
		changes: []string{`identity p1 email "ines@a.example" → "new@a.example"`},
	},
	{
		name: "subject.updated knows both spellings of its fields", before: []said{person},
		then: about(2, event.TypeSubjectUpdated, "t1", data{
			"sub": "p1", "name": "I. H.", "picture": "https://p", "preferred_username": "ih", "phone_number": "+47", "phone_number_verified": true,
			"nickname": "no", "changed_fields": []string{"display_name", "picture_url", "username", "phone", "phone_verified"},
		}),
		changes: []string{
			`identity p1 display_name null → "I. H."`, `identity p1 picture_url null → "https://p"`, `identity p1 username null → "ih"`,
			`identity p1 phone null → "+47"`, `identity p1 phone_verified null → true`,
		},
	},
	{
		name: "subject.updated knows the names of the wire as well", before: []said{person},
		then: about(2, event.TypeSubjectUpdated, "t1", data{
			"sub": "p1", "name": "I. H.", "picture": "https://p", "preferred_username": "ih", "phone_number": "+47", "phone_number_verified": false,
			"nickname": "no", "changed_fields": []string{"name", "picture", "preferred_username", "phone_number", "phone_number_verified"},
		}),
		changes: []string{
			`identity p1 display_name null → "I. H."`, `identity p1 picture_url null → "https://p"`, `identity p1 username null → "ih"`,
			`identity p1 phone null → "+47"`, `identity p1 phone_verified null → false`,
		},
	},
	{
		name: "subject.updated without a list applies what was sent, null clears", before: []said{person},
		then:    about(2, event.TypeSubjectUpdated, "t2", data{"sub": "p1", "email": nil, "locale": "nb", "changed_fields": []string{}}),
		changes: []string{`identity p1 email "ines@a.example" → null`, `identity p1 locale null → "nb"`},
	},
	{
		name: "subject.updated leaves a changed field alone that was not sent", before: []said{person},
		then: about(2, event.TypeSubjectUpdated, "t1", data{"sub": "p1", "changed_fields": []string{"email", "given_name"}}),
	},
	{
		name: "subject.updated makes an unknown person with what is known",
		then: about(2, event.TypeSubjectUpdated, "t1", data{"sub": "p2", "email": "x@a.example", "locale": "nb", "changed_fields": []string{"email"}}),
		changes: []string{
			`identity p2 exists false → true`, `identity p2 email null → "x@a.example"`,
			`identity p2 is_active null → true`, `identity p2 has_app_access null → false`,
		},
	},
	{
		name: "subject.updated moves a person when it says so", before: []said{person},
		then:    about(2, event.TypeSubjectUpdated, "t1", data{"sub": "p1", "tenant_id": "t2", "changed_fields": []string{"tenant_id"}}),
		changes: []string{`identity p1 tenant_id "t1" → "t2"`},
	},
	{
		name: "subject.deactivated is about is_active alone", before: []said{person},
		then:    about(2, event.TypeSubjectDeactivated, "", data{"sub": "p1", "email": nil}),
		changes: []string{`identity p1 is_active true → false`},
	},
	{
		name: "subject.deactivated counts before the person is known",
		then: about(2, event.TypeSubjectDeactivated, "", data{"sub": "p2", "email": "x@a.example"}),
		changes: []string{
			`identity p2 exists false → true`, `identity p2 email null → "x@a.example"`,
			`identity p2 is_active null → false`, `identity p2 has_app_access null → false`,
		},
	},
	{
		name: "subject.deleted ends the row", before: []said{person},
		then: about(2, event.TypeSubjectDeleted, "", data{"sub": "p1"}),
		changes: []string{
			`identity p1 exists true → false`, `identity p1 email "ines@a.example" → null`, `identity p1 given_name "Ines" → null`,
			`identity p1 tenant_id "t1" → null`, `identity p1 app_role "member" → null`, `identity p1 groups ["crew"] → null`,
			`identity p1 is_active true → null`, `identity p1 has_app_access false → null`,
		},
	},
	{
		name: "subject.deleted of nobody changes nothing",
		then: about(2, event.TypeSubjectDeleted, "", data{"sub": "p2"}),
	},
	{
		name:   "a deletion that comes late does not end what was created since",
		before: []said{about(5, event.TypeSubjectCreated, "t1", data{"sub": "p1", "email": "ines@a.example"})},
		then:   about(2, event.TypeSubjectDeleted, "", data{"sub": "p1"}), superseded: true,
	},
	{
		name:    "a deletion that comes late still ends what is older",
		before:  []said{person, about(5, event.TypeSubjectUpdated, "", data{"sub": "p1", "given_name": "New"})},
		then:    about(2, event.TypeSubjectDeleted, "", data{"sub": "p1"}),
		changes: []string{`identity p1 email "ines@a.example" → null`, `identity p1 tenant_id "t1" → null`, `identity p1 app_role "member" → null`, `identity p1 groups ["crew"] → null`},
	},
	{
		name:   "an event from before the deletion brings nobody back",
		before: []said{person, about(5, event.TypeSubjectDeleted, "", data{"sub": "p1"})},
		then:   about(3, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "x@a.example"}), superseded: true,
	},
	{
		name:   "an event from after the deletion brings the person back, without the past",
		before: []said{person, about(5, event.TypeSubjectDeleted, "", data{"sub": "p1"})},
		then:   about(6, event.TypeSubjectCreated, "", data{"sub": "p1", "email": "x@a.example"}),
		changes: []string{
			`identity p1 exists false → true`, `identity p1 email null → "x@a.example"`,
			`identity p1 is_active null → true`, `identity p1 has_app_access null → false`,
		},
	},
	{
		name:   "losing access brings nobody back",
		before: []said{person, about(5, event.TypeSubjectDeleted, "", data{"sub": "p1"})},
		then:   about(6, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a1"),
	},
	{
		name: "a late update loses", before: []said{about(5, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "new@a.example"})},
		then: about(2, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "old@a.example"}), superseded: true,
	},
	{
		name: "a late update still fills in what newer ones did not say", before: []said{about(5, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "new@a.example"})},
		then:    about(2, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "old@a.example", "locale": "nb"}),
		changes: []string{`identity p1 locale null → "nb"`},
	},
	{
		name: "the same event again changes nothing and is not superseded", before: []said{person}, then: person,
	},
	{
		name: "member.joined places a person", before: []said{person},
		then: about(2, event.TypeMemberJoined, "t2", data{"membership_id": "m", "sub": "p1", "tenant_roles": []string{"owner", "x"}, "groups": []string{"a"}, "family_name": "H", "email": nil}),
		changes: []string{
			`identity p1 tenant_id "t1" → "t2"`, `identity p1 app_role "member" → "owner"`,
			`identity p1 groups ["crew"] → ["a"]`, `identity p1 family_name null → "H"`,
			`membership m exists false → true`, `membership m identity_id null → "p1"`, `membership m organization_id null → "t2"`,
			`membership m roles null → ["owner","x"]`, `membership m status null → "active"`,
		},
	},
	{
		name: "member.role_changed in the long form", before: []said{person},
		then:    about(2, event.TypeMemberRoleChanged, "t1", data{"membership_id": "m", "sub": "p1", "role": "viewer"}),
		changes: append(newMembership("t1", "active"), `identity p1 app_role "member" → "viewer"`, `membership m roles null → ["viewer"]`),
	},
	{
		name: "member.role_changed to no role", before: []said{person},
		then:    about(2, event.TypeMemberRoleChanged, "t1", data{"membership_id": "m", "sub": "p1", "tenant_roles": []string{}}),
		changes: append(newMembership("t1", "active"), `identity p1 app_role "member" → null`, `membership m roles null → []`),
	},
	{
		name: "member.left ends what came from that tenant", before: []said{person},
		then:    about(2, event.TypeMemberLeft, "t1", data{"membership_id": "m", "sub": "p1"}),
		changes: append(newMembership("t1", "left"), `identity p1 tenant_id "t1" → null`, `identity p1 app_role "member" → null`, `identity p1 groups ["crew"] → []`),
	},
	{
		name: "member.left of another tenant ends nothing here", before: []said{person},
		then:    about(2, event.TypeMemberLeft, "t2", data{"membership_id": "m", "sub": "p1"}),
		changes: newMembership("t2", "left"),
	},
	{
		name: "member.left loses to a later joining", before: []said{person, about(5, event.TypeMemberJoined, "t1", data{"membership_id": "m", "sub": "p1", "role": "owner", "groups": []string{"b"}})},
		then: about(2, event.TypeMemberLeft, "t1", data{"membership_id": "m", "sub": "p1"}), superseded: true,
	},
	{
		name:   "joining is known to be over when it is heard of late",
		before: []said{about(5, event.TypeMemberLeft, "t1", data{"membership_id": "m", "sub": "p1"})},
		then:   about(2, event.TypeMemberJoined, "t1", data{"membership_id": "m", "sub": "p1", "email": "x@a.example", "role": "owner"}),
		changes: []string{
			`identity p1 exists false → true`, `identity p1 email null → "x@a.example"`,
			`identity p1 is_active null → true`, `identity p1 has_app_access null → false`, `membership m roles null → ["owner"]`,
		},
	},
	{
		name: "member.suspended is about no field of the person", before: []said{person},
		then:    about(2, event.TypeMemberSuspended, "t1", data{"membership_id": "m", "sub": "p1", "email": "x@a.example"}),
		changes: newMembership("t1", "suspended"),
	},
	{
		name: "app_access.granted", before: []said{person},
		then: about(2, event.TypeAppAccessGranted, "t1", data{"membership_id": "m", "sub": "p1", "role_slug": "editor", "family_name": "H"}).in("a1"),
		changes: []string{`identity p1 has_app_access false → true`, `identity p1 app_role "member" → "editor"`, `identity p1 family_name null → "H"`,
			`app_access p1/a1/t1 exists false → true`, `app_access p1/a1/t1 identity_id null → "p1"`, `app_access p1/a1/t1 application_id null → "a1"`,
			`app_access p1/a1/t1 organization_id null → "t1"`, `app_access p1/a1/t1 has_access null → true`, `app_access p1/a1/t1 role_slug null → "editor"`},
	},
	{
		name: "app_access.role_changed", before: []said{person},
		then:    about(2, event.TypeAppAccessRoleChanged, "t1", data{"sub": "p1", "role_slug": "viewer"}).in("a1"),
		changes: append(newAccess("true"), `identity p1 app_role "member" → "viewer"`, `app_access p1/a1/t1 role_slug null → "viewer"`),
	},
	{
		name: "app_access.revoked", before: []said{person, about(2, event.TypeAppAccessGranted, "t1", data{"sub": "p1", "role_slug": "editor"}).in("a1")},
		then:    about(3, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a1"),
		changes: []string{`identity p1 has_app_access true → false`, `identity p1 app_role "editor" → null`, `app_access p1/a1/t1 has_access true → false`},
	},
	{
		name:    "app_access.revoked waits for the person",
		then:    about(3, event.TypeAppAccessRevoked, "t1", data{"sub": "p1"}).in("a1"),
		changes: newAccess("false"),
	},
	{
		name: "an unknown type touches no model",
		then: about(2, "tenant.painted", "t1", data{"tenant_id": "t1", "name": "Pink"}),
	},
}

// newMembership are the changes of a row that comes with nothing but its status.
func newMembership(tenant, status string) []string {
	return []string{
		`membership m exists false → true`, `membership m identity_id null → "p1"`,
		`membership m organization_id null → "` + tenant + `"`, `membership m status null → "` + status + `"`,
	}
}

// newAccess are the changes of a row that comes with nothing but its flag.
func newAccess(flag string) []string { return newAccessOf("p1/a1/t1", "t1", flag) }

func newAccessOf(id, tenant, flag string) []string {
	return []string{
		`app_access ` + id + ` exists false → true`, `app_access ` + id + ` identity_id null → "p1"`,
		`app_access ` + id + ` application_id null → "a1"`, `app_access ` + id + ` organization_id null → "` + tenant + `"`,
		`app_access ` + id + ` has_access null → ` + flag,
	}
}
