package isolated

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// later is an event that could not be applied when it came, and was later. A
// database that had passed over it by then goes back to before it: events that
// are applied again change nothing.
type later struct {
	id, position int64
	key          string // the event's TenantKey
}

type reappliedSpan struct {
	tenant       string // those that may concern it; empty: all
	after, until int64  // rows; until 0: no end
	limit        int
}

// reapplied reads events that were applied later, in the order in which they
// were.
func (d *Databases) reapplied(ctx context.Context, s reappliedSpan) (list []later, err error) {
	query, args := `SELECT id, position, tenant_key FROM avhub_reapplied_events WHERE id > ?`, []any{s.after}
	if s.until > 0 {
		query, args = query+` AND id <= ?`, append(args, s.until)
	}
	if s.tenant != "" {
		query, args = query+` AND tenant_id IN ('', ?)`, append(args, s.tenant)
	}
	err = d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var l later
		err := rows.Scan(&l.id, &l.position, &l.key)
		list = append(list, l)
		return err
	}, query+` ORDER BY id LIMIT ?`, append(args, s.limit)...)
	if err != nil {
		return nil, fmt.Errorf("read which events were applied later than they came: %w", err)
	}
	return list, nil
}

// rewind takes a database's cursor to before the events that it passed over and
// that were applied since.
func (d *Databases) rewind(ctx context.Context, db *database, at, known progress) (progress, error) {
	if at.reapplied == known.reapplied {
		return at, nil
	}
	to := progress{at.events, at.facts, known.reapplied}
	for last := at.reapplied; to.events > 0; {
		some, err := d.passedOver(ctx, db.tenant, reappliedSpan{db.tenant, last, known.reapplied, d.sizes.group}, &to.events)
		if err != nil {
			return at, err
		}
		if some == 0 {
			break
		}
		last = some
	}
	err := d.transact(ctx, db, func(ctx context.Context) error { return d.move(ctx, db, at, to) })
	if err != nil {
		return at, fmt.Errorf("go back to events that were applied later: %w", err)
	}
	return to, nil
}

// passedOver lowers a position to before the events of a span that concern the
// tenant, and returns the last row that it saw, 0 if there was none.
func (d *Databases) passedOver(ctx context.Context, tenant string, s reappliedSpan, position *int64) (last int64, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	list, err := d.reapplied(ctx, s)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	first := map[string]int64{} // by person
	for _, l := range list {
		if sub, ok := strings.CutPrefix(l.key, event.KindIdentity+":"); ok {
			if was, ok := first[sub]; !ok || l.position < was {
				first[sub] = l.position
			}
			continue
		}
		*position = min(*position, l.position-1)
	}
	subs := make([]string, 0, len(first))
	for sub := range first {
		subs = append(subs, sub)
	}
	ties, err := d.tiesOf(ctx, tenant, subs)
	for _, t := range ties {
		*position = min(*position, first[t.who]-1)
	}
	return list[len(list)-1].id, err
}
