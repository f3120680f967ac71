package config

import "github.com/avhub/avhub/sdk/schema"

// origin remembers where values came from. A nil origin knows nothing.
type origin struct {
	file      string
	root      *mark             // nil without a file
	overrides map[string]string // key path -> "environment AVHUB_…" or "flags"
}

// mark is the place of one value in the file, and of what is below it.
type mark struct {
	line, column       int // of the value
	keyLine, keyColumn int // of its key, 0 for elements of lists
	expanded           bool
	keys               map[string]*mark
	items              []*mark
}

// find returns the mark at path, or the nearest one above it with exact false.
func (o *origin) find(path schema.Path) (at *mark, exact bool) {
	if o == nil || o.root == nil {
		return nil, false
	}
	at = o.root
	for _, step := range path {
		var next *mark
		switch step := step.(type) {
		case string:
			next = at.keys[step]
		case int:
			if step < len(at.items) {
				next = at.items[step]
			}
		}
		if next == nil {
			return at, false
		}
		at = next
	}
	return at, true
}

// problem places a mistake. With atKey the key is what is wrong, not its value.
func (o *origin) problem(path schema.Path, atKey bool, summary, detail string) Problem {
	p := Problem{Path: path, Summary: summary, Detail: detail}
	if o == nil {
		return p
	}
	if source, ok := o.overrides[path.String()]; ok {
		p.Source = source
		return p
	}
	p.Source = o.file
	at, exact := o.find(path)
	if at == nil {
		return p
	}
	p.Line, p.Column = at.line, at.column
	if (atKey || !exact) && at.keyLine > 0 {
		p.Line, p.Column = at.keyLine, at.keyColumn
	}
	return p
}

// isExpanded says whether the value at path came from ${…}.
func (o *origin) isExpanded(path schema.Path) bool {
	at, exact := o.find(path)
	return exact && at.expanded
}
