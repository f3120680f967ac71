package mirror

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

const (
	// foldEvents are read and folded at a time.
	foldEvents = 512
	// The states that were touched last are kept in memory up to these bounds.
	// Then all of them go to the scratch database.
	foldStates = 20_000
	foldBytes  = 32 << 20
	// pageRows are compared at a time.
	pageRows = 500
)

// fold is what the journal says, all of it merged, beside the tables and without
// them: the states of all entities, from which their rows are projected. It
// shares with Apply what is pure (effects, merge, project) and nothing of how
// Apply finds what it has to look at. So the two prove each other.
//
// States are merged in memory and wait in a scratch database, so memory does not
// grow with the journal.
type fold struct {
	models  *models
	live    *store.Store // the mirror's own
	scratch *store.Store
	recent  map[string]*folded // by grave
	states  int                // at most, of recent
	bytes   int                // about, of recent
	buried  filter             // those that have a tombstone

	position  int64 // up to which events are in it
	fact      int64 // the last fact that is, by its row
	reapplied int64 // see Log
	tally     Tally
}

// folded is the state of one entity.
type folded struct {
	model *model
	state state
	dirty bool // the scratch database does not have it
}

// Tally counts the events of a journal by what the fold made of them.
type Tally struct {
	// Events are all.
	Events int64 `json:"events"`
	// Failed are those that the journal has as failed. They are left out, as they
	// changed nothing when they came.
	Failed int64 `json:"failed"`
	// Appliable are those of Failed whose data this version can use.
	Appliable int64 `json:"appliable"`
	// Refused were applied when they came, but this version cannot use their
	// data. What they said is missing in the fold.
	Refused int64 `json:"refused"`
}

func (m *Mirror) newFold(ctx context.Context) (*fold, error) {
	scratch, err := store.OpenScratch(ctx)
	if err != nil {
		return nil, err
	}
	f := &fold{models: m.models, live: m.store, scratch: scratch, states: m.foldStates, recent: map[string]*folded{}, buried: newFilter()}
	for _, table := range [...]string{
		`CREATE TABLE states (id TEXT PRIMARY KEY, sync_state BLOB NOT NULL) WITHOUT ROWID`,
		`CREATE TABLE differing (id TEXT PRIMARY KEY) WITHOUT ROWID`,
	} {
		if _, err := scratch.SQL(ctx).Exec(ctx, table); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare a scratch database: %w", err), scratch.Close())
		}
	}
	return f, nil
}

func (f *fold) close() error { return f.scratch.Close() }

// errReapplied says that events which are not in the fold have been applied
// since.
var errReapplied = errors.New("events that had failed were applied meanwhile")

// catchUp folds what the journal holds beyond the fold's position, and the facts
// of first fills beyond the last one. It reads in the transaction that ctx
// carries.
func (f *fold) catchUp(ctx context.Context, log Log, progress func(done, total int64)) error {
	last, err := wholeJournal(ctx, log)
	if err != nil {
		return err
	}
	switch reapplied, err := log.Reapplied(ctx); {
	case err != nil:
		return err
	case f.position == 0:
		f.reapplied = reapplied
	case f.reapplied != reapplied:
		return errReapplied
	}
	if err := f.addFacts(ctx); err != nil {
		return fmt.Errorf("fold what first fills have read: %w", err)
	}
	if f.position >= last {
		return nil
	}
	return ahead(ctx, log, f.position, last, foldEvents, func(events []*event.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.add(events); err != nil {
			return fmt.Errorf("fold the journal up to position %d: %w", events[len(events)-1].Position, err)
		}
		progress(f.position, last)
		return nil
	})
}

// add folds events, which follow those before.
func (f *fold) add(events []*event.Event) error {
	var told []*effect
	for _, ev := range events {
		effects, err := f.models.effects(ev)
		f.tally.Events++
		switch {
		case ev.Failed != "":
			f.tally.Failed++
			if err == nil {
				f.tally.Appliable++
			}
		case err != nil:
			f.tally.Refused++
		default:
			told = append(told, effects...)
		}
	}
	if err := f.merge(told); err != nil {
		return err
	}
	f.position = events[len(events)-1].Position
	return nil
}

