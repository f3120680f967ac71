package isolated

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/schema"
)

const (
	// feeders work at a time, and fewer on files, where it is the machine's own
	// processors that work; half of them at most on databases that failed before. A feeder that is stuck for stuckAfter, in a disk that hangs say, is
	// replaced, maxStuck times at most.
	feeders    = 4
	onFiles    = 2
	stuckAfter = time.Minute
	maxStuck   = 8
	// queueLength tenants are taken up at once.
	queueLength = 128

	// The dispatcher commits at most once in a pause while events keep coming:
	// it shares the hub's one writer on SQLite with those who wait for an answer.
	pause     = 250 * time.Millisecond
	pollEvery = time.Second // other hubs, operators, and what is due again
	countFor  = 5 * time.Second
	firstWait = time.Second
	longest   = 5 * time.Minute
	complain  = 10 * time.Second
	errorKept = 1 << 10 // bytes

	// never is when a database that was dropped is fed again, by itself.
	never = math.MaxInt64
)

// runner is the state of Run, which one goroutine owns.
type runner struct {
	*Databases
	results chan fed
	busy    map[string]*work
	failing int      // of busy: that failed before
	queues  [2][]row // of tenants to feed: healthy ones, and those that failed before
	done    []fed    // not yet stored
	stored  time.Time
	picked  time.Time
	counted time.Time

	complained time.Time
	unsaid     int // failures since then
	noted      time.Time
}

type work struct {
	since  time.Time
	failed bool // before
	told   bool // that it is stuck
}

