package verify

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
)

// mostUnderWay is how many events of one plugin a hub can have handed out without
// having committed their verdicts, or how far the plugin has come: its window, and
// what its lanes have in calls. More cannot come again after one crash.
const mostUnderWay = 2048 + 8*256

// judge reads the receivers' logs and notes what they say of every event and
// every key.
type judge struct {
	r       *run
	scratch store.SQL
	events  memo[eventAt, received]
	keys    memo[keyAt, followedKey]
	high    map[int]int64 // of each plugin, the highest position in the scratch database
	runs    map[runOf]int64
}

type eventAt struct {
	plugin   int
	position int64
}

type keyAt struct {
	plugin int
	key    string
}

type runOf struct {
	plugin int
	run    string
}

// received is what the logs say of one event of one plugin.
type received struct {
	id, key int64 // hashes
	live    int64 // deliveries that were no replays
	run     int64 // of the first live delivery that settled it, hashed
	ever    bool  // a live delivery settled it
	settled bool  // the last delivery did
}

// followedKey is what the logs say of one key.
type followedKey struct {
	current  int64 // position of the last live delivery
	settled  bool  // that one settled its event
	furthest int64 // of the live deliveries
	applied  int64 // of those that were applied in this pass, or skipped
	reached  int64 // of those that settled their event: what a plugin that coalesces goes by
	fence    int64
	seq      int64
	run      string
}

// suspicion is a finding that a dead letter, or an operator, may explain.
type suspicion struct {
	kind Kind
	Delivery
	other int64
}

func (r *run) readReceivers(ctx context.Context) error {
	m, size, err := openLogs(r.opts.Receivers)
	if err != nil {
		return err
	}
	defer m.close()
	j := &judge{r: r, scratch: r.scratch.SQL(ctx), high: map[int]int64{}, runs: map[runOf]int64{}}
	if err := j.prepare(ctx); err != nil {
		return fmt.Errorf("prepare the scratch database: %w", err)
	}
	for n := 0; ; n++ {
		d, err := m.next()
		if err != nil {
			return err
		}
		if d == nil {
			break
		}
		if err := j.take(ctx, d); err != nil {
			return err
		}
		if n%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.tell(StageReceivers, m.done(), size)
		}
	}
	if m.torn > 0 {
		r.report.note("%d lines of the receivers' logs were cut by a crash while they were written: what they were about had not been answered", m.torn)
	}
	for run, again := range j.runs {
		p := r.judgedBy(run.plugin)
		p.report.Runs++
		p.report.AfterCrash += again
		p.report.MostAfterCrash = max(p.report.MostAfterCrash, again)
		if again > mostUnderWay {
			r.report.add(p.of(Doubled, "", 0), "%d events that were settled came again to the process %s of the receiver; at most %d can have been under way", again, run.run, mostUnderWay)
		}
	}
	for _, name := range r.opts.Only {
		p, err := r.follow(name)
		if err != nil {
			return err
		}
		r.judge(p)
	}
	r.logs = j
	if err := j.events.flush(ctx); err != nil {
		return err
	}
	return j.keys.flush(ctx)
}

// judge makes a plugin one whose deliveries are looked at.
func (r *run) judge(p *followed) {
	if p.report.Received == nil {
		p.report.Received = &Received{}
		r.judged = append(r.judged, p)
		if !p.known {
			r.report.note("the order and events of plugin %s are not known, so that what it never got is not found", p.Name)
		}
	}
}

func (r *run) judgedBy(number int) *followed {
	for _, p := range r.judged {
		if p.number == number {
			return p
		}
	}
	return nil
}

