package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/spf13/cobra"
)

func (c *cli) replayVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "replay PLUGIN",
		Annotations: map[string]string{"works alone": "yes"},
		Short:       "Deliver events again",
		Long: "Has a plugin get events again that it has behind it: of a time, a range of positions, types, a\n" +
			"tenant or a key. They come marked as replay, in order within their keys, beside the live events and\n" +
			"at a rate of their own, and the plugin's place in the log does not move. The replay is stored: hubs\n" +
			"work on it, also after a restart. An event that fails is tried again a few times while its key's\n" +
			"later ones wait, and becomes a dead letter then.\n\n" +
			"The command follows it and says what became of the events; the exit code is 1 if one failed.\n" +
			"Interrupting the command does not end the replay; avhub replay cancel does.",
		Example: "  avhub replay billing --tenant t1 --since 2026-03-01T00:00:00Z --until 2026-03-02T00:00:00Z\n" +
			"  avhub replay audit --since 7d --type 'member.*' --dry-run\n" +
			"  avhub replay billing --from-position 1200 --to-position 1300 --rate 50 --no-wait",
		Args: oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	var r fanout.Replay
	var since, until string
	var dry, wait, noWait bool
	cmd.Flags().StringVar(&since, "since", "", "only events received since then: a `time` as RFC 3339, or how long ago, such as 90m or 7d")
	cmd.Flags().StringVar(&until, "until", "", "only events received before then: a `time` in the same form")
	cmd.Flags().Int64Var(&r.After, "from-position", 0, "only events from this `position` on")
	cmd.Flags().Int64Var(&r.Until, "to-position", 0, "only events up to this `position`, with it")
	cmd.Flags().StringArrayVar(&r.Types, "type", nil, "only this type, or `pattern` such as tenant.*; repeatable")
	cmd.Flags().StringVar(&r.Tenant, "tenant", "", "only events of the tenant with this `id`")
	cmd.Flags().StringVar(&r.Key, "key", "", "only events of this `key`, such as tenant:t1")
	cmd.Flags().IntVar(&r.Rate, "rate", fanout.DefaultReplayRate, "events in a `second`; 0: as many as the plugin takes")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count the events, by type")
	cmd.Flags().BoolVar(&wait, "wait", true, "follow the replay until it has ended")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "store the replay and return")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.Plugin = args[0]
		if err := completeReplay(&r, since, until, time.Now(), cmd.Flags().Changed("to-position")); err != nil {
			return err
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			bounded, counts, err := fanout.CountReplay(cmd.Context(), d.Store, d.journal, r)
			if err != nil {
				return err
			}
			if dry {
				return c.printReplayPlan(bounded, counts, *asJSON)
			}
			started, err := fanout.StartReplay(cmd.Context(), d.Store, d.journal, r)
			if err != nil {
				return err
			}
			if !wait || noWait {
				if *asJSON {
					return c.writeJSON(started)
				}
				c.say("replay %d is stored: %s; avhub replay list tells how far it is", started.ID, count(sum(counts), "event"))
				return nil
			}
			return c.followReplay(cmd.Context(), d, started, sum(counts), *asJSON)
		})
	}
	cmd.AddCommand(c.replayList(), c.replayCancel())
	return cmd
}

// completeReplay checks the flags and fills in what they say.
func completeReplay(r *fanout.Replay, since, until string, now time.Time, toGiven bool) error {
	var err error
	if r.Since, err = parseTime("since", since, now); err != nil {
		return err
	}
	if r.Before, err = parseTime("until", until, now); err != nil {
		return err
	}
	for _, p := range r.Types {
		if err := event.ValidatePattern(p); err != nil {
			return wrongUse("--type: %s", err)
		}
	}
	switch {
	case r.After < 0 || r.Until < 0 || toGiven && r.Until == 0:
		return wrongUse("positions are numbers from 1")
	case r.Rate < 0:
		return wrongUse("--rate must not be negative")
	case r.Until > 0 && r.Until < r.After:
		return wrongUse("--to-position lies before --from-position")
	case !r.Before.IsZero() && !r.Since.Before(r.Before):
		return wrongUse("--until lies before --since")
	}
	r.After = max(r.After-1, 0)
	return nil
}

func sum(counts map[string]int64) (n int64) {
	for _, m := range counts {
		n += m
	}
	return n
}

