package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
)

// MaxPartitions is how many partitions a plugin can have.
const MaxPartitions = 64

// Slot is one of journal.Slots that a key belongs to for ever. A plugin of P
// partitions finds the key in partition Slot % P.
func Slot(key string) int { return journal.Slot(key) }

// CursorID names the row of a partition in avhub_cursors.
func CursorID(plugin string, partition int) string { return plugin + "/" + strconv.Itoa(partition) }

func (c *Consumer) cursorID() string { return CursorID(c.cfg.Name, c.cfg.Partition) }

// mine is the condition for rows with a slot to belong to this partition, and
// its arguments.
func (c *Consumer) mine() (string, []any) {
	if c.cfg.Partitions == 1 {
		return `plugin = ?`, []any{c.cfg.Name}
	}
	return `plugin = ? AND slot % ? = ?`, []any{c.cfg.Name, c.cfg.Partitions, c.cfg.Partition}
}

// part selects the events of this partition; nil: all are.
func (c *Consumer) part() *journal.Part {
	if c.cfg.Partitions == 1 {
		return nil
	}
	p := &journal.Part{Lane: journal.TenantLane, Index: c.cfg.Partition, Of: c.cfg.Partitions}
	if c.order == plugin.PerSubject {
		p.Lane = journal.SubjectLane
	}
	return p
}

// fillSlots computes the slots of rows from before there were any.
func (c *Consumer) fillSlots(ctx context.Context) error {
	db := c.deps.Store.SQL(ctx)
	for _, table := range []string{"avhub_lanes", "avhub_dead_letters"} {
		keys := map[string]bool{}
		err := db.Query(ctx, func(rows *sql.Rows) error {
			var key string
			err := rows.Scan(&key)
			keys[key] = true
			return err
		}, `SELECT DISTINCT key FROM `+table+` WHERE plugin = ? AND slot < 0`, c.cfg.Name)
		if err != nil {
			return fmt.Errorf("find keys without a slot: %w", err)
		}
		for key := range keys {
			if _, err := db.Exec(ctx, `UPDATE `+table+` SET slot = ? WHERE plugin = ? AND slot < 0 AND key = ?`, Slot(key), c.cfg.Name, key); err != nil {
				return fmt.Errorf("store the slot of a key: %w", err)
			}
		}
	}
	return nil
}
