package mirror

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Entities reads the committed rows of refs as JSON objects, by the names of
// their columns: all but synced_at and sync_state. What is not known is null,
// times are UTC in microseconds. A ref without a row, or of a kind that the
// mirror does not have, is not in the answer.
func (m *Mirror) Entities(ctx context.Context, refs []Ref) (map[Ref]json.RawMessage, error) {
	ids := map[*model][]string{}
	asked := make(map[Ref]bool, len(refs))
	for _, ref := range refs {
		if mod := m.models.byKind(ref.Kind); mod != nil && !asked[ref] {
			asked[ref] = true
			ids[mod] = append(ids[mod], ref.ID)
		}
	}
	found := make(map[Ref]json.RawMessage, len(asked))
	db := m.store.ReadSQL()
	for mod, ids := range ids {
		s := newRowScan(mod)
		err := db.In(ctx, func(rows *sql.Rows) error {
			if err := rows.Scan(s.into...); err != nil {
				return err
			}
			object, err := s.object()
			if err != nil {
				return err
			}
			found[Ref{mod.kind, s.key.String}] = object
			return nil
		}, mod.selectRows, ids)
		if err != nil {
			return nil, fmt.Errorf("read entities from %s: %w", mod.table, err)
		}
	}
	return found, nil
}

// rowScan takes rows of a model's selectRows.
type rowScan struct {
	model            *model
	key              sql.NullString
	values           []any // pointers, by column
	created, updated time.Time
	into             []any
}

func newRowScan(m *model) *rowScan {
	s := &rowScan{model: m}
	for _, c := range m.columns {
		var v any
		switch c.form {
		case text:
			v = new(sql.NullString)
		case flag:
			v = new(sql.NullBool)
		case number:
			v = new(sql.NullInt64)
		case moment:
			v = new(sql.NullTime)
		default:
			v = new([]byte)
		}
		s.values = append(s.values, v)
	}
	s.into = append(append([]any{&s.key}, s.values...), &s.created, &s.updated)
	return s
}

func (s *rowScan) object() (json.RawMessage, error) {
	b := append(make([]byte, 0, 1024), '{')
	name := func(n string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = appendString(b, n)
		b = append(b, ':')
	}
	name(s.model.key)
	b = appendString(b, s.key.String)
	for i, c := range s.model.columns {
		name(c.name)
		start := len(b)
		switch v := s.values[i].(type) {
		case *sql.NullString:
			if v.Valid {
				b = appendString(b, v.String)
			}
		case *sql.NullBool:
			if v.Valid {
				b = strconv.AppendBool(b, v.Bool)
			}
		case *sql.NullInt64:
			if v.Valid {
				b = strconv.AppendInt(b, v.Int64, 10)
			}
		case *sql.NullTime:
			if v.Valid {
				b = appendTime(b, v.Time.UTC())
			}
		case *[]byte:
			if len(*v) > 0 {
				var compact bytes.Buffer
				if err := json.Compact(&compact, *v); err != nil {
					return nil, fmt.Errorf("column %s is not JSON; was the row changed by hand? %w", c.name, err)
				}
				b = append(b, compact.Bytes()...)
			}
		}
		if len(b) == start {
			b = append(b, null...)
		}
	}
	name("created_at")
	b = appendTime(b, s.created.UTC())
	name("updated_at")
	b = appendTime(b, s.updated.UTC())
	return append(b, '}'), nil
}
