package ask_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/ent/appaccess"
	"github.com/avhub/avhub/ent/application"
	"github.com/avhub/avhub/ent/identity"
	"github.com/avhub/avhub/ent/identitysession"
	"github.com/avhub/avhub/ent/invitation"
	"github.com/avhub/avhub/ent/license"
	"github.com/avhub/avhub/ent/membership"
	"github.com/avhub/avhub/ent/organization"
	"github.com/avhub/avhub/ent/ssoprovider"
	"github.com/avhub/avhub/ent/subscription"
)

// A column that is added to a model shows up everywhere, and the hub's own never
// does.
func TestResourcesHaveAllColumnsOfTheirTables(t *testing.T) {
	t.Parallel()
	models := map[string][]string{
		organization.Table: organization.Columns, identity.Table: identity.Columns, application.Table: application.Columns,
		ssoprovider.Table: ssoprovider.Columns, membership.Table: membership.Columns, appaccess.Table: appaccess.Columns,
		license.Table: license.Columns, subscription.Table: subscription.Columns, invitation.Table: invitation.Columns,
		identitysession.Table: identitysession.Columns,
	}
	for _, r := range ask.Resources() {
		want, has := models[r.Table]
		if !has {
			t.Errorf("%s: %s is no table of the mirror, or there twice", r.Name, r.Table)
			continue
		}
		delete(models, r.Table)
		var got []string
		for _, c := range r.Columns {
			if c.Beside == "" {
				got = append(got, c.Name)
			}
		}
		want = slices.DeleteFunc(slices.Clone(want), func(s string) bool { return s == "sync_state" })
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the columns\n%v\nand its table\n%v", r.Name, got, want)
		}
		if r.Columns[0].Name != r.Key {
			t.Errorf("%s begins with %s, not with its key", r.Name, r.Columns[0].Name)
		}
	}
	for table := range models {
		t.Errorf("nobody can ask for %s", table)
	}
}

func TestWhatTheTableOfResourcesNamesIsThere(t *testing.T) {
	t.Parallel()
	taken := map[string]string{}
	for _, r := range ask.Resources() {
		for _, name := range slices.Compact([]string{r.Name, r.Short, r.Plural, r.Path}) {
			if other, is := taken[name]; is && other != r.Table {
				t.Errorf("%q names both %s and %s", name, other, r.Table)
			}
			taken[name] = r.Table
			if found, err := ask.Find(name); err != nil || found != r {
				t.Errorf("Find(%q) = %v, %v", name, found, err)
			}
		}
		for _, name := range slices.Concat(r.Overview, r.Names) {
			if r.Column(name) == nil {
				t.Errorf("%s has no column %s", r.Name, name)
			}
		}
		for _, f := range r.Filters {
			if r.Column(f.Column) == nil || r.Column(f.Column).Beside != "" {
				t.Errorf("%s: filter %s is by the column %s, which the table does not have", r.Name, f.Name, f.Column)
			}
			if switches := f.Kind == ask.Flag || f.Kind == ask.Missing; switches != (f.Takes == "") || !strings.Contains(f.About, f.Takes) || f.About == "" {
				t.Errorf("%s: filter %s is explained by %q and takes %q", r.Name, f.Name, f.About, f.Takes)
			}
			if f.Kind == ask.OneOf && len(f.Values) < 2 {
				t.Errorf("%s: filter %s is one of %v", r.Name, f.Name, f.Values)
			}
		}
		for _, rel := range r.Relations {
			of, err := ask.Find(rel.Of)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			if r.Column(rel.From) == nil || of.Column(rel.Column) == nil || rel.About == "" {
				t.Errorf("%s: relation %s leads from %s to %s.%s", r.Name, rel.Name, rel.From, of.Name, rel.Column)
			}
			if one := rel.Column == of.Key; one == rel.Many {
				t.Errorf("%s: relation %s: many is %t", r.Name, rel.Name, rel.Many)
			}
			// What is cut off there can be listed.
			if rel.Many && !slices.ContainsFunc(of.Filters, func(f ask.Filter) bool { return f.Column == rel.Column && f.Kind == ask.Text }) {
				t.Errorf("%s cannot be filtered by %s, so nobody can see more than %d %s of %s", of.Plural, rel.Column, ask.MostRelated, rel.Name, r.Name)
			}
		}
	}
}

func TestRelationsAreNamedInAnyWay(t *testing.T) {
	t.Parallel()
	org, err := ask.Find("org")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"apps": "apps", "sso,apps": "apps sso", "members, apps": "apps members", "apps,apps": "apps",
		"all": "apps sso members people access licenses subscriptions invitations", "sso,all": "apps sso members people access licenses subscriptions invitations",
	} {
		with, err := org.With(strings.Split(text, "&")...)
		var names []string
		for _, rel := range with {
			names = append(names, rel.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("With(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"nope", "", "apps,", "Apps"} {
		if _, err := org.With(text); err == nil || !strings.Contains(err.Error(), "apps, sso, members") {
			t.Errorf("With(%q): %v, want an error that names those there are", text, err)
		}
	}
}
