package main

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/journal"
	"github.com/spf13/cobra"
)

func (c *cli) eventShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID|POSITION",
		Short: "Show all of an event",
		Long: "Shows an event with the changes that it made and what vouches for it: the id of the\n" +
			"provider's key, the provider's signature, and the SHA-256 of the bytes it signed. The\n" +
			"signature was verified before the event was journaled.",
		Args: oneArg("the id or the position of an event"),
	}
	flags := addConfigFlags(cmd)
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withData(cmd.Context(), flags, func(d data) error {
			found, err := d.journal.Find(cmd.Context(), args[0])
			if errors.Is(err, journal.ErrNotFound) {
				return fmt.Errorf("%w in the journal; `avhub event list` shows what there is", err)
			}
			if err != nil {
				return err
			}
			if len(found) > 1 {
				slices.SortFunc(found, func(a, b journal.Found) int { return cmp.Compare(a.Position, b.Position) })
				var places []string
				for _, f := range found {
					places = append(places, fmt.Sprintf("%d (source %s)", f.Position, f.Source))
				}
				return fmt.Errorf("several sources have an event %q; show one by its position: %s", args[0], strings.Join(places, ", "))
			}
			if *asJSON {
				e := newEventJSON(found[0].Event)
				e.Conflicts, e.Evidence = found[0].Conflicts, newEvidenceJSON(found[0].Evidence)
				return c.writeJSON(e)
			}
			return c.write(c.describeEvent(found[0]))
		})
	}
	return cmd
}

func (c *cli) describeEvent(f journal.Found) string {
	var b strings.Builder
	heading := func(text string) { fmt.Fprintf(&b, "\n%s\n", c.paint(c.out, bold, text)) }
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-13s %s\n", name, clean(value))
		}
	}
	fmt.Fprintf(&b, "%s\n", c.paint(c.out, bold, clean(fmt.Sprintf("event %d: %s", f.Position, f.Type))))
	line("id", f.ID)
	line("source", fmt.Sprintf("%s, channel %s", f.Source, f.Channel))
	line("time", f.Time.Format("2006-01-02T15:04:05.000Z")+" (the provider's clock)")
	line("received", f.ReceivedAt.Format("2006-01-02T15:04:05.000Z"))
	line("tenant", f.TenantID)
	line("application", f.ApplicationID)
	line("about", f.Subject())
	line("mirror", outcome(f.Event))
	if f.Conflicts > 0 {
		line("conflicts", count(int64(f.Conflicts), "later delivery")+" of this id with another body; the first one stands")
	}

	if len(f.Changes) > 0 {
		heading("changes")
		for _, change := range f.Changes {
			fmt.Fprintf(&b, "  %s  %s: %s → %s\n", clean(change.Entity+" "+change.ID), clean(change.Field),
				compact(change.Before), compact(change.After))
		}
		if f.ChangesOmitted > 0 {
			fmt.Fprintf(&b, "  … and %d more that were not kept\n", f.ChangesOmitted)
		}
	}

	heading("evidence")
	proof := newEvidenceJSON(f.Evidence)
	line("key id", proof.KeyID)
	line("signed bytes", fmt.Sprintf("%d, SHA-256 %s", proof.SignedBytes, proof.SignedSHA256))
	line("signed at", proof.SignedTimestamp)
	line("signature", base64.StdEncoding.EncodeToString(proof.Signature))

	heading("data")
	fmt.Fprintf(&b, "  %s\n", pretty(f.Data, "  "))
	return b.String()
}
