package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// Pending is what a plugin has never been given with success: events that it gets
// and that are beyond its cursor, in blocked lanes, or dead letters.
type Pending struct {
	Plugin      string `json:"plugin"`
	Position    int64  `json:"position"` // the cursor; the least of its partitions
	Waiting     int64  `json:"waiting"`  // beyond the cursor
	Blocked     int64  `json:"blocked"`  // at or behind the heads of blocked lanes
	Lanes       int64  `json:"blocked_lanes"`
	DeadLetters int64  `json:"dead_letters"`
	// Types are the waiting and blocked ones by type.
	Types map[string]int64 `json:"types"`
}

// Never counts what a plugin has never been given with success, of one tenant or
// of all (""). It reads the part of the journal beyond the cursor, and of each
// blocked lane what is behind its head, by index.
func Never(ctx context.Context, st *store.Store, name, tenant string) (Pending, error) {
	p := Pending{Plugin: name, Types: map[string]int64{}}
	is, err := describedPlugin(ctx, st, name)
	if err != nil {
		return p, err
	}
	var last int64
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&p.Position, &last) },
		`SELECT COALESCE(MIN(position), 0), COALESCE((SELECT value FROM avhub_counters WHERE name = 'journal'), 0) FROM avhub_cursors WHERE plugin = ?`, name)
	if err != nil {
		return p, fmt.Errorf("read cursors: %w", err)
	}
	type part struct {
		number   int
		position int64
	}
	var parts []part
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var is part
		err := rows.Scan(&is.number, &is.position)
		parts = append(parts, is)
		return err
	}, `SELECT partition, position FROM avhub_cursors WHERE plugin = ? ORDER BY partition`, name)
	if err != nil {
		return p, fmt.Errorf("read cursors: %w", err)
	}
	var whose clause
	if tenant != "" {
		whose.and("tenant_lane = ? AND tenant_id = ?", journal.LaneHash((&event.Event{TenantID: tenant}).TenantKey()), tenant)
	}
	for _, part := range parts {
		w := whose
		if len(parts) > 1 {
			w.and(fmt.Sprintf("(%s & %d) %% ? = ?", is.column(), journal.Slots-1), len(parts), part.number)
		}
		n, err := countTypes(ctx, st, w, part.position, last)
		if err != nil {
			return p, err
		}
		p.Waiting += p.add(is, n)
	}
	cursor := func(key string) int64 {
		for _, part := range parts {
			if Slot(key)%len(parts) == part.number {
				return part.position
			}
		}
		return p.Position
	}
	for after := ""; ; {
		lanes, err := readLanes(ctx, st.ReadSQL(), `plugin = ? AND key > ? ORDER BY key LIMIT 500`, name, after)
		if err != nil {
			return p, err
		}
		for _, l := range lanes {
			after = l.Key
			if tenant != "" && is.order == plugin.PerTenant && l.Key != (&event.Event{TenantID: tenant}).TenantKey() {
				continue
			}
			w := whose
			if is.order != plugin.Total {
				w.and(is.column()+" = ?", journal.LaneHash(l.Key))
			}
			n, err := countTypes(ctx, st, w, l.Head-1, cursor(l.Key))
			if err != nil {
				return p, err
			}
			if blocked := p.add(is, n); blocked > 0 || tenant == "" {
				p.Lanes++
				p.Blocked += blocked
			}
		}
		if len(lanes) < 500 {
			break
		}
	}
	n, err := Count(ctx, st, Filter{Plugin: name, Tenant: tenant})
	p.DeadLetters = n.DeadLetters
	return p, err
}

// add adds counts of types that the plugin gets, and returns their sum.
func (p *Pending) add(is described, counts map[string]int64) (sum int64) {
	for typ, n := range counts {
		if is.matcher.Match(typ) {
			p.Types[typ] += n
			sum += n
		}
	}
	return sum
}

// ErrUndescribed: which events a plugin gets is not stored yet.
var ErrUndescribed = errors.New("it has not run since this version of avhub; start it once")
