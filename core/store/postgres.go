package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	connections = 16
	// One for a transaction, one to read beside it.
	fewConnections = 2
	connectTime    = 5 * time.Second
)

func (s *Store) openPostgres(ctx context.Context, url string, opts Options) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) && parse.Unwrap() != nil {
			return errors.New("not a Postgres URL: use postgres://user:password@host:port/database")
		}
		return err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTime
	}
	s.dialect, s.config = Postgres, config
	s.writer = stdlib.OpenDB(*config, stdlib.OptionAfterConnect(prepareConnection))
	most := connections
	if opts.Small {
		most = fewConnections
	}
	s.writer.SetMaxOpenConns(most)
	s.writer.SetMaxIdleConns(most)
	s.writer.SetConnMaxIdleTime(5 * time.Minute)
	s.reader = s.writer
	if err := s.writer.PingContext(ctx); err != nil {
		return errors.Join(redactConnect(err), s.writer.Close())
	}
	return nil
}

// prepareConnection makes commits wait for the disk where a role's or database's setting
// would let them return before: a sender that got 2xx never sends again.
func prepareConnection(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
	if err != nil {
		return fmt.Errorf("set synchronous_commit: %w", err)
	}
	// A plan that was made while a table was tiny reads all of it, and would be
	// kept long after the table has grown. Planning anew costs less than that.
	// Databases that only speak Postgres's protocol may not know the setting.
	_, _ = conn.Exec(ctx, `SET plan_cache_mode = force_custom_plan`)
	return nil
}

// redactConnect keeps what went wrong of a failed connection. pgx's own text
// names user and host, never the password.
func redactConnect(err error) error {
	return fmt.Errorf("%w; is the server up, and may this user connect?", err)
}
