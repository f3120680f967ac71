package verify

import (
	"context"
	"database/sql"
	"fmt"
)

// cursor is a plugin's place in the journal: everything at or below it is
// settled, or belongs to a lane.
type cursor struct {
	position int64
}

// readCursors finds out how far each plugin has come.
func (r *run) readCursors(ctx context.Context) error {
	err := r.sql(ctx).Query(ctx, func(rows *sql.Rows) error {
		var name, owner string
		var position, epoch int64
		if err := rows.Scan(&name, &position, &epoch, &owner); err != nil {
			return err
		}
		p, err := r.follow(name)
		if p == nil || err != nil {
			return err
		}
		p.cursors = append(p.cursors, cursor{position})
		if position > r.last || position < 0 {
			r.report.add(p.of(CursorBeyond, "", position), "the cursor stands at position %d, the last event is at %d", position, r.last)
		}
		if epoch < 0 || epoch == 0 && owner != "" {
			r.report.add(p.of(Lease, "", 0), "its owner is %q with the fencing number %d", owner, epoch)
		}
		return nil
	}, `SELECT plugin, position, epoch, owner FROM avhub_cursors ORDER BY plugin`)
	if err != nil {
		return fmt.Errorf("read cursors: %w", err)
	}
	for _, p := range r.plugins {
		p.report.Partitions = len(p.cursors)
		if len(p.cursors) == 0 {
			continue
		}
		lowest := p.cursors[0].position
		for _, c := range p.cursors {
			lowest = min(lowest, c.position)
		}
		p.report.Position, p.report.Behind = lowest, max(r.last-max(lowest, r.first-1), 0)
	}
	return nil
}

// reached tells whether the hub counts an event of the key as settled, or as a
// lane's.
func (p *followed) reached(_ string, position int64) bool {
	return len(p.cursors) > 0 && position <= p.cursors[0].position
}
