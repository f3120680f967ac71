package plugintest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// configJSON writes a configuration as an operator would: durations as text,
// and without what is zero, so that defaults hold.
func configJSON(cfg any) ([]byte, error) {
	tree, err := configTree(reflect.ValueOf(cfg))
	if err != nil {
		return nil, err
	}
	if tree == nil {
		tree = map[string]any{}
	}
	return json.Marshal(tree)
}

func configTree(v reflect.Value) (any, error) {
	if !v.IsValid() || v.IsZero() && v.Kind() != reflect.Struct {
		return nil, nil
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return d.String(), nil
	}
	switch v.Interface().(type) {
	case json.Marshaler, encoding.TextMarshaler:
		if v.IsZero() {
			return nil, nil
		}
		return v.Interface(), nil
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return elementTree(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		return out, structTree(v, out)
	case reflect.Map:
		out := map[string]any{}
		for _, key := range v.MapKeys() {
			child, err := elementTree(v.MapIndex(key))
			if err != nil {
				return nil, err
			}
			out[fmt.Sprint(key.Interface())] = child
		}
		return out, nil
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Interface(), nil
		}
		out := make([]any, v.Len())
		for i := range out {
			var err error
			if out[i], err = elementTree(v.Index(i)); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return v.Interface(), nil
	}
}

// elementTree is configTree for what somebody put there: a zero is meant.
func elementTree(v reflect.Value) (any, error) {
	tree, err := configTree(v)
	if tree == nil && err == nil && v.IsValid() {
		if d, ok := reflect.TypeAssert[time.Duration](v); ok {
			return d.String(), nil
		}
		return v.Interface(), nil
	}
	return tree, err
}

func structTree(v reflect.Value, out map[string]any) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" {
			inner := v.Field(i)
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.IsValid() && inner.Kind() == reflect.Struct {
				if err := structTree(inner, out); err != nil {
					return err
				}
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		child, err := configTree(v.Field(i))
		if err != nil {
			return err
		}
		if nested, ok := child.(map[string]any); ok && len(nested) == 0 {
			continue
		}
		if child != nil {
			out[name] = child
		}
	}
	return nil
}
