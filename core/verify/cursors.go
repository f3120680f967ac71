package verify

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
)

// longestLease is far more than any hub takes.
const longestLease = time.Hour

// readCursors finds out how far each plugin has come.
func (r *run) readCursors(ctx context.Context) error {
	now := r.now.UnixMicro()
	if r.store.Dialect() == store.Postgres {
		if _, err := r.one(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`, nil, &now); err != nil {
			return fmt.Errorf("read the database's clock: %w", err)
		}
	}
	err := r.sql(ctx).Query(ctx, func(rows *sql.Rows) error {
		var name string
		var partitions int
		var start, behind int64
		if err := rows.Scan(&name, &partitions, &start, &behind); err != nil {
			return err
		}
		p, err := r.follow(name)
		if p == nil || err != nil {
			return err
		}
		if partitions < 1 || partitions > journal.Slots {
			r.report.add(p.of(Partitions, "", 0), "it is divided into %d partitions", partitions)
			partitions = 1
		}
		p.cursors, p.start = make([]int64, partitions), start
		if behind > 0 {
			r.report.note("plugin %s was too far behind, and the journal no longer holds what it lacks: it needs a back-fill", name)
		}
		return nil
	}, `SELECT id, partitions, start_position, needs_backfill FROM avhub_plugins ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read plugins: %w", err)
	}
	err = r.sql(ctx).Query(ctx, func(rows *sql.Rows) error {
		var id, name, owner string
		var partition int
		var position, epoch, expires int64
		if err := rows.Scan(&id, &name, &partition, &position, &epoch, &owner, &expires); err != nil {
			return err
		}
		p, err := r.follow(name)
		if p == nil || err != nil {
			return err
		}
		switch {
		case id != fmt.Sprintf("%s/%d", name, partition):
			r.report.add(p.of(Partitions, "", 0), "the cursor of partition %d is stored under the id %s", partition, id)
		case p.cursors == nil:
			r.report.add(p.of(Partitions, "", 0), "it has a cursor, and avhub_plugins does not have it")
			p.cursors = make([]int64, 1)
		}
		if partition < 0 || partition >= len(p.cursors) {
			return nil // of a former division
		}
		p.cursors[partition] = position
		if position > r.last || position < 0 {
			r.report.add(p.of(CursorBeyond, "", position), "the cursor of partition %d stands at position %d, the last event is at %d", partition, position, r.last)
		}
		switch until := time.UnixMicro(expires).UTC(); {
		case epoch < 0 || epoch == 0 && owner != "":
			r.report.add(p.of(Lease, "", 0), "the owner of partition %d is %q with the fencing number %d", partition, owner, epoch)
		case owner == "" && expires > now:
			r.report.add(p.of(Lease, "", 0), "the lease of partition %d has no owner, and does not expire before %s", partition, until.Format(time.RFC3339))
		case expires > now+longestLease.Microseconds():
			r.report.add(p.of(Lease, "", 0), "the lease of partition %d does not expire before %s", partition, until.Format(time.RFC3339))
		}
		return nil
	}, `SELECT id, plugin, partition, position, epoch, owner, expires_at FROM avhub_cursors ORDER BY plugin, partition`)
	if err != nil {
		return fmt.Errorf("read cursors: %w", err)
	}
	for _, p := range r.plugins {
		p.report.Partitions = len(p.cursors)
		if len(p.cursors) == 0 {
			continue
		}
		lowest := p.cursors[0]
		for _, position := range p.cursors {
			lowest = min(lowest, position)
		}
		p.report.Position, p.report.Behind = lowest, max(r.last-max(lowest, r.first-1), 0)
	}
	return nil
}

// reached tells whether the hub counts an event of the key as settled, or as a
// lane's: everything at or below the cursor of its partition is.
func (p *followed) reached(key string, position int64) bool {
	return len(p.cursors) > 0 && position <= p.cursors[journal.Slot(key)%len(p.cursors)]
}
