package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/spf13/cobra"
)

// usageError is a mistake in how the command was called.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func wrongUse(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// errReported ends a verb that has told everything already.
var errReported = errors.New("reported")

// report prints an error as one block and returns the exit code for it.
func (c *cli) report(cmd *cobra.Command, err error) int {
	var usage *usageError
	var broken *config.Error
	switch {
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage):
		if cmd.Name() == "help" {
			cmd = cmd.Root()
		}
		c.say("avhub: %s", usage.text)
		c.say("Run `%s --help` to see what there is.", cmd.CommandPath())
		return exitUsage
	case errors.As(err, &broken):
		problems := "a problem"
		if n := len(broken.Problems); n > 1 {
			problems = fmt.Sprintf("%d problems", n)
		}
		c.say("avhub: the configuration has %s:", problems)
		for line := range strings.SplitSeq(broken.Error(), "\n") {
			c.say("  %s", line)
		}
	case errors.Is(err, context.Canceled):
		c.say("avhub: interrupted")
	default:
		c.say("avhub: %s", err)
	}
	return exitFailed
}

// say prints a line for people. Whatever is in it cannot control their terminal.
func (c *cli) say(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(c.err, clean(line))
	}
}
