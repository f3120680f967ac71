package mirror

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

const (
	// rulesCounter holds the fingerprint of the rules under which the rows were
	// written.
	rulesCounter = "mirror_rules"
	// rulesVersion is part of the fingerprint. It is increased when the same
	// events come to mean other rows than in the version before.
	rulesVersion = 1
)

// fingerprint of the rules: of all that decides what events mean.
func (r rules) fingerprint() (int64, error) {
	text, err := json.Marshal([]any{rulesVersion, r.applicationID, r.markDeleted, *newPlanOrder(r.planFrom), r.planApplication})
	if err != nil {
		return 0, fmt.Errorf("fingerprint the mirror's rules: %w", err)
	}
	h := fnv.New64a()
	_, _ = h.Write(text) // a hash never fails
	return int64(h.Sum64()), nil
}

// otherRules tells whether there are rows that were written under other rules.
func (m *Mirror) otherRules(ctx context.Context) (bool, error) {
	want, err := m.models.fingerprint()
	if err != nil {
		return false, err
	}
	known, is := false, int64(0)
	db := m.store.SQL(ctx)
	if err := db.Query(ctx, func(rows *sql.Rows) error {
		known = true
		return rows.Scan(&is)
	}, `SELECT value FROM avhub_counters WHERE name = ?`, rulesCounter); err != nil {
		return false, fmt.Errorf("read under which rules the mirror was built: %w", err)
	}
	if known && is == want {
		return false, nil
	}
	empty, err := m.empty(ctx)
	return !empty, err
}

func (m *Mirror) empty(ctx context.Context) (bool, error) {
	tables := []string{gravesTable}
	for _, mod := range m.models.list {
		tables = append(tables, mod.table)
	}
	for _, table := range tables {
		some := false
		if err := m.store.SQL(ctx).Query(ctx, func(*sql.Rows) error {
			some = true
			return nil
		}, `SELECT 1 FROM `+quote(table)+` LIMIT 1`); err != nil {
			return false, fmt.Errorf("look whether the mirror is empty: table %s: %w", table, err)
		}
		if some {
			return false, nil
		}
	}
	return true, nil
}

func (m *Mirror) noteRules(ctx context.Context) error {
	is, err := m.models.fingerprint()
	if err != nil {
		return err
	}
	_, err = m.store.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, ?)
 ON CONFLICT (name) DO UPDATE SET value = excluded.value`, rulesCounter, is)
	if err != nil {
		return fmt.Errorf("note under which rules the mirror is built: %w", err)
	}
	return nil
}

// CheckRules tells whether the rows were written under the rules that this mirror
// has, so that old rows mean what new ones do. Where there are no rows yet, it
// notes the rules for those to come. If they are others, the mirror has to be
// rebuilt.
func (m *Mirror) CheckRules(ctx context.Context) (same bool, err error) {
	err = m.store.InTx(ctx, func(ctx context.Context) error {
		if err := m.store.TakeTurn(ctx); err != nil {
			return err
		}
		others, err := m.otherRules(ctx)
		if err != nil || others {
			return err
		}
		same = true
		return m.noteRules(ctx)
	})
	if err != nil {
		return false, fmt.Errorf("check the mirror's rules: %w", err)
	}
	return same, nil
}
