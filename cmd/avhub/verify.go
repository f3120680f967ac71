package main

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/source"
	"github.com/avhub/avhub/core/verify"
	"github.com/spf13/cobra"
)

// verifyStages are what a meter calls them.
var verifyStages = map[verify.Stage]string{
	verify.StageReceivers: "reading bytes of receivers' logs", verify.StageJournal: "reading events",
	verify.StageIDs: "reading ids", verify.StageDeliveries: "reading rows of deliveries",
}

func (c *cli) verifyVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether anything was lost, doubled or put out of order",
		Long: "Reads the journal and how far each plugin has come, and compares what they say of each other:\n" +
			"whether every event that was accepted is there with the bytes and ids that it came with, and\n" +
			"whether each is settled, waits in a lane or is a dead letter. With the log of a receiver it also\n" +
			"compares what the hub counts as delivered with what arrived.\n\n" +
			"Changes nothing and holds nobody up: it looks at one moment of the database, beside running\n" +
			"hubs. It asks the plugins of the configuration which events they want and in which order, for\n" +
			"which it starts each once, without configuring it. Exit code 1 if anything is wrong.\n\n" +
			"docs/verify.md tells what is looked at, and what a receiver's log is.",
		Example: "  avhub verify\n  avhub verify --keys jwks.json --json\n  avhub verify --plugin billing --receiver billing.jsonl",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	var opts verify.Options
	cmd.Flags().StringArrayVar(&opts.Only, "plugin", nil, "only the deliveries of the plugin with this `name`; repeatable")
	cmd.Flags().StringArrayVar(&opts.Receivers, "receiver", nil, "a receiver's log: a `file`, or a folder of files named *.jsonl; repeatable")
	cmd.Flags().Int64Var(&opts.From, "from", 0, "the first `position` whose deliveries stand in the receivers' logs")
	cmd.Flags().BoolVar(&opts.Discarded, "discarded", false, "operators gave up events: one that failed and waits nowhere is no finding")
	keys := cmd.Flags().String("keys", "", "verify the events' signatures with the keys of this JSON Web Key Set, a `file`")
	cmd.Flags().IntVar(&opts.Examples, "examples", 10, "`number` of findings of each kind that are told")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if opts.Examples < 1 {
			return wrongUse("--examples must be at least 1")
		}
		if opts.From < 0 {
			return wrongUse("--from must not be negative")
		}
		if len(opts.Receivers) == 0 && (opts.From > 0 || opts.Discarded) {
			return wrongUse("--from and --discarded are about the logs of receivers: add --receiver")
		}
		for _, path := range opts.Receivers {
			if _, err := os.Stat(path); err != nil {
				return wrongUse("--receiver: %s", err)
			}
		}
		if *keys != "" {
			if opts.Keys, err = readKeySet(*keys); err != nil {
				return wrongUse("--keys: %s", err)
			}
		}
		return c.withSections(cmd.Context(), flags, []string{"storage", "plugins", "log"}, func(d data) error {
			return c.verify(cmd.Context(), d, opts, *asJSON)
		})
	}
	return cmd
}

func (c *cli) verify(ctx context.Context, d data, opts verify.Options, asJSON bool) error {
	var unknown []string
	for _, p := range d.cfg.Plugins {
		if len(opts.Only) > 0 && !slices.Contains(opts.Only, p.Name) {
			continue
		}
		known, err := c.describeFor(ctx, d.cfg, p)
		if err != nil {
			unknown = append(unknown, fmt.Sprintf("plugin %s could not be asked for its order and events, so its deliveries are judged by less: %v", p.Name, err))
			continue
		}
		opts.Plugins = append(opts.Plugins, known)
	}
	meter := c.newMeter()
	opts.Progress = func(p verify.Progress) { meter.show(verifyStages[p.Stage], p.Done, p.Total) }
	report, err := verify.Run(ctx, d.Store, opts)
	meter.end()
	if err != nil {
		return err
	}
	report.Notes = append(unknown, report.Notes...)
	if asJSON {
		err = c.writeJSON(report)
	} else {
		err = c.printVerified(report)
	}
	if err == nil && !report.Clean {
		err = errReported
	}
	return err
}

// describeFor asks a plugin what must be known of it.
func (c *cli) describeFor(ctx context.Context, cfg *config.Config, p config.Plugin) (verify.Plugin, error) {
	ctx, cancel := context.WithTimeout(ctx, pluginWithin)
	defer cancel()
	_, info, err := plugin.Check(ctx, plugin.Spec{
		Name: p.Name, Command: p.Command, Env: p.Env, Attach: p.Attach, Config: json.RawMessage("{}"),
	}, plugin.Options{Log: c.logger(cfg.Log, c.err), Pin: plugin.Locker(cfg.LockFile(), p.Name)})
	if err != nil {
		return verify.Plugin{}, err
	}
	known := verify.Plugin{Name: p.Name, Order: info.Order, Events: p.Events, Coalesce: info.Coalesce}
	if len(known.Events) == 0 {
		known.Events = info.Events
	}
	return known, nil
}

// maxKeySet bounds a key set's file.
const maxKeySet = 1 << 20

func readKeySet(path string) (map[string]*rsa.PublicKey, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.Size() > maxKeySet {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxKeySet)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return source.ParseKeys(text)
}

func (c *cli) printVerified(r *verify.Report) error {
	if err := c.printFollowed(r); err != nil {
		return err
	}
	text := ""
	for _, f := range r.Findings {
		where := ""
		if f.Plugin != "" {
			where += ", plugin " + f.Plugin
		}
		if f.Key != "" {
			where += ", key " + f.Key
		}
		if f.Position > 0 {
			where += ", position " + strconv.FormatInt(f.Position, 10)
		}
		text += fmt.Sprintf("\n%s%s\n  %s\n  It means: %s.\n  To do:    %s.\n", c.paint(c.out, red, string(f.Kind)), clean(where), clean(f.What), f.Means, f.Do)
	}
	if err := c.write(text); err != nil {
		return err
	}
	for _, note := range r.Notes {
		c.say("%s", note)
	}
	signed := ""
	if r.Signed > 0 {
		signed = fmt.Sprintf(", %s verified", count(r.Signed, "signature"))
	}
	if r.Clean {
		c.say("%s at positions %d to %d%s: nothing is lost, doubled or out of order, as far as was looked at", count(r.Events, "event"), r.First, r.Last, signed)
		return nil
	}
	var all int64
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		all += r.Counts[kind]
		if n := r.Counts[kind]; n > 1 {
			c.say("%s: %s", kind, count(n, "finding"))
		}
	}
	c.say("%s in %s at positions %d to %d%s", count(all, "finding"), count(r.Events, "event"), r.First, r.Last, signed)
	return nil
}

// printFollowed prints how far the plugins have come, and what was received.
func (c *cli) printFollowed(r *verify.Report) error {
	if len(r.Plugins) == 0 {
		return nil
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	t := newTable("PLUGIN", "PARTITIONS", "POSITION", "BEHIND", "KEYS", "LANES", "DEAD", "DELIVERED", "EVENTS", "AGAIN", "MOST AFTER A CRASH")
	for _, p := range r.Plugins {
		cells := []string{p.Plugin, strconv.Itoa(p.Partitions), number(p.Position), number(p.Behind), number(p.States), number(p.Lanes), number(p.DeadLetters), "", "", "", ""}
		if g := p.Received; g != nil {
			cells = append(cells[:7], number(g.Deliveries), number(g.Events), number(g.Redelivered), number(g.MostAfterCrash))
		}
		t.add(cells...)
	}
	return t.print(c)
}
