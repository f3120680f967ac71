package mirror

import (
	"context"
	"database/sql"

	"github.com/avhub/avhub/core/store"
	"github.com/rs/zerolog"
)

// batch is the work on one transaction's events: the entities that they touch,
// in memory.
type batch struct {
	models *models
	db     store.SQL
	log    zerolog.Logger

	entities map[Ref]*entity
	order    []*entity // as first asked for
	// orphans are the people who are gone; their sessions go with them.
	orphans map[string]struct{}
	// falls are the deletions that take others along, in the order of the events.
	falls []fall
}

// entity is one that the batch looks at.
type entity struct {
	model *model
	id    string
	// above: it is looked at for its children alone. Of its state only the
	// tombstone is read, and nothing of it is written.
	above bool

	sought bool  // its grave was looked for
	live   bool  // there is a row in its table
	buried bool  // there is a grave
	broken error // its state cannot be read
	state  state
	// buriedAt is the tombstone as it was loaded.
	buriedAt clock
	dirty    bool // the state is not what was loaded

	loaded, now row
}

// load reads all entities that the effects touch, and those that these belong
// to. Children of what is deleted are left to sweep.
func (b *batch) load(ctx context.Context, told [][]*effect) error {
	touched := map[*model][]string{}
	add := func(m *model, id string, above bool) {
		if id != "" && b.add(m, id, above) {
			touched[m] = append(touched[m], id)
		}
	}
	for _, effects := range told {
		for _, e := range effects {
			add(e.model, e.id, false)
		}
	}
	for _, effects := range told {
		for _, e := range effects {
			for i := range e.set {
				if kind := e.model.parentKind(e.set[i].field); kind != "" {
					add(b.models.byKind(kind), unquote(e.set[i].value), true)
				}
			}
		}
	}
	// Twice: what an entity belongs to is known once its state is there.
	for range 2 {
		for _, m := range b.models.list {
			if err := b.rows(ctx, m, m.selectByKey, touched[m]); err != nil {
				return err
			}
		}
		if err := b.graves(ctx); err != nil {
			return err
		}
		clear(touched)
		for _, ent := range b.order { // what it grows by meanwhile are parents
			for i := range ent.model.parents {
				p := &ent.model.parents[i]
				add(b.models.byKind(p.kind), ent.state.parent(p.field), true)
			}
		}
	}
	for _, ent := range b.order {
		ent.buriedAt = ent.state.deleted
		if ent.above {
			continue
		}
		ent.loaded = ent.model.project(&ent.state, b.parentDeleted(ent))
		ent.now = ent.loaded
	}
	return nil
}

// add makes room for an entity; false if it is there already.
func (b *batch) add(m *model, id string, above bool) bool {
	if _, ok := b.entities[Ref{m.kind, id}]; ok {
		return false
	}
	ent := &entity{model: m, id: id, above: above}
	b.entities[Ref{m.kind, id}] = ent
	b.order = append(b.order, ent)
	return true
}

// rows reads the states of live entities.
func (b *batch) rows(ctx context.Context, m *model, query string, values []string) error {
	if len(values) == 0 {
		return nil
	}
	return b.db.In(ctx, func(rows *sql.Rows) error {
		var id string
		var encoded []byte
		if err := rows.Scan(&id, &encoded); err != nil {
			return err
		}
		ent := b.entities[Ref{m.kind, id}]
		ent.live = true
		b.decode(ent, encoded)
		return nil
	}, query, values)
}

// graves reads the states of entities that have no row.
func (b *batch) graves(ctx context.Context) error {
	missing := map[string]*entity{}
	var ids []string
	for _, ent := range b.order {
		if !ent.live && !ent.sought {
			ent.sought = true
			id := ent.grave()
			missing[id] = ent
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return b.db.In(ctx, func(rows *sql.Rows) error {
		var id string
		var encoded []byte
		if err := rows.Scan(&id, &encoded); err != nil {
			return err
		}
		ent := missing[id]
		ent.buried = true
		b.decode(ent, encoded)
		return nil
	}, `SELECT id, sync_state FROM avhub_mirror_graves WHERE id IN %s`, ids)
}

// grave is the key of the entity's grave. Kinds have no slash.
func (e *entity) grave() string { return grave(e.model, e.id) }

func grave(m *model, id string) string { return m.kind + "/" + id }

func (b *batch) decode(ent *entity, encoded []byte) {
	var err error
	if ent.above {
		ent.state.deleted, err = decodeTombstone(encoded)
	} else {
		ent.state, err = decodeState(ent.model, encoded)
	}
	if err != nil {
		ent.broken = err
		b.log.Error().Str("kind", ent.model.kind).Err(err).
			Msg("a row of the mirror is not what the hub wrote; events about it are marked as failed")
	}
}
