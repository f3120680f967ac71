package fanout

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/plugin"
)

// claim reads where the partition stands, and makes sure that from here on no
// commit of a former owner succeeds.
func (c *Consumer) claim(ctx context.Context) error {
	return c.inTx(ctx, func(ctx context.Context) error {
		lease := c.deps.Lease
		if lease == nil {
			var err error
			if lease, err = c.takeOver(ctx); err != nil {
				return err
			}
		}
		db := c.deps.Store.SQL(ctx)
		var epoch, open int64
		var state, reason, hash string
		var raw []byte
		err := db.Query(ctx, func(rows *sql.Rows) error {
			return rows.Scan(&c.cursor, &epoch, &raw, &state, &reason, &hash, &open)
		}, `SELECT position, epoch, floors, state, reason, config_hash, breaker FROM avhub_cursors WHERE id = ?`, c.cursorID())
		if err != nil {
			return fmt.Errorf("read cursor: %w", err)
		}
		if epoch != lease.Epoch {
			return ErrFenced
		}
		if state == halted && hash == c.configHash() {
			return fmt.Errorf("%w: %s; change its configuration to start it again", ErrHalted, reason)
		}
		if c.floors, err = decodeFloors(raw); err != nil {
			return err
		}
		if open > 0 && !c.breaker.isOpen() { // an outage outlives hubs
			c.breaker.open(time.UnixMicro(open).UTC(), c.deps.Now(), "")
		}
		c.lease = lease
		c.window.frontier, c.window.prefix = c.cursor, c.cursor
		if err := c.fillSlots(ctx); err != nil {
			return err
		}
		where, args := c.mine()
		return db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&c.lanes) }, `SELECT COUNT(*) FROM avhub_lanes WHERE `+where, args...)
	})
}

// takeOver takes the partition from whoever has it.
func (c *Consumer) takeOver(ctx context.Context) (*Lease, error) {
	if err := create(ctx, c.deps.Store, c.deps.Journal, c.cfg.Name, c.cfg.Partitions, c.cfg.Start); err != nil {
		return nil, err
	}
	db := c.deps.Store.SQL(ctx)
	if _, err := db.Exec(ctx, `INSERT INTO avhub_cursors (id, plugin, partition) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		c.cursorID(), c.cfg.Name, c.cfg.Partition); err != nil {
		return nil, fmt.Errorf("create cursor: %w", err)
	}
	var epoch int64
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&epoch) },
		`UPDATE avhub_cursors SET epoch = epoch + 1, owner = ? WHERE id = ? RETURNING epoch`, c.deps.Hub, c.cursorID())
	if err != nil {
		return nil, fmt.Errorf("claim cursor: %w", err)
	}
	return newLease(c.cfg.Name, c.cfg.Partition, c.cfg.Partitions, epoch, time.Now(), 0), nil
}

// divide makes sure that the keys are divided by the order that the plugin asks
// for.
func (c *Consumer) divide(ctx context.Context) error {
	if c.wanted != "" {
		return nil // later
	}
	if c.order == plugin.Total {
		if c.cfg.Partitions > 1 {
			c.haltedHash = c.configHash()
			c.halted = fmt.Sprintf("it asks for total order, so it cannot be divided into %d partitions: set partitions to 1", c.cfg.Partitions)
		}
		return nil
	}
	db, by := c.deps.Store.SQL(ctx), keyedBy(c.order)
	if c.cfg.Partitions == 1 {
		// With one partition there is nothing to divide.
		_, err := db.Exec(ctx, `UPDATE avhub_plugins SET keyed_by = ? WHERE id = ? AND keyed_by <> ?`, by, c.cfg.Name, by)
		if err != nil {
			return fmt.Errorf("store the order of a plugin: %w", err)
		}
		return nil
	}
	_, err := db.Exec(ctx, `UPDATE avhub_plugins SET keyed_by = ? WHERE id = ? AND keyed_by = ''`, by, c.cfg.Name)
	if err != nil {
		return fmt.Errorf("store the order of a plugin: %w", err)
	}
	var is string
	if err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&is) }, `SELECT keyed_by FROM avhub_plugins WHERE id = ?`, c.cfg.Name); err != nil {
		return fmt.Errorf("read the order of a plugin: %w", err)
	}
	if is != by {
		return fmt.Errorf("%w from per %s to per %s", ErrRedivide, is, by)
	}
	return nil
}

// KeyedBy names the order that divides the plugin's keys, after Run has returned
// ErrRedivide.
func (c *Consumer) KeyedBy() string { return keyedBy(cmp.Or(c.wanted, c.order)) }

// lost is closed when the lease is over; nil while there is none.
func (c *Consumer) lost() <-chan struct{} {
	if c.lease == nil {
		return nil
	}
	return c.lease.Lost()
}

// killer is a plugin whose process can be ended at once.
type killer interface{ Kill(reason string) }

// watchLease ends the plugin's process if another hub may start to work on the
// same keys. Calls in flight are not all that it may be at: a connector can go on
// with an event after its time was up. stop ends the watching.
func (c *Consumer) watchLease() (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-c.lease.Lost():
		}
		if k, ok := c.deps.Plugin.(killer); ok && c.lease.isTaken() {
			k.Kill("the lease of its deliveries ended, so another hub may go on with them")
		}
	}()
	return func() { close(done) }
}

// abandon waits for the calls in flight, whose verdicts cannot be committed any
// more: whoever works on the partition next must not meet them.
func (c *Consumer) abandon() {
	for c.busy() {
		switch b := <-c.results; {
		case b.replay != nil:
			b.replay.flying = false
		case b.aside():
			c.runs--
		default:
			c.batches--
		}
	}
}
