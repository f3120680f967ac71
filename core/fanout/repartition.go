package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// floor is where the partitions of a former division stood when they ended:
// everything at or below is settled, or belongs to a lane.
type floor struct {
	Partitions int     `json:"partitions"`
	KeyedBy    string  `json:"keyed_by,omitempty"`
	Positions  []int64 `json:"positions"`
}

// Names of the orders that divide keys.
const (
	byTenant  = "tenant"
	bySubject = "subject"
)

func keyedBy(order plugin.Order) string {
	if order == plugin.PerSubject {
		return bySubject
	}
	return byTenant
}

// of is the position up to which an event's key was settled.
func (f floor) of(ev *event.Event) int64 {
	key := ev.TenantKey()
	if f.KeyedBy == bySubject {
		key = ev.Subject()
	}
	return f.Positions[Slot(key)%f.Partitions]
}

func (f floor) valid() bool { return f.Partitions > 0 && len(f.Positions) == f.Partitions }

// floors of all former divisions that still matter.
type floors []floor

func decodeFloors(raw []byte) (floors, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var fs floors
	if err := json.Unmarshal(raw, &fs); err != nil {
		return nil, fmt.Errorf("read the floors of a cursor: %w", err)
	}
	for _, f := range fs {
		if !f.valid() {
			return nil, fmt.Errorf("read the floors of a cursor: %d positions for %d partitions", len(f.Positions), f.Partitions)
		}
	}
	return fs, nil
}

func (fs floors) encode() ([]byte, error) {
	if len(fs) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(fs)
	if err != nil {
		return nil, fmt.Errorf("encode the floors of a cursor: %w", err)
	}
	return raw, nil
}

// settled tells whether a former division has dealt with an event.
func (fs floors) settled(ev *event.Event) bool {
	return slices.ContainsFunc(fs, func(f floor) bool { return ev.Position <= f.of(ev) })
}

// above returns the floors that a cursor at position has not passed yet.
func (fs floors) above(position int64) floors {
	return slices.DeleteFunc(slices.Clone(fs), func(f floor) bool { return slices.Max(f.Positions) <= position })
}

// top is the highest position that any floor speaks of.
func (fs floors) top() (top int64) {
	for _, f := range fs {
		top = max(top, slices.Max(f.Positions))
	}
	return top
}

// Repartition divides a plugin's keys anew, if nobody works on any of them:
// false if somebody does. The new cursors start at the lowest of the old ones;
// their floors keep what was settled beyond it from being delivered again.
// keyedBy, if not empty, is the order that divides the keys from now on.
func (l *Leases) Repartition(ctx context.Context, name string, partitions int, keyedBy string) (done bool, err error) {
	err = l.store.InTx(ctx, func(ctx context.Context) error {
		done, err = l.repartition(ctx, name, partitions, keyedBy)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("divide plugin %s into %d partitions: %w", name, partitions, err)
	}
	return done, nil
}

func (l *Leases) repartition(ctx context.Context, name string, partitions int, keyed string) (bool, error) {
	db, lock := l.store.SQL(ctx), ""
	if l.store.Dialect() == store.Postgres {
		lock = " FOR UPDATE"
	}
	var before, was, start = 0, "", int64(0)
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&before, &was, &start) },
		`SELECT partitions, keyed_by, start_position FROM avhub_plugins WHERE id = ?`+lock, name)
	if err != nil || before == 0 {
		return false, err
	}
	var lowest, epoch int64
	positions := make([]int64, before)
	var old floors
	seen, free := 0, true
	err = db.Query(ctx, func(rows *sql.Rows) error {
		var partition int
		var position, e, left int64
		var owner string
		var raw []byte
		if err := rows.Scan(&partition, &position, &e, &owner, &left, &raw); err != nil {
			return err
		}
		epoch = max(epoch, e)
		if owner != "" && left > 0 && !l.alone {
			free = false
		}
		if partition >= before {
			return nil
		}
		if seen == 0 || position < lowest {
			lowest = position
		}
		seen++
		positions[partition] = position
		fs, err := decodeFloors(raw)
		for _, f := range fs {
			if !slices.ContainsFunc(old, f.equal) {
				old = append(old, f)
			}
		}
		return err
	}, `SELECT partition, position, epoch, owner, expires_at - `+l.store.ClockSQL()+`, floors FROM avhub_cursors WHERE plugin = ? ORDER BY partition`+lock, name)
	if err != nil || !free {
		return false, err
	}
	if seen < before { // a cursor that is missing has settled nothing of what there is
		first, err := journal.Hold(ctx, l.store)
		if err != nil {
			return false, err
		}
		lowest = max(start, first-1)
	}
	raw, err := append(old, floor{before, was, positions}).above(lowest).encode()
	if err != nil {
		return false, err
	}
	if _, err := db.Exec(ctx, `DELETE FROM avhub_cursors WHERE plugin = ?`, name); err != nil {
		return false, err
	}
	for p := range partitions {
		_, err := db.Exec(ctx, `INSERT INTO avhub_cursors (id, plugin, partition, position, epoch, floors) VALUES (?, ?, ?, ?, ?, ?)`,
			CursorID(name, p), name, p, lowest, epoch+1, raw)
		if err != nil {
			return false, err
		}
	}
	if keyed == "" {
		keyed = was
	}
	_, err = db.Exec(ctx, `UPDATE avhub_plugins SET partitions = ?, keyed_by = ?, updated_at = ? WHERE id = ?`, partitions, keyed, store.Now().UnixMicro(), name)
	return err == nil, err
}

func (f floor) equal(other floor) bool {
	return f.Partitions == other.Partitions && f.KeyedBy == other.KeyedBy && slices.Equal(f.Positions, other.Positions)
}
