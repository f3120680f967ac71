package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
)

// Leases are what one hub holds of all plugins' partitions. Times are those of
// the database, so that hubs with wrong clocks agree.
type Leases struct {
	store  *store.Store
	hub    string
	name   string
	length time.Duration
	alone  bool
}

// LeaseOptions of NewLeases.
type LeaseOptions struct {
	// Hub tells this hub from all others, those of the same process and its own
	// former lives included. Name is for people.
	Hub, Name string
	// Length of a lease; 0: LeaseTime.
	Length time.Duration
	// Alone: no other hub can work on this database. Then leases are taken over at
	// once, and do not end by themselves.
	Alone bool
}

// NewLeases returns a hub's leases. It holds none yet.
func NewLeases(st *store.Store, opts LeaseOptions) *Leases {
	if opts.Length == 0 {
		opts.Length = LeaseTime
	}
	return &Leases{store: st, hub: opts.Hub, name: opts.Name, length: opts.Length, alone: opts.Alone}
}

// RenewEvery is how often Renew should be called: a third of a lease.
func (l *Leases) RenewEvery() time.Duration { return l.length / 3 }

// Hub is the name under which this hub owns leases.
func (l *Leases) Hub() string { return l.hub }

// Create makes the rows of a plugin that has none, with as many partitions as the
// configuration says. It begins with all that the journal holds.
func (l *Leases) Create(ctx context.Context, name string, partitions int) error {
	return l.CreateAt(ctx, nil, name, partitions, StartBeginning)
}

// CreateAt is Create for a plugin that begins elsewhere; j finds the place of a
// time.
func (l *Leases) CreateAt(ctx context.Context, j Seeker, name string, partitions int, from Start) error {
	return l.store.InTx(ctx, func(ctx context.Context) error { return create(ctx, l.store, j, name, partitions, from) })
}

func create(ctx context.Context, st *store.Store, j Seeker, name string, partitions int, from Start) error {
	db := st.SQL(ctx)
	made, err := db.Exec(ctx, `INSERT INTO avhub_plugins (id, partitions) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, name, partitions)
	if err != nil {
		return fmt.Errorf("create plugin: %w", err)
	}
	if made > 0 {
		if err := begin(ctx, st, j, name, partitions, from); err != nil {
			return err
		}
	}
	var start int64
	var there int
	err = db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&partitions, &start, &there) },
		`SELECT partitions, start_position, (SELECT COUNT(*) FROM avhub_cursors c WHERE c.plugin = p.id) FROM avhub_plugins p WHERE id = ?`, name)
	if err != nil {
		return fmt.Errorf("read plugin: %w", err)
	}
	if there >= partitions {
		return nil
	}
	// It begins where the journal does; what is there now stays until the cursors
	// say that it may go.
	begin, err := journal.Hold(ctx, st)
	if err != nil {
		return fmt.Errorf("create cursor: %w", err)
	}
	start = max(start, begin-1)
	for p := range partitions {
		_, err := db.Exec(ctx, `INSERT INTO avhub_cursors (id, plugin, partition, position) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			CursorID(name, p), name, p, start)
		if err != nil {
			return fmt.Errorf("create cursor: %w", err)
		}
	}
	return nil
}

// View reads who is alive, and who holds what.
func (l *Leases) View(ctx context.Context) (View, error) {
	v := View{Me: l.hub, Plugins: map[string]PluginRow{}}
	db := l.store.ReadSQL()
	err := db.Query(ctx, func(rows *sql.Rows) error {
		var h LiveHub
		var plugins string
		if err := rows.Scan(&h.ID, &plugins); err != nil {
			return err
		}
		if l.alone && h.ID != l.hub {
			return nil // it has ended without a word
		}
		_ = json.Unmarshal([]byte(plugins), &h.Plugins) // what cannot be read wants nothing
		v.Hubs = append(v.Hubs, h)
		return nil
	}, `SELECT id, plugins FROM avhub_hubs WHERE expires_at > `+l.store.ClockSQL()+` ORDER BY id`)
	if err != nil {
		return v, fmt.Errorf("look which hubs are alive: %w", err)
	}
	err = db.Query(ctx, func(rows *sql.Rows) error {
		var p Held
		var keyed string
		var partitions int
		var left int64
		if err := rows.Scan(&p.Plugin, &p.Partition, &p.Owner, &left, &p.State, &p.ConfigHash, &partitions, &keyed); err != nil {
			return err
		}
		p.Left = time.Duration(left) * time.Microsecond
		if p.Left <= 0 || l.alone && p.Owner != l.hub {
			p.Owner = ""
		}
		v.Held = append(v.Held, p)
		v.Plugins[p.Plugin] = PluginRow{Partitions: partitions, KeyedBy: keyed}
		return nil
	}, `SELECT c.plugin, c.partition, c.owner, c.expires_at - `+l.store.ClockSQL()+`, c.state, c.config_hash, p.partitions, p.keyed_by
 FROM avhub_cursors c JOIN avhub_plugins p ON p.id = c.plugin WHERE c.partition < p.partitions ORDER BY c.plugin, c.partition`)
	if err != nil {
		return v, fmt.Errorf("look who holds which lease: %w", err)
	}
	return v, nil
}

