package ask

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// MostRelated is how many rows of one relation come with a row. How many there
// are is told; a list with a filter has them all.
const MostRelated = 100

// candidates is how many rows of one name an AmbiguousError tells.
const candidates = 20

// Record is a row with what belongs to it.
type Record struct {
	Row
	With []Related // nil: nothing was asked for
}

// MarshalJSON writes the row; what belongs to it is in its member "with".
func (r Record) MarshalJSON() ([]byte, error) { return r.object(r.With) }

// Related are the rows of a relation.
type Related struct {
	Relation
	Rows  []Row
	Total int // how many there are; Rows are the first MostRelated
}

// MarshalJSON writes an object with the rows, or for a relation to one row that
// row or null.
func (r Related) MarshalJSON() ([]byte, error) {
	if !r.Many {
		if len(r.Rows) == 0 {
			return []byte("null"), nil
		}
		return json.Marshal(r.Rows[0])
	}
	rows := r.Rows
	if rows == nil {
		rows = []Row{}
	}
	return json.Marshal(struct {
		Data  []Row `json:"data"`
		Total int   `json:"total"`
		More  bool  `json:"more"`
	}{rows, r.Total, r.Total > len(rows)})
}

// Get returns the row with this key, and what with names of its relations; see
// Resource.With. It returns ErrNotFound if there is no such row, and an
// *InputError for relations that there are not.
func (a *Asker) Get(ctx context.Context, r *Resource, key string, with ...string) (*Record, error) {
	relations, err := r.With(with...)
	if err != nil {
		return nil, err
	}
	value, ok := r.keyValue(key)
	if !ok {
		return nil, ErrNotFound
	}
	var where conditions
	where.add(quote(r.Key)+" = ?", value)
	rows, err := a.rows(ctx, r, where, 1)
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", r.article(), err)
	}
	if len(rows) == 0 {
		return nil, ErrNotFound
	}
	record := &Record{Row: rows[0]}
	for _, rel := range relations {
		related, err := a.related(ctx, record.Row, rel)
		if err != nil {
			return nil, fmt.Errorf("loading %s of %s: %w", rel.Name, r.article(), err)
		}
		record.With = append(record.With, related)
	}
	return record, nil
}

// Show is Get for what a person calls the row: its key, or else one of the
// resource's other names. If several rows have that name, it returns an
// *AmbiguousError.
func (a *Asker) Show(ctx context.Context, r *Resource, name string, with ...string) (*Record, error) {
	record, err := a.Get(ctx, r, name, with...)
	if !errors.Is(err, ErrNotFound) || !storable(name) {
		return record, err
	}
	for _, f := range r.names {
		var where conditions
		if err := where.filter(a.store.Dialect(), f, name); err != nil {
			return nil, err
		}
		rows, err := a.rows(ctx, r, where, candidates)
		switch {
		case err != nil:
			return nil, fmt.Errorf("looking for %s: %w", r.article(), err)
		case len(rows) == 1:
			return a.Get(ctx, r, rows[0].Key(), with...)
		case len(rows) > 1:
			ambiguous := &AmbiguousError{Column: f.Column}
			for _, row := range rows {
				ambiguous.Keys = append(ambiguous.Keys, row.Key())
			}
			return nil, ambiguous
		}
	}
	return nil, ErrNotFound
}

// related takes one query, and a second one to count rows that are too many.
func (a *Asker) related(ctx context.Context, row Row, rel Relation) (Related, error) {
	related := Related{Relation: rel}
	value := row.Value(rel.From)
	if value == nil {
		return related, nil
	}
	of := must(rel.Of)
	var where conditions
	where.add(quote(rel.Column)+" = ?", value)
	limit := 1
	if rel.Many {
		limit = MostRelated + 1
	}
	rows, err := a.rows(ctx, of, where, limit)
	if err != nil {
		return related, err
	}
	related.Rows, related.Total = rows, len(rows)
	if len(rows) <= MostRelated {
		return related, nil
	}
	related.Rows = rows[:MostRelated]
	err = a.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var n int
		if err := rows.Scan(&n); err != nil {
			return err
		}
		related.Total = max(n, related.Total) // some may have gone since
		return nil
	}, "SELECT count(*) FROM "+of.Table+where.clause(), where.args...)
	return related, err
}
