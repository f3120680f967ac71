package main

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/spf13/cobra"
)

func (c *cli) pluginPause() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause NAME",
		Short: "Stop deliveries to a plugin, on all hubs",
		Long: "Calls in flight are finished, the plugin's place is kept, and events pile up in the journal until\n" +
			"plugin resume. Its process goes on running. The command waits until nothing is under way any more.",
		Example: "  avhub plugin pause billing --reason 'Stripe is being migrated'",
		Args:    oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	var reason string
	cmd.Flags().StringVar(&reason, "reason", "", "`why`, for plugin list")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withData(cmd.Context(), flags, func(d data) error {
			if err := fanout.Pause(cmd.Context(), d.Store, args[0], reason); err != nil {
				return err
			}
			if err := fanout.WaitPaused(cmd.Context(), d.Store, args[0], fanout.AckTimeout); err != nil {
				return err
			}
			c.say("%s is paused", args[0])
			return nil
		})
	}
	return cmd
}

func (c *cli) pluginRestart() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restart NAME",
		Short: "Drain a plugin's process and start it anew",
		Long: "Every hub that delivers to the plugin finishes the calls in flight, ends its process and starts a\n" +
			"new one. That ends a quarantine and the pause after a crash, too. No event is lost or skipped.",
		Args: oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withData(cmd.Context(), flags, func(d data) error {
			if err := fanout.Restart(cmd.Context(), d.Store, args[0]); err != nil {
				return err
			}
			c.say("%s will be restarted; a running hub acts on it within a second", args[0])
			return nil
		})
	}
	return cmd
}

func (c *cli) pluginResume() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume NAME",
		Short: "Let a paused plugin go on, where it stopped or elsewhere",
		Long: "Lets the plugin go on where it stopped. With --from it goes on elsewhere: now skips what has piled\n" +
			"up; a time, a position or beginning delivers what comes after that, once more where it was\n" +
			"delivered before. What the plugin remembers, blocked lanes and dead letters stay; plugin reset\n" +
			"forgets them. On a terminal, and without --from, it asks when events have piled up.\n\n" +
			"It also lets a plugin that has halted try again, with the configuration that it has, and starts\n" +
			"one that is in quarantine.",
		Example: "  avhub plugin resume billing\n  avhub plugin resume billing --from now --yes\n" +
			"  avhub plugin resume billing --from 2026-03-01T00:00:00Z",
		Args: oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	var from string
	var yes bool
	cmd.Flags().StringVar(&from, "from", "", "`place`: now, beginning, a time as RFC 3339, or the position of the last event that is not wanted")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		return c.withData(ctx, flags, func(d data) error {
			if from == "" && !yes {
				var err error
				if from, err = c.askWhere(ctx, d, args[0]); err != nil {
					return err
				}
			}
			if from == "" {
				if err := fanout.Resume(ctx, d.Store, args[0]); err != nil {
					return err
				}
				c.say("%s goes on where it stopped", args[0])
				return nil
			}
			to, err := parsePlace("from", from)
			if err != nil {
				return err
			}
			if to == fanout.StartSnapshot {
				return wrongUse("--from takes no snapshot: use avhub plugin reset %s --to snapshot", args[0])
			}
			return c.move(ctx, d, fanout.Move{Plugin: args[0], To: to}, yes, false, false)
		})
	}
	return cmd
}

// parsePlace reads a start, or a position.
func parsePlace(flag, text string) (fanout.Start, error) {
	if p, err := strconv.ParseInt(text, 10, 64); err == nil {
		return fanout.StartAfter(p), nil
	}
	to, err := fanout.ParseStart(text)
	if err != nil || text == "" {
		return to, wrongUse("--%s: %q is no place: %s, or a position", flag, text, fanout.ErrStart)
	}
	return to, nil
}

// askWhere asks where a paused plugin should go on, where there is somebody to
// ask and something to decide. Empty: where it stopped.
func (c *cli) askWhere(ctx context.Context, d data, name string) (string, error) {
	if !isTerminal(c.in) {
		return "", nil
	}
	w, err := fanout.Wanted(ctx, d.Store, name)
	if err != nil || !w.Paused {
		return "", err
	}
	waits, err := fanout.Never(ctx, d.Store, name, "")
	if err != nil || waits.Waiting == 0 {
		return "", nil //nolint:nilerr // what it gets is not known, so there is nothing to ask about
	}
	fmt.Fprintf(c.err, "Piled up for %s: %s. [g]o on with that, skip to [n]ow, or from a time (RFC 3339)? [g] ", name, count(waits.Waiting, "event"))
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	switch answer = strings.TrimSpace(answer); {
	case err != nil:
		c.say("nothing was changed")
		return "", errReported
	case answer == "", strings.EqualFold(answer, "g"):
		return "", nil
	case strings.EqualFold(answer, "n"):
		return "now", nil
	}
	return answer, nil
}

