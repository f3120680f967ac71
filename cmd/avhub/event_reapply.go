package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/spf13/cobra"
)

func (c *cli) eventReapply() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reapply [ID|POSITION]...",
		Short: "Apply events again that the mirror could not apply",
		Long: "Applies events again that the mirror could not apply when they came, which an upgrade or mended\n" +
			"rows may have made possible. What they say counts as if it had been applied then, and newer\n" +
			"events keep the last word. Plugins got these events when they came and do not get them again.\n" +
			"Hubs may go on. Exit code 1 if some still fail.",
		Example: "  avhub event reapply --all --dry-run\n  avhub event reapply 4711 --json\n  avhub event reapply --type 'tenant.*' --since 7d",
	}
	flags := addConfigFlags(cmd)
	types := cmd.Flags().StringArray("type", nil, "only this type, or `pattern` such as tenant.*; repeatable")
	since := cmd.Flags().String("since", "", "only events received since then: a `time` as RFC 3339, or how long ago, such as 90m or 7d")
	all := cmd.Flags().Bool("all", false, "every event that failed")
	dryRun := cmd.Flags().Bool("dry-run", false, "try, and keep nothing")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r := journal.Reapplication{Types: *types, DryRun: *dryRun}
		for _, p := range *types {
			if err := event.ValidatePattern(p); err != nil {
				return wrongUse("--type: %s", err)
			}
		}
		var err error
		if r.Since, err = parseSince(*since, time.Now()); err != nil {
			return err
		}
		if some := len(args) > 0 || len(*types) > 0 || *since != ""; some == *all {
			if *all {
				return wrongUse("--all is for every event that failed; leave it out, or what selects some")
			}
			return wrongUse("say which: ids or positions of events, --type, --since, or --all")
		}
		return c.withMirror(cmd.Context(), flags, func(d data, _ *mirror.Mirror) error {
			if len(args) > 0 {
				if r.Positions, err = c.failedPositions(cmd.Context(), d.journal, args); err != nil {
					return err
				}
			}
			r.Changed = func(ctx context.Context) error { return mirror.Touch(ctx, d.Store) }
			meter := c.newMeter()
			r.Progress = func(tried int64) { meter.show("applying events", tried, 0) }
			done, err := d.journal.Reapply(cmd.Context(), r)
			meter.end()
			if err != nil {
				if done.Applied > 0 {
					c.say("%s applied before it failed", were(done.Applied, "event"))
				}
				return err
			}
			return c.printReapplied(done, r.DryRun, *asJSON)
		})
	}
	return cmd
}

// failedPositions finds the events that were named.
func (c *cli) failedPositions(ctx context.Context, j *journal.Journal, ids []string) ([]int64, error) {
	positions := []int64{}
	for _, id := range ids {
		found, err := j.Find(ctx, id)
		if errors.Is(err, journal.ErrNotFound) {
			return nil, fmt.Errorf("%w in the journal; `avhub event list --failed` shows what can be applied again", err)
		}
		if err != nil {
			return nil, err
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("several sources have an event %q; name one by its position, which `avhub event show %s` tells", id, id)
		}
		if found[0].Failed == "" {
			c.say("event %s has not failed", id)
			continue
		}
		positions = append(positions, found[0].Position)
	}
	return positions, nil
}

func (c *cli) printReapplied(done journal.Outcomes, dryRun, asJSON bool) error {
	if asJSON {
		if done.StillFailed == nil {
			done.StillFailed = []journal.StillFailed{}
		}
		err := c.writeJSON(struct {
			DryRun bool `json:"dry_run"`
			journal.Outcomes
		}{dryRun, done})
		if err != nil {
			return err
		}
	} else if err := c.sayReapplied(done, dryRun); err != nil {
		return err
	}
	if done.Failed > 0 {
		return errReported
	}
	return nil
}

func (c *cli) sayReapplied(done journal.Outcomes, dryRun bool) error {
	if len(done.StillFailed) > 0 {
		t := newTable("POSITION", "TYPE", "TENANT", "STILL FAILS")
		t.whole = 3
		for _, f := range done.StillFailed {
			t.add(strconv.FormatInt(f.Position, 10), f.Type, f.TenantID, f.Reason)
		}
		if err := t.print(c); err != nil {
			return err
		}
		if more := done.Failed - int64(len(done.StillFailed)); more > 0 {
			c.say("and %s", count(more, "more event"))
		}
	}
	switch {
	case done.Applied+done.Failed == 0:
		c.say("nothing to apply: no such event has failed")
	case dryRun:
		c.say("%s would be applied, %s would fail again; nothing was changed", count(done.Applied, "event"), thousands(done.Failed))
	default:
		c.say("%s applied, %s failed again", were(done.Applied, "event"), thousands(done.Failed))
	}
	return nil
}
