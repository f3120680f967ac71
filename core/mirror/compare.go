package mirror

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// gravesTable is where deletions are remembered, and what waits for its row.
const gravesTable = "avhub_mirror_graves"

// Kinds returns the entities that a mirror has, sorted.
func Kinds() []string {
	var kinds []string
	for _, m := range newModels(rules{}).list {
		kinds = append(kinds, m.kind)
	}
	slices.Sort(kinds)
	return kinds
}

// TableReport tells how the rows of a table compare to what the journal says.
type TableReport struct {
	Table string `json:"table"`
	// Rows are those that have to be there: Equal, Missing and Different.
	Rows       int64 `json:"rows"`
	Equal      int64 `json:"equal"`
	Missing    int64 `json:"missing"`
	Unexpected int64 `json:"unexpected"`
	Different  int64 `json:"different"`
	// Examples are the first differences, of so many rows as were asked for.
	Examples []Difference `json:"examples"`

	examples int // rows that have some
}

func newTableReport(table string) *TableReport {
	return &TableReport{Table: table, Examples: []Difference{}}
}

// Clean tells whether all is as it has to be.
func (t *TableReport) Clean() bool { return t.troubles() == 0 }

func (t *TableReport) troubles() int64 { return t.Missing + t.Unexpected + t.Different }

// comparison goes over all entities once, in the order of their graves: the kind,
// a slash, the id.
type comparison struct {
	mirror   *Mirror
	fold     *fold
	kinds    []string
	all      bool // kinds are all that there are
	examples int  // per table
	// differs is told of every entity that is not what it has to be, by its grave.
	differs  func(grave string) error
	progress func(done, total int64)

	tables []*TableReport
	graves *TableReport
	done   int64
	total  int64
}

// selectKinds returns the kinds to look at, sorted as their graves are.
func selectKinds(asked []string) ([]string, error) {
	all := Kinds()
	if len(asked) == 0 {
		asked = all
	}
	kinds := slices.Clone(asked)
	for _, kind := range kinds {
		if !slices.Contains(all, kind) {
			return nil, fmt.Errorf("there is no entity %q; there are %s", kind, strings.Join(all, ", "))
		}
	}
	slices.SortFunc(kinds, func(a, b string) int { return strings.Compare(a+"/", b+"/") })
	return slices.Compact(kinds), nil
}

// run compares the database that the transaction of ctx sees with the fold, which
// must have been folded up to the same position.
func (c *comparison) run(ctx context.Context) ([]*TableReport, error) {
	var err error
	if c.total, err = c.fold.size(); err != nil {
		return nil, err
	}
	graves, closeGraves, err := c.mirror.liveGraves(ctx)
	if err != nil {
		return nil, err
	}
	defer closeGraves()
	c.tables = nil
	c.graves = newTableReport(gravesTable)
	for _, kind := range c.kinds {
		if err := c.skipGraves(graves, kind+"/"); err != nil {
			return nil, err
		}
		if err := c.model(ctx, c.mirror.models.byKind(kind), graves); err != nil {
			return nil, err
		}
	}
	if err := c.skipGraves(graves, ""); err != nil {
		return nil, err
	}
	return append(c.tables, c.graves), nil
}

// skipGraves passes those before the given one, empty for all: of kinds that were
// not asked for, or of none at all, which nobody expects.
func (c *comparison) skipGraves(graves *stream[liveGrave], until string) error {
	for {
		g, ok, err := graves.peek()
		if err != nil || !ok || until != "" && g.id >= until {
			return err
		}
		graves.take(g.id)
		kind, id, _ := strings.Cut(g.id, "/")
		if c.all && !slices.Contains(c.kinds, kind) {
			c.graves.Unexpected++
			c.example(c.graves, Difference{Entity: kind, ID: id, Field: graveField, Expected: isFalse, Found: isTrue})
			if err := c.differs(g.id); err != nil {
				return err
			}
		}
	}
}

// graveField is the pseudo field of a Difference that stands for what is
// remembered of an entity without a row.
const graveField = "grave"

var isTrue, isFalse = []byte("true"), []byte("false")

func (c *comparison) model(ctx context.Context, m *model, graves *stream[liveGrave]) error {
	t := newTableReport(m.table)
	c.tables = append(c.tables, t)
	rows, closeRows, err := c.mirror.liveRows(ctx, m)
	if err != nil {
		return err
	}
	defer closeRows()
	after := ""
	expected := &stream[*shown]{id: func(s *shown) string { return s.id }, next: func() ([]*shown, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		page, err := c.fold.page(m, after)
		if len(page) > 0 {
			after = page[len(page)-1].id
		}
		c.done += int64(len(page))
		c.progress(c.done, c.total)
		return page, err
	}}
	for {
		var id string
		some := false
		first := func(is string, ok bool) {
			if ok && (!some || is < id) {
				id, some = is, true
			}
		}
		e, ok, err := expected.peek()
		if err != nil {
			return err
		}
		if ok {
			first(e.id, true)
		}
		r, ok, err := rows.peek()
		if err != nil {
			return err
		}
		first(r.id, ok)
		g, ok, err := graves.peek()
		if err != nil {
			return err
		}
		ofKind, isOurs := strings.CutPrefix(g.id, m.kind+"/")
		first(ofKind, ok && isOurs)
		if !some {
			return nil
		}
		if err := c.entity(m, id, t, expected, rows, graves); err != nil {
			return err
		}
	}
}

// entity compares what there is of one.
func (c *comparison) entity(m *model, id string, t *TableReport, expected *stream[*shown], rows *stream[liveRow], graves *stream[liveGrave]) error {
	want, known := expected.take(id)
	r, hasRow := rows.take(id)
	g, hasGrave := graves.take(grave(m, id))
	wantRow := known && want.row.exists
	wantGrave := known && !want.row.exists
	before := t.troubles() + c.graves.troubles()
	exists := Difference{Entity: m.kind, ID: id, Field: existsField}
	switch {
	case wantRow && hasRow:
		t.Rows++
		if differences := r.differences(want); len(differences) > 0 {
			t.Different++
			c.example(t, differences...)
		} else {
			t.Equal++
		}
	case wantRow:
		t.Rows++
		t.Missing++
		exists.Expected, exists.Found = isTrue, isFalse
		c.example(t, exists)
	case hasRow:
		t.Unexpected++
		exists.Expected, exists.Found = isFalse, isTrue
		c.example(t, exists)
	}
	switch {
	case wantGrave && hasGrave:
		c.graves.Rows++
		if bytes.Equal(g.encoded, want.encoded) {
			c.graves.Equal++
		} else {
			c.graves.Different++
			c.example(c.graves, Difference{Entity: m.kind, ID: id, Field: graveField})
		}
	case wantGrave:
		c.graves.Rows++
		c.graves.Missing++
		exists.Field, exists.Expected, exists.Found = graveField, isTrue, isFalse
		c.example(c.graves, exists)
	case hasGrave:
		c.graves.Unexpected++
		exists.Field, exists.Expected, exists.Found = graveField, isFalse, isTrue
		c.example(c.graves, exists)
	}
	if t.troubles()+c.graves.troubles() == before {
		return nil
	}
	return c.differs(grave(m, id))
}

func (c *comparison) example(t *TableReport, of ...Difference) {
	if t.examples < c.examples {
		t.examples++
		t.Examples = append(t.Examples, of...)
	}
}
