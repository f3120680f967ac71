package verify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/avhub/avhub/core/journal"
)

// judgedEvent is what is needed of an event to judge its deliveries.
type judgedEvent struct {
	position           int64
	id, typ            string
	tenantKey, subject string
}

// settle compares what the hub counts as settled, of the events at after <
// position ≤ until, with what the receivers say.
func (j *judge) settle(ctx context.Context, after, until int64, events []*judgedEvent) error {
	for _, p := range j.r.judged {
		got := map[int64]*received{}
		err := j.scratch.Query(ctx, func(rows *sql.Rows) error {
			var position int64
			v := &received{}
			if err := rows.Scan(append([]any{&position}, v.fields()...)...); err != nil {
				return err
			}
			got[position] = v
			return nil
		}, `SELECT position, `+receivedColumns+` FROM events WHERE plugin = ? AND position > ? AND position <= ?`, p.number, after, until)
		if err != nil {
			return fmt.Errorf("read from the scratch database: %w", err)
		}
		for _, ev := range events {
			v := got[ev.position]
			delete(got, ev.position)
			if err := j.settleOne(ctx, p, ev, v); err != nil {
				return err
			}
		}
		for _, position := range slices.Sorted(maps.Keys(got)) {
			if got[position].live > 0 {
				j.r.report.add(p.of(Foreign, "", position), "an event was delivered as position %d, where the journal has none that can be read", position)
			}
		}
	}
	return nil
}

func (j *judge) settleOne(ctx context.Context, p *followed, ev *judgedEvent, v *received) error {
	if v != nil && v.live > 0 {
		key := v.key
		switch {
		case v.id != journal.LaneHash(ev.id):
			j.r.report.add(p.of(Foreign, "", ev.position), "position %d was delivered as another event than %s", ev.position, ev.id)
			return nil
		case p.known && !p.matcher.Match(ev.typ):
			j.r.report.add(p.of(Foreign, "", ev.position), "%s was delivered, and plugin %s does not get the type %s", ev.id, p.Name, ev.typ)
			return nil
		case p.known && key != journal.LaneHash(p.keyOf(ev)):
			j.r.report.add(p.of(Foreign, p.keyOf(ev), ev.position), "%s was delivered under another key than its own", ev.id)
			return nil
		}
	}
	if !p.known || !p.matcher.Match(ev.typ) || ev.position < j.r.opts.From || ev.position <= p.start {
		return nil
	}
	key := p.keyOf(ev)
	if v != nil && v.settled && (v.live > 0 || v.id == journal.LaneHash(ev.id)) || !p.reached(key, ev.position) {
		return nil
	}
	waits, err := j.r.waits(ctx, p, key, ev.position)
	if err != nil || waits {
		return err
	}
	if p.Coalesce {
		k, _, err := j.keys.get(ctx, keyAt{p.number, key})
		if err != nil || k.reached >= ev.position {
			return err
		}
	}
	switch {
	case v == nil || v.live == 0:
		j.r.report.add(p.of(Lost, key, ev.position), "%s was never delivered, and the cursor has passed it", ev.id)
	case j.r.opts.Discarded:
		p.report.GivenUp++
	default:
		j.r.report.add(p.of(Unsettled, key, ev.position), "the last delivery of %s failed, and neither a lane nor a dead letter has it", ev.id)
	}
	return nil
}

// waits tells whether an event is in a lane, or a dead letter.
func (r *run) waits(ctx context.Context, p *followed, key string, position int64) (bool, error) {
	for _, query := range []struct {
		text string
		args []any
	}{
		{`SELECT 1 FROM avhub_dead_letters WHERE plugin = ? AND position = ?`, []any{p.Name, position}},
		{`SELECT 1 FROM avhub_lanes WHERE id = ? AND head <= ?`, []any{p.Name + "/" + key, position}},
	} {
		var one int
		if found, err := r.one(ctx, query.text, query.args, &one); err != nil || found {
			if err != nil {
				err = fmt.Errorf("look where an event waits: %w", err)
			}
			return found, err
		}
	}
	return false, nil
}

// close judges the suspicions.
func (j *judge) close(ctx context.Context) error {
	enough := errors.New("enough")
	for _, p := range j.r.judged {
		for after := int64(0); ; {
			var list []suspicion
			var last int64
			err := j.scratch.Query(ctx, func(rows *sql.Rows) error {
				var s suspicion
				var state int64
				if err := rows.Scan(&last, &s.kind, &s.Position, &s.other, &s.ID, &s.Key, &state); err != nil {
					return err
				}
				s.State = &state
				if list = append(list, s); len(list) >= chunk {
					return enough
				}
				return nil
			}, `SELECT rowid, kind, position, other, id, key, state FROM suspects WHERE plugin = ? AND rowid > ? ORDER BY rowid`, p.number, after)
			if err != nil && !errors.Is(err, enough) {
				return fmt.Errorf("read from the scratch database: %w", err)
			}
			for _, s := range list {
				if err := j.closeOne(ctx, p, s); err != nil {
					return err
				}
			}
			if len(list) < chunk {
				break
			}
			after = last
		}
	}
	return nil
}

// closeOne judges a suspicion, which a dead letter explains: one that there is,
// or one that was delivered again later.
func (j *judge) closeOne(ctx context.Context, p *followed, s suspicion) error {
	var one int
	explained, err := j.r.one(ctx, `SELECT 1 FROM avhub_dead_letters WHERE plugin = ? AND position = ?`, []any{p.Name, s.other}, &one)
	if err != nil {
		return fmt.Errorf("look for a dead letter: %w", err)
	}
	if explained || j.r.opts.Discarded {
		return nil
	}
	switch s.kind {
	case Unsettled:
		ev, _, err := j.events.get(ctx, eventAt{p.number, s.other})
		if err != nil || ev.settled {
			return err // it was settled by a retry of its dead letter
		}
		j.r.report.add(p.of(Reordered, s.Key, s.Position), "%s was delivered although the last delivery of the key's event at position %d had failed", s.ID, s.other)
	case StateLost:
		j.r.report.add(p.of(StateLost, s.Key, s.Position), "%s was delivered with the state that was saved with position %d, and not with that of %d", s.ID, *s.State, s.other)
	}
	return nil
}
