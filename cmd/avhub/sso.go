package main

import (
	"context"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/ssoprovider"
	"github.com/spf13/cobra"
)

func (c *cli) ssoVerbs() *cobra.Command {
	m := model{
		noun: "sso", plural: "login providers", key: ssoprovider.FieldID, otherName: ssoprovider.FieldProviderID,
		columns: []string{
			ssoprovider.FieldID, ssoprovider.FieldProviderType, ssoprovider.FieldDisplayName, ssoprovider.FieldOrganizationID,
			ssoprovider.FieldIsEnabled, ssoprovider.FieldUpdatedAt,
		},
		find: findSSO,
	}
	return c.group("sso", "Look at login providers in the mirror", "", c.mirrorList(m, listSSO), c.mirrorShow(m))
}

func listSSO(cmd *cobra.Command) func(context.Context, *ent.Client, string, int) ([]row, error) {
	var org string
	var enabled yesOrNo
	cmd.Flags().StringVar(&org, "org", "", "only those of the organization with this `id`")
	cmd.Flags().Var(&enabled, "enabled", "only those that are, or are not, enabled")
	return func(ctx context.Context, db *ent.Client, after string, limit int) ([]row, error) {
		q := db.SSOProvider.Query().Where(ssoprovider.IDGT(after)).Order(ent.Asc(ssoprovider.FieldID)).Limit(limit)
		if org != "" {
			q.Where(ssoprovider.OrganizationID(org))
		}
		if enabled.value != nil {
			q.Where(ssoprovider.IsEnabled(*enabled.value))
		}
		list, err := q.All(ctx)
		return rowsOf(list, ssoRow), err
	}
}

func findSSO(ctx context.Context, db *ent.Client, name string) ([]row, error) {
	list, err := db.SSOProvider.Query().Where(ssoprovider.ID(name)).All(ctx)
	if err == nil && len(list) == 0 {
		list, err = db.SSOProvider.Query().Where(ssoprovider.ProviderID(name)).
			Order(ent.Asc(ssoprovider.FieldID)).Limit(candidates).All(ctx)
	}
	return rowsOf(list, ssoRow), err
}

func ssoRow(s *ent.SSOProvider) row {
	return row{
		{ssoprovider.FieldID, s.ID},
		{ssoprovider.FieldProviderID, s.ProviderID},
		{ssoprovider.FieldOrganizationID, s.OrganizationID},
		{ssoprovider.FieldProviderType, s.ProviderType},
		{ssoprovider.FieldDisplayName, s.DisplayName},
		{ssoprovider.FieldIsEnabled, s.IsEnabled},
		{ssoprovider.FieldClientID, s.ClientID},
		{ssoprovider.FieldIssuer, s.Issuer},
		{ssoprovider.FieldAuthorizationEndpoint, s.AuthorizationEndpoint},
		{ssoprovider.FieldTokenEndpoint, s.TokenEndpoint},
		{ssoprovider.FieldUserinfoEndpoint, s.UserinfoEndpoint},
		{ssoprovider.FieldDomains, s.Domains},
		{ssoprovider.FieldAttributeMapping, s.AttributeMapping},
		{ssoprovider.FieldCreatedBySub, s.CreatedBySub},
		{ssoprovider.FieldCreatedAt, s.CreatedAt},
		{ssoprovider.FieldUpdatedAt, s.UpdatedAt},
		{ssoprovider.FieldSyncedAt, s.SyncedAt},
	}
}
