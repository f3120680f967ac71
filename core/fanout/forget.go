package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// Errors of Forget.
var (
	ErrNoSuchPlugin = errors.New("no such plugin has left anything in the database")
	ErrDelivering   = errors.New("a hub delivers to this plugin")
)

// Forgotten is what Forget removed, or would.
type Forgotten struct {
	Lanes       int64 `json:"blocked_lanes"`
	DeadLetters int64 `json:"dead_letters"`
	States      int64 `json:"states"` // keys that it remembered something for
}

// forgetRows are removed in one transaction, which appends wait for.
const forgetRows = 500

// Forget removes all that a plugin has left: dead letters, blocked keys, what it
// remembered and, last of all, its progress. It takes some steps; after a failure
// the next call does the rest. A plugin that a hub delivers to is not forgotten.
func Forget(ctx context.Context, st *store.Store, name string, dryRun bool) (f Forgotten, err error) {
	list, err := Plugins(ctx, st)
	if err != nil {
		return f, err
	}
	at := slices.IndexFunc(list, func(p Progress) bool { return p.Plugin == name })
	if at < 0 {
		return f, fmt.Errorf("forget plugin %s: %w", name, ErrNoSuchPlugin)
	}
	for _, p := range list[at].Partitions {
		switch p.State {
		case halted, Stale, string(plugin.Stopped), "":
		default:
			return f, fmt.Errorf("forget plugin %s: %w: %s; take it out of the configuration there, and have that read again", name, ErrDelivering, p.Owner)
		}
	}
	// A state's id is "plugin/key", and '0' follows '/'.
	for _, t := range []struct {
		count *int64
		table string
		where string
		args  []any
	}{
		{&f.DeadLetters, "avhub_dead_letters", "plugin = ?", []any{name}},
		{&f.Lanes, "avhub_lanes", "plugin = ?", []any{name}},
		{&f.States, "avhub_plugin_states", "id > ? AND id < ?", []any{name + "/", name + "0"}},
	} {
		if dryRun {
			err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(t.count) },
				`SELECT COUNT(*) FROM `+t.table+` WHERE `+t.where, t.args...)
		} else {
			*t.count, err = removeAll(ctx, st, t.table, t.where, t.args)
		}
		if err != nil {
			return f, fmt.Errorf("forget plugin %s: %w", name, err)
		}
	}
	if dryRun {
		return f, nil
	}
	err = st.InTx(ctx, func(ctx context.Context) error {
		db := st.SQL(ctx)
		if _, err := db.Exec(ctx, `DELETE FROM avhub_cursors WHERE plugin = ?`, name); err != nil {
			return err
		}
		_, err := db.Exec(ctx, `DELETE FROM avhub_plugins WHERE id = ?`, name)
		return err
	})
	if err != nil {
		return f, fmt.Errorf("forget plugin %s: %w", name, err)
	}
	return f, nil
}

func removeAll(ctx context.Context, st *store.Store, table, where string, args []any) (all int64, err error) {
	for {
		begin := time.Now()
		n, err := st.SQL(ctx).Exec(ctx, `DELETE FROM `+table+` WHERE id IN (SELECT id FROM `+table+` WHERE `+where+` LIMIT ?)`, append(slices.Clip(args), forgetRows)...)
		all += n
		if err != nil || n < forgetRows {
			return all, err
		}
		select {
		case <-time.After(min(time.Since(begin), 100*time.Millisecond)): // let others write
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}
