package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// root is the tree of all verbs.
func (c *cli) root() *cobra.Command {
	root := c.group("avhub", "Keep other systems in step with AuthVital",
		"avhub stands between AuthVital, an identity provider, and everything that has to follow\n"+
			"what happens there: it verifies every event, keeps a copy of identities and organizations\n"+
			"in your own database, and hands the events to connectors.\n\n"+
			"Try it with nothing else installed: avhub dev. Set it up: avhub init.",
		c.devVerb(), c.initVerb(), c.checkVerb(), c.serveVerb(), c.migrateVerb(), c.backfillVerb(), c.configVerbs(),
		c.eventVerbs(), c.pluginVerbs(), c.deliveryVerbs(), c.replayVerb(), c.tenantVerbs(),
		c.journalVerbs(), c.accessVerbs(), c.sessionVerbs(), c.mirrorGroup(), c.verifyVerb(),
		c.versionVerb(), c.completionVerb(),
	)
	root.AddCommand(c.mirrorVerbs()...)
	root.SetHelpCommand(c.helpVerb())
	root.SetUsageTemplate(usageTemplate)
	for _, part := range verbParts() {
		root.AddGroup(&cobra.Group{ID: part.title, Title: part.title})
		for _, name := range part.verbs {
			if verb, _, err := root.Find([]string{name}); err == nil {
				verb.GroupID = part.title
			}
		}
	}
	root.Version = buildVersion()
	root.SetVersionTemplate("avhub {{.Version}}\n")
	// One voice for errors: report prints them.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrongUse("%s", err) })
	root.CompletionOptions.DisableDefaultCmd = true // ours refuses unknown shells
	return root
}

// part of the list of all verbs.
type part struct {
	title string
	verbs []string
}

// verbParts orders the verbs by when one needs them. What is not named follows
// under a title of its own.
func verbParts() []part {
	return []part{
		{"Run the hub", []string{"dev", "init", "check", "serve", "migrate", "backfill", "config"}},
		{"Work with events and deliveries", []string{"event", "journal", "plugin", "delivery", "replay", "tenant", "verify"}},
		{"Look into the mirror", []string{"org", "identity", "member", "app", "sso", "grant", "license", "subscription", "invitation", "access", "session", "mirror"}},
	}
}

// usageTemplate is cobra's with our words: what stands behind a group is a verb,
// and a group alone is no way to call it, unless it says that it works alone.
const usageTemplate = `Usage:
  {{if index .Annotations "works alone"}}{{.UseLine}}
  {{end}}{{if .HasAvailableSubCommands}}{{.CommandPath}} VERB{{else}}{{.UseLine}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- if .HasAvailableSubCommands}}{{$verbs := .Commands}}
{{- if not .Groups}}

Verbs:{{range $verbs}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- else}}{{range $part := .Groups}}

{{.Title}}:{{range $verbs}}{{if eq .GroupID $part.ID}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}

Besides:{{range $verbs}}{{if eq .GroupID ""}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableSubCommands}}

{{.CommandPath}} VERB --help explains a verb.{{end}}
`

// group is a verb that only has verbs below it. Called alone or with a verb that
// it does not have, it is wrong use, not a help page that looks like success.
func (c *cli) group(use, short, long string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return wrongUse("there is no verb %q; did you mean %s?", args[0], strings.Join(near, " or "))
			}
			return wrongUse("there is no verb %q", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprint(c.err, cmd.UsageString())
			return wrongUse("a verb is missing")
		},
		SuggestionsMinimumDistance: 2,
	}
	g.AddCommand(verbs...)
	return g
}

// noArgs refuses arguments of verbs that take none.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUse("unexpected argument %q", args[0])
	}
	return nil
}

// oneArg wants exactly one, which what names.
func oneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 || args[0] == "":
			return wrongUse("%s is missing", what)
		case len(args) > 1:
			return wrongUse("unexpected argument %q after %s", args[1], what)
		}
		return nil
	}
}
