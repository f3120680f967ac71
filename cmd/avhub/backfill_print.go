package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror/backfill"
)

// Lists that people read are cut; --json has more.
const (
	shownChanges  = 50
	shownDrifts   = 100
	shownProblems = 20
)

// printSummary tells what a backfill did.
func (c *cli) printSummary(sum backfill.Summary) error {
	if sum.ResumedFrom != nil {
		c.say("went on with the run of %s: %s had been read", stamp(*sum.ResumedFrom), count(int64(sum.Earlier), "unit"))
	}
	if sum.DryRun {
		if err := c.printChanges(sum.Changes, sum.ChangesOmitted); err != nil {
			return err
		}
	}
	did := ""
	if sum.DryRun {
		did = " (dry run: nothing was written)"
	}
	text := fmt.Sprintf("%s: %s with %s in %s; %s were new%s\n", sum.Source,
		count(int64(sum.Units), "unit"), count(sum.Members, "member"), took(sum.Took), count(sum.Facts, "fact"), did)
	if err := c.write(text); err != nil {
		return err
	}
	if len(sum.Rows) > 0 {
		t := newTable("ROWS", "CREATED", "CHANGED", "UNCHANGED")
		for _, kind := range slices.Sorted(maps.Keys(sum.Rows)) {
			n := sum.Rows[kind]
			t.add(kind, fmt.Sprint(n.Created), fmt.Sprint(n.Changed), fmt.Sprint(n.Unchanged))
		}
		if err := t.print(c); err != nil {
			return err
		}
	}
	if sum.Departed > 0 {
		c.say("%s: not listed any more", count(sum.Departed, "member"))
	}
	c.saySkipped(sum.Skipped)
	for _, p := range sum.Problems[:min(len(sum.Problems), shownProblems)] {
		c.say("  %s, member %d (%s): %s", p.Unit, p.Number, orDash(p.ID), p.Reason)
	}
	if more := int64(len(sum.Problems)-min(len(sum.Problems), shownProblems)) + sum.ProblemsOmitted; more > 0 {
		c.say("  … and %d more", more)
	}
	c.sayUnread(sum.Unknown, sum.Failed)
	return nil
}

func (c *cli) printChanges(changes []event.Change, omitted int64) error {
	if len(changes) == 0 {
		return nil
	}
	t := newTable("ENTITY", "ID", "FIELD", "BEFORE", "AFTER")
	for _, change := range changes[:min(len(changes), shownChanges)] {
		t.add(change.Entity, change.ID, change.Field, value(change.Before), value(change.After))
	}
	if err := t.print(c); err != nil {
		return err
	}
	if more := int64(len(changes)-min(len(changes), shownChanges)) + omitted; more > 0 {
		return c.write(fmt.Sprintf("… and %d more\n", more))
	}
	return c.write("\n")
}

// value is a change's value for people: nothing for null.
func value(raw json.RawMessage) string {
	if string(raw) == "null" {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (c *cli) saySkipped(skipped map[string]int64) {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		parts = append(parts, fmt.Sprintf("%d %s", skipped[reason], strings.ReplaceAll(reason, "_", " ")))
	}
	if len(parts) > 0 {
		c.say("skipped: %s", strings.Join(parts, ", "))
	}
}

// sayUnread tells of units that could not be read.
func (c *cli) sayUnread(unknown []string, failed []backfill.Failure) {
	if len(unknown) > 0 {
		some := unknown[:min(len(unknown), 5)]
		c.say("%s of the mirror the provider does not know: %s", count(int64(len(unknown)), "tenant"), strings.Join(some, ", "))
	}
	for _, f := range failed {
		c.say("not read: %s: %s", f.Unit, f.Error)
	}
	if len(failed) > 0 {
		c.say("the same command reads what is left")
	}
}

// printComparison tells how provider and mirror differ.
func (c *cli) printComparison(found backfill.Comparison) error {
	shown := found.Drift[:min(len(found.Drift), shownDrifts)]
	if len(shown) > 0 {
		t := newTable("ENTITY", "ID", "FIELD", "PROVIDER", "MIRROR")
		for _, d := range shown {
			t.add(d.Entity, d.ID, d.Field, d.Provider, d.Mirror)
		}
		if err := t.print(c); err != nil {
			return err
		}
		if more := found.Drifts - int64(len(shown)); more > 0 {
			if err := c.write(fmt.Sprintf("… and %d more\n", more)); err != nil {
				return err
			}
		}
	}
	c.saySkipped(found.Skipped)
	c.sayUnread(found.Unknown, found.Failed)
	verdict := c.paint(c.out, green, "no difference")
	if found.Drifts > 0 {
		verdict = c.paint(c.out, red, count(found.Drifts, "difference"))
	}
	return c.write(fmt.Sprintf("%s: %s compared with the mirror in %s: %s\n", found.Source, count(found.Members, "member"), took(found.Took), verdict))
}

// progressLine is a line at the bottom of a terminal that is written again and
// again. What is logged meanwhile goes above it.
type progressLine struct {
	c     *cli
	on    bool // there is a terminal
	shown bool
	last  time.Time
	began time.Time
}

// progressEvery is how often the line is written.
const progressEvery = 100 * time.Millisecond

func (c *cli) newProgress() *progressLine { return &progressLine{c: c, on: isTerminal(c.err)} }

// Write clears the line and passes on what is logged.
func (p *progressLine) Write(b []byte) (int, error) {
	p.end()
	return p.c.err.Write(b)
}

func (p *progressLine) end() {
	if p.shown {
		p.shown = false
		_, _ = io.WriteString(p.c.err, "\r\x1b[K")
	}
}

// backfill shows how far a backfill has come; nil without a terminal.
func (p *progressLine) backfill() func(backfill.Progress) {
	if !p.on {
		return nil
	}
	p.began = time.Now()
	return func(is backfill.Progress) {
		now := time.Now()
		if now.Sub(p.last) < progressEvery {
			return
		}
		p.last, p.shown = now, true
		rate := float64(is.Members) / max(now.Sub(p.began).Seconds(), 0.001)
		fmt.Fprintf(p.c.err, "\r%d of %s, %s, %.0f/s, %s\x1b[K", is.UnitsDone, count(int64(is.UnitsTotal), "unit"),
			count(is.Members, "member"), rate, short(clean(is.Unit.String()), cellWidth))
	}
}
