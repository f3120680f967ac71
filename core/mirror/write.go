package mirror

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
)

// statements are a model's, made once.
type statements struct {
	selectByKey string
	selectRows  string
	selectPage  string
	insert      string
	// update follows insert for rows that changed; updateState for such as look
	// the same and only know more, which keep their synced_at.
	update, updateState string
	remove              string
}

// housekeeping are the columns behind those that events fill.
var housekeeping = [...]string{"created_at", "updated_at", "synced_at", "sync_state"}

func newStatements(m *model) statements {
	names := []string{quote(m.key)}
	for _, c := range m.columns {
		names = append(names, quote(c.name))
	}
	visible := len(names) + 2 // created_at and updated_at too
	for _, name := range housekeeping {
		names = append(names, quote(name))
	}
	table := quote(m.table)
	sets := make([]string, 0, len(names))
	for _, name := range names[1:] {
		sets = append(sets, name+" = excluded."+name)
	}
	conflict := "ON CONFLICT (" + names[0] + ") DO UPDATE SET "
	state := quote("sync_state")
	for i := range m.parents {
		m.parents[i].statement = fmt.Sprintf("SELECT %[1]s FROM %[2]s WHERE %[3]s = ? AND %[1]s > ? ORDER BY %[1]s LIMIT ?",
			names[0], table, quote(m.parents[i].field))
	}
	return statements{
		selectByKey: fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s IN %%s", names[0], state, table, names[0]),
		selectRows:  fmt.Sprintf("SELECT %s FROM %s WHERE %s IN %%s", strings.Join(names[:visible], ", "), table, names[0]),
		selectPage: fmt.Sprintf("SELECT %[1]s, %[2]s FROM %[3]s WHERE %[4]s > ? ORDER BY %[4]s LIMIT ?",
			strings.Join(names[:visible], ", "), state, table, names[0]),
		insert:      fmt.Sprintf("INSERT INTO %s (%s)", table, strings.Join(names, ", ")),
		update:      conflict + strings.Join(sets, ", "),
		updateState: conflict + state + " = excluded." + state,
		remove:      fmt.Sprintf("DELETE FROM %s WHERE %s IN", table, names[0]),
	}
}

func quote(name string) string { return `"` + name + `"` }

const (
	insertGraves   = `INSERT INTO avhub_mirror_graves (id, sync_state)`
	updateGraves   = `ON CONFLICT (id) DO UPDATE SET sync_state = excluded.sync_state`
	removeGraves   = `DELETE FROM avhub_mirror_graves WHERE id IN`
	removeSessions = `DELETE FROM av_identity_sessions WHERE identity_id IN`
)

// write brings the tables to what the batch made of its entities, with a few
// statements per table.
func (b *batch) write(ctx context.Context, now time.Time) error {
	var graves [][]any
	var exhumed []string
	for _, m := range b.models.list {
		var changed, same [][]any
		var gone []string
		for _, ent := range b.order {
			if ent.model != m || ent.above || ent.broken != nil {
				continue
			}
			differs := !ent.now.equal(&ent.loaded)
			if !ent.dirty && !differs {
				continue
			}
			encoded := ent.state.encode()
			if !ent.now.exists {
				if ent.live {
					gone = append(gone, ent.id)
				}
				graves = append(graves, []any{ent.grave(), encoded})
				continue
			}
			if ent.buried {
				exhumed = append(exhumed, ent.grave())
			}
			if ent.live && !differs {
				same = append(same, ent.row(now, encoded))
			} else {
				changed = append(changed, ent.row(now, encoded))
			}
		}
		if err := b.db.Insert(ctx, m.insert, changed, m.update); err != nil {
			return fmt.Errorf("table %s: %w", m.table, err)
		}
		if err := b.db.Insert(ctx, m.insert, same, m.updateState); err != nil {
			return fmt.Errorf("table %s: %w", m.table, err)
		}
		if err := b.remove(ctx, m.remove, gone); err != nil {
			return fmt.Errorf("table %s: %w", m.table, err)
		}
	}
	if err := b.db.Insert(ctx, insertGraves, graves, updateGraves); err != nil {
		return fmt.Errorf("graves: %w", err)
	}
	if err := b.remove(ctx, removeGraves, exhumed); err != nil {
		return fmt.Errorf("graves: %w", err)
	}
	orphans := make([]string, 0, len(b.orphans))
	for sub := range b.orphans {
		orphans = append(orphans, sub)
	}
	if err := b.remove(ctx, removeSessions, orphans); err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	return nil
}

func (b *batch) remove(ctx context.Context, statement string, keys []string) error {
	return store.Chunks(len(keys), 1, func(from, to int) error {
		args := make([]any, 0, to-from)
		for _, key := range keys[from:to] {
			args = append(args, key)
		}
		_, err := b.db.Exec(ctx, statement+" "+store.Tuples(1, to-from), args...)
		return err
	})
}

// row returns the parameters of the model's insert.
func (e *entity) row(now time.Time, encoded []byte) []any {
	args := make([]any, 0, 1+len(e.model.columns)+len(housekeeping))
	args = append(args, e.id)
	for i := range e.model.columns {
		args = append(args, e.model.columns[i].form.arg(e.now.values[i]))
	}
	return append(args, time.UnixMicro(e.now.created).UTC(), time.UnixMicro(e.now.updated).UTC(), now, encoded)
}

// arg turns canonical JSON into a parameter. The event's decoder lets no value
// of another type through; should one be there, it is better shown as unknown
// than that it stops everything else.
func (f form) arg(value []byte) any {
	if value == nil {
		return nil
	}
	switch f {
	case text:
		if value[0] != '"' {
			return nil
		}
		return unquote(value)
	case flag:
		return value[0] == 't'
	case number:
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return nil
		}
		return n
	case moment:
		t, err := time.Parse(timeLayout, string(value))
		if err != nil {
			return nil
		}
		return t
	}
	return store.JSON(value)
}
