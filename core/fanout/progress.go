package fanout

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// Progress is how far a plugin has come: the partition that is furthest behind.
type Progress struct {
	Plugin string `json:"plugin"`
	// State is that of the partition in most trouble. It is Stale when a hub that
	// delivers has not been seen for a while; LastState is what it was then.
	State       string    `json:"state"`
	LastState   string    `json:"last_state,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Version     string    `json:"version,omitempty"`
	Restarts    int64     `json:"restarts"`
	Owner       string    `json:"owner,omitempty"` // the hubs that deliver, separated by ", "
	Position    int64     `json:"position"`
	Lag         int64     `json:"lag"` // events beyond Position
	Lanes       int64     `json:"blocked_lanes"`
	DeadLetters int64     `json:"dead_letters"`
	UpdatedAt   time.Time `json:"updated_at"`
	// Partitions are its parts, by number.
	Partitions []PartitionProgress `json:"partitions"`
}

// PartitionProgress is how far a partition has come, and who works on it.
type PartitionProgress struct {
	Partition int    `json:"partition"`
	State     string `json:"state"`
	LastState string `json:"last_state,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Version   string `json:"version,omitempty"`
	Restarts  int64  `json:"restarts"`
	Owner     string `json:"owner,omitempty"`
	Epoch     int64  `json:"epoch"`
	// LeaseUntil is when the owner's lease ends unless it is renewed, by the
	// database's clock; nil: nobody has one.
	LeaseUntil *time.Time `json:"lease_until,omitempty"`
	Position   int64      `json:"position"`
	Lag        int64      `json:"lag"`
	UpdatedAt  time.Time  `json:"updated_at"`
}

// Stale is the state of a plugin whose hub ended without a word, or cannot reach
// the database.
const Stale = "stale"

// staleAfter is several signs of life, and some difference between clocks.
const staleAfter = 4 * beatEvery

// age tells the states that only a living hub can be in from those in which
// nothing happens any more.
func (p *PartitionProgress) age(now time.Time) {
	switch p.State {
	case halted, string(plugin.Stopped), "":
	default:
		if now.Sub(p.UpdatedAt) > staleAfter {
			p.State, p.LastState = Stale, p.State
		}
	}
}

// Plugins lists the progress of every plugin that has a cursor, by name.
func Plugins(ctx context.Context, st *store.Store) ([]Progress, error) {
	list := []Progress{}
	now := store.Now()
	err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var name string
		var p PartitionProgress
		var updated, last, lanes, dead, expires int64
		if err := rows.Scan(&name, &p.Partition, &p.State, &p.Reason, &p.Version, &p.Restarts, &p.Owner, &p.Epoch, &p.Position,
			&expires, &updated, &last, &lanes, &dead); err != nil {
			return err
		}
		p.Lag, p.UpdatedAt = max(last-p.Position, 0), time.UnixMicro(updated).UTC()
		if expires > 0 {
			until := time.UnixMicro(expires).UTC()
			p.LeaseUntil = &until
		}
		p.age(now)
		if len(list) == 0 || list[len(list)-1].Plugin != name {
			list = append(list, Progress{Plugin: name, Lanes: lanes, DeadLetters: dead})
		}
		whole := &list[len(list)-1]
		whole.Partitions = append(whole.Partitions, p)
		return nil
	}, `SELECT plugin, partition, state, reason, version, restarts, owner, epoch, position, expires_at, updated_at,
 COALESCE((SELECT value FROM avhub_counters WHERE name = 'journal'), 0),
 (SELECT COUNT(*) FROM avhub_lanes l WHERE l.plugin = c.plugin),
 (SELECT COUNT(*) FROM avhub_dead_letters d WHERE d.plugin = c.plugin)
 FROM avhub_cursors c ORDER BY plugin, partition`)
	if err != nil {
		return nil, fmt.Errorf("list plugins: %w", err)
	}
	for i := range list {
		list[i].sum()
	}
	return list, nil
}

// sum tells of the whole what its partitions say.
func (p *Progress) sum() {
	worst := slices.MinFunc(p.Partitions, func(a, b PartitionProgress) int { return cmp.Compare(trouble(a.State), trouble(b.State)) })
	p.State, p.LastState, p.Reason, p.Version = worst.State, worst.LastState, worst.Reason, worst.Version
	behind := slices.MinFunc(p.Partitions, func(a, b PartitionProgress) int { return cmp.Compare(a.Position, b.Position) })
	p.Position, p.Lag = behind.Position, behind.Lag
	var owners []string
	for _, part := range p.Partitions {
		p.Restarts = max(p.Restarts, part.Restarts)
		if part.UpdatedAt.After(p.UpdatedAt) {
			p.UpdatedAt = part.UpdatedAt
		}
		if part.Owner != "" && !slices.Contains(owners, part.Owner) {
			owners = append(owners, part.Owner)
		}
	}
	if worst.State == Stale {
		p.UpdatedAt = worst.UpdatedAt
	}
	p.Owner = strings.Join(owners, ", ")
}

// trouble orders states: the lower, the more an operator wants to know of it.
func trouble(state string) int {
	switch state {
	case halted, string(plugin.Quarantined):
		return 0
	case Stale:
		return 1
	case string(plugin.Running):
		return 4
	case string(plugin.Stopped), "":
		return 3
	default:
		return 2
	}
}
