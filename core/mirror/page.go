package mirror

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// Row is a row of the mirror as it stands.
type Row struct {
	Ref
	JSON json.RawMessage // as Entities gives it
	// Revision is the provider's clock, in Unix microseconds, of the newest thing
	// that is known of the entity.
	Revision int64
}

// Page reads the committed rows of a kind whose keys come after the given one,
// in the order of their keys, limit of them at most; "" is before all keys. A
// kind that the mirror does not have has no rows.
func (m *Mirror) Page(ctx context.Context, kind, after string, limit int) ([]Row, error) {
	mod := m.models.byKind(kind)
	if mod == nil {
		return nil, nil
	}
	s := newRowScan(mod)
	var state []byte
	into := append(s.into[:len(s.into):len(s.into)], &state)
	var out []Row
	err := m.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		state = nil
		if err := rows.Scan(into...); err != nil {
			return err
		}
		object, err := s.object()
		if err != nil {
			return err
		}
		revision, err := decodeRevision(state)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, s.key.String, err)
		}
		if revision == 0 { // not the hub's own
			revision = s.updated.UnixMicro()
		}
		out = append(out, Row{Ref{kind, s.key.String}, object, revision})
		return nil
	}, mod.selectPage, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read a page of %s: %w", mod.table, err)
	}
	return out, nil
}

// decodeRevision reads no more of an encoding than its newest clock; 0: it has
// none.
func decodeRevision(b []byte) (int64, error) {
	if len(b) == 0 {
		return 0, nil
	}
	r := reader{b: b}
	clocks := r.clocks()
	if r.failed {
		return 0, errUnreadable
	}
	if len(clocks) == 0 {
		return 0, nil
	}
	return clocks[len(clocks)-1].micros, nil // they are ascending
}