func (c *cli) printReplayPlan(r fanout.Replay, counts map[string]int64, asJSON bool) error {
	if asJSON {
		return c.writeJSON(struct {
			Plugin string           `json:"plugin"`
			After  int64            `json:"after"`
			Until  int64            `json:"until"`
			Events int64            `json:"events"`
			Types  map[string]int64 `json:"types"`
		}{r.Plugin, r.After, r.Until, sum(counts), counts})
	}
	if len(counts) > 0 {
		t := newTable("TYPE", "EVENTS")
		for _, typ := range slices.Sorted(maps.Keys(counts)) {
			t.add(typ, strconv.FormatInt(counts[typ], 10))
		}
		if err := t.print(c); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("would deliver %s to %s again, from positions %d to %d", count(sum(counts), "event"), r.Plugin, r.After+1, r.Until)
	if n := sum(counts); r.Rate > 0 && n > 0 {
		line += ", in about " + (time.Duration(n) * time.Second / time.Duration(r.Rate)).Round(time.Second).String()
	}
	return c.write(line + "\n")
}

// followReplay follows a replay to its end and says how it ended.
func (c *cli) followReplay(ctx context.Context, d data, r fanout.Replay, total int64, asJSON bool) error {
	r, err := c.untilEnded(ctx, d, r, total)
	switch {
	case errors.Is(err, context.Canceled):
		c.say("replay %d goes on without this command; avhub replay list tells how far it is, avhub replay cancel %d ends it", r.ID, r.ID)
		return errReported
	case err != nil:
		return err
	}
	if asJSON {
		err = c.writeJSON(r)
	} else {
		err = c.write(fmt.Sprintf("replay %d is %s: %s\n", r.ID, r.State, replayCounts(r.Counts)))
	}
	if err != nil {
		return err
	}
	if r.Counts.Failed > 0 {
		c.say("what failed is a dead letter now: avhub delivery list --plugin %s", r.Plugin)
	}
	if r.State != fanout.ReplayDone || r.Counts.Failed > 0 {
		if r.Reason != "" {
			c.say("%s", r.Reason)
		}
		return errReported
	}
	return nil
}

func replayCounts(n fanout.ReplayCounts) string {
	text := fmt.Sprintf("%d applied, %d skipped, %d failed", n.Applied, n.Skipped, n.Failed)
	if n.Deferred > 0 {
		text += fmt.Sprintf(", %d left to blocked lanes", n.Deferred)
	}
	return text
}

func (c *cli) replayList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List replays and snapshots, newest first, and how far they have come",
		Args:  noArgs,
	}
	flags := addConfigFlags(cmd)
	var name string
	var running bool
	var limit int
	cmd.Flags().StringVar(&name, "plugin", "", "only those of the plugin with this `name`")
	cmd.Flags().BoolVar(&running, "running", false, "only those that go on")
	cmd.Flags().IntVar(&limit, "limit", 50, "`number` of replays")
	asJSON := jsonFlag(cmd, "a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			list, err := fanout.Replays(cmd.Context(), d.Store, name, running, limit)
			if err != nil {
				return err
			}
			if *asJSON {
				return c.writeJSON(list)
			}
			if len(list) == 0 {
				c.say("no replays")
				return nil
			}
			t := newTable("ID", "PLUGIN", "KIND", "STATE", "SELECTS", "DONE", "APPLIED", "SKIPPED", "FAILED", "SINCE")
			number := func(n int64) string { return strconv.FormatInt(n, 10) }
			for _, r := range list {
				t.add(number(r.ID), r.Plugin, r.Kind, r.State, selects(r), number(r.Counts.Total()), number(r.Counts.Applied),
					number(r.Counts.Skipped), number(r.Counts.Failed), stamp(r.CreatedAt))
			}
			return t.print(c)
		})
	}
	return cmd
}

// selects says in a few words which events a replay is about.
func selects(r fanout.Replay) string {
	if r.Kind == fanout.ReplaySnapshot {
		return "the mirror"
	}
	parts := []string{fmt.Sprintf("%d–%d", r.After+1, r.Until)}
	for _, p := range []string{r.Tenant, r.Key, strings.Join(r.Types, " ")} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " ")
}

func (c *cli) replayCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "End a replay; what it has delivered stays delivered",
		Args:  oneArg("the number of a replay"),
	}
	flags := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return wrongUse("%q is no number of a replay; avhub replay list shows them", args[0])
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			r, err := fanout.CancelReplay(cmd.Context(), d.Store, id)
			if err != nil {
				return err
			}
			c.say("replay %d is cancelled: %s so far", r.ID, replayCounts(r.Counts))
			return nil
		})
	}
	return cmd
}
