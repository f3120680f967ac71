package fanout

import (
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
)

// What operators do works on the database alone, so it works from any process
// while hubs run: consumers find it at their next poll, within a second.

// Filter selects blocked lanes and dead letters. Zero fields select all.
type Filter struct {
	Plugin string
	Key    string
	// Type of a dead letter's event, exact or "tenant.*" for all below; blocked
	// lanes have none.
	Type   string
	Tenant string // of the key "tenant:…", or of a dead letter's event
	Letter int64  // one dead letter
	// Since and Until bound when a lane's head first failed, or when a dead letter
	// was made: Since ≤ it < Until, by the hub's clock.
	Since, Until time.Time
	Reason       string // part of the last error, in any case
	Limit        int    // of a list; 0: 100
}

// clause is a condition of SQL that is put together.
type clause struct {
	parts []string
	args  []any
}

func (w *clause) and(condition string, args ...any) {
	// Clipped, so that two that grow from one do not share what is added.
	w.parts = append(slices.Clip(w.parts), condition)
	w.args = append(slices.Clip(w.args), args...)
}

func (w *clause) String() string {
	if len(w.parts) == 0 {
		return "1 = 1"
	}
	return strings.Join(w.parts, " AND ")
}

func (f Filter) lanes() (w clause, any bool) {
	if f.Letter != 0 || f.Type != "" {
		return w, false
	}
	f.common(&w, "since", "last_error")
	if f.Tenant != "" {
		w.and("key = ?", (&event.Event{TenantID: f.Tenant}).TenantKey())
	}
	return w, true
}

func (f Filter) letters() (w clause) {
	f.common(&w, "created_at", "reason")
	if f.Tenant != "" {
		w.and("tenant_id = ?", f.Tenant)
	}
	if prefix, open := strings.CutSuffix(f.Type, "*"); open {
		w.and("type LIKE ? ESCAPE '!'", likeEscape(prefix)+"%")
	} else if f.Type != "" {
		w.and("type = ?", f.Type)
	}
	if f.Letter != 0 {
		w.and("id = ?", f.Letter)
	}
	return w
}

func (f Filter) common(w *clause, when, why string) {
	if f.Plugin != "" {
		w.and("plugin = ?", f.Plugin)
	}
	if f.Key != "" {
		w.and("key = ?", f.Key)
	}
	if !f.Since.IsZero() {
		w.and(when+" >= ?", f.Since.UnixMicro())
	}
	if !f.Until.IsZero() {
		w.and(when+" < ?", f.Until.UnixMicro())
	}
	if f.Reason != "" {
		w.and("lower("+why+") LIKE ? ESCAPE '!'", "%"+likeEscape(strings.ToLower(f.Reason))+"%")
	}
}

// likeEscape makes text stand for itself in a pattern of LIKE … ESCAPE '!'.
func likeEscape(text string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text)
}
