package mirror

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
)

// liveRow is a row as the database has it, whatever was done to it.
type liveRow struct {
	id     string
	values []any // by column, then created_at, updated_at, sync_state
}

// stream reads something ordered by id a page at a time.
type stream[T any] struct {
	id   func(T) string
	next func() ([]T, error) // fewer than pageRows are the last
	page []T
	last bool
}

// peek returns the first that was not taken.
func (s *stream[T]) peek() (first T, ok bool, err error) {
	if len(s.page) == 0 && !s.last {
		if s.page, err = s.next(); err != nil {
			return first, false, err
		}
		s.last = len(s.page) < pageRows
	}
	if len(s.page) == 0 {
		return first, false, nil
	}
	return s.page[0], true, nil
}

// take returns the first if it has the given id.
func (s *stream[T]) take(id string) (first T, ok bool) {
	if len(s.page) == 0 || s.id(s.page[0]) != id {
		return first, false
	}
	first, s.page = s.page[0], s.page[1:]
	return first, true
}

// byBytes orders texts as Go and SQLite do, whatever a database's collation is.
func byBytes(db store.Dialect, column string) string {
	if db == store.Postgres {
		return column + ` COLLATE "C"`
	}
	return column
}

// liveRows reads the rows of a model within the transaction that ctx carries.
func (m *Mirror) liveRows(ctx context.Context, mod *model) (*stream[liveRow], func(), error) {
	names := []string{quote(mod.key)}
	for _, c := range mod.columns {
		names = append(names, quote(c.name))
	}
	names = append(names, quote("created_at"), quote("updated_at"), quote("sync_state"))
	cursor, err := m.store.SQL(ctx).Cursor(ctx, "verify_"+mod.table, fmt.Sprintf("SELECT %s FROM %s ORDER BY %s",
		strings.Join(names, ", "), quote(mod.table), byBytes(m.store.Dialect(), names[0])))
	if err != nil {
		return nil, nil, fmt.Errorf("read table %s: %w", mod.table, err)
	}
	next := func() ([]liveRow, error) {
		page := make([]liveRow, 0, pageRows)
		_, err := cursor.Next(ctx, pageRows, func(rows *sql.Rows) error {
			r := liveRow{values: make([]any, len(names)-1)}
			into := make([]any, len(names))
			into[0] = &r.id
			for i := range r.values {
				into[i+1] = &r.values[i]
			}
			err := rows.Scan(into...)
			page = append(page, r)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", mod.table, err)
		}
		return page, nil
	}
	return &stream[liveRow]{id: func(r liveRow) string { return r.id }, next: next}, cursor.Close, nil
}

// liveGrave is a grave as the database has it.
type liveGrave struct {
	id      string // entity / id
	encoded []byte
}

func (m *Mirror) liveGraves(ctx context.Context) (*stream[liveGrave], func(), error) {
	cursor, err := m.store.SQL(ctx).Cursor(ctx, "verify_graves",
		"SELECT id, sync_state FROM avhub_mirror_graves ORDER BY "+byBytes(m.store.Dialect(), "id"))
	if err != nil {
		return nil, nil, fmt.Errorf("read graves: %w", err)
	}
	next := func() ([]liveGrave, error) {
		page := make([]liveGrave, 0, pageRows)
		_, err := cursor.Next(ctx, pageRows, func(rows *sql.Rows) error {
			var g liveGrave
			err := rows.Scan(&g.id, &g.encoded)
			page = append(page, g)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read graves: %w", err)
		}
		return page, nil
	}
	return &stream[liveGrave]{id: func(g liveGrave) string { return g.id }, next: next}, cursor.Close, nil
}

// Difference is one field of a row that is not what the journal says.
type Difference struct {
	Entity string `json:"entity"`
	ID     string `json:"id"`
	// Field is a column, or "exists" for the row itself, or "grave" for what is
	// remembered of an entity without a row. The values of sync_state and of
	// graves that are there are not told.
	Field    string          `json:"field"`
	Expected json.RawMessage `json:"expected,omitempty"`
	Found    json.RawMessage `json:"found,omitempty"`
}

// differences compares a live row with what it has to be.
func (r *liveRow) differences(s *shown) []Difference {
	var all []Difference
	differ := func(field string, expected, found any) {
		all = append(all, Difference{s.model.kind, s.id, field, readable(expected), readable(found)})
	}
	n := len(s.model.columns)
	for i := range s.model.columns {
		c := &s.model.columns[i]
		if want := c.form.arg(s.row.values[i]); !sameValue(c.form, want, r.values[i]) {
			found := r.values[i]
			if b, ok := asFlag(found); ok && c.form == flag {
				found = b
			}
			differ(c.name, want, found)
		}
	}
	for i, micros := range [...]int64{s.row.created, s.row.updated} {
		if want := time.UnixMicro(micros).UTC(); !sameValue(moment, want, r.values[n+i]) {
			differ(housekeeping[i], want, r.values[n+i])
		}
	}
	if found, ok := asBytes(r.values[n+2]); !ok || !bytes.Equal(found, s.encoded) {
		all = append(all, Difference{Entity: s.model.kind, ID: s.id, Field: "sync_state"})
	}
	return all
}

// sameValue tells whether a database's value means what was to be stored.
func sameValue(f form, want, found any) bool {
	if want == nil || found == nil {
		return want == nil && found == nil
	}
	switch f {
	case text:
		s, ok := found.(string)
		return ok && s == want
	case flag:
		b, ok := asFlag(found)
		return ok && b == want
	case number:
		return found == want
	case moment:
		at, ok := found.(time.Time)
		return ok && at.Equal(want.(time.Time))
	}
	b, ok := asBytes(found)
	return ok && sameJSON([]byte(want.(store.JSON)), b)
}

// asFlag reads a boolean, which SQLite keeps as a number.
func asFlag(v any) (is, ok bool) {
	if n, isNumber := v.(int64); isNumber && (n == 0 || n == 1) {
		return n == 1, true
	}
	is, ok = v.(bool)
	return is, ok
}

func asBytes(v any) ([]byte, bool) {
	switch v := v.(type) {
	case []byte:
		return v, true
	case string:
		return []byte(v), true
	}
	return nil, false
}

// readable is a value of either side as JSON.
func readable(v any) json.RawMessage {
	switch is := v.(type) {
	case store.JSON:
		return json.RawMessage(is)
	case time.Time:
		return appendTime(nil, is.UTC())
	case []byte:
		if json.Valid(is) {
			return slices.Clone(is)
		}
		v = string(is)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`"(not readable)"`)
	}
	return encoded
}

// sameJSON tells whether two texts are the same JSON value. Postgres writes
// members in another order, and numbers in another way.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errA := decodeJSON(a)
	y, errB := decodeJSON(b)
	return errA == nil && errB == nil && sameDecoded(x, y)
}

