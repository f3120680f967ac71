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
func ownVerbs() []string { return []string{"preview", "drift", "show", "restore", "purge"} }

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
		fmt.Fprintf(errOut, "avhub-provisioner: %s. Run \"avhub-provisioner %s --help\" to see what there is.\n", err, args[1])
		return exitUsage
	default:
		fmt.Fprintf(errOut, "avhub-provisioner: %s\n", err)
		return exitFailed
	}
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{Use: "avhub-provisioner", SilenceErrors: true, SilenceUsage: true, CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	for _, cmd := range []*cobra.Command{c.previewVerb(), c.driftVerb(), c.showVerb(), c.restoreVerb(), c.purgeVerb()} {
		cmd.Flags().StringVarP(&c.file, "config", "c", "avhub.yaml", "a hub's configuration `file`, or one with this connector's alone (YAML or JSON)")
		cmd.Flags().StringVar(&c.plugin, "plugin", "", "`name` of the plugin's entry, where there are several")
		cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
		root.AddCommand(cmd)
	}
	return root
}

func between(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return wrongUse("it takes %s", what)
		}
		return nil
	}
}

// open makes a connector of the configuration, which runs nothing beside.
func (c *cli) open() (*connector, error) {
	cfg, err := hubfile.Read[config](c.file, "avhub-provisioner", c.plugin)
	if err != nil {
		return nil, err
	}
	return newConnector(cfg, slog.New(slog.DiscardHandler), c.now, func(string) {})
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
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

// progress tells on a terminal how far it is; nil elsewhere.
func (c *cli) progress(what string) (tell func(n, of int), done func()) {
	f, ok := c.err.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return nil, func() {}
	}
	return func(n, of int) { fmt.Fprintf(f, "\r%s: %d of %d", what, n, of) }, func() { fmt.Fprintf(f, "\r\x1b[K") }
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