// addFacts folds the facts that it does not have yet. They are written by one
// transaction after another, so that rows are numbered in the order of commits.
func (f *fold) addFacts(ctx context.Context) error {
	for more := true; more; {
		var told []*effect
		read := 0
		err := f.live.SQL(ctx).Query(ctx, func(rows *sql.Rows) error {
			read++
			var key string
			var readAt int64
			var stored []byte
			if err := rows.Scan(&f.fact, &key, &readAt, &stored); err != nil {
				return err
			}
			fact, err := ParseFact(key, readAt, stored)
			if err != nil {
				return err
			}
			effects, err := f.models.factEffects(&fact)
			told = append(told, effects...)
			return err
		}, `SELECT "id", "key", "read_at", "fact" FROM avhub_backfill_facts WHERE id > ? ORDER BY id LIMIT ?`, f.fact, foldEvents)
		if err != nil {
			return err
		}
		if err := f.merge(told); err != nil {
			return err
		}
		more = read == foldEvents
	}
	return nil
}

// merge merges effects, whose order does not matter.
func (f *fold) merge(told []*effect) error {
	var missing []string // nothing is known of them in memory
	for _, e := range told {
		id := grave(e.model, e.id)
		if f.recent[id] == nil {
			f.recent[id] = &folded{model: e.model}
			missing = append(missing, id)
		}
	}
	if err := f.load(missing); err != nil {
		return err
	}
	for _, e := range told {
		ent := f.recent[grave(e.model, e.id)]
		if changed, _ := ent.state.merge(e); changed {
			ent.dirty = true
			for i := range e.set {
				f.bytes += len(e.set[i].value)
			}
		}
	}
	if len(f.recent) > f.states || f.bytes > foldBytes {
		return f.flush()
	}
	return nil
}

// within runs fn in a transaction of the scratch database. Nothing interrupts
// it: contexts that can end cost a goroutine per statement.
func (f *fold) within(fn func(ctx context.Context, db store.SQL) error) error {
	err := f.scratch.InTx(context.Background(), func(ctx context.Context) error { return fn(ctx, f.scratch.SQL(ctx)) })
	if err != nil {
		return fmt.Errorf("use a temporary file, in the folder that TMPDIR names: %w", err)
	}
	return nil
}

func (f *fold) load(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return f.within(func(ctx context.Context, db store.SQL) error {
		return db.In(ctx, func(rows *sql.Rows) error {
			var id string
			var encoded []byte
			if err := rows.Scan(&id, &encoded); err != nil {
				return err
			}
			ent := f.recent[id]
			f.bytes += len(encoded)
			var err error
			ent.state, err = decodeState(ent.model, encoded)
			return err
		}, `SELECT id, sync_state FROM states WHERE id IN %s`, ids)
	})
}

// flush writes what is new, and forgets what is in memory.
func (f *fold) flush() error {
	rows := make([][]any, 0, len(f.recent))
	for _, id := range slices.Sorted(maps.Keys(f.recent)) { // neighbours share pages
		if ent := f.recent[id]; ent.dirty {
			if !ent.state.deleted.isZero() {
				f.buried.add(id)
			}
			rows = append(rows, []any{id, ent.state.encode()})
		}
	}
	f.recent, f.bytes = map[string]*folded{}, 0
	return f.within(func(ctx context.Context, db store.SQL) error {
		return db.Insert(ctx, `INSERT INTO states (id, sync_state)`, rows,
			`ON CONFLICT (id) DO UPDATE SET sync_state = excluded.sync_state`)
	})
}

// size returns the number of entities.
func (f *fold) size() (n int64, err error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	err = f.within(func(ctx context.Context, db store.SQL) error {
		return db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) }, `SELECT count(*) FROM states`)
	})
	return n, err
}