func decodeJSON(b []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err = dec.Decode(&v); err == nil && dec.More() {
		err = fmt.Errorf("more than one value")
	}
	return v, err
}

func sameDecoded(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, value := range a {
			other, ok := b[name]
			if !ok || !sameDecoded(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameDecoded)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && sameNumber(string(a), string(b))
	}
	return a == b
}

// sameNumber compares the decimal numbers that two JSON numbers are, without
// ever writing out what their exponents stand for.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, ok1 := parseDecimal(a)
	y, ok2 := parseDecimal(b)
	return ok1 && ok2 && x.negative == y.negative && x.digits == y.digits && x.exponent.Cmp(&y.exponent) == 0
}

// decimal is 0.digits × 10^exponent, the digits without zeros at either end.
type decimal struct {
	negative bool
	digits   string
	exponent big.Int
}

func parseDecimal(s string) (d decimal, ok bool) {
	s, d.negative = strings.CutPrefix(s, "-")
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(s), "e")
	if hasExponent {
		if _, ok := d.exponent.SetString(strings.TrimPrefix(exponent, "+"), 10); !ok {
			return d, false
		}
	}
	before, after, _ := strings.Cut(mantissa, ".")
	all := before + after
	d.digits = strings.TrimLeft(all, "0")
	d.exponent.Add(&d.exponent, big.NewInt(int64(len(before)-(len(all)-len(d.digits)))))
	d.digits = strings.TrimRight(d.digits, "0")
	if d.digits == "" {
		return decimal{}, true // zero, whatever its sign
	}
	_, err := strconv.Atoi(d.digits[:1])
	return d, err == nil
}
