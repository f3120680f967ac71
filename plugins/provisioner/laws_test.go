package main

import (
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/plugins/provisioner/sqlite"
	"github.com/avhub/avhub/sdk/plugin/plugintest"
)

// lawful is a folder of databases for the kit's tenants.
func lawful(t testing.TB) (config, *sqlite.Driver, *sqlite.Driver) {
	base, files := t.TempDir(), t.TempDir()
	return config{
			Plans: map[string][]string{"starter": {"db"}, "pro": {"db", "more"}, "*": {"db", "more"}},
			Resources: map[string]resourceConfig{
				"db":   {Driver: "sqlite", SQLite: sqliteConfig{Dir: base, Init: "CREATE TABLE notes (text TEXT)"}},
				"more": {Driver: "sqlite", SQLite: sqliteConfig{Dir: files}, Deprovision: "delete", Grace: time.Hour},
			},
			AllowDestroy: true, Creates: 100_000,
		}, &sqlite.Driver{Dir: base, Step: func(string) {}},
		&sqlite.Driver{Dir: files, Step: func(string) {}}
}

// seen shows each tenant's resources; ended leaves out what tells the way.
func seen(t testing.TB, ended bool) (config, func() any) {
	cfg, base, more := lawful(t)
	return cfg, func() any {
		out := map[string]string{}
		for _, d := range []*sqlite.Driver{base, more} {
			all, err := d.List(t.Context(), "avhub", "")
			if err != nil {
				t.Error(err)
			}
			for _, f := range all {
				have, err := d.Observe(t.Context(), f.Name)
				if err != nil || !have.Whole || have.Open != (f.Mark.Phase == resource.Active) {
					t.Errorf("%s is half made, or open without being active: %+v %v", f.Name, have, err)
				}
				key := f.Mark.Tenant + " " + f.Mark.Resource
				if _, twice := out[key]; twice {
					t.Errorf("%s is there twice", key)
				}
				if ended || !f.Mark.Phase.Ends() {
					out[key] = string(f.Mark.Phase)
				}
			}
		}
		return out
	}
}

// TestLaws judges the connector as hubs run it.
func TestLaws(t *testing.T) {
	plugintest.Run(t, connectorPlugin(), func(t testing.TB) (config, func() any) { return seen(t, false) })
}

// TestLawsInDetail judges one that is given every event, and looks at what is
// left behind, too.
func TestLawsInDetail(t *testing.T) {
	p := connectorPlugin()
	p.Info.Coalesce = false
	plugintest.Run(t, p, func(t testing.TB) (config, func() any) { return seen(t, true) })
}
