package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/avhub/avhub/config"
)

// devTenants is the connector that gives each tenant what its plan promises: in
// dev, a database in a file.
type devTenants struct {
	program string // empty: it is not built, so nobody gets any
	dir     string // absolute
}

// devTenantsPlugin is the name of its plugin.
const devTenantsPlugin = "provisioner"

// startTenants finds the connector, and reports what becomes of databases,
// whenever moved says that it may be time to look. Without the program there is
// nothing to see.
func startTenants(ctx context.Context, done *sync.WaitGroup, folder devFolder, moved <-chan struct{}, report func(what string)) (devTenants, error) {
	program, err := findBundled("avhub-provisioner")
	if err != nil {
		return devTenants{}, nil
	}
	dir, err := filepath.Abs(folder.path(devDatabases))
	if err != nil {
		return devTenants{}, fmt.Errorf("finding the folder of databases: %w", err)
	}
	t := devTenants{program, dir}
	before := t.look()
	done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-moved:
			}
			now := t.look()
			for _, name := range slices.Sorted(maps.Keys(now)) {
				is := now[name]
				switch was, known := before[name]; {
				case !known:
					report(name + " was made")
				case was == "closed" && is == "open":
					report(name + " can be used again")
				case was == "open" && is == "closed":
					report(name + " cannot be used any more, and is kept")
				}
			}
			before = now
		}
	})
	return t, nil
}

// look tells of each database whether it is "open" or "closed".
func (t devTenants) look() map[string]string {
	out := map[string]string{}
	for _, is := range []string{"closed", "open"} {
		entries, err := os.ReadDir(filepath.Join(t.dir, is))
		if err != nil {
			continue // there are none yet
		}
		for _, e := range entries {
			out[e.Name()] = is
		}
	}
	return out
}

// plugin is the connector's entry in the configuration.
func (t devTenants) plugin() config.Plugin {
	return config.Plugin{
		Name: devTenantsPlugin, Command: []string{t.program}, Events: []string{"tenant.*"}, RetryFor: time.Hour, OnDead: "continue", Partitions: 1,
		Config: map[string]any{
			"plans": map[string]any{"*": []any{"db"}},
			"resources": map[string]any{"db": map[string]any{
				"driver": "sqlite", "sqlite": map[string]any{"dir": t.dir, "init": "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"},
			}},
		},
	}
}
