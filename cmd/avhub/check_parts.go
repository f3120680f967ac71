package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/source"
	"github.com/avhub/avhub/core/store"
)

const (
	storageWithin = 15 * time.Second
	keySetWithin  = 15 * time.Second
	pluginWithin  = time.Minute
)

// checkStorage opens the database and looks at its schema. It creates nothing.
func checkStorage(ctx context.Context, v *verdict, cfg *config.Config) {
	const name = "storage"
	shown := cfg.Storage.RedactedURL()
	problem := func(summary, detail string) {
		v.failed(name, shown, finding{Severity: severityError, Path: "storage.url", Summary: summary, Detail: detail})
	}
	if path, ok := strings.CutPrefix(cfg.Storage.URL, "sqlite://"); ok {
		_, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := canCreate(filepath.Dir(path)); err != nil {
				problem("the database could not be created: "+err.Error(), "make the folder and let the user that runs the hub write there")
				return
			}
			v.passed(name, shown+" is not there yet; it is created at the first start")
			return
		case err != nil:
			problem("the database cannot be looked at: "+err.Error(), "let the user that runs the hub read and write it")
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, storageWithin)
	defer cancel()
	st, err := store.Open(ctx, cfg.Storage.URL, store.Options{MustExist: true})
	if err != nil {
		problem(err.Error(), "")
		return
	}
	defer st.Close()
	migrated, err := hasMigrations(ctx, st)
	if err == nil && migrated {
		err = st.CheckSchema(ctx)
	}
	switch {
	case err == nil && migrated:
		v.passed(name, shown)
	case err != nil && (!migrated || errors.Is(err, store.ErrNewerSchema)):
		problem(err.Error(), "")
	case cfg.Storage.Migrate == "manual":
		problem("the database lacks migrations, and storage.migrate is manual", "run `avhub migrate`")
	default:
		v.passed(name, shown+" lacks migrations; they are run at the next start")
	}
}

// hasMigrations tells whether the database was ever migrated. Asking the
// migrations themselves would write their table into one that was not.
func hasMigrations(ctx context.Context, st *store.Store) (there bool, err error) {
	query := `SELECT COUNT(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = 'avhub_migrations'`
	if st.Dialect() == store.Postgres {
		query = `SELECT to_regclass('avhub_migrations') IS NOT NULL`
	}
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&there) }, query)
	if err != nil {
		return false, fmt.Errorf("reading the database: %w", err)
	}
	return there, nil
}

// canCreate tells whether a file can be made in dir, or in the folder that dir
// would be made in, by making one.
func canCreate(dir string) error {
	for {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is no folder", dir)
		}
		f, err := os.CreateTemp(dir, ".avhub-check-*")
		if err != nil {
			return err
		}
		return errors.Join(f.Close(), os.Remove(f.Name()))
	}
}

// checkKeySet fetches a source's key set the way the running hub does.
func checkKeySet(ctx context.Context, v *verdict, i int, cfg config.Source) {
	name := "source " + cfg.Name
	path := fmt.Sprintf("sources[%d]", i)
	s, err := source.New(source.Config{
		Name: cfg.Name, Host: cfg.Host, JWKSURL: cfg.JWKSURL, MaxAge: cfg.MaxAge, MaxAhead: cfg.MaxAhead, MaxBody: 1,
	}, source.Deps{Journal: noJournal{}})
	if err != nil {
		v.failed(name, "", finding{Severity: severityError, Path: path, Summary: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keySetWithin)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // it ends with ctx, which is no error
	}()
	defer func() { cancel(); <-done }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		switch is := s.KeySet(); {
		case is.Keys > 0:
			v.passed(name, fmt.Sprintf("%s: %s", is.URL, count(int64(is.Keys), "key")))
			return
		case is.Err != nil:
			v.failed(name, is.URL, finding{Severity: severityError, Path: path,
				Summary: "the key set cannot be fetched: " + is.Err.Error(),
				Detail:  "is host right, and can this machine reach it?"})
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			v.failed(name, cfg.KeySetURL(), finding{Severity: severityError, Path: path,
				Summary: "the key set was not fetched in time", Detail: "is host right, and can this machine reach it?"})
			return
		}
	}
}

