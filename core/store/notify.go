package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Hubs on one Postgres give each other hints over one channel. Its name has the
// schema in it, as hubs of several schemas may share a database; hashed, because
// names of channels are short.
const channelSQL = `'avhub_' || md5(coalesce(current_schema(), ''))`

const (
	listenAgain    = 250 * time.Millisecond
	listenAgainMax = 15 * time.Second
	// listenPing is how long nothing may come before the connection is tried:
	// one that broke without a word looks like silence.
	listenPing = 30 * time.Second
)

// Notify gives a hint to all that Listen. It may get lost; whoever relies on it
// looks by itself now and then. On SQLite there is nobody to tell.
//
// It is a transaction of its own that need not reach the disk: the hint is worth
// nothing after a crash. In a transaction that matters, it would make the commits
// of all hubs wait for each other.
func (s *Store) Notify(ctx context.Context, hint string) error {
	if s.dialect != Postgres {
		return nil
	}
	_, err := s.SQL(ctx).Exec(ctx, `SELECT set_config('synchronous_commit', 'off', true), pg_notify(`+channelSQL+`, ?)`, hint)
	if err != nil {
		return fmt.Errorf("notify other hubs: %w", err)
	}
	return nil
}

// Listen calls heard for every hint until ctx ends, and with "" whenever hints
// may have got lost. It has a connection of its own, and connects again, with
// growing pauses, when that breaks. heard must not block. On SQLite it only
// waits.
func (s *Store) Listen(ctx context.Context, heard func(hint string)) {
	if s.dialect != Postgres {
		<-ctx.Done()
		return
	}
	pause := listenAgain
	for ctx.Err() == nil {
		begin := time.Now()
		err := s.listen(ctx, heard)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > listenAgainMax {
			pause = listenAgain
		}
		s.log.Debug().Err(err).Stringer("pause", pause).Msg("hints of other hubs are not heard; listening again")
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, listenAgainMax)
	}
}

func (s *Store) listen(ctx context.Context, heard func(string)) (err error) {
	conn, err := pgx.ConnectConfig(ctx, s.config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bye)
	}()
	var channel string
	if err := conn.QueryRow(ctx, `SELECT `+channelSQL).Scan(&channel); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{channel}.Sanitize()); err != nil {
		return err
	}
	heard("")
	for {
		wait, cancel := context.WithTimeout(ctx, listenPing)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			heard(n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			ping, cancel := context.WithTimeout(ctx, connectTime)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return err
			}
		default:
			return err
		}
	}
}
