package event

import "time"

// SubjectData is the data of subject.*: a person or a machine that can log in.
// The fields beyond the first ones are OpenID Connect claims and come only in
// the long form.
type SubjectData struct {
	Sub                 Opt[string]   `json:"sub,omitzero"`
	Email               Opt[string]   `json:"email,omitzero"`
	GivenName           Opt[string]   `json:"given_name,omitzero"`
	FamilyName          Opt[string]   `json:"family_name,omitzero"`
	SubjectType         Opt[string]   `json:"subject_type,omitzero"` // "user", "service_account", "machine"; open
	EmailVerified       Opt[bool]     `json:"email_verified,omitzero"`
	PreferredUsername   Opt[string]   `json:"preferred_username,omitzero"`
	Name                Opt[string]   `json:"name,omitzero"`
	MiddleName          Opt[string]   `json:"middle_name,omitzero"`
	Nickname            Opt[string]   `json:"nickname,omitzero"`
	Picture             Opt[string]   `json:"picture,omitzero"`
	Website             Opt[string]   `json:"website,omitzero"`
	Gender              Opt[string]   `json:"gender,omitzero"`
	Birthdate           Opt[string]   `json:"birthdate,omitzero"` // may lack the year or all but the year, so no date
	Zoneinfo            Opt[string]   `json:"zoneinfo,omitzero"`
	Locale              Opt[string]   `json:"locale,omitzero"`
	PhoneNumber         Opt[string]   `json:"phone_number,omitzero"`
	PhoneNumberVerified Opt[bool]     `json:"phone_number_verified,omitzero"`
	Groups              Opt[[]string] `json:"groups,omitzero"`
	AppRole             Opt[string]   `json:"app_role,omitzero"`
	TenantID            Opt[string]   `json:"tenant_id,omitzero"`

	// ChangedFields, in subject.updated: apply only those. When it is empty,
	// apply the fields that are present.
	ChangedFields []string `json:"changed_fields,omitzero"`
}

func (d *SubjectData) slot(name []byte) slot {
	switch string(name) {
	case "sub":
		return (*key)(&d.Sub)
	case "email":
		return (*key)(&d.Email)
	case "given_name":
		return &d.GivenName
	case "family_name":
		return &d.FamilyName
	case "subject_type":
		return &d.SubjectType
	case "email_verified":
		return &d.EmailVerified
	case "preferred_username":
		return &d.PreferredUsername
	case "name":
		return &d.Name
	case "middle_name":
		return &d.MiddleName
	case "nickname":
		return &d.Nickname
	case "picture":
		return &d.Picture
	case "website":
		return &d.Website
	case "gender":
		return &d.Gender
	case "birthdate":
		return &d.Birthdate
	case "zoneinfo":
		return &d.Zoneinfo
	case "locale":
		return &d.Locale
	case "phone_number":
		return &d.PhoneNumber
	case "phone_number_verified":
		return &d.PhoneNumberVerified
	case "groups":
		return &d.Groups
	case "app_role":
		return &d.AppRole
	case "tenant_id":
		return (*key)(&d.TenantID)
	case "changed_fields":
		return (*list)(&d.ChangedFields)
	}
	return nil
}

func (d *SubjectData) check() error { return need(idField{"sub", d.Sub}) }

// MemberData is the data of member.*: a person's membership in a tenant.
type MemberData struct {
	MembershipID  Opt[string]   `json:"membership_id,omitzero"`
	Sub           Opt[string]   `json:"sub,omitzero"`
	Email         Opt[string]   `json:"email,omitzero"`
	GivenName     Opt[string]   `json:"given_name,omitzero"`
	FamilyName    Opt[string]   `json:"family_name,omitzero"`
	TenantRoles   Opt[[]string] `json:"tenant_roles,omitzero"`   // short form
	PreviousRoles Opt[[]string] `json:"previous_roles,omitzero"` // short form of member.role_changed
	Role          Opt[string]   `json:"role,omitzero"`           // long form
	Groups        Opt[[]string] `json:"groups,omitzero"`         // long form
	TenantID      Opt[string]   `json:"tenant_id,omitzero"`      // long form
}

// Roles returns the member's roles in whichever form they were sent:
// tenant_roles, or else role as the only one. It is absent when neither was
// sent, and empty when they were sent as null.
func (d *MemberData) Roles() Opt[[]string] {
	switch {
	case d.TenantRoles.Set:
		return d.TenantRoles
	case !d.Role.Set:
		return Opt[[]string]{}
	case d.Role.Value == "":
		return Some([]string{})
	}
	return Some([]string{d.Role.Value})
}

func (d *MemberData) slot(name []byte) slot {
	switch string(name) {
	case "membership_id":
		return (*key)(&d.MembershipID)
	case "sub":
		return (*key)(&d.Sub)
	case "email":
		return (*key)(&d.Email)
	case "given_name":
		return &d.GivenName
	case "family_name":
		return &d.FamilyName
	case "tenant_roles":
		return &d.TenantRoles
	case "previous_roles":
		return &d.PreviousRoles
	case "role":
		return &d.Role
	case "groups":
		return &d.Groups
	case "tenant_id":
		return (*key)(&d.TenantID)
	}
	return nil
}

