package mirror

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// KeptFact is a fact as Fill has kept it.
type KeptFact struct {
	// ID grows in the order in which facts were committed.
	ID int64
	Fact
	// Unreadable is why the row cannot be read; then there is no Fact.
	Unreadable error
}

// FactSpan selects facts: those after one id and up to another.
type FactSpan struct {
	Tenant string // empty: of all
	After  int64
	Until  int64 // 0: no end
	Limit  int
}

// KeptFacts returns the facts that Fill has kept in a mirror's database, in the
// order of their ids.
func KeptFacts(ctx context.Context, st *store.Store, s FactSpan) (facts []KeptFact, err error) {
	query, args := `SELECT "id", "key", "read_at", "fact" FROM avhub_backfill_facts WHERE "id" > ?`, []any{s.After}
	if s.Until > 0 {
		query, args = query+` AND "id" <= ?`, append(args, s.Until)
	}
	if s.Tenant != "" {
		query, args = query+` AND "tenant_id" = ?`, append(args, s.Tenant)
	}
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var id, readAt int64
		var key string
		var stored []byte
		if err := rows.Scan(&id, &key, &readAt, &stored); err != nil {
			return err
		}
		f, err := ParseFact(key, readAt, stored)
		facts = append(facts, KeptFact{id, f, err})
		return nil
	}, query+` ORDER BY "id" LIMIT ?`, append(args, s.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("read what first fills have read: %w", err)
	}
	return facts, nil
}

// ApplyFacts merges facts that another mirror's Fill has kept, exactly as they
// are, within the transaction that ctx carries, which must have the turn to
// write. Like events they can be applied in any order, and again. Nothing is kept
// of them but what the rows show.
//
// A fact that cannot be used changes nothing, and costs only itself; the log
// tells. An error means that the database failed or refused a value
// (store.IsDataError tells); then the transaction must be rolled back.
func (m *Mirror) ApplyFacts(ctx context.Context, facts []KeptFact) error {
	b := batch{
		models: m.models, db: m.store.SQL(ctx), log: m.log,
		entities: make(map[Ref]*entity, 3*len(facts)), orphans: map[string]struct{}{},
	}
	told := make([][]*effect, len(facts))
	for i := range facts {
		err := facts[i].Unreadable
		if err == nil {
			told[i], err = m.models.factEffects(&facts[i].Fact)
		}
		if err != nil {
			m.failFact(&facts[i], err)
		}
	}
	if err := b.load(ctx, told); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	for i := range facts {
		if err := b.readable(told[i]); err != nil {
			m.failFact(&facts[i], err)
			continue
		}
		b.apply(&event.Event{}, told[i])
	}
	// Facts delete nothing, so there is nothing to sweep.
	if err := b.write(ctx, m.now()); err != nil {
		return fmt.Errorf("write the mirror: %w", err)
	}
	return nil
}

func (m *Mirror) failFact(f *KeptFact, reason error) {
	m.log.Warn().Int64("fact", f.ID).Err(reason).Msg("the mirror could not apply what a first fill has read")
}