// take notes one delivery, and what is wrong with it at once.
func (j *judge) take(ctx context.Context, d *Delivery) error {
	p := j.r.plugins[d.Plugin]
	if p == nil {
		var err error
		if p, err = j.r.follow(d.Plugin); p == nil || err != nil {
			return err // it is not to be looked at
		}
	}
	j.r.judge(p)
	p.report.Deliveries++
	if d.Position > j.r.last {
		p.report.Newer++
		return nil
	}
	ev, fresh, err := j.events.get(ctx, eventAt{p.number, d.Position})
	if err != nil {
		return err
	}
	id := journal.LaneHash(d.ID)
	if d.Replay {
		p.report.Replays++
		if fresh {
			ev.id, ev.key = id, journal.LaneHash(d.Key)
		}
		if ev.id == id {
			ev.settled = d.settles()
		}
		return nil
	}
	if ev.live > 0 && (ev.id != id || ev.key != journal.LaneHash(d.Key)) {
		j.r.report.add(p.of(Foreign, d.Key, d.Position), "position %d was delivered as %s, and before as another event, or under another key", d.Position, d.ID)
	}
	if !d.settles() {
		p.report.Failed++
	}
	key, _, err := j.keys.get(ctx, keyAt{p.number, d.Key})
	if err != nil {
		return err
	}
	if err := j.order(ctx, p, d, key, ev); err != nil {
		return err
	}
	j.workers(p, d, key)
	run := journal.LaneHash(d.Run)
	again := j.runs[runOf{p.number, d.Run}]
	if ev.ever {
		p.report.Redelivered++
		if ev.run != run {
			again++
		}
	}
	j.runs[runOf{p.number, d.Run}] = again
	if ev.live == 0 {
		p.report.Events++
	}
	ev.id, ev.key, ev.settled = id, journal.LaneHash(d.Key), d.settles()
	ev.live++
	if d.settles() && (!ev.ever || ev.run != run) {
		ev.ever, ev.run = true, run
	}
	return nil
}

// order judges a delivery by those of its key before it.
func (j *judge) order(ctx context.Context, p *followed, d *Delivery, key *followedKey, ev *received) error {
	if d.State != nil && *d.State >= d.Position {
		j.r.report.add(p.of(Doubled, d.Key, d.Position), "%s was delivered with the state that had been saved with position %d", d.ID, *d.State)
	}
	switch first := ev.live == 0; {
	case first && d.Position < key.furthest:
		j.r.report.add(p.of(Reordered, d.Key, d.Position), "%s was delivered for the first time after the key's event at position %d", d.ID, key.furthest)
	case d.Position > key.current && key.current > 0 && !key.settled && !p.Coalesce:
		// The one before may have become a dead letter meanwhile.
		if err := j.suspect(ctx, p, Unsettled, d, key.current); err != nil {
			return err
		}
	case !first && d.Position < key.current && !ev.settled && !p.Coalesce:
		j.r.report.add(p.of(Reordered, d.Key, d.Position), "%s, which had failed, was tried again after the key's event at position %d", d.ID, key.current)
	}
	if d.State != nil && d.Position > key.applied && *d.State != key.applied && *d.State < d.Position && !p.Coalesce {
		if err := j.suspect(ctx, p, StateLost, d, key.applied); err != nil {
			return err
		}
	}
	key.current, key.settled = d.Position, d.settles()
	key.furthest = max(key.furthest, d.Position)
	if d.settles() {
		key.reached = max(key.reached, d.Position)
	}
	if d.Verdict == "applied" {
		key.applied = d.Position
	}
	return nil
}

// workers judges whether two hubs had the key at a time.
func (j *judge) workers(p *followed, d *Delivery, key *followedKey) {
	switch {
	case d.Fence < key.fence:
		j.r.report.add(p.of(Workers, d.Key, d.Position), "%s was delivered with the fencing number %d after the key had been delivered with %d", d.ID, d.Fence, key.fence)
	case d.Began > 0 && d.Began < key.seq:
		j.r.report.add(p.of(Workers, d.Key, d.Position), "%s was given to process %s of the receiver at %d, before process %s had answered for position %d at %d",
			d.ID, d.Run, d.Began, key.run, key.current, key.seq)
	}
	key.fence, key.seq, key.run = max(key.fence, d.Fence), d.Seq, d.Run
}

