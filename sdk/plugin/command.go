package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/schema"
)

// Exit codes of the command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// maxConfigBytes bounds the file that check reads.
const maxConfigBytes = 1 << 20

// command is what the binary does for a person.
func (p Plugin[C, S]) command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	program := p.Info.Name
	if len(args) > 0 && args[0] != "" {
		program = filepath.Base(args[0])
		args = args[1:]
	}
	if len(args) == 0 {
		// Whoever runs it like this, a person or a service manager, expected it
		// to do something.
		p.explain(stderr, program)
		return exitUsage
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "help", "--help", "-h":
		p.explain(stdout, program)
		return exitDone
	case "version", "--version":
		if len(rest) > 0 {
			return p.wrongUse(stderr, program, "version takes no arguments")
		}
		fmt.Fprintf(stdout, "%s %s\n", p.Info.Name, p.Info.Version)
		return exitDone
	case "describe":
		format := ""
		switch {
		case len(rest) == 0:
		case len(rest) == 1 && (rest[0] == "--json" || rest[0] == "--markdown"):
			format = rest[0]
		default:
			return p.wrongUse(stderr, program, "describe takes --json or --markdown")
		}
		if err := p.writeDescription(stdout, format); err != nil {
			fmt.Fprintf(stderr, "%s: describing the connector: %s\n", program, err)
			return exitFailed
		}
		return exitDone
	case "check":
		file, ok := fileFlag(rest, "--config")
		if !ok {
			return p.wrongUse(stderr, program, "check needs --config FILE, a JSON file with the connector's own configuration")
		}
		return p.runCheck(ctx, program, file, stdout, stderr)
	case "debug":
		dir, ok := debugDir(p.Info.Name), len(rest) == 0
		if !ok {
			dir, ok = fileFlag(rest, "--dir")
		}
		if !ok {
			return p.wrongUse(stderr, program, "debug takes --dir FOLDER, where a hub finds it")
		}
		if err := p.debug(ctx, dir, stdout, stderr); err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", program, err)
			return exitFailed
		}
		return exitDone
	default:
		return p.wrongUse(stderr, program, fmt.Sprintf("there is no verb %q", verb))
	}
}

// fileFlag reads a flag that takes a path and must be the only one.
func fileFlag(args []string, name string) (string, bool) {
	if len(args) == 1 {
		file, ok := strings.CutPrefix(args[0], name+"=")
		return file, ok && file != ""
	}
	if len(args) == 2 && args[0] == name {
		return args[1], args[1] != ""
	}
	return "", false
}

func (p Plugin[C, S]) wrongUse(stderr io.Writer, program, what string) int {
	fmt.Fprintf(stderr, "%s: %s. Run %q to see what there is.\n", program, what, program+" help")
	return exitUsage
}

func (p Plugin[C, S]) explain(w io.Writer, program string) {
	fmt.Fprintf(w, `%[1]s %[2]s: %[3]s

This is a connector for avhub. A hub starts it and sends it events; by itself it
does nothing. It wants %[4]s, in order %[5]s.

To use it, name it in the hub's configuration:

  plugins:
    - name: %[1]s
      command: ["%[6]s"]
      config: {}            # "%[7]s describe" lists what goes here

What it can do without a hub:

  %[7]s describe [--json | --markdown]   what it wants and how it is configured
  %[7]s check --config FILE              try a configuration (JSON)
  %[7]s debug [--dir FOLDER]             wait for a hub that attaches, under a debugger for instance
  %[7]s version
`, p.Info.Name, p.Info.Version, p.Info.Summary, strings.Join(p.Info.Events, ", "), p.Info.Order, executable(), program)
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return "path/to/the/binary"
	}
	return path
}

// description is what describe --json prints. Members are only ever added.
type description struct {
	Name         string          `json:"name"`
	Version      string          `json:"version"`
	Summary      string          `json:"summary"`
	Events       []string        `json:"events"`
	Order        string          `json:"order"`
	Coalesce     bool            `json:"coalesce"`
	Counts       bool            `json:"counts"`
	Body         bool            `json:"body"`
	Notifies     bool            `json:"notifies"`
	KeepsHistory bool            `json:"keeps_history"`
	ConfigSchema json.RawMessage `json:"config_schema"`
	StateSchema  json.RawMessage `json:"state_schema,omitempty"`
}

