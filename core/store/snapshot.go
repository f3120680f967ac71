package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
)

// InSnapshot runs fn in a transaction that only reads, and sees the database as
// it was at its first query, however long it takes and whatever others commit
// meanwhile. SQL and Ent with the context that fn is given read in it. It holds
// nobody up, but the database keeps what it replaces until the end: SQLite's
// write-ahead log grows, Postgres cannot clean up.
func (s *Store) InSnapshot(ctx context.Context, fn func(ctx context.Context) error) error {
	var opts *sql.TxOptions
	if s.dialect == Postgres {
		opts = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	tx, err := s.reader.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin a snapshot: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return fn(context.WithValue(ctx, txKey{s}, &transaction{store: s, tx: tx, snapshot: true}))
}

// Cursor reads the rows of a query some at a time. Several may be open in one
// transaction.
type Cursor struct {
	q     SQL
	rows  *sql.Rows // SQLite
	fetch string    // Postgres, whose connections have one answer under way at most
}

// Cursor opens a cursor in the transaction that q is in. Its name must be unique
// in it, and stand for the same columns always; the query takes no parameters.
func (q SQL) Cursor(ctx context.Context, name, query string) (*Cursor, error) {
	if q.store.dialect == Postgres {
		name = quoteName(name)
		if _, err := q.Exec(ctx, "DECLARE "+name+" NO SCROLL CURSOR FOR "+query); err != nil {
			return nil, err
		}
		return &Cursor{q: q, fetch: " FROM " + name}, nil
	}
	rows, err := q.tx.tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &Cursor{q: q, rows: rows}, nil
}

// Next calls scan for the next n rows, and returns how many there were. Fewer
// than n are the last.
func (c *Cursor) Next(ctx context.Context, n int, scan func(rows *sql.Rows) error) (found int, err error) {
	if c.rows == nil {
		err := c.q.Query(ctx, func(rows *sql.Rows) error {
			found++
			return scan(rows)
		}, "FETCH FORWARD "+strconv.Itoa(n)+c.fetch)
		return found, err
	}
	for ; found < n && c.rows.Next(); found++ {
		if err := scan(c.rows); err != nil {
			return found, err
		}
	}
	return found, c.rows.Err()
}

// Close ends reading. The end of the transaction does, too.
func (c *Cursor) Close() {
	if c.rows != nil {
		_ = c.rows.Close()
	}
}

func quoteName(name string) string { return `"` + name + `"` }
