package main

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/spf13/cobra"
)

func (c *cli) deliveryVerbs() *cobra.Command {
	return c.group("delivery", "Look at deliveries in trouble, and decide about them",
		"A delivery that failed is in one of two places. A blocked lane is a key (a tenant, a person)\n"+
			"whose first event is tried again by itself, while the key's later events wait behind it. A\n"+
			"dead letter is an event that was given up; its key went on, and nothing happens to it until\n"+
			"somebody decides.",
		c.deliveryList(), c.deliveryRetry(), c.deliveryDiscard())
}

// troubleFilter are the flags that choose lanes and dead letters.
type troubleFilter struct{ fanout.Filter }

func addTroubleFilter(cmd *cobra.Command) *troubleFilter {
	f := &troubleFilter{}
	cmd.Flags().StringVar(&f.Plugin, "plugin", "", "only those of the plugin with this `name`")
	cmd.Flags().StringVar(&f.Key, "key", "", "only those of this `key`, such as tenant:t1")
	cmd.Flags().StringVar(&f.Tenant, "tenant", "", "only those of the tenant with this `id`")
	cmd.Flags().StringVar(&f.Type, "type", "", "only dead letters of events of exactly this `type`")
	return f
}

// laneJSON and letterJSON are what --json prints.
type laneJSON struct {
	Kind string `json:"kind"` // "lane"
	*fanout.Lane
}

type letterJSON struct {
	Kind string `json:"kind"` // "dead_letter"
	*fanout.DeadLetter
}

func (c *cli) deliveryList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List blocked lanes and dead letters, oldest first",
		Args:  noArgs,
	}
	flags := addConfigFlags(cmd)
	filter := addTroubleFilter(cmd)
	cmd.Flags().Int64Var(&filter.Letter, "id", 0, "only the dead letter with this `number`")
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "`number` of lanes, and of dead letters")
	asJSON := jsonFlag(cmd, "a JSON array; kind is lane or dead_letter")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if filter.Limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			list, err := fanout.List(cmd.Context(), d.Store, filter.Filter)
			if err != nil {
				return err
			}
			if *asJSON {
				items := []any{}
				for _, l := range list.Lanes {
					items = append(items, laneJSON{"lane", l})
				}
				for _, l := range list.DeadLetters {
					items = append(items, letterJSON{"dead_letter", l})
				}
				return c.writeJSON(items)
			}
			return c.printTrouble(cmd.Context(), d.Store, list, filter.Filter)
		})
	}
	return cmd
}

func (c *cli) printTrouble(ctx context.Context, st *store.Store, list fanout.Trouble, f fanout.Filter) error {
	all, err := fanout.Count(ctx, st, f)
	if err != nil {
		return err
	}
	if len(list.Lanes)+len(list.DeadLetters) == 0 {
		c.say("no blocked lanes and no dead letters")
		return nil
	}
	if len(list.Lanes) > 0 {
		if err := c.write(fmt.Sprintf("%s\n", c.paint(c.out, bold, count(all.Lanes, "blocked lane")))); err != nil {
			return err
		}
		t := newTable("PLUGIN", "KEY", "HEAD", "ATTEMPTS", "SINCE", "NEXT TRY", "LAST ERROR")
		for _, l := range list.Lanes {
			t.add(l.Plugin, l.Key, strconv.FormatInt(l.Head, 10), strconv.Itoa(l.Attempts), stamp(l.Since), stamp(l.NextAt), l.Error)
		}
		if err := t.print(c); err != nil {
			return err
		}
	}
	if len(list.DeadLetters) > 0 {
		gap := ""
		if len(list.Lanes) > 0 {
			gap = "\n"
		}
		if err := c.write(gap + fmt.Sprintf("%s\n", c.paint(c.out, bold, count(all.DeadLetters, "dead letter")))); err != nil {
			return err
		}
		t := newTable("ID", "PLUGIN", "KEY", "POSITION", "TYPE", "SINCE", "ATTEMPTS", "REASON")
		for _, l := range list.DeadLetters {
			reason := l.Reason
			if l.Retry {
				reason = "(will be retried) " + reason
			}
			t.add(strconv.FormatInt(l.ID, 10), l.Plugin, l.Key, strconv.FormatInt(l.Position, 10), l.Type,
				stamp(l.CreatedAt), strconv.Itoa(l.Attempts), reason)
		}
		if err := t.print(c); err != nil {
			return err
		}
	}
	if int64(len(list.Lanes)) < all.Lanes || int64(len(list.DeadLetters)) < all.DeadLetters {
		c.say("there is more: use --limit or a filter")
	}
	return nil
}

func (c *cli) deliveryRetry() *cobra.Command {
	return c.operation(&cobra.Command{
		Use:   "retry",
		Short: "Try blocked lanes now, and deliver dead letters again",
		Long: "Makes blocked lanes due at once, and has dead letters delivered again by the running hub.\n" +
			"Says how many there are and asks, unless --yes is given.",
		Example: "  avhub delivery retry --id 7 --yes\n  avhub delivery retry --plugin billing --tenant t1",
	}, "retry", fanout.Retry)
}

func (c *cli) deliveryDiscard() *cobra.Command {
	return c.operation(&cobra.Command{
		Use:   "discard",
		Short: "Give up the first event of blocked lanes, and delete dead letters",
		Long: "Gives up the first event of each blocked lane, whose key then goes on, and deletes dead\n" +
			"letters. The events stay in the journal. Says how many there are and asks, unless --yes is\n" +
			"given.",
		Example: "  avhub delivery discard --id 7 --yes\n  avhub delivery discard --plugin billing --type tenant.updated",
	}, "discard", fanout.Discard)
}

// operation completes a verb that changes what its filter selects.
func (c *cli) operation(cmd *cobra.Command, verb string, do func(context.Context, *store.Store, fanout.Filter) (fanout.Affected, error)) *cobra.Command {
	cmd.Args = noArgs
	flags := addConfigFlags(cmd)
	filter := addTroubleFilter(cmd)
	var all, yes bool
	cmd.Flags().Int64Var(&filter.Letter, "id", 0, "only the dead letter with this `number`")
	cmd.Flags().BoolVar(&all, "all", false, "everything, when no filter is given")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f := filter.Filter
		if selects := f != (fanout.Filter{}); selects == all {
			if all {
				return wrongUse("--all is for everything; leave it out, or the filters")
			}
			return wrongUse("say which: --id, --plugin, --key, --tenant, --type, or --all for everything")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			n, err := fanout.Count(cmd.Context(), d.Store, f)
			if err != nil {
				return err
			}
			if n == (fanout.Affected{}) {
				c.say("nothing to %s: no blocked lane and no dead letter is selected", verb)
				return nil
			}
			if !yes {
				if err := c.confirm(verb, n); err != nil {
					return err
				}
			}
			if n, err = do(cmd.Context(), d.Store, f); err != nil {
				return err
			}
			c.say("%sed %s; a running hub acts on it within a second", strings.Replace(verb, "retry", "retri", 1), affected(n))
			return nil
		})
	}
	return cmd
}

func affected(n fanout.Affected) string {
	return count(n.Lanes, "blocked lane") + " and " + count(n.DeadLetters, "dead letter")
}

// confirm asks, where there is somebody to ask.
func (c *cli) confirm(verb string, n fanout.Affected) error {
	c.say("this would %s %s", verb, affected(n))
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
