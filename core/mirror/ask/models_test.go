package ask_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/application"
	"github.com/avhub/avhub/ent/organization"
	"github.com/avhub/avhub/ent/ssoprovider"
	"github.com/avhub/avhub/internal/mirrortest"
	"github.com/avhub/avhub/internal/storetest"
)

// The body of this function is what docs/mirror.md shows.
func wholeTenant(ctx context.Context, client *ent.Client) (*ent.Organization, error) {
	org, err := client.Organization.Query().
		Where(organization.ID("t1")).
		WithApplications(func(q *ent.ApplicationQuery) { q.Where(application.IsActive(true)) }).
		WithSSOProviders(func(q *ent.SSOProviderQuery) { q.Where(ssoprovider.IsEnabled(true)) }).
		Only(ctx)
	return org, err
}

func TestTheQueryOfTheDocumentationDoesWhatItSays(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		st, _ := village(t, url)
		db := st.Ent(ctx)
		now := mirrortest.At
		err := db.Application.Create().SetID("a3").SetOrganizationID("t1").SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(ctx)
		if err != nil {
			t.Fatal(err)
		}
		err = db.SSOProvider.Create().SetID("t1/saml").SetProviderID("saml").SetOrganizationID("t1").SetIsEnabled(false).
			SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).Exec(ctx)
		if err != nil {
			t.Fatal(err)
		}
		org, err := wholeTenant(ctx, st.Read())
		if err != nil {
			t.Fatal(err)
		}
		apps, sso := org.Edges.Applications, org.Edges.SSOProviders
		if len(apps) != 1 || apps[0].ID != "a3" || len(sso) != 1 || sso[0].ID != "t1/okta" { // a2 is not active
			t.Errorf("got %v and %v", apps, sso)
		}
	})
	source, err := os.ReadFile("models_test.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/mirror.md")
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(string(source), "error) {\n")
	query, _, _ = strings.Cut(query, "\treturn org, err\n")
	query = strings.ReplaceAll("\n"+query, "\n\t", "\n")[1:]
	if !strings.Contains(query, "WithApplications") || !strings.Contains(string(page), query) {
		t.Errorf("docs/mirror.md does not show the query that is tested:\n%s", query)
	}
}
