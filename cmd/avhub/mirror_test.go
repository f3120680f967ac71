package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/internal/mirrortest"
	"github.com/avhub/avhub/internal/storetest"
)

// lookout is a folder with a database to look into.
func lookout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	url := "sqlite://" + filepath.Join(dir, "x.db")
	mirrortest.Fill(t, storetest.Open(t, url))
	writeFile(t, filepath.Join(dir, "avhub.yaml"), "storage: { url: \""+url+"\" }\n")
	return dir
}

func TestTheMirrorIsListedByFilters(t *testing.T) {
	t.Parallel()
	dir := lookout(t)
	for args, want := range map[string]string{
		"org list --plan pro --status active --owner Ines@Fjord.example": "t1",
		"org list --slug twin --limit 1":                                 "t/2 ö",
		"identity list --tenant t1 --active=false --role editor":         "p2",
		"identity list --type machine --access=false":                    "p3",
		"app list --tenant t1":                                           "a2",
		"app list --org t1":                                              "a2", // as the noun is called
		"app list --global true":                                         "a1",
		"sso list --type okta --enabled=1":                               "t1/okta",
		"member list --tenant t1 --status suspended":                     "m2",
		"member list --person p1 --role owner":                           "m1",
		"grant list --app a1 --access=false":                             "p2/a1/",
		"license list --type pro --status active":                        "l1",
		"subscription list --status active":                              "s1",
		"invitation list --email new@fjord.example":                      "i1",
	} {
		args := strings.Fields(args)
		got := read[[]map[string]any](t, dir, args...)
		r, err := ask.Find(args[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0][r.Key] != want || len(got[0]) != len(r.Columns) {
			t.Errorf("avhub %s: got %v, want %s with all columns", strings.Join(args, " "), got, want)
		}
	}
	if got := done(t, dir, "member", "list", "--tenant", "t1", "--limit", "2"); !strings.Contains(got.out, "ines@fjord.example") ||
		!strings.Contains(got.out, "IDENTITY_EMAIL") || !strings.Contains(got.err, "--after m2") {
		t.Errorf("got\n%s%s", got.out, got.err)
	}
	if got := done(t, dir, "license", "list", "--tenant", "none"); got.out != "" || !strings.Contains(got.err, "no licenses") {
		t.Errorf("got %q %q", got.out, got.err)
	}
	for args, says := range map[string]string{
		"member list --status asleep":   "active, suspended, left",
		"member list --colour red":      "unknown flag",
		"org show t1 --with nope":       "apps, sso, members",
		"identity list --active=maybe":  "true or false",
		"org list --status=active,left": "active, suspended, deleted",
	} {
		if got := run(t, dir, strings.Fields(args)...); got.code != 2 || !strings.Contains(got.err, says) || got.out != "" {
			t.Errorf("avhub %s: exit code %d, %s", args, got.code, got.err)
		}
	}
}

func TestShowBringsWhatBelongsToARow(t *testing.T) {
	t.Parallel()
	dir := lookout(t)
	got := done(t, dir, "org", "show", "fjord", "--with", "apps,sso", "--with", "members,licenses").out
	for _, want := range []string{"slug ", "apps (1)", "a2 ", "sso (1)", "members (3)", "Name of p1", "owner, member", "licenses (1)", "Ledger"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
	for _, not := range []string{"people (", "ORGANIZATION_ID", "ORGANIZATION_NAME", mirrortest.Canary} {
		if strings.Contains(got, not) {
			t.Errorf("the page has %q:\n%s", not, got)
		}
	}
	got = done(t, dir, "member", "show", "m3", "--with", "all").out
	for _, want := range []string{"person (not in the mirror)", "\norg\n", "Fjord", "invitations (0)"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
	if got := done(t, dir, "grant", "show", "p2/a1/", "--with", "org").out; !strings.Contains(got, "org (none)") {
		t.Errorf("got\n%s", got)
	}
	whole := read[struct {
		With struct {
			Org         map[string]any
			Memberships struct {
				Data  []map[string]any
				Total int
				More  bool
			}
		}
	}](t, dir, "identity", "show", "p1", "--with=all", "--json")
	if whole.With.Org["name"] != "Fjord" || whole.With.Memberships.Total != 2 || len(whole.With.Memberships.Data) != 2 || whole.With.Memberships.More {
		t.Errorf("got %+v", whole)
	}
	if plain := read[map[string]any](t, dir, "identity", "show", "p1"); plain["with"] != nil {
		t.Errorf("nothing was asked for, and came: %v", plain["with"])
	}
	if got := run(t, dir, "app", "show", "nope"); got.code != 1 || !strings.Contains(got.err, "application_id or client_id or slug") {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
}
