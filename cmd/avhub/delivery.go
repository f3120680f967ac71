package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/event"
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
		c.deliveryList(), c.deliveryPending(), c.deliveryRetry(), c.deliveryDiscard())
}

// troubleFilter are the flags that choose lanes and dead letters.
type troubleFilter struct {
	fanout.Filter
	since, until string
}

func addTroubleFilter(cmd *cobra.Command) *troubleFilter {
	f := &troubleFilter{}
	cmd.Flags().StringVar(&f.Plugin, "plugin", "", "only those of the plugin with this `name`")
	cmd.Flags().StringVar(&f.Key, "key", "", "only those of this `key`, such as tenant:t1")
	cmd.Flags().StringVar(&f.Tenant, "tenant", "", "only those of the tenant with this `id`")
	cmd.Flags().StringVar(&f.Type, "type", "", "only dead letters of events of this `type`; tenant.* for all below")
	cmd.Flags().StringVar(&f.since, "since", "", "only those that first failed since then: a `time` as RFC 3339, or how long ago, such as 90m or 7d")
	cmd.Flags().StringVar(&f.until, "until", "", "only those that first failed before then: a `time` in the same form")
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only those whose last error contains this `text`, in any case")
	cmd.Flags().Int64Var(&f.Letter, "id", 0, "only the dead letter with this `number`")
	return f
}

// resolve checks the flags and returns what they select.
func (f *troubleFilter) resolve(now time.Time) (fanout.Filter, error) {
	out := f.Filter
	var err error
	if out.Since, err = parseTime("since", f.since, now); err != nil {
		return out, err
	}
	if out.Until, err = parseTime("until", f.until, now); err != nil {
		return out, err
	}
	if f.Type != "" {
		if err := event.ValidatePattern(f.Type); err != nil {
			return out, wrongUse("--type: %s", err)
		}
	}
	if f.Letter < 0 {
		return out, wrongUse("--id takes the number of a dead letter, as delivery list shows it")
	}
	return out, nil
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
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "`number` of lanes, and of dead letters")
	asJSON := jsonFlag(cmd, "a JSON array; kind is lane or dead_letter")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if filter.Limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		f, err := filter.resolve(time.Now())
		if err != nil {
			return err
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			list, err := fanout.List(cmd.Context(), d.Store, f)
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
			return c.printTrouble(cmd.Context(), d.Store, list, f)
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
		t := newTable("PLUGIN", "KEY", "STATE", "HEAD", "ATTEMPTS", "SINCE", "NEXT TRY", "LAST ERROR")
		for _, l := range list.Lanes {
			t.add(l.Plugin, l.Key, l.State, strconv.FormatInt(l.Head, 10), strconv.Itoa(l.Attempts), stamp(l.Since), stamp(l.NextAt), l.Error)
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
