package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	sqlitedriver "modernc.org/sqlite"
)

// OpenScratch opens an empty SQLite database for work that may be lost. What does
// not fit into some 64 MiB of memory goes to a temporary file (in the folder that
// TMPDIR names), which has no name from the start: whatever becomes of the
// process, nothing of it stays behind.
//
// There is one connection: work in InTx, and read each query to its end before
// the next statement. Migrate and Read make no sense here.
func OpenScratch(ctx context.Context) (*Store, error) {
	connector, err := sqlitedriver.NewConnector("file:?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=cache_size(-65536)&_pragma=temp_store(FILE)")
	if err != nil {
		return nil, fmt.Errorf("open a scratch database: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1) // a second one would be another database
	db.SetMaxIdleConns(1)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open a scratch database: %w", err), db.Close())
	}
	return &Store{dialect: SQLite, writer: db, reader: db}, nil
}
