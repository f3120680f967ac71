package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fields is a JSON object that is read and changed by dotted paths, in which
// the provider's changed_fields speak.
type fields map[string]any

// get returns what stands at a path.
func (f fields) get(path string) (any, bool) {
	var at any = f
	for name := range strings.SplitSeq(path, ".") {
		object, ok := asObject(at)
		if !ok {
			return nil, false
		}
		if at, ok = object[name]; !ok {
			return nil, false
		}
	}
	return at, true
}

// text returns the string at a path, or "".
func (f fields) text(path string) string {
	v, _ := f.get(path)
	s, _ := v.(string)
	return s
}

// put sets what stands at a path and makes the objects on the way.
func (f fields) put(path string, v any) error {
	names := strings.Split(path, ".")
	if slices.Contains(names, "") || len(names) > 20 {
		return fmt.Errorf("setting %q: it is not a dotted path of member names", path)
	}
	at := f
	for i, name := range names[:len(names)-1] {
		next, exists := at[name]
		if !exists || next == nil {
			next = fields{}
		}
		object, ok := asObject(next)
		if !ok {
			return fmt.Errorf("setting %q: %s is no object that could have members", path, strings.Join(names[:i+1], "."))
		}
		at[name], at = object, object
	}
	at[names[len(names)-1]] = v
	return nil
}

// putAll sets several paths, outer ones before inner ones.
func (f fields) putAll(set map[string]any) error {
	for _, path := range slices.Sorted(maps.Keys(set)) {
		if err := f.put(path, set[path]); err != nil {
			return err
		}
	}
	return nil
}

// pick copies some members, deeply. Absent ones are left out.
func (f fields) pick(names ...string) fields {
	out := make(fields, len(names))
	for _, name := range names {
		if v, ok := f[name]; ok {
			out[name] = clone(v)
		}
	}
	return out
}

// with adds members and returns f.
func (f fields) with(more fields) fields {
	maps.Copy(f, more)
	return f
}

func asObject(v any) (fields, bool) {
	switch v := v.(type) {
	case fields:
		return v, true
	case map[string]any:
		return v, true
	}
	return nil, false
}

func clone(v any) any {
	if object, ok := asObject(v); ok {
		out := make(fields, len(object))
		for name, member := range object {
			out[name] = clone(member)
		}
		return out
	}
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = clone(v[i])
		}
		return out
	case []string:
		return slices.Clone(v)
	}
	return v
}