// Acquire takes the lease of a partition if it is free, or its holder's time is
// up. nil: it was not to be had.
func (l *Leases) Acquire(ctx context.Context, id PartitionID, partitions int) (*Lease, error) {
	free := `(owner = '' OR owner = ? OR expires_at <= ` + l.store.ClockSQL() + `)`
	if l.alone {
		free = `(1 = 1 OR owner = ?)`
	}
	asked := time.Now()
	var epoch int64
	err := l.store.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&epoch) },
		`UPDATE avhub_cursors SET owner = ?, epoch = epoch + 1, expires_at = `+l.store.ClockSQL()+` + ?
 WHERE id = ? AND `+free+` AND EXISTS (SELECT 1 FROM avhub_plugins WHERE id = ? AND partitions = ?) RETURNING epoch`,
		l.hub, l.length.Microseconds(), CursorID(id.Plugin, id.Partition), l.hub, id.Plugin, partitions)
	if err != nil {
		return nil, fmt.Errorf("take the lease of %s: %w", id, err)
	}
	if epoch == 0 {
		return nil, nil
	}
	length := l.length
	if l.alone {
		length = 0
	}
	return newLease(id.Plugin, id.Partition, partitions, epoch, asked, length), nil
}

// Renew tells that this hub is alive, that it would deliver to plugins, and that
// it goes on holding held. Leases that are not its own any more are ended.
func (l *Leases) Renew(ctx context.Context, plugins []string, held []*Lease) error {
	names, err := json.Marshal(plugins)
	if err != nil {
		return fmt.Errorf("encode the names of plugins: %w", err)
	}
	ids := make([]string, len(held))
	for i, lease := range held {
		ids[i] = CursorID(lease.Plugin, lease.Partition)
	}
	epochs := make(map[string]int64, len(held))
	asked := time.Now()
	err = l.store.InTx(ctx, func(ctx context.Context) error {
		db, now := l.store.SQL(ctx), l.store.ClockSQL()
		// The hub first: nobody must believe it alive for longer than its leases.
		_, err := db.Exec(ctx, `INSERT INTO avhub_hubs (id, name, plugins, started, expires_at) VALUES (?, ?, ?, `+now+`, `+now+` + ?)
 ON CONFLICT (id) DO UPDATE SET plugins = excluded.plugins, expires_at = excluded.expires_at`, l.hub, l.name, string(names), l.length.Microseconds())
		if err != nil {
			return fmt.Errorf("tell that this hub is alive: %w", err)
		}
		clear(epochs)
		for chunk := range slices.Chunk(ids, 256) {
			args := []any{l.length.Microseconds(), l.hub}
			for _, id := range chunk {
				args = append(args, id)
			}
			err := db.Query(ctx, func(rows *sql.Rows) error {
				var id string
				var epoch int64
				err := rows.Scan(&id, &epoch)
				epochs[id] = epoch
				return err
			}, `UPDATE avhub_cursors SET expires_at = `+now+` + ? WHERE owner = ? AND id IN `+store.Tuples(1, len(chunk))+` RETURNING id, epoch`, args...)
			if err != nil {
				return fmt.Errorf("renew leases: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, lease := range held {
		if epoch, own := epochs[ids[i]]; epoch != lease.Epoch {
			lease.end(!own)
			continue
		}
		lease.extend(asked, l.length)
	}
	return nil
}

// Sweep removes hubs that have been gone for an hour.
func (l *Leases) Sweep(ctx context.Context) error {
	_, err := l.store.SQL(ctx).Exec(ctx, `DELETE FROM avhub_hubs WHERE expires_at < `+l.store.ClockSQL()+` - ?`, time.Hour.Microseconds())
	if err != nil {
		return fmt.Errorf("remove hubs that are gone: %w", err)
	}
	return nil
}

// Leave tells that this hub takes no leases any more.
func (l *Leases) Leave(ctx context.Context) error {
	if _, err := l.store.SQL(ctx).Exec(ctx, `DELETE FROM avhub_hubs WHERE id = ?`, l.hub); err != nil {
		return fmt.Errorf("tell that this hub ends: %w", err)
	}
	return nil
}

// Release gives a lease back, so that others need not wait for its end. What
// the holder did must be over.
func (l *Leases) Release(ctx context.Context, lease *Lease) error {
	lease.end(false)
	_, err := l.store.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET owner = '', expires_at = 0 WHERE id = ? AND owner = ? AND epoch = ?`,
		CursorID(lease.Plugin, lease.Partition), l.hub, lease.Epoch)
	if err != nil {
		return fmt.Errorf("give the lease of %s/%d back: %w", lease.Plugin, lease.Partition, err)
	}
	return nil
}
