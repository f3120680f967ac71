package main

import (
	"context"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/application"
	"github.com/spf13/cobra"
)

func (c *cli) appVerbs() *cobra.Command {
	m := model{
		noun: "app", plural: "applications", key: application.FieldID, otherName: application.FieldClientID,
		columns: []string{
			application.FieldID, application.FieldName, application.FieldOrganizationID, application.FieldApplicationType,
			application.FieldClientID, application.FieldIsActive, application.FieldUpdatedAt,
		},
		find: findApp,
	}
	return c.group("app", "Look at applications (OIDC clients) in the mirror", "", c.mirrorList(m, listApps), c.mirrorShow(m))
}

func listApps(cmd *cobra.Command) func(context.Context, *ent.Client, string, int) ([]row, error) {
	var org string
	var active yesOrNo
	cmd.Flags().StringVar(&org, "org", "", "only those of the organization with this `id`")
	cmd.Flags().Var(&active, "active", "only those that are, or are not, active")
	return func(ctx context.Context, db *ent.Client, after string, limit int) ([]row, error) {
		q := db.Application.Query().Where(application.IDGT(after)).Order(ent.Asc(application.FieldID)).Limit(limit)
		if org != "" {
			q.Where(application.OrganizationID(org))
		}
		if active.value != nil {
			q.Where(application.IsActive(*active.value))
		}
		list, err := q.All(ctx)
		return rowsOf(list, appRow), err
	}
}

func findApp(ctx context.Context, db *ent.Client, name string) ([]row, error) {
	list, err := db.Application.Query().Where(application.ID(name)).All(ctx)
	if err == nil && len(list) == 0 {
		list, err = db.Application.Query().Where(application.ClientID(name)).
			Order(ent.Asc(application.FieldID)).Limit(candidates).All(ctx)
	}
	return rowsOf(list, appRow), err
}

func appRow(a *ent.Application) row {
	return row{
		{application.FieldID, a.ID},
		{application.FieldOrganizationID, a.OrganizationID},
		{application.FieldName, a.Name},
		{application.FieldSlug, a.Slug},
		{application.FieldDescription, a.Description},
		{application.FieldClientID, a.ClientID},
		{application.FieldApplicationType, a.ApplicationType},
		{application.FieldIsActive, a.IsActive},
		{application.FieldRedirectUris, a.RedirectUris},
		{application.FieldPostLogoutRedirectUris, a.PostLogoutRedirectUris},
		{application.FieldAllowedScopes, a.AllowedScopes},
		{application.FieldGrantTypes, a.GrantTypes},
		{application.FieldTokenEndpointAuthMethod, a.TokenEndpointAuthMethod},
		{application.FieldInitiateLoginURI, a.InitiateLoginURI},
		{application.FieldAccessTokenTTLSeconds, a.AccessTokenTTLSeconds},
		{application.FieldRefreshTokenTTLSeconds, a.RefreshTokenTTLSeconds},
		{application.FieldLicensing, a.Licensing},
		{application.FieldCreatedBySub, a.CreatedBySub},
		{application.FieldCreatedAt, a.CreatedAt},
		{application.FieldUpdatedAt, a.UpdatedAt},
		{application.FieldSyncedAt, a.SyncedAt},
	}
}
