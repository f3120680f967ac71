package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/mirror/ask"
)

func (c *cli) printList(r *ask.Resource, rows []ask.Row, asJSON bool) error {
	if asJSON {
		if rows == nil {
			rows = []ask.Row{}
		}
		return c.writeJSON(rows)
	}
	if len(rows) == 0 {
		c.say("no %s", r.Plural)
		return nil
	}
	return c.printRows(r, r.Overview, rows)
}

// printRows prints these columns as a table. Keys are not cut: they are what
// other verbs take.
func (c *cli) printRows(r *ask.Resource, columns []string, rows []ask.Row) error {
	var head []string
	for _, name := range columns {
		head = append(head, strings.ToUpper(name))
	}
	t := newTable(head...)
	t.whole = slices.Index(columns, r.Key)
	for _, row := range rows {
		var cells []string
		for _, name := range columns {
			cells = append(cells, cellText(row.Value(name)))
		}
		t.add(cells...)
	}
	return t.print(c)
}

// printRecord prints all columns below each other, then a table for each
// relation.
func (c *cli) printRecord(record *ask.Record) error {
	width := 0
	for _, col := range record.Resource.Columns {
		width = max(width, len(col.Name))
	}
	var b strings.Builder
	for i, col := range record.Resource.Columns {
		fmt.Fprintf(&b, "%s  %s\n", c.paint(c.out, dim, fmt.Sprintf("%-*s", width, col.Name)), orDash(clean(cellText(record.Values[i]))))
	}
	if err := c.write(b.String()); err != nil {
		return err
	}
	for _, related := range record.With {
		if err := c.printRelated(record, related); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) printRelated(record *ask.Record, related ask.Related) error {
	of, err := ask.Find(related.Of)
	if err != nil {
		return err
	}
	title := "\n" + c.paint(c.out, bold, related.Name)
	switch {
	case related.Many:
		title += fmt.Sprintf(" (%d)", related.Total)
	case len(related.Rows) == 0 && record.Value(related.From) != nil:
		title += " (not in the mirror)"
	case len(related.Rows) == 0:
		title += " (none)"
	}
	if err := c.write(title + "\n"); err != nil || len(related.Rows) == 0 {
		return err
	}
	// What is the same in every row is what the rows belong to.
	columns := slices.DeleteFunc(slices.Clone(of.Overview), func(name string) bool {
		return related.Many && (name == related.Column || of.Column(name).Beside == record.Resource.Name)
	})
	if err := c.printRows(of, columns, related.Rows); err != nil {
		return err
	}
	if related.Total > len(related.Rows) {
		c.say("these are the first %d; all of them: avhub %s list%s", len(related.Rows), of.Short, filterFor(of, related, record))
	}
	return nil
}

// filterFor is the flag with which a list has the rows of a relation.
func filterFor(of *ask.Resource, related ask.Related, record *ask.Record) string {
	for _, f := range of.Filters {
		if f.Column == related.Column && f.Kind == ask.Text {
			return " --" + f.Name + " " + quoted(cellText(record.Value(related.From)))
		}
	}
	return ""
}

// cellText is a value for people.
func cellText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return yesNo(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return stamp(v)
	case json.RawMessage:
		var list []string
		if json.Unmarshal(v, &list) == nil {
			return strings.Join(list, ", ")
		}
		var compact bytes.Buffer
		if json.Compact(&compact, v) == nil {
			return compact.String()
		}
	}
	return ""
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// yesOrNo is a flag that filters by true or false, or not at all.
type yesOrNo struct{ value *bool }

// String is the flag's value; empty when it is not given.
func (y *yesOrNo) String() string {
	if y == nil || y.value == nil {
		return ""
	}
	return strconv.FormatBool(*y.value)
}

// Set reads the flag's value.
func (y *yesOrNo) Set(text string) error {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("it takes true or false")
	}
	y.value = &value
	return nil
}

// Type names the flag's value in help.
func (y *yesOrNo) Type() string { return "true|false" }
