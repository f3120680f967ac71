package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// JSON is the text of a JSON value, for columns of that type.
type JSON string

// anyOf stands for IN and its list on Postgres: one parameter, however many
// values there are, so there is one statement to parse and to keep.
const anyOf = "= ANY(?::text[])"

// insertArrays inserts all rows with one statement that takes an array for each
// column: its text does not depend on how many there are, so Postgres plans it
// once, and there is one round trip.
func (q SQL) insertArrays(ctx context.Context, insert string, rows [][]any, suffix string) error {
	width := len(rows[0])
	columns, arrays, args := make([]string, width), []string{}, []any{}
	for i := range width {
		array, cast, err := column(rows, i)
		if err != nil {
			return fmt.Errorf("column %d of %q: %w", i+1, insert, err)
		}
		if array == nil {
			columns[i] = "NULL"
			continue
		}
		name := fmt.Sprintf("c%d", len(arrays))
		columns[i] = "u." + name
		if cast == "jsonb" {
			columns[i], cast = columns[i]+"::jsonb", "text"
		}
		arrays, args = append(arrays, "?::"+cast+"[]"), append(args, array)
	}
	names := make([]string, len(arrays))
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	// Rows are inserted in the order of the arrays.
	_, err := q.Exec(ctx, insert+" SELECT "+strings.Join(columns, ", ")+
		" FROM unnest("+strings.Join(arrays, ", ")+") AS u("+strings.Join(names, ", ")+") "+suffix, args...)
	return err
}

// column makes an array of the i-th values, and tells their SQL type. It
// returns nil if all are NULL: then nothing tells the type.
func column(rows [][]any, i int) (array any, sql string, err error) {
	for _, row := range rows {
		switch row[i].(type) {
		case nil:
			continue
		case int64, int:
			array, err = gather(rows, i, func(v any) (int64, bool) {
				if n, ok := v.(int); ok {
					return int64(n), true
				}
				n, ok := v.(int64)
				return n, ok
			})
			return array, "bigint", err
		case string:
			array, err = gather(rows, i, is[string])
			return array, "text", err
		case JSON:
			array, err = gather(rows, i, func(v any) (string, bool) { s, ok := v.(JSON); return string(s), ok })
			return array, "jsonb", err
		case bool:
			array, err = gather(rows, i, is[bool])
			return array, "boolean", err
		case time.Time:
			array, err = gather(rows, i, is[time.Time])
			return array, "timestamptz", err
		case []byte:
			bytes := make([][]byte, len(rows))
			for r := range rows {
				if rows[r][i] != nil {
					v, ok := rows[r][i].([]byte)
					if !ok {
						return nil, "", fmt.Errorf("%T among bytes", rows[r][i])
					}
					bytes[r] = v
				}
			}
			return bytes, "bytea", nil
		default:
			return nil, "", fmt.Errorf("values of type %T are not supported", row[i])
		}
	}
	return nil, "", nil
}

func is[T any](v any) (T, bool) { t, ok := v.(T); return t, ok }

func gather[T any](rows [][]any, i int, as func(any) (T, bool)) ([]*T, error) {
	array := make([]*T, len(rows))
	for r := range rows {
		if rows[r][i] == nil {
			continue
		}
		v, ok := as(rows[r][i])
		if !ok {
			return nil, fmt.Errorf("%T where another type was before it", rows[r][i])
		}
		array[r] = &v
	}
	return array, nil
}
