package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/store"
)

// Holds tells what plugins still need of the journal: what lies beyond the lowest
// cursor of a plugin, and from the heads of its lanes on. A plugin that was let go
// needs nothing. One that is not configured any more holds the journal, too, until
// it is forgotten: nobody can tell a plugin that was taken out for good from one
// that comes back with the next deployment, and whose events would be lost.
//
// A cursor only ever moves on, and a new lane begins beyond it. Both are read by one
// statement, so that an event is seen in one of them while it moves from the one to
// the other.
func Holds(st *store.Store, configured []string) retention.Holder {
	return func(ctx context.Context) (holds []retention.Hold, err error) {
		err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error {
			var name string
			var position int64
			var head sql.NullInt64
			if err := rows.Scan(&name, &position, &head); err != nil {
				return err
			}
			h := retention.Hold{By: "plugin " + name, Position: position, Advice: fmt.Sprintf("avhub plugin list shows why it does not come on; see journal.max_lag for not waiting for it (%s)", name)}
			if !slices.Contains(configured, name) {
				h.By += " (not configured any more)"
				h.Advice = fmt.Sprintf("if it does not come back: avhub plugin forget %s", name)
			}
			holds = append(holds, h)
			if head.Valid && head.Int64-1 < position {
				holds = append(holds, retention.Hold{
					By: "blocked keys of plugin " + name, Position: head.Int64 - 1,
					Advice: fmt.Sprintf("avhub delivery list --plugin %s shows them; retry or discard what blocks them", name),
				})
			}
			return nil
		}, `SELECT c.plugin, MIN(c.position), (SELECT MIN(l.head) FROM avhub_lanes l WHERE l.plugin = c.plugin)
 FROM avhub_cursors c WHERE NOT EXISTS (SELECT 1 FROM avhub_plugins p WHERE p.id = c.plugin AND p.needs_backfill > 0)
 GROUP BY c.plugin ORDER BY c.plugin`)
		if err != nil {
			return nil, fmt.Errorf("read what plugins still need: %w", err)
		}
		replays, err := replayHolds(ctx, st.SQL(ctx))
		return append(holds, replays...), err
	}
}

// replayHolds tells what replays still need. They are made under journal.Hold, and
// only come on. Until all of a replay's parts are there, it needs everything.
func replayHolds(ctx context.Context, db store.SQL) (holds []retention.Hold, err error) {
	err = db.Query(ctx, func(rows *sql.Rows) error {
		var name string
		var id, after, until, parts, partitions, position int64
		var kind string
		if err := rows.Scan(&id, &name, &kind, &after, &until, &partitions, &parts, &position); err != nil {
			return err
		}
		switch {
		case kind != "events": // of a snapshot, the log is needed from there on
			position = until
		case parts < partitions:
			position = after
		}
		holds = append(holds, retention.Hold{
			By: fmt.Sprintf("replays of plugin %s", name), Position: position,
			Advice: fmt.Sprintf("replay %d still goes on", id),
		})
		return nil
	}, `SELECT r.id, r.plugin, r.kind, r.after, r.until, r.partitions,
 (SELECT COUNT(*) FROM avhub_replay_parts p WHERE p.replay = r.id),
 COALESCE((SELECT MIN(p.position) FROM avhub_replay_parts p WHERE p.replay = r.id AND NOT p.done), r.until)
 FROM avhub_replays r WHERE r.state = 'running' ORDER BY r.id`)
	if err != nil {
		return nil, fmt.Errorf("read what replays still need: %w", err)
	}
	return holds, nil
}
