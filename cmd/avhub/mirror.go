package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// mirrorVerbs are a noun for each resource of the mirror but sessions.
func (c *cli) mirrorVerbs() []*cobra.Command {
	var nouns []*cobra.Command
	for _, r := range ask.Resources() {
		if r.Short != "session" {
			about, _, _ := strings.Cut(r.About, ":")
			nouns = append(nouns, c.group(r.Short, "Look at "+lower(about)+" in the mirror", "", c.mirrorList(r), c.mirrorShow(r)))
		}
	}
	return nouns
}

func (c *cli) mirrorList(r *ask.Resource) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List " + r.Plural + " in the order of their ids",
		Args:  noArgs,
	}
	flags := addConfigFlags(cmd)
	filters := addFilters(cmd, r)
	limit := cmd.Flags().Int("limit", 50, "`number` of rows")
	after := cmd.Flags().String("after", "", "only rows beyond this `id`: the last one of the page before")
	asJSON := jsonFlag(cmd, "a JSON array with all columns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			page, err := ask.New(d.Store).List(cmd.Context(), r, filters(), *after, *limit)
			if err != nil {
				return c.badQuestion(err)
			}
			if err := c.printList(r, page.Rows, *asJSON); err != nil {
				return err
			}
			if page.More {
				c.say("there are more: go on with --after %s", quoted(page.Rows[len(page.Rows)-1].Key()))
			}
			return nil
		})
	}
	return cmd
}

// addFilters adds a flag for each filter, and returns those that were given.
func addFilters(cmd *cobra.Command, r *ask.Resource) func() map[string]string {
	values := map[string]pflag.Value{}
	for _, f := range r.Filters {
		usage := "only those " + strings.Replace(f.About, f.Takes, "`"+f.Takes+"`", 1)
		switch f.Kind {
		case ask.Flag, ask.Missing:
			cmd.Flags().Var(&yesOrNo{}, f.Name, "only those "+f.About)
		case ask.OneOf:
			cmd.Flags().String(f.Name, "", usage+": "+strings.Join(f.Values, ", "))
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(f.Values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
		default:
			cmd.Flags().String(f.Name, "", usage)
		}
		values[f.Name] = cmd.Flags().Lookup(f.Name).Value
	}
	if _, has := values["tenant"]; has {
		cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
			if name == "org" { // the noun for it
				name = "tenant"
			}
			return pflag.NormalizedName(name)
		})
	}
	return func() map[string]string {
		given := map[string]string{}
		for name, v := range values {
			if text := v.String(); text != "" {
				given[name] = text
			}
		}
		return given
	}
}

func (c *cli) mirrorShow(r *ask.Resource) *cobra.Command {
	names := append([]string{r.Key}, r.Names...)
	name := strings.Join(names, " or ")
	cmd := &cobra.Command{
		Use:   "show " + strings.ToUpper(strings.Join(names, "|")),
		Short: "Show all columns of one, by its " + name,
		Args:  oneArg("the " + name),
	}
	if len(r.Relations) > 0 {
		var b strings.Builder
		fmt.Fprintf(&b, "Shows all columns of one, by its %s.\nWhat belongs to it comes with --with:\n", name)
		for _, rel := range r.Relations {
			fmt.Fprintf(&b, "\n    %-14s %s", rel.Name, rel.About)
		}
		fmt.Fprintf(&b, "\n    %-14s everything\n\nAt most %d rows of each are shown; a list with a filter has them all.", ask.All, ask.MostRelated)
		cmd.Long = b.String()
	}
	flags := addConfigFlags(cmd)
	with := cmd.Flags().StringArray("with", nil, "also `what` belongs to it, between commas, or all; repeatable")
	known := []string{ask.All}
	for _, rel := range r.Relations {
		known = append(known, rel.Name)
	}
	_ = cmd.RegisterFlagCompletionFunc("with", cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withData(cmd.Context(), flags, func(d data) error {
			record, err := ask.New(d.Store).Show(cmd.Context(), r, args[0], *with...)
			var several *ask.AmbiguousError
			switch {
			case errors.Is(err, ask.ErrNotFound):
				return fmt.Errorf("the mirror has nothing whose %s is %q; `avhub %s list` shows what there is", name, args[0], r.Short)
			case errors.As(err, &several):
				c.say("several have the %s %q; show one by its %s:", several.Column, args[0], r.Key)
				for _, key := range several.Keys {
					c.say("  %s", key)
				}
				return errReported
			case err != nil:
				return c.badQuestion(err)
			case *asJSON:
				return c.writeJSON(record)
			}
			return c.printRecord(record)
		})
	}
	return cmd
}

// badQuestion tells wrong use from failure.
func (c *cli) badQuestion(err error) error {
	var input *ask.InputError
	if errors.As(err, &input) {
		return wrongUse("%s", input)
	}
	return err
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// quoted is an argument as a shell takes it.
func quoted(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
