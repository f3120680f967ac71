package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

// Problem is one mistake in the configuration. It never holds a value of it.
type Problem struct {
	// Source is where the value came from: a file's name, "environment
	// AVHUB_LOG_LEVEL" or "flags"; empty for values put together in Go.
	Source string
	// Line and Column count from 1; 0 when there is none.
	Line, Column int
	Path         schema.Path // the key, empty when the whole file is meant
	Summary      string      // what is wrong
	Detail       string      // the way out
}

// String is the problem in one line:
//
//	avhub.yaml:12:5: sources[0].hots: unknown key; did you mean "host"?
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(schema.Problem{Path: p.Path, Summary: p.Summary, Detail: p.Detail}.String())
	return b.String()
}

// Error is everything that is wrong with a configuration.
type Error struct {
	Problems []Problem
}

// maxProblemsShown keeps the message of a file that is no configuration at all
// within a screen or two.
const maxProblemsShown = 50

// Error lists the problems, one per line.
func (e *Error) Error() string {
	var lines []string
	for i, problem := range e.Problems {
		if i == maxProblemsShown {
			lines = append(lines, fmt.Sprintf("… and %d more", len(e.Problems)-i))
			break
		}
		lines = append(lines, problem.String())
	}
	return strings.Join(lines, "\n")
}

// collector gathers problems and gives them their places.
type collector struct {
	origin   *origin
	problems []Problem
	at       map[string]bool // keys that are reported
	above    map[string]bool // keys above those
}

// note takes a problem that has its place.
func (c *collector) note(p Problem) {
	c.problems = append(c.problems, p)
	if c.at == nil {
		c.at, c.above = map[string]bool{}, map[string]bool{}
	}
	for i := 1; i < len(p.Path); i++ {
		c.above[p.Path[:i].String()] = true
	}
	if len(p.Path) > 0 {
		c.at[p.Path.String()] = true
	}
}

// add reports a mistake at path. Of a key that is already reported, or stands
// below or above one that is, nothing more is said: it would be about what is
// left after the first mistake.
func (c *collector) add(path schema.Path, summary, detail string) {
	if !c.reported(path) {
		c.note(c.origin.problem(path, false, summary, detail))
	}
}

func (c *collector) reported(path schema.Path) bool {
	if c.above[path.String()] {
		return true
	}
	for i := 1; i <= len(path); i++ {
		if c.at[path[:i].String()] {
			return true
		}
	}
	return false
}

// passOver drops what is wrong inside of sections other than those named. A
// misspelled section stays an error: it may be one of them.
func (c *collector) passOver(except []string) {
	c.problems = slices.DeleteFunc(c.problems, func(p Problem) bool {
		if len(p.Path) < 2 {
			return false
		}
		section, ok := p.Path[0].(string)
		return ok && !slices.Contains(except, section)
	})
}

// error is nil without problems.
func (c *collector) error() error {
	if len(c.problems) == 0 {
		return nil
	}
	inOrder(c.problems)
	return &Error{Problems: c.problems}
}

// inOrder sorts by place: the file from top to bottom, then what has no line.
func inOrder(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
