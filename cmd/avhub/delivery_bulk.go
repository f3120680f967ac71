package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/spf13/cobra"
)

const bulkHelp = "It goes in small steps beside the hub's own work, or at --rate, and shows how far it is.\n" +
	"When it is interrupted, what was done is done; the same command again does the rest.\n" +
	"Says how many there are and asks, unless --yes is given; --dry-run says it and stops."

func (c *cli) deliveryRetry() *cobra.Command {
	return c.operation(&cobra.Command{
		Use:   "retry",
		Short: "Try blocked lanes now, and deliver dead letters again",
		Long: "Makes blocked lanes due at once, and has dead letters delivered again by the running hub:\n" +
			"oldest first, many in a call, marked as replay.\n" + bulkHelp,
		Example: "  avhub delivery retry --id 7 --yes\n  avhub delivery retry --plugin billing --tenant t1\n" +
			"  avhub delivery retry --reason 'no such plan' --rate 50",
	}, "retry", fanout.RetryAt)
}

func (c *cli) deliveryDiscard() *cobra.Command {
	return c.operation(&cobra.Command{
		Use:   "discard",
		Short: "Give up the first event of blocked lanes, and delete dead letters",
		Long: "Gives up the first event of each blocked lane, whose key then goes on, and deletes dead\n" +
			"letters. The events stay in the journal.\n" + bulkHelp,
		Example: "  avhub delivery discard --id 7 --yes\n  avhub delivery discard --plugin billing --type 'tenant.*' --dry-run",
	}, "discard", fanout.DiscardAt)
}

// affectedJSON is what --json prints.
type affectedJSON struct {
	fanout.Affected
	DryRun bool `json:"dry_run"`
}

// operation completes a verb that changes what its filter selects.
func (c *cli) operation(cmd *cobra.Command, verb string, do func(context.Context, *store.Store, fanout.Filter, fanout.Pace) (fanout.Affected, error)) *cobra.Command {
	cmd.Args = noArgs
	flags := addConfigFlags(cmd)
	filter := addTroubleFilter(cmd)
	var all, yes, dry bool
	var rate int
	cmd.Flags().BoolVar(&all, "all", false, "everything, when no filter is given")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count what is selected")
	cmd.Flags().IntVar(&rate, "rate", 0, "lanes and dead letters in a second; 0: as `many` as the database takes")
	asJSON := jsonFlag(cmd, "a JSON object with the counts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := filter.resolve(time.Now())
		if err != nil {
			return err
		}
		if rate < 0 {
			return wrongUse("--rate must not be negative")
		}
		if selects := f != (fanout.Filter{}); selects == all {
			if all {
				return wrongUse("--all is for everything; leave it out, or the filters")
			}
			return wrongUse("say which: --id, --plugin, --key, --tenant, --type, --since, --until, --reason, or --all for everything")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			total, err := fanout.Count(cmd.Context(), d.Store, f)
			if err != nil {
				return err
			}
			switch {
			case dry && !*asJSON:
				return c.write(fmt.Sprintf("would %s %s\n", verb, affected(total)))
			case dry:
				return c.writeJSON(affectedJSON{total, true})
			case total == (fanout.Affected{}):
				c.say("nothing to %s: no blocked lane and no dead letter is selected", verb)
			case !yes:
				if err := c.confirm(fmt.Sprintf("this would %s %s", verb, affected(total))); err != nil {
					return err
				}
			}
			m := c.newMeter()
			pace := fanout.Pace{Rate: rate, Progress: func(n fanout.Affected) {
				m.show(past(verb), n.Lanes+n.DeadLetters, total.Lanes+total.DeadLetters)
			}}
			n, err := do(cmd.Context(), d.Store, f, pace)
			m.end()
			if err != nil {
				c.say("%s %s before it ended; the same command does the rest", past(verb), affected(n))
				return err
			}
			if *asJSON {
				return c.writeJSON(affectedJSON{n, false})
			}
			if total != (fanout.Affected{}) {
				c.say("%s %s; a running hub acts on it within a second", past(verb), affected(n))
			}
			return nil
		})
	}
	return cmd
}

// past is "retried" for "retry".
func past(verb string) string { return strings.Replace(verb, "retry", "retri", 1) + "ed" }

func affected(n fanout.Affected) string {
	return count(n.Lanes, "blocked lane") + " and " + count(n.DeadLetters, "dead letter")
}

// confirm says what would happen and asks, where there is somebody to ask.
func (c *cli) confirm(what string) error {
	c.say("%s", what)
	if !isTerminal(c.in) {
		return wrongUse("nothing was changed; add --yes to do it")
	}
	fmt.Fprint(c.err, "Do it? [y/N] ")
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		c.say("nothing was changed")
		return errReported
	}
	return nil
}
