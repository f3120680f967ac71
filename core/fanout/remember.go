package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
)

// Remembered is what a plugin remembers for a key, and how far the key is settled.
type Remembered struct {
	Key       string    `json:"key"`
	Position  int64     `json:"position"`
	State     []byte    `json:"-"` // as the plugin gave it
	UpdatedAt time.Time `json:"updated_at"`
}

// Memory lists what a plugin remembers for keys that begin with prefix and come
// after another, in the order of the database, limit of them at most.
func Memory(ctx context.Context, st *store.Store, plugin, prefix, after string, limit int) ([]Remembered, error) {
	if _, err := Wanted(ctx, st, plugin); err != nil {
		return nil, err
	}
	w := statesOf(plugin, prefix)
	if after != "" {
		w.and("id > ?", plugin+"/"+after)
	}
	return readMemory(ctx, st, plugin, prefix, w.String()+fmt.Sprintf(" ORDER BY id LIMIT %d", limit), w.args...)
}

// Remember returns what a plugin remembers for one key; false: nothing.
func Remember(ctx context.Context, st *store.Store, plugin, key string) (Remembered, bool, error) {
	if _, err := Wanted(ctx, st, plugin); err != nil {
		return Remembered{}, false, err
	}
	list, err := readMemory(ctx, st, plugin, key, `id = ?`, plugin+"/"+key)
	if err != nil || len(list) == 0 {
		return Remembered{}, false, err
	}
	return list[0], true, nil
}

func readMemory(ctx context.Context, st *store.Store, plugin, prefix, where string, args ...any) ([]Remembered, error) {
	list := []Remembered{}
	err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var r Remembered
		var id string
		var updated int64
		if err := rows.Scan(&id, &r.Position, &r.State, &updated); err != nil {
			return err
		}
		r.Key, r.UpdatedAt = strings.TrimPrefix(id, plugin+"/"), fromMicros(updated)
		if strings.HasPrefix(r.Key, prefix) { // LIKE of SQLite takes a for A
			list = append(list, r)
		}
		return nil
	}, `SELECT id, position, state, updated_at FROM avhub_plugin_states WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read what plugin %s remembers: %w", plugin, err)
	}
	return list, nil
}
