package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// What operators do works on the database alone, so it works from any process
// while hubs run: consumers find it at their next poll, within a second.

// Filter selects blocked lanes and dead letters. Zero fields select all.
type Filter struct {
	Plugin string
	Key    string
	Type   string // of a dead letter's event; blocked lanes have none
	Tenant string // of the key "tenant:…", or of a dead letter's event
	Letter int64  // one dead letter
	Limit  int    // of a list; 0: 100
}

func (f Filter) lanes() (string, []any, bool) {
	if f.Letter != 0 || f.Type != "" {
		return "", nil, false
	}
	where, args := f.common()
	if f.Tenant != "" {
		where, args = append(where, "key = ?"), append(args, (&event.Event{TenantID: f.Tenant}).TenantKey())
	}
	return strings.Join(where, " AND "), args, true
}

func (f Filter) letters() (string, []any) {
	where, args := f.common()
	for column, value := range map[string]string{"type": f.Type, "tenant_id": f.Tenant} {
		if value != "" {
			where, args = append(where, column+" = ?"), append(args, value)
		}
	}
	if f.Letter != 0 {
		where, args = append(where, "id = ?"), append(args, f.Letter)
	}
	return strings.Join(where, " AND "), args
}

func (f Filter) common() (where []string, args []any) {
	where = []string{"1 = 1"}
	if f.Plugin != "" {
		where, args = append(where, "plugin = ?"), append(args, f.Plugin)
	}
	if f.Key != "" {
		where, args = append(where, "key = ?"), append(args, f.Key)
	}
	return where, args
}

// Trouble is what waits for another attempt or for an operator.
type Trouble struct {
	Lanes       []*Lane       `json:"lanes"`
	DeadLetters []*DeadLetter `json:"dead_letters"`
}

// List returns the lanes and dead letters that f selects, oldest first.
func List(ctx context.Context, st *store.Store, f Filter) (Trouble, error) {
	if f.Limit == 0 {
		f.Limit = 100
	}
	t := Trouble{Lanes: []*Lane{}, DeadLetters: []*DeadLetter{}}
	if where, args, any := f.lanes(); any {
		lanes, err := readLanes(ctx, st.ReadSQL(), where+" ORDER BY since, key LIMIT ?", append(args, f.Limit)...)
		if err != nil {
			return t, err
		}
		t.Lanes = append(t.Lanes, lanes...)
	}
	where, args := f.letters()
	letters, err := readLetters(ctx, st.ReadSQL(), false, where+" ORDER BY id LIMIT ?", append(args, f.Limit)...)
	if err != nil {
		return t, err
	}
	t.DeadLetters = append(t.DeadLetters, letters...)
	return t, nil
}

// Affected counts what an operation is about.
type Affected struct {
	Lanes       int64 `json:"lanes"`
	DeadLetters int64 `json:"dead_letters"`
}

// Count tells how many lanes and dead letters f selects.
func Count(ctx context.Context, st *store.Store, f Filter) (a Affected, err error) {
	count := func(n *int64, table, where string, args []any) error {
		return st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(n) },
			`SELECT COUNT(*) FROM `+table+` WHERE `+where, args...)
	}
	if where, args, any := f.lanes(); any {
		if err := count(&a.Lanes, "avhub_lanes", where, args); err != nil {
			return a, fmt.Errorf("count blocked lanes: %w", err)
		}
	}
	where, args := f.letters()
	if err := count(&a.DeadLetters, "avhub_dead_letters", where, args); err != nil {
		return a, fmt.Errorf("count dead letters: %w", err)
	}
	return a, nil
}

// Retry makes lanes due at once and has dead letters delivered again.
func Retry(ctx context.Context, st *store.Store, f Filter) (Affected, error) {
	return operate(ctx, st, f,
		`UPDATE avhub_lanes SET next_at = 0 WHERE `,
		`UPDATE avhub_dead_letters SET retry = true WHERE `)
}

// Discard gives up the first event of each lane, whose key then goes on, and
// deletes dead letters. The events stay in the journal.
func Discard(ctx context.Context, st *store.Store, f Filter) (Affected, error) {
	return operate(ctx, st, f,
		`UPDATE avhub_lanes SET discard = head WHERE `,
		`DELETE FROM avhub_dead_letters WHERE `)
}

func operate(ctx context.Context, st *store.Store, f Filter, lanes, letters string) (a Affected, err error) {
	err = st.InTx(ctx, func(ctx context.Context) error {
		if where, args, any := f.lanes(); any {
			if a.Lanes, err = st.SQL(ctx).Exec(ctx, lanes+where, args...); err != nil {
				return fmt.Errorf("change blocked lanes: %w", err)
			}
		}
		where, args := f.letters()
		if a.DeadLetters, err = st.SQL(ctx).Exec(ctx, letters+where, args...); err != nil {
			return fmt.Errorf("change dead letters: %w", err)
		}
		return nil
	})
	return a, err
}
