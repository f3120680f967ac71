package fanout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
)

const (
	// A replay holds at most so much in memory.
	replayWindow = 256
	replayBytes  = 2 << 20
	// replaySpan positions are looked at by one read, which is short then however
	// seldom the events are that are looked for.
	replaySpan = 4096
	// snapshotPage rows are read at once.
	snapshotPage = 128
)

// replayRead is what a read brought.
type replayRead struct {
	run   *replayRun
	items []*item
	at    replayPlace
	ended bool
	// untold rows could not be told as events.
	untold int64
	err    error
}

// readReplay reads on beside the loop, while there is room.
func (c *Consumer) readReplay(r *replayRun) {
	if r.read || r.ended || len(r.items) >= replayWindow || r.bytes >= replayBytes || c.deps.Now().Before(r.readAfter) {
		return
	}
	r.read = true
	at := r.at
	go func() {
		ctx, cancel := c.deps.Store.Bound(context.Background(), c.cfg.CallTimeout)
		defer cancel()
		got := replayRead{run: r}
		if r.Kind == ReplaySnapshot {
			c.readRows(ctx, r, at, &got)
		} else {
			c.readEvents(ctx, r, at, &got)
		}
		c.reads <- got // has room for two: one replay may follow another
	}()
}

// takeRead puts what was read behind what there is.
func (c *Consumer) takeRead(got replayRead) {
	r := got.run
	if r.cut {
		return
	}
	r.read = false
	if got.err != nil {
		r.readAfter = c.deps.Now().Add(pollEvery)
		c.deps.Log.Error().Err(got.err).Int64("replay", r.ID).Msg("could not read on for a replay; trying again")
		return
	}
	for _, it := range got.items {
		if i := slices.Index(r.part.ahead.Settled, r.mark(it)); i >= 0 { // before a restart
			it.settled = true
			r.part.ahead.Settled = slices.Delete(r.part.ahead.Settled, i, i+1)
		}
		r.items = append(r.items, it)
		r.bytes += it.size()
	}
	r.part.counts.Failed += got.untold
	r.at, r.ended = got.at, got.ended
	r.advance()
}

func (c *Consumer) readEvents(ctx context.Context, r *replayRun, at replayPlace, got *replayRead) {
	if at.position >= r.Until {
		got.at, got.ended = at, true
		return
	}
	q := journal.Query{
		After: at.position, Until: min(at.position+replaySpan, r.Until), Limit: replayWindow, MaxBytes: replayBytes / 2,
		TenantID: r.Tenant, Part: c.part(),
	}
	if q.Types = r.Types; len(q.Types) == 0 {
		q.Types = c.types
	}
	if r.Key != "" && c.order != plugin.Total {
		lane := journal.TenantLane
		if c.order == plugin.PerSubject {
			lane = journal.SubjectLane
		}
		q.Lane, q.Key = &lane, r.Key
	}
	if r.Key != "" || r.Tenant != "" {
		q.Until = r.Until // an index leads to them
	}
	events, err := c.deps.Journal.Read(ctx, q)
	if err != nil {
		got.err = err
		return
	}
	got.at = replayPlace{position: q.Until}
	bytes := 0
	for _, ev := range events {
		bytes += len(ev.Evidence.Body)
		place := replayPlace{position: ev.Position}
		if key := c.keyOf(ev); c.matcher.Match(ev.Type) && r.selects(ev, key, r.types) {
			got.items = append(got.items, &item{ev: ev, key: key, place: place})
		}
		if len(events) == q.Limit || bytes >= q.MaxBytes {
			got.at = place // there may be more
		}
	}
	got.ended = got.at.position >= r.Until
}

// readRows reads a page of a snapshot.
func (c *Consumer) readRows(ctx context.Context, r *replayRun, at replayPlace, got *replayRead) {
	kinds := snapshotKinds()
	wants := func(typ string) bool { return c.matcher.Match(typ) && r.types.Match(typ) }
	k := 0
	if at.kind != "" {
		if k = slices.IndexFunc(kinds, func(t told) bool { return t.kind == at.kind }); k < 0 {
			got.err = fmt.Errorf("a snapshot stands at rows of the kind %q, which this version does not know", at.kind)
			return
		}
	}
	for ; k < len(kinds); k++ {
		t := kinds[k]
		if t.kind != at.kind {
			at = replayPlace{position: at.position, kind: t.kind}
		}
		if !t.wanted(wants) {
			continue
		}
		rows, err := c.deps.Rows.Page(ctx, t.kind, at.id, snapshotPage)
		if err != nil {
			got.err = err
			return
		}
		for _, row := range rows {
			at.id = row.ID
			ev, err := t.event(row, r.Until, wants)
			if err != nil {
				// It would not be better the next time, and the others need not wait.
				got.untold++
				c.deps.Log.Error().Err(err).Msg("a row of the mirror is not in the snapshot")
				continue
			}
			if ev == nil {
				continue
			}
			if key := c.keyOf(ev); c.owns(key) {
				got.items = append(got.items, &item{ev: ev, key: key, place: at})
			}
		}
		if len(rows) == snapshotPage {
			got.at = at
			return
		}
	}
	got.at, got.ended = replayPlace{position: at.position, kind: at.kind, id: at.id}, true
}

// owns tells whether a key belongs to this partition.
func (c *Consumer) owns(key string) bool { return Slot(key)%c.cfg.Partitions == c.cfg.Partition }

// place is how a place in a snapshot is stored.
func (p replayPlace) place() string {
	if p.kind == "" {
		return ""
	}
	return p.kind + "/" + p.id
}

func cutPlace(text string) (kind, id string) {
	kind, id, _ = strings.Cut(text, "/")
	return kind, id
}
