package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// cellWidth keeps one long value from pushing a table off the screen; show and
// --json have it whole.
const cellWidth = 48

// table collects rows and prints them aligned.
type table struct {
	head  []string
	rows  [][]string
	whole int // position of a column that is not cut; -1: there is none
}

func newTable(head ...string) *table { return &table{head: head, whole: -1} }

func (t *table) add(cells ...string) {
	for i, cell := range cells {
		if i != t.whole {
			cell = short(cell, cellWidth)
		}
		cells[i] = orDash(clean(cell))
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(c *cli) error {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	head, body, _ := strings.Cut(buf.String(), "\n")
	return c.write(c.paint(c.out, dim, strings.TrimRight(head, " ")) + "\n" + body)
}

// write prints a result.
func (c *cli) write(text string) error {
	if _, err := io.WriteString(c.out, text); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// writeJSON prints a value as indented JSON.
func (c *cli) writeJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the result as JSON: %w", err)
	}
	return c.write(string(cleanJSON(text)) + "\n")
}

// writeJSONLine prints a value as one line.
func (c *cli) writeJSONLine(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the result as JSON: %w", err)
	}
	return c.write(string(cleanJSON(text)) + "\n")
}

// jsonFlag adds --json to a verb.
func jsonFlag(cmd *cobra.Command, what string) *bool {
	return cmd.Flags().Bool("json", false, "print "+what)
}

// colour is an SGR sequence.
type colour string

const (
	dim    colour = "\x1b[2m"
	bold   colour = "\x1b[1m"
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
)

// paint colours text for a terminal whose owner has not asked for none
// (https://no-color.org).
func (c *cli) paint(w io.Writer, with colour, text string) string {
	if !c.colours(w) || text == "" {
		return text
	}
	return string(with) + text + "\x1b[0m"
}

func (c *cli) colours(w io.Writer) bool {
	refused := slices.ContainsFunc(c.environ, func(pair string) bool {
		return strings.HasPrefix(pair, "NO_COLOR=") && pair != "NO_COLOR=" || pair == "TERM=dumb"
	})
	return !refused && isTerminal(w)
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
