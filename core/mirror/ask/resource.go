package ask

import (
	"slices"
	"strings"
)

// Resource is a table of the mirror that can be asked.
type Resource struct {
	// Name is singular, Plural its plural; both for people.
	Name, Plural string
	// Short is the noun of the command, and another name for Find.
	Short string
	// Path names the resource in URLs.
	Path string
	// About says what the rows are, as a sentence without its end.
	About string
	// Table is its name in the database, Key the column of its primary key.
	Table, Key string
	// Columns are all that can be seen: the table's, then those beside them.
	Columns []Column
	// Names are the columns by which Show looks for a row that has no such key.
	Names []string
	// Overview are the columns that tell a person which row this is.
	Overview  []string
	Filters   []Filter
	Relations []Relation

	names  []Filter // by which Show looks
	beside []beside
}

// Kind is what a filter takes and how it compares.
type Kind int

// The kinds of filters.
const (
	Text    Kind = iota // equal
	Address             // equal as given or in lower case: an email address
	Fold                // equal but for upper and lower case
	OneOf               // equal, one of Filter.Values
	Flag                // true or false
	Missing             // true: the column is NULL; false: it is not
	Element             // an element of a list
)

// Filter narrows a list.
type Filter struct {
	Name   string
	Column string
	Kind   Kind
	Values []string // of OneOf
	// Takes is the word for its value, and About what is left: "only those …".
	// Takes is part of About unless the kind is Flag or Missing.
	Takes, About string

	usual string // value of OneOf that most rows have: there is an index of all others
	few   bool   // few rows have one value, so that other filters' indexes are no help
}

// Relation is what belongs to a row of a resource.
type Relation struct {
	Name string
	// Of is the name of the resource that the related rows are of.
	Of string
	// Many tells whether there may be several: rows whose Column has the value
	// that the asking row has in From. Otherwise it is one row at most.
	Many         bool
	From, Column string
	About        string
}

// beside are columns of a row that another one refers to.
type beside struct {
	of      string   // resource
	by      string   // column that holds its key
	columns []string // shown as prefix_column
	prefix  string
}

// Find returns the resource of this name, plural, short name or path.
func Find(name string) (*Resource, error) {
	var known []string
	for _, r := range Resources() {
		if slices.Contains([]string{r.Name, r.Plural, r.Short, r.Path}, name) {
			return r, nil
		}
		known = append(known, r.Short)
	}
	return nil, wrong(UnknownResource, "there is no %q to ask for; there are %s", name, strings.Join(known, ", "))
}

// must is Find for names of this package's own.
func must(name string) *Resource {
	r, err := Find(name)
	if err != nil {
		panic(err) // a test looks up every name in the table
	}
	return r
}

// Column returns the column of this name, or nil.
func (r *Resource) Column(name string) *Column {
	if i := slices.IndexFunc(r.Columns, func(c Column) bool { return c.Name == name }); i >= 0 {
		return &r.Columns[i]
	}
	return nil
}

// Filter returns the filter of this name, or an error that names those there are.
func (r *Resource) Filter(name string) (*Filter, error) {
	var known []string
	for i := range r.Filters {
		if r.Filters[i].Name == name {
			return &r.Filters[i], nil
		}
		known = append(known, r.Filters[i].Name)
	}
	return nil, wrong(UnknownFilter, "%s cannot be filtered by %q, only by %s", r.Plural, name, strings.Join(known, ", "))
}

// All stands for every relation of a resource.
const All = "all"

// With turns names of relations, each perhaps several between commas, or All,
// into relations in the order of the resource's own list.
func (r *Resource) With(names ...string) ([]Relation, error) {
	asked := map[string]bool{}
	for _, list := range names {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			if name != All && !slices.ContainsFunc(r.Relations, func(rel Relation) bool { return rel.Name == name }) {
				return nil, wrong(UnknownRelation, "nothing called %q belongs to %s; there are %s, and %s for everything",
					name, r.article(), strings.Join(r.relationNames(), ", "), All)
			}
			asked[name] = true
		}
	}
	var with []Relation
	for _, rel := range r.Relations {
		if asked[All] || asked[rel.Name] {
			with = append(with, rel)
		}
	}
	return with, nil
}

func (r *Resource) relationNames() []string {
	names := make([]string, len(r.Relations))
	for i, rel := range r.Relations {
		names[i] = rel.Name
	}
	return names
}

// article is the resource's name as a sentence takes it.
func (r *Resource) article() string {
	if strings.ContainsRune("aeio", rune(r.Name[0])) {
		return "an " + r.Name
	}
	return "a " + r.Name
}
