package schema

import "strings"

// Fields lists every key of the schema, outer ones before inner ones, in the
// order of the struct.
func (s *Schema) Fields() []Field {
	return s.root.list(nil, "", false)
}

func (n *node) list(out []Field, at string, secret bool) []Field {
	for _, f := range n.fields {
		path := f.key
		if at != "" {
			path = at + "." + f.key
		}
		out = append(out, f.describe(path, secret))
		inner := f.node
		for inner.form == formList || inner.form == formMap {
			if inner.form == formList {
				path += "[]"
			} else {
				path += ".*"
			}
			inner = inner.elem
		}
		out = inner.list(out, path, secret || f.node.secret)
	}
	return out
}

func (f field) describe(path string, secret bool) Field {
	n := f.node
	out := Field{
		Path: path, Type: n.typeName(), Scalar: n.scalar(), Doc: n.doc, Example: n.example, Enum: n.enum,
		Required: n.required, Secret: secret || n.secret,
	}
	if n.deflt != nil {
		out.Default = *n.deflt
	}
	if n.min != nil {
		out.Min = n.min.text
	}
	if n.max != nil {
		out.Max = n.max.text
	}
	if n.pattern != nil {
		out.Pattern = n.pattern.String()
	}
	return out
}

func (n *node) typeName() string {
	switch n.form {
	case formText, formCustomText:
		return "text"
	case formBool:
		return "bool"
	case formInt:
		return "whole number"
	case formFloat:
		return "number"
	case formDuration:
		return "duration"
	case formSize:
		return "size"
	case formList:
		return "list of " + n.elem.typeName()
	case formMap:
		return "map of " + n.elem.typeName()
	case formObject:
		return "section"
	}
	return "any"
}

// Markdown writes the keys as a table for the documentation: key, type, default
// and what it is about, with bounds, allowed values and example.
func (s *Schema) Markdown() string {
	var b strings.Builder
	b.WriteString("| Key | Type | Default | Description |\n|---|---|---|---|\n")
	for _, f := range s.Fields() {
		deflt := ""
		switch {
		case f.Required:
			deflt = "*required*"
		case f.Default != "":
			deflt = code(f.Default)
		}
		b.WriteString("| " + cell(code(f.Path)) + " | " + f.Type + " | " + cell(deflt) + " | " + cell(f.about()) + " |\n")
	}
	return b.String()
}

func (f Field) about() string {
	parts := []string{}
	if f.Doc != "" {
		parts = append(parts, f.Doc)
	}
	if f.Enum != nil {
		parts = append(parts, "One of "+code(strings.Join(f.Enum, ", "))+".")
	}
	switch {
	case f.Min != "" && f.Max != "":
		parts = append(parts, "From "+f.Min+" to "+f.Max+".")
	case f.Min != "":
		parts = append(parts, "At least "+f.Min+".")
	case f.Max != "":
		parts = append(parts, "At most "+f.Max+".")
	}
	if f.Pattern != "" {
		parts = append(parts, "Matches "+code(f.Pattern)+".")
	}
	if f.Example != "" {
		parts = append(parts, "Example: "+code(f.Example)+".")
	}
	if f.Secret {
		parts = append(parts, "Secret.")
	}
	return strings.Join(parts, " ")
}

// code sets words in code type; a backtick inside needs a longer fence.
func code(s string) string {
	if strings.Contains(s, "`") {
		return "`` " + s + " ``"
	}
	return "`" + s + "`"
}

// cell keeps text within its cell of the table. Pipes are escaped in code, too:
// tables are cut into cells before anything else is read.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
