package fanout

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/avhub/avhub/core/plugin"
)

// A plugin may ask for another order than it did: then its keys are others. What
// was settled or blocked under the former keys cannot be told by the new ones. So
// the former order stays in force until nothing depends on it: no key is a lane
// any more, and the cursor stands beyond everything that was settled ahead of it.
// What comes later waits so long.

// former finds out whether the order of a former version stays in force for now.
func (c *Consumer) former(ctx context.Context) error {
	var was string
	var lanes int64
	db := c.deps.Store.ReadSQL()
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&was, &lanes) },
		`SELECT ordering, (SELECT COUNT(*) FROM avhub_lanes l WHERE l.plugin = p.id) FROM avhub_plugins p WHERE id = ?`, c.cfg.Name)
	if err != nil {
		return fmt.Errorf("read the order of a plugin: %w", err)
	}
	if was == "" || plugin.Order(was) == c.order {
		return nil
	}
	until := int64(0)
	w := statesOf(c.cfg.Name, "")
	err = db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&until) },
		`SELECT COALESCE(MAX(position), 0) FROM avhub_plugin_states WHERE `+w.String(), w.args...)
	if err != nil {
		return fmt.Errorf("read up to where keys are settled: %w", err)
	}
	if lanes == 0 && until <= c.cursor {
		return nil
	}
	if c.lanes > 0 {
		var head int64
		where, args := c.mine()
		err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&head) }, `SELECT COALESCE(MAX(head), 0) FROM avhub_lanes WHERE `+where, args...)
		if err != nil {
			return fmt.Errorf("read the heads of lanes: %w", err)
		}
		until = max(until, head, c.floors.top())
	}
	last, err := c.deps.Journal.Last(ctx)
	if err != nil {
		return err
	}
	// A lane that has settled everything stands beyond the last event.
	c.wanted, c.order, c.until = c.order, plugin.Order(was), max(min(until, last), c.cursor)
	c.deps.Log.Info().Str("was", was).Str("wants", string(c.wanted)).Msg("the plugin asks for another order; what waits under the former one goes first")
	return nil
}

// outgrown ends the consumer once nothing depends on the former order any more, in
// any partition.
func (c *Consumer) outgrown(ctx context.Context) error {
	if c.wanted == "" || c.lanes > 0 || c.busy() || len(c.window.items) > 0 || c.window.frontier < c.until {
		return nil
	}
	if c.window.prefix > c.cursor {
		if err := c.commitNow(ctx); err != nil {
			return err
		}
	}
	var lanes int64
	err := c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&lanes) },
		`SELECT COUNT(*) FROM avhub_lanes WHERE plugin = ?`, c.cfg.Name)
	if err != nil {
		return fmt.Errorf("count lanes: %w", err)
	}
	if lanes > 0 {
		return nil
	}
	return fmt.Errorf("%w to %s", ErrRedivide, c.wanted)
}

// waitsFor tells operators what keeps the order that the plugin asks for from
// coming into force; empty: nothing does.
func (c *Consumer) waitsFor() string {
	if c.wanted == "" {
		return ""
	}
	return fmt.Sprintf("it asks for the order %s and had %s before: events wait until the keys that are blocked under the former order have gone on; retry or discard them",
		c.wanted, c.order)
}