func (j *judge) suspect(ctx context.Context, p *followed, kind Kind, d *Delivery, other int64) error {
	state := int64(-1)
	if d.State != nil {
		state = *d.State
	}
	_, err := j.scratch.Exec(ctx, `INSERT INTO suspects (plugin, kind, position, other, id, key, state) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		p.number, string(kind), d.Position, other, d.ID, d.Key, state)
	if err != nil {
		return fmt.Errorf("write to the scratch database: %w", err)
	}
	return nil
}

// scanReceived is a row of the scratch table of events, behind its position.
func (v *received) fields() []any { return []any{&v.id, &v.key, &v.live, &v.run, &v.ever, &v.settled} }

const receivedColumns = `id, key, live, run, ever, settled`

func (j *judge) prepare(ctx context.Context) error {
	for _, statement := range []string{
		`CREATE TABLE events (plugin INTEGER, position INTEGER, ` + receivedColumns + `, PRIMARY KEY (plugin, position)) WITHOUT ROWID`,
		`CREATE TABLE keys (plugin INTEGER, name TEXT, current, settled, furthest, applied, reached, fence, seq, run, PRIMARY KEY (plugin, name)) WITHOUT ROWID`,
		`CREATE TABLE suspects (plugin INTEGER, kind TEXT, position INTEGER, other INTEGER, id TEXT, key TEXT, state INTEGER)`,
	} {
		if _, err := j.scratch.Exec(ctx, statement); err != nil {
			return err
		}
	}
	j.events = memo[eventAt, received]{most: 100_000, hot: map[eventAt]*received{}, load: j.loadEvent, store: j.storeEvents}
	j.keys = memo[keyAt, followedKey]{most: 50_000, hot: map[keyAt]*followedKey{}, load: j.loadKey, store: j.storeKeys}
	return nil
}

func (j *judge) loadEvent(ctx context.Context, at eventAt) (v *received, err error) {
	if at.position > j.high[at.plugin] {
		return nil, nil // most come in the order of their positions
	}
	err = j.scratch.Query(ctx, func(rows *sql.Rows) error {
		v = &received{}
		return rows.Scan(v.fields()...)
	}, `SELECT `+receivedColumns+` FROM events WHERE plugin = ? AND position = ?`, at.plugin, at.position)
	return v, err
}

func (j *judge) storeEvents(ctx context.Context, hot map[eventAt]*received) error {
	rows := make([][]any, 0, len(hot))
	for at, v := range hot {
		rows = append(rows, []any{at.plugin, at.position, v.id, v.key, v.live, v.run, v.ever, v.settled})
		j.high[at.plugin] = max(j.high[at.plugin], at.position)
	}
	return j.scratch.Insert(ctx, `INSERT INTO events (plugin, position, `+receivedColumns+`)`, rows,
		`ON CONFLICT (plugin, position) DO UPDATE SET id = excluded.id, key = excluded.key, live = excluded.live, run = excluded.run, ever = excluded.ever, settled = excluded.settled`)
}

func (j *judge) loadKey(ctx context.Context, at keyAt) (v *followedKey, err error) {
	err = j.scratch.Query(ctx, func(rows *sql.Rows) error {
		v = &followedKey{}
		return rows.Scan(&v.current, &v.settled, &v.furthest, &v.applied, &v.reached, &v.fence, &v.seq, &v.run)
	}, `SELECT current, settled, furthest, applied, reached, fence, seq, run FROM keys WHERE plugin = ? AND name = ?`, at.plugin, at.key)
	return v, err
}

func (j *judge) storeKeys(ctx context.Context, hot map[keyAt]*followedKey) error {
	rows := make([][]any, 0, len(hot))
	for at, v := range hot {
		rows = append(rows, []any{at.plugin, at.key, v.current, v.settled, v.furthest, v.applied, v.reached, v.fence, v.seq, v.run})
	}
	return j.scratch.Insert(ctx, `INSERT INTO keys (plugin, name, current, settled, furthest, applied, reached, fence, seq, run)`, rows,
		`ON CONFLICT (plugin, name) DO UPDATE SET current = excluded.current, settled = excluded.settled, furthest = excluded.furthest,
 applied = excluded.applied, reached = excluded.reached, fence = excluded.fence, seq = excluded.seq, run = excluded.run`)
}
