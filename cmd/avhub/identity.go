package main

import (
	"context"
	"strings"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/identity"
	"github.com/spf13/cobra"
)

func (c *cli) identityVerbs() *cobra.Command {
	m := model{
		noun: "identity", plural: "identities", key: identity.FieldID, otherName: identity.FieldEmail,
		columns: []string{
			identity.FieldID, identity.FieldEmail, identity.FieldDisplayName, identity.FieldTenantID, identity.FieldAppRole,
			identity.FieldIsActive, identity.FieldHasAppAccess, identity.FieldUpdatedAt,
		},
		find: findIdentity,
	}
	return c.group("identity", "Look at people and machines in the mirror", "", c.mirrorList(m, listIdentities), c.mirrorShow(m))
}

func listIdentities(cmd *cobra.Command) func(context.Context, *ent.Client, string, int) ([]row, error) {
	var tenant, email string
	var active yesOrNo
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those that events last placed in the tenant with this `id`")
	cmd.Flags().StringVar(&email, "email", "", "only those with this `address`")
	cmd.Flags().Var(&active, "active", "only those that may, or may not, log in anywhere")
	return func(ctx context.Context, db *ent.Client, after string, limit int) ([]row, error) {
		q := db.Identity.Query().Where(identity.IDGT(after)).Order(ent.Asc(identity.FieldID)).Limit(limit)
		if tenant != "" {
			q.Where(identity.TenantID(tenant))
		}
		if email != "" {
			q.Where(identity.EmailIn(spellings(email)...))
		}
		if active.value != nil {
			q.Where(identity.IsActive(*active.value))
		}
		list, err := q.All(ctx)
		return rowsOf(list, identityRow), err
	}
}

func findIdentity(ctx context.Context, db *ent.Client, name string) ([]row, error) {
	list, err := db.Identity.Query().Where(identity.ID(name)).All(ctx)
	if err == nil && len(list) == 0 {
		list, err = db.Identity.Query().Where(identity.EmailIn(spellings(name)...)).
			Order(ent.Asc(identity.FieldID)).Limit(candidates).All(ctx)
	}
	return rowsOf(list, identityRow), err
}

// spellings of an address: as given, and as most systems store it. A comparison
// that ignores case everywhere could use no index.
func spellings(email string) []string { return []string{email, strings.ToLower(email)} }

func rowsOf[T any](list []*T, convert func(*T) row) []row {
	rows := make([]row, 0, len(list))
	for _, item := range list {
		rows = append(rows, convert(item))
	}
	return rows
}

func identityRow(i *ent.Identity) row {
	return row{
		{identity.FieldID, i.ID},
		{identity.FieldUsername, i.Username},
		{identity.FieldDisplayName, i.DisplayName},
		{identity.FieldGivenName, i.GivenName},
		{identity.FieldFamilyName, i.FamilyName},
		{identity.FieldMiddleName, i.MiddleName},
		{identity.FieldNickname, i.Nickname},
		{identity.FieldPictureURL, i.PictureURL},
		{identity.FieldWebsite, i.Website},
		{identity.FieldGender, i.Gender},
		{identity.FieldBirthdate, i.Birthdate},
		{identity.FieldZoneinfo, i.Zoneinfo},
		{identity.FieldLocale, i.Locale},
		{identity.FieldEmail, i.Email},
		{identity.FieldEmailVerified, i.EmailVerified},
		{identity.FieldPhone, i.Phone},
		{identity.FieldPhoneVerified, i.PhoneVerified},
		{identity.FieldSubjectType, i.SubjectType},
		{identity.FieldTenantID, i.TenantID},
		{identity.FieldAppRole, i.AppRole},
		{identity.FieldGroups, i.Groups},
		{identity.FieldIsActive, i.IsActive},
		{identity.FieldHasAppAccess, i.HasAppAccess},
		{identity.FieldCreatedAt, i.CreatedAt},
		{identity.FieldUpdatedAt, i.UpdatedAt},
		{identity.FieldSyncedAt, i.SyncedAt},
	}
}
