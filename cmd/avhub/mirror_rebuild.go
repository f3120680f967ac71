package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/avhub/avhub/core/mirror"
	"github.com/spf13/cobra"
)

func (c *cli) mirrorGroup() *cobra.Command {
	return c.group("mirror", "Prove that the mirror is what the journal says, or build it anew",
		"The mirror is what all events of the journal say together. These verbs fold the journal beside\n"+
			"the tables and compare: verify tells what differs, rebuild brings the tables to it. Hubs may go\n"+
			"on meanwhile.",
		c.mirrorVerify(), c.mirrorRebuild())
}

// entityFlag adds --entity to a verb.
func entityFlag(cmd *cobra.Command, what string) *[]string {
	return cmd.Flags().StringArray("entity", nil, what+" of this `kind`: "+strings.Join(mirror.Kinds(), ", ")+"; repeatable")
}

func checkEntities(kinds []string) error {
	for _, kind := range kinds {
		if !slices.Contains(mirror.Kinds(), kind) {
			return wrongUse("--entity: there is no %q; there are %s", kind, strings.Join(mirror.Kinds(), ", "))
		}
	}
	return nil
}

// mirrorStages are what a meter calls them.
var mirrorStages = map[mirror.Stage]string{
	mirror.StageFold: "reading events", mirror.StageCompare: "comparing entities", mirror.StageWrite: "replacing entities",
}

func (m *meter) mirror(p mirror.Progress) { m.show(mirrorStages[p.Stage], p.Done, p.Total) }

func (c *cli) mirrorVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the mirror is what the journal says",
		Long: "Reads all events of the journal, works out which rows they make, and compares them with the\n" +
			"rows that are there, as both were at one moment. Changes nothing and holds nobody up. Exit\n" +
			"code 1 if anything differs; `avhub mirror rebuild` mends it.\n\n" +
			"Events that failed when they came are left out. Sessions are not looked at: your application\n" +
			"writes them.",
		Example: "  avhub mirror verify\n  avhub mirror verify --entity organization --examples 100 --json",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	kinds := entityFlag(cmd, "only rows")
	examples := cmd.Flags().Int("examples", 10, "`number` of rows per table whose differences are told")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkEntities(*kinds); err != nil {
			return err
		}
		if *examples < 0 {
			return wrongUse("--examples must not be negative")
		}
		return c.withMirror(cmd.Context(), flags, func(d data, m *mirror.Mirror) error {
			meter := c.newMeter()
			report, err := m.Verify(cmd.Context(), d.journal, mirror.VerifyOptions{Entities: *kinds, Examples: *examples, Progress: meter.mirror})
			meter.end()
			if err != nil {
				return err
			}
			if *asJSON {
				err = c.writeJSON(struct {
					Clean bool `json:"clean"`
					*mirror.Report
				}{report.Clean(), report})
			} else {
				err = c.printReport(report)
			}
			if err == nil && !report.Clean() {
				err = errReported
			}
			return err
		})
	}
	return cmd
}

func (c *cli) printReport(r *mirror.Report) error {
	t := newTable("TABLE", "ROWS", "EQUAL", "MISSING", "UNEXPECTED", "DIFFERENT")
	var rows, wrong int64
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, table := range r.Tables {
		t.add(table.Table, number(table.Rows), number(table.Equal), number(table.Missing), number(table.Unexpected), number(table.Different))
		rows += table.Rows
		wrong += table.Missing + table.Unexpected + table.Different
	}
	if err := t.print(c); err != nil {
		return err
	}
	if err := c.printDifferences(r); err != nil {
		return err
	}
	c.sayTally(r.Tally)
	if r.OtherRules {
		c.say("the rows were written under other rules than those of this configuration, or by an earlier version")
	}
	if wrong > 0 {
		c.say("%s not what the journal says up to position %d; `avhub mirror rebuild` mends that", are(wrong, "row"), r.Position)
		return nil
	}
	c.say("%s, all as the journal says up to position %d", count(rows, "row"), r.Position)
	return nil
}

func (c *cli) printDifferences(r *mirror.Report) error {
	t := newTable("ENTITY", "ID", "FIELD", "EXPECTED", "FOUND")
	for _, table := range r.Tables {
		for _, d := range table.Examples {
			t.add(d.Entity, d.ID, d.Field, string(d.Expected), string(d.Found))
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	if err := c.write("\n"); err != nil {
		return err
	}
	return t.print(c)
}

// sayTally tells of the events that are not in what the journal says.
func (c *cli) sayTally(t mirror.Tally) {
	if t.Failed > 0 {
		c.say("%s left out, as the mirror could not apply what they say: `avhub event list --failed`", were(t.Failed, "event"))
	}
	if t.Appliable > 0 {
		c.say("%s of them can probably be applied by now: `avhub event reapply --all`", thousands(t.Appliable))
	}
	if t.Refused > 0 {
		c.say("%s applied by another version, and this one cannot use the data: what was said is not in the comparison", were(t.Refused, "event"))
	}
}

func are(n int64, noun string) string {
	if n == 1 {
		return count(n, noun) + " is"
	}
	return count(n, noun) + " are"
}

func were(n int64, noun string) string {
	if n == 1 {
		return count(n, noun) + " was"
	}
	return count(n, noun) + " were"
}

func (c *cli) mirrorRebuild() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Bring the mirror to what the journal says",
		Long: "Reads all events of the journal, works out which rows they make, and replaces, adds and deletes\n" +
			"the rows that differ, in place and in small transactions. Needed after a change of\n" +
			"mirror.application_id, on_delete, plan_from or plan_application (restart the hubs first), and\n" +
			"after damage. Hubs may go on. It can be interrupted anywhere and run again.\n\n" +
			"Sessions of people whose rows are deleted go with them.",
		Example: "  avhub mirror rebuild --dry-run\n  avhub mirror rebuild --entity organization",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	kinds := entityFlag(cmd, "only the rows")
	dryRun := cmd.Flags().Bool("dry-run", false, "only tell how many rows would change")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkEntities(*kinds); err != nil {
			return err
		}
		return c.withMirror(cmd.Context(), flags, func(d data, m *mirror.Mirror) error {
			meter := c.newMeter()
			done, err := m.Rebuild(cmd.Context(), d.journal, mirror.RebuildOptions{Entities: *kinds, DryRun: *dryRun, Progress: meter.mirror})
			meter.end()
			if err != nil {
				return err
			}
			if *asJSON {
				return c.writeJSON(done)
			}
			return c.printRebuilt(done)
		})
	}
	return cmd
}

func (c *cli) printRebuilt(r *mirror.Rebuilt) error {
	n := r.Changed()
	if n > 0 {
		t := newTable("TABLE", "INSERTED", "REPLACED", "DELETED")
		for _, table := range r.Tables {
			t.add(table.Table, strconv.FormatInt(table.Inserted, 10), strconv.FormatInt(table.Replaced, 10), strconv.FormatInt(table.Deleted, 10))
		}
		if err := t.print(c); err != nil {
			return err
		}
	}
	c.sayTally(r.Tally)
	switch {
	case n == 0:
		c.say("nothing to do: the mirror is what the journal says up to position %d", r.Position)
	case r.DryRun:
		c.say("%s would change; nothing was changed", count(n, "row"))
	default:
		c.say("%s changed: the mirror is what the journal says up to position %d", were(n, "row"), r.Position)
	}
	return nil
}
