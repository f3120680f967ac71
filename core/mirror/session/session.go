// Package session removes login sessions that are over from the table
// av_identity_sessions, which the team's own application fills.
package session

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
)

// Options of Cleanup.
type Options struct {
	// Keep is how long a session stays after it expired or was revoked.
	Keep time.Duration
	// Max is how many sessions are removed at most; 0: no limit.
	Max int
	// DryRun counts what would be removed, and removes nothing.
	DryRun bool
	// Now is the clock; nil: the system's.
	Now func() time.Time
	// Progress, if set, is told after each step what was done so far.
	Progress func(Result)

	afterFind func() // for tests; may be nil
}

// Result is what Cleanup did, or would do.
type Result struct {
	Expired int `json:"expired"`
	Revoked int `json:"revoked"` // those that have expired too are counted here alone
	// More tells that Max ended the run before everything was removed.
	More bool `json:"more"`
	// Unreadable counts sessions with a time that SQLite cannot read. They are
	// never removed.
	Unreadable int `json:"unreadable"`
}

// Removed is how many sessions there were in all.
func (r Result) Removed() int { return r.Expired + r.Revoked }

// step is how many sessions one transaction removes: SQLite has one writer, and
// events are not to wait for sessions.
const step = 500

// Cleanup removes sessions that expired or were revoked more than Keep ago. A
// session without either time is never over. What is found is looked at again
// when it is removed, so a session that was extended meanwhile stays.
//
// Several may run at once, on one database and on several hubs: each session is
// counted by one of them. After an error the Result tells what was done before.
func Cleanup(ctx context.Context, st *store.Store, opts Options) (Result, error) {
	if opts.Now == nil {
		opts.Now = store.Now
	}
	c := cleaner{store: st, opts: opts, before: opts.Now().Add(-opts.Keep), over: overOn(st.Dialect())}
	if err := c.run(ctx); err != nil {
		return c.result, fmt.Errorf("remove sessions: %w", err)
	}
	return c.result, nil
}

type cleaner struct {
	store  *store.Store
	opts   Options
	before time.Time
	over   over
	result Result
}

// over are the conditions, each with a parameter for the time before which a
// session must have ended.
type over struct {
	expired, revoked string
	unreadable       string // no parameter; empty: there is no such thing
	at               func(time.Time) any
}

// overOn compares times as times. SQLite keeps them as text, in whatever zone
// they were written, and text compares wrongly: its unixepoch reads the zone.
func overOn(d store.Dialect) over {
	if d == store.Postgres {
		return over{expired: `expires_at < ?`, revoked: `revoked_at < ?`, at: func(t time.Time) any { return t }}
	}
	return over{
		expired: `unixepoch(expires_at, 'subsec') < ?`,
		revoked: `unixepoch(revoked_at, 'subsec') < ?`,
		unreadable: `expires_at IS NOT NULL AND unixepoch(expires_at) IS NULL
 OR revoked_at IS NOT NULL AND unixepoch(revoked_at) IS NULL`,
		at: func(t time.Time) any { return float64(t.UnixMilli()) / 1000 },
	}
}

func (c *cleaner) run(ctx context.Context) error {
	for after := int64(math.MinInt64); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		room := step
		if c.opts.Max > 0 {
			room = min(room, c.opts.Max-c.result.Removed())
		}
		found, err := c.find(ctx, after, max(room, 1))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return c.countUnreadable(ctx)
		}
		if room <= 0 {
			c.result.More = true
			return c.countUnreadable(ctx)
		}
		after = found[len(found)-1].id
		if err := c.remove(ctx, found); err != nil {
			return err
		}
		if c.opts.Progress != nil {
			c.opts.Progress(c.result)
		}
	}
}

// ended is a session that is over.
type ended struct {
	id      int64
	revoked bool
}

// find reads beside the writer: it goes over the table once, in the order of ids.
func (c *cleaner) find(ctx context.Context, after int64, limit int) ([]ended, error) {
	ctx, cancel := c.store.Bound(ctx, store.Patience)
	defer cancel()
	at := c.over.at(c.before)
	var found []ended
	err := c.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var e ended
		if err := rows.Scan(&e.id, &e.revoked); err != nil {
			return err
		}
		found = append(found, e)
		return nil
	}, `SELECT id, CASE WHEN `+c.over.revoked+` THEN 1 ELSE 0 END FROM av_identity_sessions
 WHERE id > ? AND (`+c.over.revoked+` OR `+c.over.expired+`) ORDER BY id LIMIT `+strconv.Itoa(limit), at, after, at, at)
	return found, err
}

func (c *cleaner) remove(ctx context.Context, found []ended) error {
	var expired, revoked []int64
	for _, e := range found {
		if e.revoked {
			revoked = append(revoked, e.id)
		} else {
			expired = append(expired, e.id)
		}
	}
	if c.opts.afterFind != nil {
		c.opts.afterFind()
	}
	if c.opts.DryRun {
		c.result.Expired += len(expired)
		c.result.Revoked += len(revoked)
		return nil
	}
	ctx, cancel := c.store.Bound(ctx, store.Patience)
	defer cancel()
	var e, r int64
	err := c.store.InTx(ctx, func(ctx context.Context) (err error) {
		if e, err = c.removeThose(ctx, expired, c.over.expired); err != nil {
			return err
		}
		r, err = c.removeThose(ctx, revoked, c.over.revoked)
		return err
	})
	if err != nil {
		return err
	}
	c.result.Expired += int(e)
	c.result.Revoked += int(r)
	return nil
}

// removeThose removes those of ids that are still over. On Postgres it passes
// over rows that somebody else holds at the moment, another hub or the
// application: the next run finds what is left.
func (c *cleaner) removeThose(ctx context.Context, ids []int64, over string) (removed int64, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	var list strings.Builder
	for i, id := range ids {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(strconv.FormatInt(id, 10))
	}
	which := `id IN (` + list.String() + `) AND ` + over
	if c.store.Dialect() == store.Postgres {
		which = `id IN (SELECT id FROM av_identity_sessions WHERE ` + which + ` ORDER BY id FOR UPDATE SKIP LOCKED)`
	}
	return c.store.SQL(ctx).Exec(ctx, `DELETE FROM av_identity_sessions WHERE `+which, c.over.at(c.before))
}

func (c *cleaner) countUnreadable(ctx context.Context) error {
	if c.over.unreadable == "" {
		return nil
	}
	return c.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&c.result.Unreadable) },
		`SELECT count(*) FROM av_identity_sessions WHERE `+c.over.unreadable)
}
