package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

const manual = "../../docs/cli.md"

func TestTheManualIsCurrent(t *testing.T) {
	t.Parallel()
	want := writeManual((&cli{}).root())
	if *update {
		if err := os.WriteFile(manual, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/cli.md is not what the command says of itself; run `make golden`")
	}
}

// Every verb explains itself, and every flag says what it takes.
func TestEveryVerbAndFlagIsExplained(t *testing.T) {
	t.Parallel()
	walk((&cli{}).root(), func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short text is %q", cmd.CommandPath(), cmd.Short)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name, usage := pflag.UnquoteUsage(f); usage == "" || name == "string" || name == "int" || name == "duration" {
				t.Errorf("%s --%s: takes %q, usage %q", cmd.CommandPath(), f.Name, name, usage)
			}
		})
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			if len([]rune(line)) > 100 {
				t.Errorf("%s: a line of its help is %d long: %s", cmd.CommandPath(), len(line), line)
			}
		}
	})
}

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		walk(child, visit)
	}
}

func writeManual(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# The command

<!-- Written by the tests of cmd/avhub from what the command says of itself; change it there and run make golden. -->

Results go to standard output, everything else to standard error. Lists and pages print
JSON with ` + "`--json`" + `. Control characters in names and other text from outside are shown as
escapes. Colours are used on terminals, unless ` + "`NO_COLOR`" + ` is set.

| exit code | |
|---|---|
| 0 | done |
| 1 | failed; standard error says why, and what to do |
| 2 | wrong use: an unknown verb, flag or argument |

Verbs that look at data or change it work on the database that the configuration names,
so they work while hubs run, and need none. Of the configuration only its storage must be
right then: connectors' secrets need not be at hand. [config.md](config.md) explains the
configuration, [operations.md](operations.md) running a hub.

`)
	walk(root, func(cmd *cobra.Command) {
		if cmd.Runnable() && !cmd.HasAvailableSubCommands() {
			fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", cmd.CommandPath(), strings.ReplaceAll(cmd.CommandPath(), " ", "-"), lower(cmd.Short))
		}
	})
	walk(root, func(cmd *cobra.Command) {
		if cmd.HasAvailableSubCommands() {
			if cmd.HasParent() && cmd.Long != "" {
				fmt.Fprintf(&b, "\n## %s …\n\n%s\n", cmd.CommandPath(), cmd.Long)
			}
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n", cmd.CommandPath())
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		fmt.Fprintf(&b, "%s\n\n```\n%s\n", text, cmd.UseLine())
		if flags := cmd.NonInheritedFlags(); flags.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n%s\n", strings.TrimRight(flags.FlagUsages(), "\n"))
		}
		b.WriteString("```\n")
		if cmd.Example != "" {
			fmt.Fprintf(&b, "\n```sh\n%s\n```\n", unindent(cmd.Example))
		}
	})
	return b.String()
}

func unindent(text string) string {
	return strings.ReplaceAll("\n"+text, "\n  ", "\n")[1:]
}
