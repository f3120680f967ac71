package ask

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// Form is what a column holds.
type Form int

// The forms of values.
const (
	String  Form = iota
	Boolean      // true or false
	Integer      // 64 bits
	Time         // UTC, in microseconds
	List         // JSON array of strings
	Object       // JSON, as sent
)

// Column is one value of a row.
type Column struct {
	Name string
	Form Form
	Null bool // it may be missing
	// Beside is the resource that the value is taken from, for one that is not in
	// the table itself.
	Beside string

	alias, source string // table alias and column that it is read from
}

// columnsOf reads the columns of a table off ent's model of it: its fields carry
// the names and the types of what is in the database, so there is no second list
// that could differ. The columns that every row has come last, as they do in the
// documentation; the hub's own is left out.
func columnsOf(model any) []Column {
	t := reflect.TypeOf(model)
	var own, common []Column
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || name == "" || f.Name == "Edges" {
			continue
		}
		c := Column{Name: name, alias: "t", source: name}
		typ := f.Type
		if typ.Kind() == reflect.Pointer {
			typ, c.Null = typ.Elem(), true
		}
		switch {
		case typ == reflect.TypeFor[time.Time]():
			c.Form = Time
		case typ == reflect.TypeFor[[]string]():
			c.Form, c.Null = List, true
		case typ == reflect.TypeFor[json.RawMessage](), typ.Kind() == reflect.Map:
			c.Form, c.Null = Object, true
		case typ.Kind() == reflect.Bool:
			c.Form = Boolean
		case typ.Kind() == reflect.Int, typ.Kind() == reflect.Int64:
			c.Form = Integer
		case typ.Kind() == reflect.String:
			c.Form = String
		default:
			panic("column " + name + " has a type that nothing here can read: " + typ.String())
		}
		switch name {
		case "created_at", "updated_at", "synced_at":
			common = append(common, c)
		default:
			own = append(own, c)
		}
	}
	return append(own, common...)
}
