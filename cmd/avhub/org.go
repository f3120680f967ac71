package main

import (
	"context"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/organization"
	"github.com/spf13/cobra"
)

func (c *cli) orgVerbs() *cobra.Command {
	m := model{
		noun: "org", plural: "organizations", key: organization.FieldID, otherName: organization.FieldSlug,
		columns: []string{
			organization.FieldID, organization.FieldSlug, organization.FieldName, organization.FieldPlan,
			organization.FieldStatus, organization.FieldOwnerEmail, organization.FieldUpdatedAt,
		},
		find: findOrg,
	}
	return c.group("org", "Look at organizations (tenants) in the mirror", "", c.mirrorList(m, listOrgs), c.mirrorShow(m))
}

func listOrgs(cmd *cobra.Command) func(context.Context, *ent.Client, string, int) ([]row, error) {
	var plan, status, slug string
	cmd.Flags().StringVar(&plan, "plan", "", "only those on this `plan`")
	cmd.Flags().StringVar(&status, "status", "", "only those in this `state`: active or suspended")
	cmd.Flags().StringVar(&slug, "slug", "", "only those with this `slug`")
	return func(ctx context.Context, db *ent.Client, after string, limit int) ([]row, error) {
		q := db.Organization.Query().Where(organization.IDGT(after)).Order(ent.Asc(organization.FieldID)).Limit(limit)
		if plan != "" {
			q.Where(organization.Plan(plan))
		}
		if status != "" {
			q.Where(organization.Status(status))
		}
		if slug != "" {
			q.Where(organization.Slug(slug))
		}
		list, err := q.All(ctx)
		return rowsOf(list, orgRow), err
	}
}

func findOrg(ctx context.Context, db *ent.Client, name string) ([]row, error) {
	list, err := db.Organization.Query().Where(organization.ID(name)).All(ctx)
	if err == nil && len(list) == 0 {
		list, err = db.Organization.Query().Where(organization.Slug(name)).
			Order(ent.Asc(organization.FieldID)).Limit(candidates).All(ctx)
	}
	return rowsOf(list, orgRow), err
}

func orgRow(o *ent.Organization) row {
	return row{
		{organization.FieldID, o.ID},
		{organization.FieldName, o.Name},
		{organization.FieldSlug, o.Slug},
		{organization.FieldPlan, o.Plan},
		{organization.FieldOwnerEmail, o.OwnerEmail},
		{organization.FieldAllowSignups, o.AllowSignups},
		{organization.FieldRequireMfa, o.RequireMfa},
		{organization.FieldAllowedEmailDomains, o.AllowedEmailDomains},
		{organization.FieldSessionLifetimeMinutes, o.SessionLifetimeMinutes},
		{organization.FieldPasswordPolicy, o.PasswordPolicy},
		{organization.FieldSettings, o.Settings},
		{organization.FieldStatus, o.Status},
		{organization.FieldSuspendedAt, o.SuspendedAt},
		{organization.FieldSuspendedBySub, o.SuspendedBySub},
		{organization.FieldSuspendedReason, o.SuspendedReason},
		{organization.FieldCreatedBySub, o.CreatedBySub},
		{organization.FieldCreatedAt, o.CreatedAt},
		{organization.FieldUpdatedAt, o.UpdatedAt},
		{organization.FieldSyncedAt, o.SyncedAt},
	}
}
