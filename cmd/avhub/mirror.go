package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/ent"
	"github.com/spf13/cobra"
)

// column is one value of a row of the mirror, under its name in the database. A
// nil pointer is NULL.
type column struct {
	name  string
	value any
}

// row is a row of the mirror, in the order of its columns, without what is the
// hub's own.
type row []column

// MarshalJSON writes an object that keeps the order.
func (r row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, col := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(col.value)
		if err != nil {
			return nil, fmt.Errorf("writing column %s: %w", col.name, err)
		}
		fmt.Fprintf(&b, "%q:%s", col.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// cell is the value of a column for people.
func (r row) cell(name string) string {
	for _, col := range r {
		if col.name == name {
			return cellText(col.value)
		}
	}
	return ""
}

func cellText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case *string:
		if v != nil {
			return *v
		}
		return ""
	case bool:
		return yesNo(v)
	case *bool:
		if v != nil {
			return yesNo(*v)
		}
		return ""
	case *int64:
		if v != nil {
			return strconv.FormatInt(*v, 10)
		}
		return ""
	case time.Time:
		return stamp(v)
	case *time.Time:
		if v != nil {
			return stamp(*v)
		}
		return ""
	case []string:
		return strings.Join(v, ", ")
	}
	text, err := json.Marshal(value)
	if err != nil || string(text) == "null" {
		return ""
	}
	return string(text)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// model is a table of the mirror as the verbs see it.
type model struct {
	noun    string   // the verb: "org"
	plural  string   // "organizations"
	key     string   // column of the primary key
	columns []string // of lists
	// find returns the rows that an argument of show may mean: the one with that
	// id, or else those with that other name.
	find func(ctx context.Context, db *ent.Client, name string) ([]row, error)
	// otherName is the column by which find looks when there is no such id; empty:
	// there is none.
	otherName string
}

// listFlags page through a list in the order of ids.
type listFlags struct {
	limit int
	after string
}

// list makes a verb that lists rows. addFlags adds the model's own filters and
// returns the query, which must order by id and return at most limit rows beyond
// after.
func (c *cli) mirrorList(m model, addFlags func(*cobra.Command) func(ctx context.Context, db *ent.Client, after string, limit int) ([]row, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List " + m.plural + " in the order of their ids",
		Args:  noArgs,
	}
	flags := addConfigFlags(cmd)
	query := addFlags(cmd)
	var page listFlags
	cmd.Flags().IntVar(&page.limit, "limit", 50, "`number` of rows")
	cmd.Flags().StringVar(&page.after, "after", "", "only rows beyond this `id`: the last one of the page before")
	asJSON := jsonFlag(cmd, "a JSON array with all columns")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if page.limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			rows, err := query(cmd.Context(), d.Read(), page.after, page.limit+1)
			if err != nil {
				return fmt.Errorf("listing %s: %w", m.plural, err)
			}
			more := len(rows) > page.limit
			if more {
				rows = rows[:page.limit]
			}
			if err := c.printRows(m, rows, *asJSON); err != nil {
				return err
			}
			if more {
				c.say("there are more: go on with --after %s", quoted(rows[len(rows)-1].cell(m.key)))
			}
			return nil
		})
	}
	return cmd
}

func (c *cli) printRows(m model, rows []row, asJSON bool) error {
	if asJSON {
		if rows == nil {
			rows = []row{}
		}
		return c.writeJSON(rows)
	}
	if len(rows) == 0 {
		c.say("no %s", m.plural)
		return nil
	}
	var head []string
	for _, name := range m.columns {
		head = append(head, strings.ToUpper(name))
	}
	t := newTable(head...)
	for _, r := range rows {
		var cells []string
		for _, name := range m.columns {
			cells = append(cells, r.cell(name))
		}
		t.add(cells...)
	}
	return t.print(c)
}

func (c *cli) mirrorShow(m model) *cobra.Command {
	name := m.key
	if m.otherName != "" {
		name += " or " + m.otherName
	}
	cmd := &cobra.Command{
		Use:   "show " + strings.ToUpper(strings.ReplaceAll(name, " or ", "|")),
		Short: "Show all columns of one, by its " + name,
		Args:  oneArg("the " + name),
	}
	flags := addConfigFlags(cmd)
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withData(cmd.Context(), flags, func(d data) error {
			found, err := m.find(cmd.Context(), d.Read(), args[0])
			if err != nil {
				return fmt.Errorf("looking for %s: %w", args[0], err)
			}
			switch len(found) {
			case 0:
				return fmt.Errorf("the mirror has nothing whose %s is %q; `avhub %s list` shows what there is", name, args[0], m.noun)
			case 1:
			default:
				c.say("several have the %s %q; show one by its %s:", m.otherName, args[0], m.key)
				for _, r := range found {
					c.say("  %s", r.cell(m.key))
				}
				return errReported
			}
			if *asJSON {
				return c.writeJSON(found[0])
			}
			return c.printRow(found[0])
		})
	}
	return cmd
}

func (c *cli) printRow(r row) error {
	width := 0
	for _, col := range r {
		width = max(width, len(col.name))
	}
	var b strings.Builder
	for _, col := range r {
		fmt.Fprintf(&b, "%s  %s\n", c.paint(c.out, dim, fmt.Sprintf("%-*s", width, col.name)), orDash(clean(cellText(col.value))))
	}
	return c.write(b.String())
}

// candidates is how many rows of one name show lists.
const candidates = 20

// quoted is an argument as a shell takes it.
func quoted(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
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
