package mirror

import (
	"context"
	"database/sql"
	"hash/maphash"
	"strings"

	"github.com/avhub/avhub/core/store"
)

// shown is an entity as it has to be.
type shown struct {
	model   *model
	id      string
	known   bool // the journal says something about it
	state   state
	encoded []byte
	row     row
}

// page returns the entities of a model that follow the one with the id after, in
// the order of their ids' bytes.
func (f *fold) page(m *model, after string) ([]*shown, error) {
	if err := f.flush(); err != nil {
		return nil, err
	}
	from := grave(m, after)
	end := m.kind + string(rune('/'+1))
	var page []*shown
	err := f.within(func(ctx context.Context, db store.SQL) error {
		if err := db.Query(ctx, func(rows *sql.Rows) error {
			var id string
			s := &shown{model: m, known: true}
			if err := rows.Scan(&id, &s.encoded); err != nil {
				return err
			}
			s.id = id[len(m.kind)+1:]
			page = append(page, s)
			return nil
		}, `SELECT id, sync_state FROM states WHERE id > ? AND id < ? ORDER BY id LIMIT ?`, from, end, pageRows); err != nil {
			return err
		}
		return f.show(ctx, db, page)
	})
	return page, err
}

// at returns entities by their graves, also those of which nothing is known.
func (f *fold) at(graves []string) ([]*shown, error) {
	if err := f.flush(); err != nil {
		return nil, err
	}
	var list []*shown
	byGrave := map[string]*shown{}
	for _, g := range graves {
		kind, id, _ := strings.Cut(g, "/")
		m := f.models.byKind(kind)
		if m == nil {
			m = &model{kind: kind} // of a grave that stands for nothing
		}
		s := &shown{model: m, id: id}
		list, byGrave[g] = append(list, s), s
	}
	err := f.within(func(ctx context.Context, db store.SQL) error {
		if err := db.In(ctx, func(rows *sql.Rows) error {
			var id string
			var encoded []byte
			if err := rows.Scan(&id, &encoded); err != nil {
				return err
			}
			byGrave[id].known, byGrave[id].encoded = true, encoded
			return nil
		}, `SELECT id, sync_state FROM states WHERE id IN %s`, graves); err != nil {
			return err
		}
		return f.show(ctx, db, list)
	})
	return list, err
}

// show projects the rows of entities.
func (f *fold) show(ctx context.Context, db store.SQL, list []*shown) error {
	tombs := map[string]clock{}
	var parents []string
	for _, s := range list {
		if !s.known {
			continue
		}
		var err error
		if s.state, err = decodeState(s.model, s.encoded); err != nil {
			return err
		}
		for i := range s.model.parents {
			p := &s.model.parents[i]
			of := p.kind + "/" + s.state.parent(p.field)
			if _, ok := tombs[of]; !ok && f.buried.has(of) {
				tombs[of] = clock{}
				parents = append(parents, of)
			}
		}
	}
	if err := db.In(ctx, func(rows *sql.Rows) error {
		var id string
		var encoded []byte
		if err := rows.Scan(&id, &encoded); err != nil {
			return err
		}
		var err error
		tombs[id], err = decodeTombstone(encoded)
		return err
	}, `SELECT id, sync_state FROM states WHERE id IN %s`, parents); err != nil {
		return err
	}
	for _, s := range list {
		if !s.known {
			continue
		}
		var floor clock
		for i := range s.model.parents {
			p := &s.model.parents[i]
			floor = latest(floor, tombs[p.kind+"/"+s.state.parent(p.field)])
		}
		s.row = s.model.project(&s.state, floor)
	}
	return nil
}

// filter remembers texts, in a megabyte however many there are. It may take a
// text for one of them that is none, and never the other way round.
type filter struct {
	seed maphash.Seed
	bits []uint64
}

const filterBits = 1 << 23

func newFilter() filter { return filter{maphash.MakeSeed(), make([]uint64, filterBits/64)} }

func (f *filter) place(s string) (word, bit uint64) {
	at := maphash.String(f.seed, s) % filterBits
	return at / 64, 1 << (at % 64)
}

func (f *filter) add(s string) {
	word, bit := f.place(s)
	f.bits[word] |= bit
}

func (f *filter) has(s string) bool {
	word, bit := f.place(s)
	return f.bits[word]&bit != 0
}