// noJournal takes nothing: nobody sends events while a configuration is checked.
type noJournal struct{}

// Append refuses.
func (noJournal) Append(context.Context, *event.Event) (journal.Receipt, error) {
	return journal.Receipt{}, journal.ErrClosed
}

// checkPlugins has each plugin judge its own configuration.
func (c *cli) checkPlugins(ctx context.Context, v *verdict, cfg *config.Config, online bool) {
	missing := map[string]bool{}
	var broken *config.Error
	if err := cfg.CheckFiles(); errors.As(err, &broken) {
		for _, f := range findings(severityError, broken.Problems) {
			missing[strings.SplitN(f.Path, ".", 2)[0]] = true
			v.Problems = append(v.Problems, f)
		}
	}
	for i, p := range cfg.Plugins {
		at := fmt.Sprintf("plugins[%d]", i)
		if missing[at] {
			v.failed("plugin "+p.Name, "its program cannot be run")
			continue
		}
		c.checkPlugin(ctx, v, at, p, cfg, online)
	}
}

func (c *cli) checkPlugin(ctx context.Context, v *verdict, at string, p config.Plugin, cfg *config.Config, online bool) {
	name := "plugin " + p.Name
	own, err := p.ConfigJSON()
	if err != nil {
		v.failed(name, "", finding{Severity: severityError, Path: at + ".config", Summary: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pluginWithin)
	defer cancel()
	opts := plugin.Options{Log: c.logger(cfg.Log, c.err), Pin: plugin.Locker(cfg.LockFile(), p.Name)}
	var diags []plugin.Diagnostic
	var reached plugin.Reached
	var info plugin.Info
	if online {
		diags, reached, info, err = plugin.CheckOnline(ctx, hub.Spec(p, own), opts)
	} else {
		diags, info, err = plugin.Check(ctx, hub.Spec(p, own), opts)
	}
	if errors.Is(err, plugin.ErrRefused) {
		v.failed(name, "it is not the one that "+config.LockName+" names", finding{Severity: severityError, Path: at + ".command[0]", Summary: err.Error()})
		return
	}
	if err != nil {
		v.failed(name, "it could not be asked", finding{Severity: severityError, Path: at, Summary: err.Error(),
			Detail: "run its program by hand to see what it says"})
		return
	}
	detail := info.Name + " " + info.Version
	wrong := false
	if info.Order == plugin.Total && p.Partitions > 1 {
		v.failed(name, detail+" cannot be divided", finding{Severity: severityError, Path: at + ".partitions",
			Summary: fmt.Sprintf("it asks for total order, so it cannot be divided into %d partitions", p.Partitions),
			Detail:  "leave the key out, or set it to 1"})
		return
	}
	for _, d := range diags {
		f := finding{Severity: severityWarning, Path: at + ".config", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == plugin.SeverityError {
			f.Severity, wrong = severityError, true
		}
		if d.Path != "" {
			f.Path += "." + d.Path
		}
		v.Problems = append(v.Problems, f)
	}
	if wrong {
		v.failed(name, detail+" rejects its configuration")
		return
	}
	if v.unreached(at, reached.Problems) {
		v.failed(name, detail+" does not reach its outside")
		return
	}
	if reached.Answered {
		detail += ": no complaint about its outside"
	}
	v.passed(name, detail)
}

// unreached adds what keeps a plugin from its outside, and tells whether there
// is something.
func (v *verdict) unreached(at string, problems []plugin.Diagnostic) (wrong bool) {
	for _, d := range problems {
		f := finding{Severity: severityWarning, Path: at, Summary: d.Summary, Detail: d.Detail}
		if d.Path != "" {
			f.Path += ".config." + d.Path
		}
		if d.Severity == plugin.SeverityError {
			f.Severity, wrong = severityError, true
			f.Summary = "it cannot work with its outside: " + f.Summary
		}
		v.Problems = append(v.Problems, f)
	}
	return wrong
}
