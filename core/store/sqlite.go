package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	sqlitedriver "modernc.org/sqlite"
)

const (
	readers    = 4
	fewReaders = 1
	// A checkpoint moves what commits appended to the WAL into the database
	// file. It runs beside the writer once the WAL holds checkpointAt bytes; the
	// writer does it itself only when that does not keep up (walPages of 4 KiB).
	checkpointEvery = 250 * time.Millisecond
	checkpointAt    = 8 << 20
	walPages        = 16384
)

func (s *Store) openSQLite(ctx context.Context, path string, opts Options) error {
	if path == "" {
		return errors.New("no path: use sqlite://path/to/file.db")
	}
	if opts.MustExist {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w; start the hub once, or run `avhub migrate`, to create it", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	// SQLite would let everybody read a new file; it holds personal data. The
	// files beside it take over its mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	s.dialect, s.path = SQLite, path
	// synchronous=FULL makes a commit durable before it returns, also in a power
	// cut; WAL alone would keep only the file consistent. The cache (16 MiB) spares
	// the writer a tenth of its time: ids and lanes go to pages all over their
	// indexes.
	synchronous := "synchronous(FULL)"
	if opts.Relaxed {
		synchronous = "synchronous(NORMAL)"
	}
	pragmas, readConns := []string{synchronous}, fewReaders
	if !opts.Small {
		pragmas, readConns = append(pragmas, fmt.Sprintf("wal_autocheckpoint(%d)", walPages), "cache_size(-16384)"), readers
	}
	if s.writer, err = connect(path, 1, "immediate", pragmas...); err != nil {
		return err
	}
	if err := s.writer.PingContext(ctx); err != nil {
		return errors.Join(err, s.writer.Close())
	}
	if s.reader, err = connect(path, readConns, "deferred", "query_only(1)"); err != nil {
		return errors.Join(err, s.writer.Close())
	}
	if opts.Small {
		return nil // the writer's checkpoints do, at SQLite's usual size
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		s.checkpoint(background, path)
	}()
	return nil
}

func connect(path string, conns int, lock string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {lock}, "_time_format": {"sqlite"}}
	q.Add("_pragma", "busy_timeout(5000)")
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "foreign_keys(1)")
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	connector, err := sqlitedriver.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// checkpoint keeps the WAL short from a connection of its own. PASSIVE never
// waits for anybody and makes nobody wait.
func (s *Store) checkpoint(ctx context.Context, path string) {
	db, err := connect(path, 1, "deferred", "synchronous(FULL)", "wal_autocheckpoint(0)")
	if err != nil {
		return // the writer's own checkpoints remain
	}
	defer db.Close()
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if info, err := os.Stat(path + "-wal"); err != nil || info.Size() < checkpointAt {
			continue
		}
		if _, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil && ctx.Err() == nil {
			s.log.Debug().Err(err).Msg("checkpoint of the write-ahead log failed; the next commits will do it")
		}
	}
}
