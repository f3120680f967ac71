package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/mirror/isolated"
)

// checkTenants proves that tenants' own databases can be made, where they are
// asked for. It makes none.
func checkTenants(ctx context.Context, v *verdict, cfg *config.Config) {
	t := cfg.Mirror.Tenants
	if t.Mode != "isolated" {
		return
	}
	const name, path = "tenants' databases", "mirror.tenants.url"
	shown := t.RedactedURL()
	problem := func(severity, summary, detail string) {
		found := finding{Severity: severity, Path: path, Summary: summary, Detail: detail}
		if severity == severityError {
			v.failed(name, shown, found)
			return
		}
		v.passed(name, shown)
		v.Problems = append(v.Problems, found)
	}
	d, err := isolated.New(isolated.Config{URL: t.URL}, isolated.Deps{HubURL: cfg.Storage.URL})
	if err != nil {
		problem(severityError, err.Error(), "")
		return
	}
	if file, ok := strings.CutPrefix(t.URL, "sqlite://"); ok {
		if err := canCreate(filepath.Dir(file)); err != nil {
			problem(severityError, "the databases could not be created: "+err.Error(), "make the folder and let the user that runs the hub write there")
			return
		}
		if !strings.HasPrefix(cfg.Storage.URL, "sqlite://") {
			problem(severityWarning, "tenants' databases are files of one machine, and the hub's own is on Postgres",
				"run one hub only, or put the tenants' databases on Postgres, too")
			return
		}
		v.passed(name, shown)
		return
	}
	switch err := d.Check(ctx); {
	case errors.Is(err, isolated.ErrMayNotCreate):
		problem(severityWarning, err.Error(), "")
	case err != nil:
		problem(severityError, "the databases could not be created: "+err.Error(), "is the server up, and is the URL right?")
	default:
		v.passed(name, shown)
	}
}
