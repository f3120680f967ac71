package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	entdialect "entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/avhub/avhub/ent"
)

type txKey struct{ store *Store }

type transaction struct {
	store  *Store
	tx     *sql.Tx
	client *ent.Client // made when first asked for
	// snapshot: on SQLite it is on a connection of the reader's, which has none of
	// the writer's prepared statements.
	snapshot bool
}

func txFrom(ctx context.Context, s *Store) *transaction {
	tx, _ := ctx.Value(txKey{s}).(*transaction)
	return tx
}

// InTx runs fn in a transaction that ctx carries: SQL and Ent with the context
// that fn is given take part in it. It commits if fn returns nil and rolls back
// otherwise. A call inside another one joins it; the outermost commits.
//
// When the commit itself fails, its outcome may be unknown: callers must treat
// what they wrote as possibly there.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	if txFrom(ctx, s) != nil {
		return fn(ctx)
	}
	if err := s.statements.prepareWanted(ctx, s); err != nil {
		return err
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		if e := tx.Rollback(); e != nil && !errors.Is(e, sql.ErrTxDone) && err != nil {
			err = errors.Join(err, fmt.Errorf("roll back: %w", e))
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{s}, &transaction{store: s, tx: tx})); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	return nil
}

// turnLock is the key of the Postgres advisory lock of TakeTurn.
const turnLock = 0x6176687562 // "avhub"

// TakeTurn makes the transaction that ctx carries the only one that writes
// journal and mirror, until it ends; others wait. Without it a reader of the
// journal could pass over a position that commits late, and two transactions
// could merge into one row of the mirror without seeing each other. On SQLite
// every transaction that writes is the only one anyway.
func (s *Store) TakeTurn(ctx context.Context) error {
	if s.dialect != Postgres {
		return nil
	}
	if _, err := s.SQL(ctx).Exec(ctx, `SELECT pg_advisory_xact_lock(?)`, int64(turnLock)); err != nil {
		return fmt.Errorf("wait for the turn to write: %w", err)
	}
	return nil
}

func (t *transaction) entClient() *ent.Client {
	if t.client == nil {
		name := entdialect.SQLite
		if t.store.dialect == Postgres {
			name = entdialect.Postgres
		}
		t.client = ent.NewClient(ent.Driver(joined{entsql.NewDriver(name, entsql.Conn{ExecQuerier: t.tx})}))
	}
	return t.client
}

// joined lets statements for which ent wants a transaction take part in the one
// that there is.
type joined struct{ *entsql.Driver }

// Tx is the transaction that there is; committing or rolling it back is left to
// whoever began it.
func (j joined) Tx(context.Context) (entdialect.Tx, error) { return entdialect.NopTx(j), nil }

// Patience is how long a database over a network may take for a statement, or a
// short unit of work.
const Patience = 15 * time.Second

// patienceMost is how many times as long a unit of many statements may take.
const patienceMost = 20

type patienceKey struct{}

// patience ends a context unless statements come back.
type patience struct {
	limit time.Duration
	timer *time.Timer
}

// Bound gives work on a database over a network an end, so that a connection on
// which nothing arrives any more does not hold it up for the many minutes that
// TCP takes to notice: no statement may take longer than limit, nor all of them
// together longer than twenty times that. What takes many statements, such as the
// end of a tenant with its hundred thousands of children, has its time as long as it
// comes on.
//
// On SQLite it changes nothing: its waits are bounded, and its driver would start a
// goroutine for each statement to watch the context.
func (s *Store) Bound(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if s.dialect == SQLite {
		return ctx, func() {}
	}
	ctx, cancelAll := context.WithTimeout(ctx, patienceMost*limit)
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{limit: limit}
	p.timer = time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	return context.WithValue(ctx, patienceKey{}, p), func() {
		p.timer.Stop()
		cancel(nil)
		cancelAll()
	}
}

// came tells whoever waits that a statement has come back.
func came(ctx context.Context) {
	if p, ok := ctx.Value(patienceKey{}).(*patience); ok && ctx.Err() == nil {
		p.timer.Reset(p.limit)
	}
}
