package ask

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Row is a row of a resource.
type Row struct {
	Resource *Resource
	// Values by column: nil, string, bool, int64, time.Time in UTC, or
	// json.RawMessage for lists and objects.
	Values []any
}

// Value returns the value of a column, nil for NULL.
func (r Row) Value(column string) any {
	for i := range r.Resource.Columns {
		if r.Resource.Columns[i].Name == column {
			return r.Values[i]
		}
	}
	return nil
}

// Key is what Get finds the row by.
func (r Row) Key() string {
	switch v := r.Value(r.Resource.Key).(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return "" // a key is never NULL
}

// MarshalJSON writes an object whose members are in the order of the columns.
func (r Row) MarshalJSON() ([]byte, error) { return r.object(nil) }

// object writes the row, and with as its last member if there is any.
func (r Row) object(with []Related) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, c := range r.Resource.Columns {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(r.Values[i])
		if err != nil {
			return nil, fmt.Errorf("writing column %s: %w", c.Name, err)
		}
		fmt.Fprintf(&b, "%q:%s", c.Name, value)
	}
	if with != nil {
		b.WriteString(`,"with":{`)
		for i, rel := range with {
			if i > 0 {
				b.WriteByte(',')
			}
			value, err := json.Marshal(rel)
			if err != nil {
				return nil, fmt.Errorf("writing %s: %w", rel.Name, err)
			}
			fmt.Fprintf(&b, "%q:%s", rel.Name, value)
		}
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// scan reads the row that rows stands on.
func (r *Resource) scan(rows *sql.Rows) (Row, error) {
	into := make([]any, len(r.Columns))
	for i, c := range r.Columns {
		switch c.Form {
		case String:
			into[i] = new(sql.NullString)
		case Boolean:
			into[i] = new(sql.NullBool)
		case Integer:
			into[i] = new(sql.NullInt64)
		case Time:
			into[i] = new(sql.NullTime)
		case List, Object:
			into[i] = new([]byte)
		}
	}
	if err := rows.Scan(into...); err != nil {
		return Row{}, err
	}
	row := Row{r, make([]any, len(r.Columns))}
	for i, c := range r.Columns {
		switch v := into[i].(type) {
		case *sql.NullString:
			if v.Valid {
				row.Values[i] = v.String
			}
		case *sql.NullBool:
			if v.Valid {
				row.Values[i] = v.Bool
			}
		case *sql.NullInt64:
			if v.Valid {
				row.Values[i] = v.Int64
			}
		case *sql.NullTime:
			if v.Valid {
				row.Values[i] = v.Time.UTC().Truncate(time.Microsecond)
			}
		case *[]byte:
			if len(*v) == 0 || string(*v) == "null" {
				continue
			}
			if !json.Valid(*v) {
				return Row{}, fmt.Errorf("column %s of %s is not JSON; was the row changed by hand?", c.Name, r.Table)
			}
			row.Values[i] = json.RawMessage(*v)
		}
	}
	return row, nil
}
