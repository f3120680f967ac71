package mirror

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// FactOutcome is what became of one fact.
type FactOutcome struct {
	// Known says that the newest fact of the key says the same, so that there was
	// nothing to do.
	Known bool
	// Refused is why the fact cannot be used; it costs only itself.
	Refused error
	// About are the entities that the fact tells of.
	About []Ref
	// Changes are those that it made, of at most 500; the rest are counted. Of an
	// entity that an event has told of in full there are none.
	Changes        []event.Change
	ChangesOmitted int
}

// Fill keeps facts and merges them into the mirror, within the transaction that
// ctx carries, which must have the turn to write (store.TakeTurn). Facts of one
// key must come in the order in which they were read, and each key once in a
// call. The answer has an outcome for each fact.
//
// A fact's time may be moved on, so that it is later than that of the one before
// it. An error means that the database failed or refused a value
// (store.IsDataError tells); then the transaction must be rolled back.
func (m *Mirror) Fill(ctx context.Context, facts []Fact) ([]FactOutcome, error) {
	return m.fill(ctx, m.store.SQL(ctx), facts, true)
}

// Preview tells what Fill would do, and changes nothing. It needs no
// transaction.
func (m *Mirror) Preview(ctx context.Context, facts []Fact) ([]FactOutcome, error) {
	return m.fill(ctx, m.store.ReadSQL(), facts, false)
}

func (m *Mirror) fill(ctx context.Context, db store.SQL, facts []Fact, write bool) ([]FactOutcome, error) {
	newest, err := newestFacts(ctx, db, facts)
	if err != nil {
		return nil, fmt.Errorf("read earlier facts: %w", err)
	}
	b := batch{
		models: m.models, db: db, log: m.log,
		entities: make(map[Ref]*entity, 3*len(facts)), orphans: map[string]struct{}{},
	}
	outcomes := make([]FactOutcome, len(facts))
	told := make([][]*effect, len(facts))
	for i := range facts {
		f := &facts[i]
		if before := newest[f.Key]; before != nil {
			outcomes[i].Known = f.says(before)
			f.follow(before)
		}
		effects, err := m.models.factEffects(f)
		if err != nil {
			outcomes[i].Refused = err
			continue
		}
		outcomes[i].About = refsOf(effects)
		if !outcomes[i].Known {
			told[i] = effects
		}
	}
	if err := b.load(ctx, told); err != nil {
		return nil, fmt.Errorf("read the mirror: %w", err)
	}
	var rows [][]any
	for i := range facts {
		if len(told[i]) == 0 {
			continue
		}
		if err := b.readable(told[i]); err != nil {
			outcomes[i].Refused = err
			continue
		}
		var changes event.Event // only what is reported is used of it
		b.apply(&changes, told[i])
		outcomes[i].Changes, outcomes[i].ChangesOmitted = changes.Changes, changes.ChangesOmitted
		stored, err := facts[i].Stored()
		if err != nil {
			return nil, err
		}
		rows = append(rows, []any{facts[i].Key, facts[i].Tenant.ID, facts[i].ReadAt, stored})
	}
	if !write {
		return outcomes, nil
	}
	if err := db.Insert(ctx, `INSERT INTO avhub_backfill_facts ("key", "tenant_id", "read_at", "fact")`, rows, ""); err != nil {
		return nil, fmt.Errorf("keep facts: %w", err)
	}
	if slices.ContainsFunc(outcomes, func(o FactOutcome) bool { return len(o.Changes) > 0 }) {
		if err := Touch(ctx, m.store); err != nil {
			return nil, err
		}
	}
	// Facts delete nothing, so there is nothing to sweep.
	if err := b.write(ctx, m.now()); err != nil {
		return nil, fmt.Errorf("write the mirror: %w", err)
	}
	return outcomes, nil
}

// follow makes f the fact after another one of its key: later, and saying what
// is over.
func (f *Fact) follow(before *Fact) {
	f.ReadAt = max(f.ReadAt, before.ReadAt+1)
	f.Gone = nil
	for i := range before.Access {
		id := before.Access[i].ApplicationID
		if !slices.ContainsFunc(f.Access, func(a FactAccess) bool { return a.ApplicationID == id }) {
			f.Gone = append(f.Gone, id)
		}
	}
}

// Known tells of each fact whether the newest of its key says the same, so that
// Fill would have nothing to do.
func (m *Mirror) Known(ctx context.Context, facts []Fact) ([]bool, error) {
	newest, err := newestFacts(ctx, m.store.ReadSQL(), facts)
	if err != nil {
		return nil, fmt.Errorf("read earlier facts: %w", err)
	}
	known := make([]bool, len(facts))
	for i := range facts {
		before := newest[facts[i].Key]
		known[i] = before != nil && facts[i].says(before)
	}
	return known, nil
}

// About are the entities that a fact tells of; none for one that cannot be used.
func (m *Mirror) About(f *Fact) []Ref {
	effects, err := m.models.factEffects(f)
	if err != nil {
		return nil
	}
	return refsOf(effects)
}

func refsOf(effects []*effect) []Ref {
	refs := make([]Ref, 0, len(effects))
	for _, e := range effects {
		refs = append(refs, Ref{e.model.kind, e.id})
	}
	return refs
}

// Facts returns the newest fact of each of these keys that has one.
func (m *Mirror) Facts(ctx context.Context, keys []string) (map[string]*Fact, error) {
	return factsOf(ctx, m.store.ReadSQL(), keys)
}

func newestFacts(ctx context.Context, db store.SQL, facts []Fact) (map[string]*Fact, error) {
	keys := make([]string, 0, len(facts))
	for i := range facts {
		keys = append(keys, facts[i].Key)
	}
	return factsOf(ctx, db, keys)
}

func factsOf(ctx context.Context, db store.SQL, keys []string) (map[string]*Fact, error) {
	newest := make(map[string]*Fact, len(keys))
	err := db.In(ctx, func(rows *sql.Rows) error {
		var key string
		var readAt int64
		var stored []byte
		if err := rows.Scan(&key, &readAt, &stored); err != nil {
			return err
		}
		if before := newest[key]; before != nil && before.ReadAt > readAt {
			return nil
		}
		f, err := ParseFact(key, readAt, stored)
		if err != nil {
			return err
		}
		newest[key] = &f
		return nil
	}, `SELECT "key", "read_at", "fact" FROM avhub_backfill_facts WHERE "key" IN %s`, keys)
	return newest, err
}
