package isolated

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// dispatchCounter is the position up to which the dispatcher has looked.
const dispatchCounter = "tenants_dispatch"

// tieKey is who is tied to whom: a person to a tenant, or a global subject to
// all of them, which have no name.
type tieKey struct{ tenant, who string }

// tie is a row of avhub_tenant_people.
type tie struct {
	since, latest int64
	dirty         bool
}

// notes are what a chunk of the journal means for tenants' databases.
type notes struct {
	ties    map[tieKey]*tie
	of      map[string][]tieKey // by person
	targets map[string]int64    // by tenant: its last event
	alive   map[string]struct{} // tenants that may have come back from a deletion
	all     int64               // last event for everybody
}

// errMoved: another hub did this step first.
var errMoved = errors.New("another hub was faster")

// dispatch looks at the next events of the journal and notes whom they concern,
// in one small transaction. It tells whether there may be more.
func (d *Databases) dispatch(ctx context.Context) (more bool, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	from, err := d.dispatched(ctx)
	if err != nil {
		return false, err
	}
	span := Span{After: from, Limit: d.sizes.dispatch, MaxBytes: dispatchBytes}
	events, err := d.deps.Journal.Read(ctx, span)
	if err != nil || len(events) == 0 {
		return false, err
	}
	n, err := d.note(ctx, events)
	if err != nil {
		return false, err
	}
	to := events[len(events)-1].Position
	err = d.deps.Store.InTx(ctx, func(ctx context.Context) error { return d.write(ctx, n, from, to) })
	if errors.Is(err, errMoved) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("note what is new for tenants' databases: %w", err)
	}
	return len(events) == span.Limit || bytesOf(events) >= span.MaxBytes, nil
}

// dispatched returns the position up to which the dispatcher has looked.
func (d *Databases) dispatched(ctx context.Context) (at int64, err error) {
	err = d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&at) },
		`SELECT value FROM avhub_counters WHERE name = ?`, dispatchCounter)
	if err != nil {
		return 0, fmt.Errorf("read how far tenants' databases were looked after: %w", err)
	}
	return at, nil
}

// note finds out what events mean. What it reads of ties only a dispatcher
// changes, and of two dispatchers at one position one gives up.
func (d *Databases) note(ctx context.Context, events []*event.Event) (*notes, error) {
	n := &notes{ties: map[tieKey]*tie{}, of: map[string][]tieKey{}, targets: map[string]int64{}, alive: map[string]struct{}{}}
	if err := n.load(ctx, d.deps.Store, events); err != nil {
		return nil, err
	}
	for _, ev := range events {
		tenant := home(ev)
		if tenant == "" {
			if ev.TenantID != "" {
				d.deps.Log.Warn().Str("source", ev.Source).Str("event", ev.ID).Int64("position", ev.Position).
					Msg("an event names one tenant in its envelope and another one in its data; it reaches neither's own database")
			}
			if subject := global(ev); subject != "" {
				n.tie(tieKey{"", subject}, ev.Position).move(ev.Position)
				n.all = ev.Position
			}
			continue
		}
		n.targets[tenant] = ev.Position
		if lives(ev) {
			n.alive[tenant] = struct{}{}
		}
		if sub := person(ev); sub != "" {
			n.tie(tieKey{tenant, sub}, ev.Position)
		}
	}
	// Now that all ties are known: what was said before one counts, too.
	for _, ev := range events {
		sub := homeless(ev)
		if sub == "" {
			continue
		}
		for _, key := range n.of[sub] {
			n.ties[key].move(ev.Position)
			n.targets[key.tenant] = max(n.targets[key.tenant], ev.Position)
		}
	}
	return n, nil
}