func (c *cli) pluginReset() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset NAME",
		Short: "Start a plugin anew, at another place of the log",
		Long: "Deletes what the plugin remembers (unless --keep-state), its blocked lanes and its dead letters,\n" +
			"ends its replays, and has it begin at --to: beginning, now, a time, or snapshot, which tells it the\n" +
			"mirror as it stands, one event for each row, before the log goes on. What is outside, such as\n" +
			"customers at a payment provider, is not touched: connectors find it again by their idempotency\n" +
			"keys and lookups.\n\n" +
			"It works while hubs run: the plugin is paused, its calls in flight are finished, and it goes on at\n" +
			"the new place. When it is interrupted, the plugin stays paused; the same command does the rest.\n" +
			"Says what would be deleted and asks, unless --yes is given; --dry-run says it and stops.",
		Example: "  avhub plugin reset billing --to snapshot --dry-run\n  avhub plugin reset audit --to beginning --keep-state --yes",
		Args:    oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	var to string
	var keep, yes, dry bool
	cmd.Flags().StringVar(&to, "to", "", "`place`: beginning, now, snapshot, or a time as RFC 3339 (required)")
	cmd.Flags().BoolVar(&keep, "keep-state", false, "keep what the plugin remembers")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if to == "" {
			return wrongUse("say where to: --to beginning, now, snapshot, or a time such as 2026-01-31T08:00:00Z")
		}
		place, err := parsePlace("to", to)
		if err != nil {
			return err
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			m := fanout.Move{Plugin: args[0], To: place, Reset: true, KeepState: keep}
			if dry {
				plan, err := m.Plan(cmd.Context(), d.Store, d.journal)
				if err != nil {
					return err
				}
				if *asJSON {
					return c.writeJSON(plan)
				}
				return c.write("would " + describeMove(m, plan) + "\n")
			}
			return c.move(cmd.Context(), d, m, yes, true, *asJSON)
		})
	}
	return cmd
}

// move asks, moves and says what was done.
func (c *cli) move(ctx context.Context, d data, m fanout.Move, yes, always, asJSON bool) error {
	plan, err := m.Plan(ctx, d.Store, d.journal)
	if err != nil {
		return err
	}
	if !yes && (always || plan.Passed+plan.Again > 0) {
		if err := c.confirm("this would " + describeMove(m, plan)); err != nil {
			return err
		}
	}
	line := c.newMeter()
	m.Progress = func(done, total int64) { line.show("changing rows", done, total) }
	moved, err := m.Do(ctx, d.Store, d.journal)
	line.end()
	if err != nil {
		return err
	}
	if asJSON {
		return c.writeJSON(moved)
	}
	c.say("%s goes on beyond position %d", m.Plugin, moved.To)
	if moved.Snapshot {
		c.say("it gets the mirror as it stands first; avhub replay list tells how far that is")
	}
	return nil
}

// describeMove says what a move does, behind "would".
func describeMove(m fanout.Move, p fanout.Moved) string {
	parts := []string{fmt.Sprintf("move %s from position %d to %s (position %d)", m.Plugin, p.From, m.To, p.To)}
	if p.Passed > 0 {
		parts = append(parts, "pass over "+count(p.Passed, "event")+" of the journal")
	}
	if p.Again > 0 {
		parts = append(parts, "go through "+count(p.Again, "event")+" of the journal again")
	}
	if m.Reset {
		parts = append(parts, fmt.Sprintf("delete %s and %s", count(p.Lanes, "blocked lane"), count(p.DeadLetters, "dead letter")))
		if m.KeepState {
			parts = append(parts, "keep what it remembers")
		} else {
			parts = append(parts, "delete what it remembers of "+count(p.States, "key"))
		}
	}
	if p.Replays > 0 {
		parts = append(parts, "end "+count(p.Replays, "replay"))
	}
	if p.Snapshot {
		parts = append(parts, "tell it the mirror as it stands")
	}
	return strings.Join(parts, ", ")
}

// untilEnded follows a replay until it has ended, ctx ends, or nobody works on it.
func (c *cli) untilEnded(ctx context.Context, d data, r fanout.Replay, total int64) (fanout.Replay, error) {
	line := c.newMeter()
	defer line.end()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	said := false
	for began := time.Now(); ; {
		now, err := fanout.FindReplay(ctx, d.Store, r.ID)
		if err != nil {
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			return r, err
		}
		r = now
		if r.State != fanout.ReplayRunning {
			return r, nil
		}
		line.show("replaying", r.Counts.Total(), max(total, r.Counts.Total()))
		if !said && r.Counts.Total() == 0 && time.Since(began) > 10*time.Second {
			said = true
			line.end()
			c.say("nothing has happened yet: is a hub running, and the plugin neither paused nor halted? avhub plugin list tells")
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-tick.C:
		}
	}
}