// Run keeps the databases up to date until ctx ends; then it waits for the
// transactions in flight. Trouble with a database, the hub's included, never
// ends it. Call it once.
func (d *Databases) Run(ctx context.Context) {
	r := &runner{Databases: d, results: make(chan fed, feeders+maxStuck), busy: map[string]*work{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	ready := d.retry(ctx, timer, "look at tenants' databases", d.begin)
	for ready && ctx.Err() == nil {
		wake := d.deps.Journal.Wake() // before reading, so that nothing is missed
		more, err := r.step(ctx)
		if err != nil {
			r.log(err, "the journal could not be followed for tenants' databases; trying again")
			timer.Reset(firstWait)
		} else {
			timer.Reset(r.wait(more))
		}
		r.sleep(ctx, timer, wake, err == nil)
	}
	r.finish()
}

// retry repeats fn until it works; false if ctx ended before that.
func (d *Databases) retry(ctx context.Context, timer *time.Timer, what string, fn func(context.Context) error) bool {
	for ctx.Err() == nil {
		err := fn(ctx)
		if err == nil {
			return true
		}
		d.deps.Log.Error().Err(err).Msg("could not " + what + "; trying again")
		timer.Reset(firstWait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return false
}

// runningCounter is 1 while a hub feeds tenants' databases, and stays so when it
// ends by a crash.
const runningCounter = "tenants_running"

// begin has all databases looked at after a crash: those on SQLite do not wait
// for the disk with each commit, so a power cut may have undone their last ones.
// It also gives new places to databases of another kind, when
// mirror.tenants.url has changed.
func (d *Databases) begin(ctx context.Context) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var moved int64
	err := d.deps.Store.InTx(ctx, func(ctx context.Context) (err error) {
		db := d.deps.Store.SQL(ctx)
		crashed, err := number(ctx, d.deps.Store, `SELECT value FROM avhub_counters WHERE name = ?`, runningCounter)
		if err == nil && crashed == 1 && d.place.dialect == store.SQLite {
			_, err = db.Exec(ctx, `UPDATE avhub_tenant_databases SET calls = calls + 1 WHERE NOT `+due+` AND state = ''`)
		}
		if err == nil {
			err = d.setRunning(ctx, 1)
		}
		if err == nil {
			moved, err = db.Exec(ctx, `UPDATE avhub_tenant_databases SET place = '', position = 0, calls = calls + 1, next_at = 0, attempts = 0
 WHERE place <> '' AND state = '' AND place NOT LIKE ?`, string(d.place.dialect)+":%")
		}
		return err
	})
	if err != nil {
		return err
	}
	d.ran = true
	if moved > 0 {
		d.deps.Log.Warn().Int64("databases", moved).Msg("mirror.tenants.url is of another kind than before; tenants' databases are made anew, and the old ones left as they are")
	}
	return nil
}

func (d *Databases) setRunning(ctx context.Context, value int64) error {
	_, err := d.deps.Store.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, ?)
 ON CONFLICT (name) DO UPDATE SET value = excluded.value`, runningCounter, value)
	if err != nil {
		return fmt.Errorf("note that tenants' databases are fed: %w", err)
	}
	return nil
}

// step does what there is to do now. more tells that the journal has more.
func (r *runner) step(ctx context.Context) (more bool, err error) {
	now := time.Now()
	if err := r.store(ctx); err != nil {
		return false, err
	}
	if now.Sub(r.noted) >= pause {
		if more, err = r.dispatch(ctx); err != nil {
			return false, err
		}
		if !more {
			r.noted = now // a chunk of a backlog is followed by the next one at once
		}
	}
	// A backlog is looked through first, so that each database is opened once for
	// all of it, not once for each chunk.
	if len(r.queues[0]) == 0 && (!more || now.Sub(r.picked) >= pollEvery) {
		r.picked = now
		if err := r.pick(ctx); err != nil {
			return false, err
		}
	}
	r.start(ctx)
	if now.Sub(r.counted) >= countFor {
		r.counted = now
		return more, r.metrics.count(ctx, r.Databases)
	}
	return more, nil
}

// wait is how long there is nothing to do unless something happens.
func (r *runner) wait(more bool) time.Duration {
	switch {
	case more:
		return 0
	case len(r.done) > 0:
		return pause
	}
	return pollEvery
}

// sleep waits until there is something to do.
func (r *runner) sleep(ctx context.Context, timer *time.Timer, wake <-chan struct{}, steady bool) {
	if !steady {
		wake = nil
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-wake:
			// What comes within the pause goes with it.
			timer.Reset(max(0, pause-time.Since(r.noted)))
			wake = nil
		case f := <-r.results:
			r.take(f)
			r.start(ctx)
			if len(r.queues[0]) == 0 || len(r.done) >= queueLength {
				// Store, and look for more: at once, unless that was done just now.
				timer.Reset(max(0, pause-time.Since(r.stored)))
			}
		}
	}
}

// take notes what became of a tenant's feeding.
func (r *runner) take(f fed) {
	if r.busy[f.row.Tenant].failed {
		r.failing--
	}
	delete(r.busy, f.row.Tenant)
	r.done = append(r.done, f)
	r.metrics.fed(f)
}

// start gives feeders what is queued.
func (r *runner) start(ctx context.Context) {
	stuck := 0
	for tenant, w := range r.busy {
		if time.Since(w.since) < stuckAfter {
			continue
		}
		if stuck++; !w.told {
			w.told = true
			r.deps.Log.Error().Str("tenant", tenant).Stringer("since", time.Since(w.since).Round(time.Millisecond)).
				Msg("a tenant's database does not answer; other tenants' are not held up")
		}
	}
	most := min(feeders, r.cfg.MaxOpen)
	if r.place.dialect == store.SQLite {
		most = min(onFiles, most)
	}
	for len(r.busy) < most+min(stuck, maxStuck) {
		failed := 0
		if len(r.queues[0]) == 0 || len(r.queues[1]) > 0 && r.failing == 0 {
			failed = 1
		}
		if len(r.queues[failed]) == 0 || failed == 1 && r.failing >= max(1, most/2)+min(stuck, maxStuck) {
			return
		}
		next := r.next(failed)
		if failed == 1 {
			r.failing++
		}
		r.busy[next.Tenant] = &work{since: time.Now(), failed: failed == 1}
		go func() { r.results <- r.feed(ctx, next) }()
	}
}

// next takes a tenant out of a queue: one whose database is open, else the first.
// All in the queue get their turn before it is filled again.
func (r *runner) next(queue int) row {
	q := r.queues[queue]
	i := max(0, slices.IndexFunc(q, func(is row) bool { return r.pool.has(is.Tenant) }))
	is := q[i]
	r.queues[queue] = slices.Delete(q, i, i+1)
	return is
}

// pick reads which tenants are to be fed, those first that were fed longest ago.
func (r *runner) pick(ctx context.Context) error {
	now := r.deps.Now().UnixMicro()
	for failed, attempts := range []string{"attempts = 0", "attempts > 0"} {
		rows, err := r.rows(ctx, due+` AND state = '' AND next_at <= ? AND `+attempts+` ORDER BY next_at LIMIT ?`, now, queueLength)
		if err != nil {
			return err
		}
		r.queues[failed] = nil
		for _, row := range rows {
			if r.busy[row.Tenant] == nil {
				r.queues[failed] = append(r.queues[failed], row)
			}
		}
	}
	return nil
}

// rows reads rows of tenants' databases.
func (d *Databases) rows(ctx context.Context, where string, args ...any) (list []row, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	err = d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.Tenant, &r.Place, &r.Position, &r.Target, &r.Calls, &r.Answered, &r.Attempts, &r.NextAt, &r.LastError, &r.State, &r.UpdatedAt)
		list = append(list, r)
		return err
	}, `SELECT tenant_id, place, position, target, calls, answered, attempts, next_at, last_error, state, updated_at
 FROM avhub_tenant_databases WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read which databases tenants have: %w", err)
	}
	return list, nil
}

func (d *Databases) row(ctx context.Context, tenant string) (row, bool, error) {
	list, err := d.rows(ctx, "tenant_id = ?", tenant)
	if err != nil || len(list) == 0 {
		return row{}, false, err
	}
	return list[0], true, nil
}

// store writes what feeders have done into the hub's database: many at a time,
// as each commit costs it a write to disk. Nothing is lost without it: how far
// a tenant's database is stands there.
func (r *runner) store(ctx context.Context) error {
	if len(r.done) == 0 {
		return nil
	}
	r.stored = time.Now()
	bounded, cancel := r.bound(ctx)
	defer cancel()
	err := r.deps.Store.InTx(bounded, func(ctx context.Context) error {
		for _, f := range r.done {
			if err := r.put(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store how far tenants' databases are: %w", err)
	}
	for _, f := range r.done {
		if f.err != nil && !harmless(f.err) {
			r.unsaid++
			r.log(f.err, "a tenant's database could not be fed; it is tried again, see `avhub tenant list --behind`", "tenant", f.row.Tenant)
		}
	}
	r.done = r.done[:0]
	return nil
}

// harmless errors are no trouble with the database, and tried again at once.
func harmless(err error) bool {
	return errors.Is(err, errMoved) || errors.Is(err, errClosed) || errors.Is(err, context.Canceled)
}

const (
	// Only if nobody has changed the position meanwhile: an operator, to have it
	// looked at again.
	putFed = `UPDATE avhub_tenant_databases SET position = ?, answered = ?, attempts = 0, last_error = '', next_at = ?,
 updated_at = CASE WHEN target <= ? AND calls <= ? THEN ? ELSE updated_at END WHERE tenant_id = ? AND position = ?`
	putFailed = `UPDATE avhub_tenant_databases SET attempts = ?, last_error = ?, next_at = ? WHERE tenant_id = ?`
	// Only if nothing came meanwhile that may have brought the tenant back; else
	// the database is made again.
	putDropped = `UPDATE avhub_tenant_databases SET state = ?, position = target, attempts = 0, last_error = '', next_at = ?, updated_at = ?
 WHERE tenant_id = ? AND target = ? AND position = ?`
	putAgain = `UPDATE avhub_tenant_databases SET position = 0, next_at = ? WHERE tenant_id = ? AND state = '' AND position > 0`
)

func (r *runner) put(ctx context.Context, f fed) error {
	db := r.deps.Store.SQL(ctx)
	now := r.deps.Now()
	switch {
	case f.dropped:
		n, err := db.Exec(ctx, putDropped, stateDeleted, int64(never), now.UnixMicro(), f.row.Tenant, f.row.Target, f.row.Position)
		if err == nil && n == 0 {
			_, err = db.Exec(ctx, putAgain, now.UnixMicro(), f.row.Tenant)
		}
		return err
	case f.err == nil:
		_, err := db.Exec(ctx, putFed, f.position, f.answered, now.UnixMicro(), f.position, f.answered, now.UnixMicro(), f.row.Tenant, f.row.Position)
		return err
	case harmless(f.err):
		return nil
	}
	attempts := f.row.Attempts + 1
	_, err := db.Exec(ctx, putFailed, attempts, r.said(f.err), now.Add(backoff(attempts)).UnixMicro(), f.row.Tenant)
	return err
}

// said is an error as it is kept: no password, no control over its length.
func (d *Databases) said(err error) string {
	text := err.Error()
	if d.place.password != "" { // drivers keep it out; so do we
		text = strings.ReplaceAll(text, d.place.password, schema.RedactedText)
	}
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
	if len(text) <= errorKept {
		return text
	}
	text = text[:errorKept]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}

// backoff is the wait after so many failures in a row, with jitter so that
// databases that failed together do not come back together.
func backoff(attempts int) time.Duration {
	wait := min(firstWait<<min(attempts-1, 16), longest)
	return wait/2 + rand.N(wait/2+1)
}

// log tells of trouble, but not each time.
func (r *runner) log(err error, message string, fields ...string) {
	now := time.Now()
	if now.Sub(r.complained) < complain {
		return
	}
	entry := r.deps.Log.Error().Err(err)
	for i := 0; i+1 < len(fields); i += 2 {
		entry = entry.Str(fields[i], fields[i+1])
	}
	if r.unsaid > 1 {
		entry = entry.Int("failures", r.unsaid)
	}
	entry.Msg(message)
	r.complained, r.unsaid = now, 0
}

// finishTime is how long transactions in flight may take once the hub stops.
// What they leave undone is done after the next start.
const finishTime = 10 * time.Second

// finish waits for the feeders and stores what they did.
func (r *runner) finish() {
	timer := time.NewTimer(finishTime)
	defer timer.Stop()
	for len(r.busy) > 0 {
		select {
		case f := <-r.results:
			r.take(f)
		case <-timer.C:
			r.deps.Log.Warn().Int("tenants", len(r.busy)).Msg("some tenants' databases did not answer in time; they are looked at after the next start")
			return
		}
	}
	if err := r.store(context.Background()); err != nil {
		r.deps.Log.Warn().Err(err).Msg("how far tenants' databases are could not be stored; they are looked at again after the next start")
	}
}
