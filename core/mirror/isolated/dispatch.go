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

	// What calls for a look at a database though it is no new event.
	called    map[string]struct{}
	calledAll bool
}

// errMoved: another hub did this step first.
var errMoved = errors.New("another hub was faster")

// dispatch looks at what is new in the journal and beside it, and notes whom it
// concerns, in one small transaction. It tells whether there may be more.
func (d *Databases) dispatch(ctx context.Context) (more bool, err error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	from, err := d.dispatched(ctx)
	if err != nil {
		return false, err
	}
	is, err := d.news(ctx, from)
	if err != nil || is.to == from {
		return false, err
	}
	n, err := d.note(ctx, is)
	if err != nil {
		return false, err
	}
	err = d.deps.Store.InTx(ctx, func(ctx context.Context) error { return d.write(ctx, n, from, is.to) })
	if errors.Is(err, errMoved) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("note what is new for tenants' databases: %w", err)
	}
	return is.more, nil
}

// note finds out what news mean. What it reads of ties only a dispatcher
// changes, and of two dispatchers at one place one gives up.
func (d *Databases) note(ctx context.Context, is *news) (*notes, error) {
	n := &notes{
		ties: map[tieKey]*tie{}, of: map[string][]tieKey{}, targets: map[string]int64{},
		alive: map[string]struct{}{}, called: map[string]struct{}{},
	}
	if err := n.load(ctx, d.deps.Store, is.people()); err != nil {
		return nil, err
	}
	if err := d.noteFacts(ctx, n, is); err != nil {
		return nil, err
	}
	if err := d.noteReapplied(ctx, n, is); err != nil {
		return nil, err
	}
	d.noteEvents(n, is.events)
	return n, nil
}

func (d *Databases) noteEvents(n *notes, events []*event.Event) {
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
		n.target(tenant, ev.Position)
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
			n.target(key.tenant, ev.Position)
		}
	}
}

// load reads the ties of people.
func (n *notes) load(ctx context.Context, st *store.Store, subs []string) error {
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

func (n *notes) target(tenant string, position int64) {
	n.targets[tenant] = max(n.targets[tenant], position)
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

// due is the condition for a database to be looked at. It must be that of the
// index avhub_tenant_databases_behind.
const due = `(target > position OR calls > answered)`

const (
	insertTies = `INSERT INTO avhub_tenant_people (id, tenant_id, sub, since, latest)`
	moveTies   = `ON CONFLICT (id) DO UPDATE SET latest =
 CASE WHEN excluded.latest > avhub_tenant_people.latest THEN excluded.latest ELSE avhub_tenant_people.latest END`

	// updated_at tells since when a database is behind.
	fellBehind = `updated_at = CASE WHEN avhub_tenant_databases.position >= avhub_tenant_databases.target
 AND avhub_tenant_databases.answered >= avhub_tenant_databases.calls THEN excluded.updated_at ELSE avhub_tenant_databases.updated_at END`
	insertTargets = `INSERT INTO avhub_tenant_databases (tenant_id, target, updated_at)`
	moveTargets   = `ON CONFLICT (tenant_id) DO UPDATE SET ` + fellBehind + `, target =
 CASE WHEN excluded.target > avhub_tenant_databases.target THEN excluded.target ELSE avhub_tenant_databases.target END`
	insertCalls = `INSERT INTO avhub_tenant_databases (tenant_id, calls, updated_at)`
	addCalls    = `ON CONFLICT (tenant_id) DO UPDATE SET ` + fellBehind + `, calls = avhub_tenant_databases.calls + 1`

	moveAll = `UPDATE avhub_tenant_databases SET updated_at = CASE WHEN ` + due + ` THEN updated_at ELSE ? END, target = ?
 WHERE target < ? AND state = ''`
	callAll = `UPDATE avhub_tenant_databases SET updated_at = CASE WHEN ` + due + ` THEN updated_at ELSE ? END, calls = calls + 1
 WHERE state = ''`
	revive = `UPDATE avhub_tenant_databases SET state = '', position = 0, attempts = 0, next_at = 0, last_error = ''
 WHERE tenant_id = ? AND state = ?`
)

// write stores notes and moves the dispatcher, if nobody else has.
func (d *Databases) write(ctx context.Context, n *notes, from, to progress) error {
	db := d.deps.Store.SQL(ctx)
	if err := d.advance(ctx, from, to); err != nil {
		return err
	}
	now := d.deps.Now().UnixMicro()
	var ties, targets, calls [][]any
	for key, t := range n.ties {
		if t.dirty {
			ties = append(ties, []any{tieID(key), key.tenant, key.who, t.since, t.latest})
		}
	}
	for tenant, target := range n.targets {
		targets = append(targets, []any{tenant, target, now})
	}
	for tenant := range n.called {
		calls = append(calls, []any{tenant, 1, now})
	}
	if err := db.Insert(ctx, insertTies, ties, moveTies); err != nil {
		return err
	}
	if err := db.Insert(ctx, insertTargets, targets, moveTargets); err != nil {
		return err
	}
	if err := db.Insert(ctx, insertCalls, calls, addCalls); err != nil {
		return err
	}
	for tenant := range n.alive {
		if _, err := db.Exec(ctx, revive, tenant, stateDeleted); err != nil {
			return err
		}
	}
	if n.all > 0 {
		if _, err := db.Exec(ctx, moveAll, now, n.all, n.all); err != nil {
			return err
		}
	}
	if n.calledAll {
		if _, err := db.Exec(ctx, callAll, now); err != nil {
			return err
		}
	}
	return nil
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
