package main

import (
	"context"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/spf13/cobra"
)

const (
	// tailEvery is how often the journal is asked for more.
	tailEvery = 300 * time.Millisecond
	tailBatch = 500
)

func (c *cli) eventTail() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow the journal",
		Long:  "Prints each event as it is journaled, from now or from a position on, until it is\ninterrupted.",
		Example: "  avhub event tail --type 'license.*'\n" +
			"  avhub event tail --after 0 --json | jq .type",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	filter := addEventFilter(cmd)
	cmd.Flags().Int64Var(&filter.after, "after", 0, "begin after this `position` (default: now)")
	asJSON := jsonFlag(cmd, "one JSON object per line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := filter.query()
		if err != nil {
			return err
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			if !cmd.Flags().Changed("after") {
				if q.After, err = d.journal.Last(cmd.Context()); err != nil {
					return err
				}
			}
			err := c.follow(cmd.Context(), d.journal, q, func(ev *event.Event) error {
				if *asJSON {
					return c.writeJSONLine(newEventJSON(ev))
				}
				return c.write(fmt.Sprintf("%8d  %s  %s  %s  %s\n", ev.Position, stamp(ev.ReceivedAt),
					clean(ev.Type), clean(ev.Subject()), c.paint(c.out, dim, clean(outcome(ev)))))
			})
			if cmd.Context().Err() != nil {
				return nil // an interrupt is how it ends
			}
			return err
		})
	}
	return cmd
}

// follow prints what q selects as it comes, until ctx ends.
func (c *cli) follow(ctx context.Context, j *journal.Journal, q journal.Query, print func(*event.Event) error) error {
	q.Limit = tailBatch
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for {
		// Up to here everything is looked at now, so that the next look starts
		// beyond it, whether or not the filter selected any of it.
		last, err := j.Last(ctx)
		if err != nil {
			return err
		}
		for q.Until = last; q.After < q.Until; {
			events, err := j.Read(ctx, q)
			if err != nil {
				return err
			}
			for _, ev := range events {
				if err := print(ev); err != nil {
					return err
				}
				q.After = ev.Position
			}
			if len(events) < q.Limit {
				q.After = q.Until
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
