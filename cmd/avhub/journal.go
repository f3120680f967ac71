package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func (c *cli) journalVerbs() *cobra.Command {
	return c.group("journal", "Look at how much the journal holds and why, and remove what is old",
		"The journal keeps events for journal.retain, and longer where a plugin still needs them.",
		c.journalStatus(), c.journalPrune())
}

// withRetention calls do with what removes old events by the configuration.
func (c *cli) withRetention(ctx context.Context, f *configFlags, do func(data, *retention.Retention) error) error {
	return c.withSections(ctx, f, []string{"storage", "journal", "mirror"}, func(d data) error {
		return do(d, hub.Retention(d.cfg, d.Store, d.journal, zerolog.Nop(), nil))
	})
}

func (c *cli) journalStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the journal holds, since when, and what keeps events from being removed",
		Args:  noArgs,
	}
	flags := addConfigFlags(cmd)
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withRetention(cmd.Context(), flags, func(_ data, r *retention.Retention) error {
			is, err := r.Status(cmd.Context())
			if err != nil {
				return err
			}
			if *asJSON {
				return c.writeJSON(is)
			}
			return c.printStatus(is)
		})
	}
	return cmd
}

func (c *cli) printStatus(is retention.Status) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	if is.Events == 0 {
		line("events", "none; the next one gets position %d", is.Last+1)
	} else {
		line("events", "%d, at positions %d to %d", is.Events, is.First, is.Last)
	}
	if is.Since != nil {
		line("oldest", "received %s", is.Since.Format(time.RFC3339))
	}
	size := "%s"
	if is.FreeBytes > 0 {
		size += ", of which " + bytesText(is.FreeBytes) + " are used for what comes next"
	}
	line("size", size, bytesText(is.Bytes))
	line("retain", "%s; ids for %s at least", is.Retain, is.DedupeFor)
	if off := time.Since(is.Clock); off > time.Hour {
		line("clock", "events are judged as of %s: the hub was down, or this clock has jumped", is.Clock.Format(time.RFC3339))
	}
	if is.Retain != "forever" {
		line("old enough", "%s, of which %d can be removed now", count(is.Expired, "event"), is.Prunable)
	}
	if is.Failed > 0 {
		line("failed", "%s that the mirror could not apply stay until `avhub event reapply`", count(is.Failed, "event"))
	}
	if is.Conflicts > 0 {
		line("conflicts", "%s came again with another body; see `avhub event list --conflicts`", count(is.Conflicts, "id"))
	}
	if err := c.write(b.String()); err != nil {
		return err
	}
	if len(is.Holds) == 0 {
		return nil
	}
	t := newTable("NEEDED BY", "BEYOND POSITION", "HOLDS BACK")
	for _, h := range is.Holds {
		t.add(h.By, strconv.FormatInt(h.Position, 10), count(h.Holds, "event"))
	}
	if err := c.write("\n"); err != nil {
		return err
	}
	if err := t.print(c); err != nil {
		return err
	}
	for _, h := range is.Holds {
		if h.Holds > 0 && h.Advice != "" {
			c.say("%s: %s", h.By, h.Advice)
		}
	}
	return nil
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, names := float64(n)/unit, []string{"KiB", "MiB", "GiB", "TiB"}
	for value >= unit && len(names) > 1 {
		value, names = value/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %s", value, names[0])
}

func (c *cli) journalPrune() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove events that are older than journal.retain and that nobody needs",
		Long: "Removes what a running hub removes by itself, once a minute: events that are older than\n" +
			"journal.retain and that every plugin has left behind, and ids that are older than\n" +
			"journal.dedupe_for. Events do not wait for it: it works in small steps. What plugins still\n" +
			"need stays; `avhub journal status` shows who needs what.",
		Example: "  avhub journal prune --dry-run",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "only tell about how many events would be removed")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withRetention(cmd.Context(), flags, func(_ data, r *retention.Retention) error {
			if *dry {
				is, err := r.Status(cmd.Context())
				if err != nil {
					return err
				}
				if *asJSON {
					return c.writeJSON(is)
				}
				return c.write(fmt.Sprintf("would remove about %s, and begin at position %d\n", count(is.Prunable, "event"), is.First+is.Prunable))
			}
			var progress func(retention.Done)
			if isTerminal(c.err) {
				progress = func(d retention.Done) {
					fmt.Fprintf(c.err, "\r%s and %s so far", count(d.Events, "event"), count(d.IDs, "id"))
				}
			}
			done, err := r.Prune(cmd.Context(), progress)
			if progress != nil && done.Events+done.IDs > 0 {
				fmt.Fprint(c.err, "\r\x1b[K")
			}
			if err != nil {
				if done.Events+done.IDs > 0 {
					c.say("%s and %s were removed before the failure", count(done.Events, "event"), count(done.IDs, "id"))
				}
				return err
			}
			if *asJSON {
				return c.writeJSON(done)
			}
			return c.write(fmt.Sprintf("removed %s and %s; the journal begins at position %d\n", count(done.Events, "event"), count(done.IDs, "id"), done.First))
		})
	}
	return cmd
}
