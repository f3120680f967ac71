package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/avhub/avhub/sdk/hubfile"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// Exit codes, as those of avhub.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is the command that the binary is for a person, beyond what every
// connector answers.
type cli struct {
	in       io.Reader
	out, err io.Writer
	file     string // --config
	plugin   string // --plugin
	json     bool
	now      func() time.Time
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func wrongUse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// ownVerbs are those that every connector does not have.
func ownVerbs() []string { return []string{"setup", "preview", "drift", "show", "adopt", "fake"} }

// command runs the binary for a person.
func command(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) < 2 || !slices.Contains(ownVerbs(), args[1]) {
		if len(args) > 1 && slices.Contains([]string{"help", "--help", "-h"}, args[1]) {
			fmt.Fprintf(out, "%s has verbs of its own, and each explains itself with --help:\n\n", filepath.Base(args[0]))
			for _, verb := range (&cli{}).root().Commands() {
				fmt.Fprintf(out, "  %-10s %s\n", verb.Name(), verb.Short)
			}
			fmt.Fprintln(out)
		}
		connectorPlugin().Main()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{in: in, out: out, err: errOut, now: time.Now}
	root := c.root()
	root.SetArgs(args[1:])
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "avhub-stripe: %s. Run \"avhub-stripe %s --help\" to see what there is.\n", err, args[1])
		return exitUsage
	default:
		fmt.Fprintf(errOut, "avhub-stripe: %s\n", err)
		return exitFailed
	}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{Use: "avhub-stripe", SilenceErrors: true, SilenceUsage: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	configured := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().StringVarP(&c.file, "config", "c", "avhub.yaml", "a hub's configuration `file`, or one with this connector's alone (YAML or JSON)")
		cmd.Flags().StringVar(&c.plugin, "plugin", "", "`name` of the plugin's entry, where there are several")
		cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
		return cmd
	}
	root.AddCommand(configured(c.setupVerb()), configured(c.previewVerb()), configured(c.driftVerb()), configured(c.showVerb()), configured(c.adoptVerb()), c.fakeVerb())
	return root
}

func args(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return wrongUse("it takes %s", what)
		}
		return nil
	}
}

// open makes a connector of the configuration, which runs nothing beside.
func (c *cli) open(ctx context.Context) (*connector, error) {
	cfg, err := hubfile.Read[config](c.file, "avhub-stripe", c.plugin)
	if err != nil {
		return nil, err
	}
	conn := newConnector(cfg, slog.New(slog.DiscardHandler), c.now)
	if _, err := conn.whose(ctx, ""); err != nil {
		conn.api.close()
		return nil, err
	}
	return conn, nil
}

func (c *cli) print(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows with a head, in columns.
func (c *cli) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(clean(cell) + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(c.out, strings.TrimRight(line.String(), " "))
	}
}

// clean takes out what would move a terminal's cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

// progress tells on a terminal how far it is; nil elsewhere.
func (c *cli) progress(what string) (tell func(n int), done func()) {
	f, ok := c.err.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return nil, func() {}
	}
	return func(n int) { fmt.Fprintf(f, "\r%s: %d", what, n) }, func() { fmt.Fprintf(f, "\r\x1b[K") }
}

func (c *cli) driftVerb() *cobra.Command {
	var heal bool
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "find what somebody changed in Stripe",
		Long: "Compares every subscription that this connector keeps with what it set there, as the connector itself\n" +
			"does every hour. It needs nothing but Stripe: what was set stands in the subscriptions' metadata.\n" +
			"Exit code 1: there are differences.",
		Example: "  avhub-stripe drift\n  avhub-stripe drift --heal\n  avhub-stripe drift --json | jq '.differences[].tenant'",
		Args:    args(0, "no arguments"),
	}
	cmd.Flags().BoolVar(&heal, "heal", false, "set back what the configuration's section drift says heal of")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		conn, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		defer conn.api.close()
		tell, done := c.progress("subscriptions read")
		result, err := comparison{c: conn, heal: heal, progress: tell}.run(cmd.Context())
		done()
		if err != nil {
			return err
		}
		if c.json {
			err = c.print(result)
		} else {
			c.printDrift(result)
		}
		if err == nil && slices.ContainsFunc(result.Differences, func(d difference) bool { return d.Action == "reported" }) {
			err = fmt.Errorf("%d of %d subscriptions' tenants have differences", len(tenantsOf(result.Differences)), result.Subscriptions)
		}
		return err
	}
	return cmd
}

func tenantsOf(all []difference) []string {
	var out []string
	for _, d := range all {
		if !slices.Contains(out, d.Tenant) {
			out = append(out, d.Tenant)
		}
	}
	return out
}

func (c *cli) printDrift(result compared) {
	if len(result.Differences) == 0 {
		fmt.Fprintf(c.out, "%d subscriptions of %d tenants are as they were set\n", result.Subscriptions, result.Tenants)
		return
	}
	rows := [][]string{{"TENANT", "SUBSCRIPTION", "FIELD", "DIFFERENCE", "ACTION"}}
	for _, d := range result.Differences {
		rows = append(rows, []string{d.Tenant, d.Subscription, d.Field, d.Text, d.Action})
	}
	c.table(rows)
}