// load reads the ties of the people that events are about.
func (n *notes) load(ctx context.Context, st *store.Store, events []*event.Event) error {
	seen := map[string]struct{}{}
	var subs []string
	for _, ev := range events {
		if sub := person(ev); sub != "" {
			if _, ok := seen[sub]; !ok {
				seen[sub] = struct{}{}
				subs = append(subs, sub)
			}
		}
	}
	err := st.ReadSQL().In(ctx, func(rows *sql.Rows) error {
		var key tieKey
		t := &tie{}
		if err := rows.Scan(&key.tenant, &key.who, &t.since, &t.latest); err != nil {
			return err
		}
		if key.tenant != "" {
			n.ties[key] = t
			n.of[key.who] = append(n.of[key.who], key)
		}
		return nil
	}, `SELECT tenant_id, sub, since, latest FROM avhub_tenant_people WHERE sub IN %s`, subs)
	if err != nil {
		return fmt.Errorf("read who is tied to which tenant: %w", err)
	}
	return nil
}

// tie returns a tie, made by the event at a position if it is new.
func (n *notes) tie(key tieKey, position int64) *tie {
	t, ok := n.ties[key]
	if !ok {
		t = &tie{position, position, true}
		n.ties[key] = t
		if key.tenant != "" {
			n.of[key.who] = append(n.of[key.who], key)
		}
	}
	return t
}

func (t *tie) move(position int64) {
	if position > t.latest {
		t.latest, t.dirty = position, true
	}
}

const (
	insertTies = `INSERT INTO avhub_tenant_people (id, tenant_id, sub, since, latest)`
	moveTies   = `ON CONFLICT (id) DO UPDATE SET latest = excluded.latest`

	insertTargets = `INSERT INTO avhub_tenant_databases (tenant_id, target, updated_at)`
	// updated_at tells since when a database is behind.
	moveTargets = `ON CONFLICT (tenant_id) DO UPDATE SET target = excluded.target, updated_at =
 CASE WHEN avhub_tenant_databases.position >= avhub_tenant_databases.target THEN excluded.updated_at ELSE avhub_tenant_databases.updated_at END`
	moveAll = `UPDATE avhub_tenant_databases SET updated_at = CASE WHEN position >= target THEN ? ELSE updated_at END, target = ?
 WHERE target < ? AND state = ''`
	revive = `UPDATE avhub_tenant_databases SET state = '', position = 0, attempts = 0, next_at = 0, last_error = ''
 WHERE tenant_id = ? AND state = ?`
)

// write stores notes and moves the dispatcher, if nobody else has.
func (d *Databases) write(ctx context.Context, n *notes, from, to int64) error {
	db := d.deps.Store.SQL(ctx)
	if _, err := db.Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, 0) ON CONFLICT (name) DO NOTHING`, dispatchCounter); err != nil {
		return err
	}
	moved, err := db.Exec(ctx, `UPDATE avhub_counters SET value = ? WHERE name = ? AND value = ?`, to, dispatchCounter, from)
	if err != nil {
		return err
	}
	if moved == 0 {
		return errMoved
	}
	now := d.deps.Now().UnixMicro()
	var ties, targets [][]any
	for key, t := range n.ties {
		if t.dirty {
			ties = append(ties, []any{tieID(key), key.tenant, key.who, t.since, t.latest})
		}
	}
	for tenant, target := range n.targets {
		targets = append(targets, []any{tenant, target, now})
	}
	if err := db.Insert(ctx, insertTies, ties, moveTies); err != nil {
		return err
	}
	if err := db.Insert(ctx, insertTargets, targets, moveTargets); err != nil {
		return err
	}
	for tenant := range n.alive {
		if _, err := db.Exec(ctx, revive, tenant, stateDeleted); err != nil {
			return err
		}
	}
	if n.all > 0 {
		_, err = db.Exec(ctx, moveAll, now, n.all, n.all)
	}
	return err
}

// longID is what a key may have on Postgres, with room to spare.
const longID = 1024

func tieID(key tieKey) string {
	id := url.PathEscape(key.tenant) + "/" + url.PathEscape(key.who)
	if len(id) > longID {
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:])
	}
	return id
}