func (p Plugin[C, S]) writeDescription(w io.Writer, format string) error {
	srv, err := newServer(p, io.Discard)
	if err != nil {
		return err
	}
	if format == "--json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(description{
			Name: p.Info.Name, Version: p.Info.Version, Summary: p.Info.Summary,
			Events: p.Info.Events, Order: p.Info.Order.String(), Coalesce: p.Info.Coalesce, Counts: p.Info.Counts, Body: p.Info.Body,
			Notifies: p.Info.Notifies, KeepsHistory: p.Info.KeepsHistory,
			ConfigSchema: srv.describe.GetConfigSchema(), StateSchema: srv.describe.GetStateSchema(),
		})
	}
	sch, err := schema.Of[C]()
	if err != nil {
		return err
	}
	if format == "--markdown" {
		_, err = fmt.Fprintf(w, "# %s\n\n%s\n\nVersion %s. Wants `%s`, in order %s.\n\n## Configuration\n\n%s",
			p.Info.Name, p.Info.Summary, p.Info.Version, strings.Join(p.Info.Events, "`, `"), p.Info.Order, sch.Markdown())
		return err
	}
	fmt.Fprintf(w, "%s %s: %s\nevents: %s\norder:  %s\n", p.Info.Name, p.Info.Version, p.Info.Summary,
		strings.Join(p.Info.Events, ", "), p.Info.Order)
	if p.Info.Coalesce {
		fmt.Fprintf(w, "of several waiting events of one key it takes the newest\n")
	}
	if p.Info.Counts {
		fmt.Fprintf(w, "its organizations come with their subscriptions, licenses and members\n")
	}
	if p.Info.Body {
		fmt.Fprintf(w, "it gets the bytes that the provider sent\n")
	}
	if p.Info.Notifies {
		fmt.Fprintf(w, "every event is an effect of its own\n")
	}
	if p.Info.KeepsHistory {
		fmt.Fprintf(w, "what it leaves outside tells the way, not only where things stand\n")
	}
	fmt.Fprintf(w, "configuration:\n")
	for _, f := range sch.Fields() {
		fmt.Fprintf(w, "  %s (%s)%s\n", f.Path, f.Type, fieldNotes(f))
		if f.Doc != "" {
			fmt.Fprintf(w, "      %s\n", f.Doc)
		}
	}
	return nil
}

func fieldNotes(f schema.Field) string {
	var notes []string
	if f.Required {
		notes = append(notes, "required")
	}
	if f.Secret {
		notes = append(notes, "secret")
	}
	if f.Default != "" {
		notes = append(notes, "default "+f.Default)
	}
	if len(f.Enum) > 0 {
		notes = append(notes, "one of "+strings.Join(f.Enum, ", "))
	}
	if len(notes) == 0 {
		return ""
	}
	return ", " + strings.Join(notes, ", ")
}

// runCheck does what a hub does with a new configuration, and prints what it
// would have answered.
func (p Plugin[C, S]) runCheck(ctx context.Context, program, file string, stdout, stderr io.Writer) int {
	raw, err := readConfig(file)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", program, err)
		return exitFailed
	}
	srv, err := newServer(p, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", program, err)
		return exitFailed
	}
	resp, err := srv.Configure(ctx, &pluginpb.ConfigureRequest{Config: raw})
	if err != nil {
		fmt.Fprintf(stderr, "%s: configuring: %s\n", program, err)
		return exitFailed
	}
	diags := resp.GetDiagnostics()
	if len(diags) == 0 {
		checked, err := srv.Check(ctx, &pluginpb.CheckRequest{})
		if err != nil {
			fmt.Fprintf(stderr, "%s: checking: %s\n", program, err)
			return exitFailed
		}
		diags = checked.GetDiagnostics()
		if err := srv.drain(ctx, orphanDrain); err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", program, err)
			return exitFailed
		}
	}
	for _, d := range diags {
		fmt.Fprintf(stderr, "%s: %s\n", file, diagnosticLine(d))
	}
	if len(diags) > 0 {
		return exitFailed
	}
	fmt.Fprintf(stdout, "%s: the configuration is good\n", file)
	return exitDone
}

func diagnosticLine(d *pluginpb.Diagnostic) string {
	line := d.GetSummary()
	if d.GetPath() != "" {
		line = d.GetPath() + ": " + line
	}
	if d.GetDetail() != "" {
		line += "; " + d.GetDetail()
	}
	return line
}

func readConfig(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(raw) > maxConfigBytes {
		return nil, errors.New("reading the configuration: the file is over 1 MiB")
	}
	return raw, nil
}
