package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/spf13/cobra"
)

// finding is one mistake, or one doubt, about the configuration and the machine
// that it is used on.
type finding struct {
	Severity string `json:"severity"` // "error" or "warning"
	// Source, Line and Column tell where the cause stands; empty and 0 when it
	// stands nowhere.
	Source  string `json:"source,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`   // the key
	Plugin  string `json:"plugin,omitempty"` // whose key it is, if it is one's
	Summary string `json:"summary"`
	Detail  string `json:"detail,omitempty"`
}

const (
	severityError   = "error"
	severityWarning = "warning"
)

func (f finding) String() string {
	text := f.Summary
	if f.Path != "" {
		whose := ""
		if f.Plugin != "" {
			whose = " (" + f.Plugin + ")"
		}
		text = f.Path + whose + ": " + text
	}
	if f.Detail != "" {
		text += "; " + f.Detail
	}
	place := f.Source
	if f.Line > 0 {
		place += fmt.Sprintf(":%d:%d", f.Line, f.Column)
	}
	if place != "" {
		text = place + ": " + text
	}
	return text
}

// examined is one thing that was looked at.
type examined struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// verdict is everything that check has to say.
type verdict struct {
	OK       bool       `json:"ok"`
	Checks   []examined `json:"checks"`
	Problems []finding  `json:"problems"`
}

func (v *verdict) passed(name, detail string) {
	v.Checks = append(v.Checks, examined{name, true, detail})
}

func (v *verdict) failed(name, detail string, problems ...finding) {
	v.Checks = append(v.Checks, examined{name, false, detail})
	v.Problems = append(v.Problems, problems...)
}

// errors counts the findings that are no mere warnings.
func (v *verdict) errors() int {
	n := 0
	for _, p := range v.Problems {
		if p.Severity == severityError {
			n++
		}
	}
	return n
}

func findings(severity string, problems []config.Problem) []finding {
	var out []finding
	for _, p := range problems {
		out = append(out, finding{Severity: severity, Source: p.Source, Line: p.Line, Column: p.Column,
			Path: p.Path.String(), Summary: p.Summary, Detail: p.Detail})
	}
	return out
}

func (c *cli) checkVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Prove the configuration before anything runs",
		Long: "Reads the configuration, looks whether the plugins' programs are there and are those that\n" +
			"avhub.lock names, opens the database without changing it, and starts each plugin once to\n" +
			"have it judge its own configuration. Tells everything that is wrong at once, with its place\n" +
			"and the way out. Exit code 1 if there is an error; warnings are none.\n\n" +
			"With --online the sources' key sets are fetched, and each plugin is configured for a moment\n" +
			"and asked whether it reaches its outside: the key is valid, the server answers. It delivers\n" +
			"nothing and changes nothing there.",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	flags.addLogLevel(cmd)
	online := cmd.Flags().Bool("online", false, "fetch the key set of each source, and ask each plugin whether it reaches its outside")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, err := c.check(cmd.Context(), flags, *online)
		if err != nil {
			return err
		}
		if *asJSON {
			err = c.writeJSON(v)
		} else {
			err = c.printVerdict(v)
		}
		if err == nil && !v.OK {
			err = errReported
		}
		return err
	}
	return cmd
}

// check looks at everything. The error is trouble with looking.
func (c *cli) check(ctx context.Context, flags *configFlags, online bool) (*verdict, error) {
	v := &verdict{Checks: []examined{}, Problems: []finding{}}
	cfg, err := c.load(flags)
	var broken *config.Error
	switch {
	case errors.As(err, &broken):
		v.failed("configuration", count(int64(len(broken.Problems)), "problem"), findings(severityError, broken.Problems)...)
		return v, nil
	case err != nil:
		return nil, err
	}
	v.passed("configuration", fmt.Sprintf("%s, %s", count(int64(len(cfg.Sources)), "source"), count(int64(len(cfg.Plugins)), "plugin")))
	v.Problems = append(v.Problems, findings(severityWarning, cfg.Warnings())...)
	if len(cfg.Sources) == 0 {
		v.Problems = append(v.Problems, finding{Severity: severityWarning, Path: "sources",
			Summary: "there are none, so no events will arrive", Detail: "`avhub init` writes an example"})
	}
	checkStorage(ctx, v, cfg)
	checkTenants(ctx, v, cfg)
	for i, s := range cfg.Sources {
		if online {
			checkKeySet(ctx, v, i, s)
		}
	}
	c.checkPlugins(ctx, v, cfg, online)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range v.Problems {
		p := &v.Problems[i]
		if p.Source == "" && p.Path != "" {
			p.Source, p.Line, p.Column = cfg.Place(p.Path)
		}
		for n, own := range cfg.Plugins {
			if at := fmt.Sprintf("plugins[%d]", n); p.Path == at || strings.HasPrefix(p.Path, at+".") {
				p.Plugin = own.Name
			}
		}
	}
	v.OK = v.errors() == 0
	return v, nil
}

func (c *cli) printVerdict(v *verdict) error {
	width := 0
	for _, e := range v.Checks {
		width = max(width, len(e.Name))
	}
	for _, e := range v.Checks {
		word := c.paint(c.out, green, "ok    ")
		if !e.OK {
			word = c.paint(c.out, red, "failed")
		}
		if err := c.write(fmt.Sprintf("%s  %-*s  %s\n", word, width, clean(e.Name), clean(e.Detail))); err != nil {
			return err
		}
	}
	for _, p := range v.Problems {
		word := c.paint(c.err, red, "error:")
		if p.Severity == severityWarning {
			word = c.paint(c.err, yellow, "warning:")
		}
		fmt.Fprintf(c.err, "%s %s\n", word, clean(p.String()))
	}
	return nil
}
