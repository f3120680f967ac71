package ask

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/avhub/avhub/core/store"
)

// Asker asks the mirror of one database. It is safe for concurrent use.
type Asker struct {
	store *store.Store
}

// New returns an Asker on an open and migrated database.
func New(st *store.Store) *Asker { return &Asker{st} }

// Page is a part of a list.
type Page struct {
	Rows []Row
	// More tells that there are rows beyond; their page begins after the key of
	// the last one.
	More bool
}

// List returns at most limit rows in the order of their keys: those beyond the
// key after that all filters, value by name, leave. An empty after begins at the
// first. What is wrong with the question is an *InputError.
func (a *Asker) List(ctx context.Context, r *Resource, filters map[string]string, after string, limit int) (Page, error) {
	if limit < 1 {
		return Page{}, wrong(BadValue, "the limit must be at least 1")
	}
	var where conditions
	for _, f := range r.Filters {
		_, asked := filters[f.Name]
		where.few = where.few || f.few && asked
	}
	for _, f := range r.Filters { // in one order, so that there are few different statements
		if value, ok := filters[f.Name]; ok {
			if err := where.filter(a.store.Dialect(), f, value); err != nil {
				return Page{}, err
			}
		}
	}
	for name := range filters {
		if _, err := r.Filter(name); err != nil {
			return Page{}, err
		}
	}
	if after != "" {
		key, ok := r.keyValue(after)
		if !ok {
			return Page{}, wrong(BadValue, "%q is no %s after which rows could come", after, r.Key)
		}
		where.add(quote(r.Key)+" > ?", key)
	}
	rows, err := a.rows(ctx, r, where, limit+1)
	if err != nil {
		return Page{}, fmt.Errorf("listing %s: %w", r.Plural, err)
	}
	page := Page{Rows: rows, More: len(rows) > limit}
	if page.More {
		page.Rows = rows[:limit]
	}
	return page, nil
}

// rows returns the first limit rows that fulfil the conditions. The keys are
// found first, from an index where there is one that has all that is asked for;
// only then are the rows read, and those that stand beside them.
func (a *Asker) rows(ctx context.Context, r *Resource, where conditions, limit int) ([]Row, error) {
	key := quote(r.Key)
	query := "SELECT " + r.selected() + " FROM (SELECT " + key + " FROM " + r.Table + where.clause() +
		" ORDER BY " + key + " LIMIT ?) AS k JOIN " + r.Table + " AS t ON t." + key + " = k." + key + r.joins() +
		" ORDER BY t." + key
	var found []Row
	err := a.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		row, err := r.scan(rows)
		found = append(found, row)
		return err
	}, query, append(slices.Clip(where.args), limit)...)
	return found, err
}

func (r *Resource) selected() string {
	names := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = c.alias + "." + quote(c.source)
	}
	return strings.Join(names, ", ")
}

func (r *Resource) joins() string {
	var b strings.Builder
	for i, side := range r.beside {
		other := must(side.of)
		fmt.Fprintf(&b, " LEFT JOIN %s AS b%d ON b%d.%s = t.%s", other.Table, i, i, quote(other.Key), quote(side.by))
	}
	return b.String()
}

// quote makes an identifier of a name that may be a word of SQL, such as groups.
func quote(name string) string { return `"` + name + `"` }

// keyValue is a key as a parameter; false for text that is none.
func (r *Resource) keyValue(text string) (any, bool) {
	if r.Column(r.Key).Form == Integer {
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	}
	return text, storable(text)
}

// storable tells whether a database could hold the text. One that could not
// would refuse it as a parameter, too.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// conditions are joined by AND.
type conditions struct {
	terms []string
	args  []any
	// few rows are left by one of the filters. SQLite, which knows nothing of how
	// many rows have a value, is then kept from the indexes of the others: it
	// would go through all members of an organization for one of them.
	few bool
}

func (c *conditions) add(term string, args ...any) {
	c.terms, c.args = append(c.terms, term), append(c.args, args...)
}

func (c *conditions) clause() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

func (c *conditions) filter(dialect store.Dialect, f Filter, value string) error {
	if !storable(value) {
		return wrong(BadValue, "the value of %s is not text", f.Name)
	}
	column := quote(f.Column)
	switch f.Kind {
	case Text:
		if c.few && !f.few {
			column += " || ''"
		}
		c.add(column+" = ?", value)
	case Address:
		// As given, and as most systems store it. A comparison that ignores case
		// everywhere could use no index.
		c.add(column+" IN (?, ?)", value, strings.ToLower(value))
	case Fold:
		c.add("lower("+column+") = lower(?)", value)
	case OneOf:
		if !slices.Contains(f.Values, value) {
			return wrong(BadValue, "%s is one of %s", f.Name, strings.Join(f.Values, ", "))
		}
		c.add(column+" = ?", value)
		if f.usual != "" && value != f.usual {
			c.add(column + " <> '" + f.usual + "'") // which lets the database see that the index has it
		}
	case Flag, Missing:
		yes, err := ParseFlag(value)
		if err != nil {
			return wrong(BadValue, "%s is %s", f.Name, err)
		}
		switch {
		case f.Kind == Flag:
			c.add(column + " = " + strconv.FormatBool(yes))
		case yes:
			c.add(column + " IS NULL")
		default:
			c.add(column + " IS NOT NULL")
		}
	case Element:
		if dialect == store.Postgres {
			c.add(column+" @> jsonb_build_array(?::text)", value)
		} else {
			c.add("EXISTS (SELECT 1 FROM json_each("+column+") WHERE value = ?)", value)
		}
	}
	return nil
}

// ParseFlag reads the value of a Flag.
func ParseFlag(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("true or false")
}