func (d *MemberData) check() error {
	return need(idField{"membership_id", d.MembershipID}, idField{"sub", d.Sub})
}

// AppAccessData is the data of app_access.*: what a person may do in the
// application that the envelope names.
type AppAccessData struct {
	MembershipID     Opt[string] `json:"membership_id,omitzero"`
	Sub              Opt[string] `json:"sub,omitzero"`
	Email            Opt[string] `json:"email,omitzero"`
	GivenName        Opt[string] `json:"given_name,omitzero"`
	FamilyName       Opt[string] `json:"family_name,omitzero"`
	RoleID           Opt[string] `json:"role_id,omitzero"`
	RoleName         Opt[string] `json:"role_name,omitzero"`
	RoleSlug         Opt[string] `json:"role_slug,omitzero"`
	PreviousRoleID   Opt[string] `json:"previous_role_id,omitzero"`
	PreviousRoleName Opt[string] `json:"previous_role_name,omitzero"`
	PreviousRoleSlug Opt[string] `json:"previous_role_slug,omitzero"`
}

func (d *AppAccessData) slot(name []byte) slot {
	switch string(name) {
	case "membership_id":
		return (*key)(&d.MembershipID)
	case "sub":
		return (*key)(&d.Sub)
	case "email":
		return (*key)(&d.Email)
	case "given_name":
		return &d.GivenName
	case "family_name":
		return &d.FamilyName
	case "role_id":
		return &d.RoleID
	case "role_name":
		return &d.RoleName
	case "role_slug":
		return &d.RoleSlug
	case "previous_role_id":
		return &d.PreviousRoleID
	case "previous_role_name":
		return &d.PreviousRoleName
	case "previous_role_slug":
		return &d.PreviousRoleSlug
	}
	return nil
}

// The membership is not required: access is kept by person, application and
// tenant, and an event must not be refused for what nobody reads.
func (d *AppAccessData) check() error { return need(idField{"sub", d.Sub}) }

// InviteData is the data of invite.*: an invitation into a tenant. Sub and the
// names are there from invite.accepted on; before, there may be no person yet.
type InviteData struct {
	InviteID     Opt[string]    `json:"invite_id,omitzero"`
	MembershipID Opt[string]    `json:"membership_id,omitzero"`
	Email        Opt[string]    `json:"email,omitzero"`
	TenantRoles  Opt[[]string]  `json:"tenant_roles,omitzero"`
	InvitedBySub Opt[string]    `json:"invited_by_sub,omitzero"`
	ExpiresAt    Opt[time.Time] `json:"expires_at,omitzero"`
	Sub          Opt[string]    `json:"sub,omitzero"`
	GivenName    Opt[string]    `json:"given_name,omitzero"`
	FamilyName   Opt[string]    `json:"family_name,omitzero"`
}

func (d *InviteData) slot(name []byte) slot {
	switch string(name) {
	case "invite_id":
		return (*key)(&d.InviteID)
	case "membership_id":
		return (*key)(&d.MembershipID)
	case "email":
		return (*key)(&d.Email)
	case "tenant_roles":
		return &d.TenantRoles
	case "invited_by_sub":
		return (*key)(&d.InvitedBySub)
	case "expires_at":
		return &d.ExpiresAt
	case "sub":
		return (*key)(&d.Sub)
	case "given_name":
		return &d.GivenName
	case "family_name":
		return &d.FamilyName
	}
	return nil
}

func (d *InviteData) check() error { return need(idField{"invite_id", d.InviteID}) }

// LicenseData is the data of license.*: a seat that a person was given.
type LicenseData struct {
	AssignmentID            Opt[string] `json:"assignment_id,omitzero"`
	Sub                     Opt[string] `json:"sub,omitzero"`
	Email                   Opt[string] `json:"email,omitzero"`
	LicenseTypeID           Opt[string] `json:"license_type_id,omitzero"`
	LicenseTypeName         Opt[string] `json:"license_type_name,omitzero"`
	PreviousLicenseTypeID   Opt[string] `json:"previous_license_type_id,omitzero"`
	PreviousLicenseTypeName Opt[string] `json:"previous_license_type_name,omitzero"`
}

func (d *LicenseData) slot(name []byte) slot {
	switch string(name) {
	case "assignment_id":
		return (*key)(&d.AssignmentID)
	case "sub":
		return (*key)(&d.Sub)
	case "email":
		return (*key)(&d.Email)
	case "license_type_id":
		return (*key)(&d.LicenseTypeID)
	case "license_type_name":
		return &d.LicenseTypeName
	case "previous_license_type_id":
		return (*key)(&d.PreviousLicenseTypeID)
	case "previous_license_type_name":
		return &d.PreviousLicenseTypeName
	}
	return nil
}

func (d *LicenseData) check() error {
	return need(idField{"assignment_id", d.AssignmentID}, idField{"sub", d.Sub})
}
