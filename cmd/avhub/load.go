package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// configFlags are the flags of every verb that reads the configuration.
type configFlags struct {
	file     string
	set      []string
	logLevel string
}

func addConfigFlags(cmd *cobra.Command) *configFlags {
	f := &configFlags{}
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration `file` (default "+config.DefaultFile+" if there is one)")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "set a `key=value` of the configuration, such as log.level=debug; repeatable")
	return f
}

// addLogLevel is for the verbs that log.
func (f *configFlags) addLogLevel(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.logLevel, "log-level", "", "same as --set log.level=`level`: debug, info, warn or error")
}

// options turns the flags into what package config takes.
func (c *cli) options(f *configFlags) (config.Options, error) {
	o := config.Options{File: f.file, Environ: c.environ, Flags: map[string]string{}}
	for _, pair := range f.set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			// The text may be a value whose key was forgotten, and a secret.
			return o, wrongUse("--set takes key=value, such as --set log.level=debug")
		}
		o.Flags[key] = value
	}
	if f.logLevel != "" {
		o.Flags["log.level"] = f.logLevel
	}
	for _, info := range event.Catalog() {
		o.EventTypes = append(o.EventTypes, info.Type)
	}
	return o, nil
}

// load reads the configuration. With sections, only those must be right.
func (c *cli) load(f *configFlags, sections ...string) (*config.Config, error) {
	o, err := c.options(f)
	if err != nil {
		return nil, err
	}
	o.Only = sections
	return config.Load(o)
}

// data is what verbs work on that need no running hub.
type data struct {
	*store.Store
	cfg     *config.Config
	journal *journal.Journal // it appends nothing
}

// withData opens the database that the configuration names, which must exist and
// have this version's schema, and calls do with it.
func (c *cli) withData(ctx context.Context, f *configFlags, do func(data) error) error {
	return c.withSections(ctx, f, []string{"storage"}, do)
}

// withMirror is withData for what writes the mirror: it needs to know the rules
// of the configuration, too.
func (c *cli) withMirror(ctx context.Context, f *configFlags, do func(data, *mirror.Mirror) error) error {
	return c.withSections(ctx, f, []string{"storage", "mirror"}, func(d data) error {
		m := hub.NewMirror(d.Store, d.cfg, zerolog.Nop()) // what fails is told by the verb
		d.journal = journal.New(d.Store, m, journal.Options{})
		return do(d, m)
	})
}

// withSections is withData for verbs that need more of the configuration.
func (c *cli) withSections(ctx context.Context, f *configFlags, sections []string, do func(data) error) (err error) {
	cfg, err := c.load(f, sections...)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, cfg.Storage.URL, store.Options{MustExist: true})
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && f.file == "" {
			err = fmt.Errorf("%w. Is this the folder that the hub runs in, or does --config name its configuration?", err)
		}
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.CheckSchema(ctx); err != nil {
		return err
	}
	return do(data{st, cfg, journal.New(st, nil, journal.Options{})})
}
