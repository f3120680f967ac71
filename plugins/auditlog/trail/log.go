package trail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

// merkle is the log beneath the trail: it takes entries in order, and signs
// checkpoints over them.
type merkle interface {
	// Add takes the next entry; the future tells its index once it is in the
	// tree.
	Add(data []byte) func() (uint64, error)
	// Size is the number of entries in the tree.
	Size() (int64, error)
	// Checkpoint is the latest signed one; nil: there is none yet.
	Checkpoint() ([]byte, error)
	// Close ends the log after all that it took is under a checkpoint.
	Close(ctx context.Context) error
}

// tessellated is a merkle of tessera's files.
type tessellated struct {
	ctx      context.Context
	stop     context.CancelFunc
	appender *tessera.Appender
	shutdown func(context.Context) error
	reader   tessera.LogReader
}

// routed sends the warnings of the library to the process's log, once: the
// library has one logger for all. What it says below a warning is small talk.
var routed = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(warnings{})) })

type warnings struct{}

func (warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && slog.Default().Enabled(ctx, level)
}

func (warnings) Handle(ctx context.Context, r slog.Record) error {
	return slog.Default().Handler().Handle(ctx, r)
}
func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w warnings) WithGroup(string) slog.Handler      { return w }

// openTessera opens the log in dir. dir is used by this process alone: two
// writers on one path lose entries.
func openTessera(dir string, interval time.Duration, signers []note.Signer) (merkle, error) {
	routed()
	ctx, stop := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err == nil {
		t := &tessellated{ctx: ctx, stop: stop}
		options := tessera.NewAppendOptions().
			WithCheckpointSigner(signers[0], signers[1:]...).
			WithCheckpointInterval(interval).
			// The write-ahead file has acknowledged already: larger batches are
			// fewer files.
			WithBatching(tessera.DefaultBatchMaxSize, min(interval/2, 200*time.Millisecond)).
			WithPushback(2 * drainAhead)
		t.appender, t.shutdown, t.reader, err = tessera.NewAppender(ctx, driver, options)
		if err == nil {
			return t, nil
		}
	}
	stop()
	return nil, fmt.Errorf("open the log in %s: %w", dir, err)
}

func (t *tessellated) Add(data []byte) func() (uint64, error) {
	future := t.appender.Add(t.ctx, tessera.NewEntry(data))
	return func() (uint64, error) {
		index, err := future()
		return index.Index, err
	}
}

func (t *tessellated) Size() (int64, error) {
	size, err := t.reader.IntegratedSize(t.ctx)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return int64(size), err
}

func (t *tessellated) Checkpoint() ([]byte, error) {
	raw, err := t.reader.ReadCheckpoint(t.ctx)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

// Close waits by itself as well: the library waits for what it was given since it
// was opened, and not for what a crash kept from a checkpoint.
func (t *tessellated) Close(ctx context.Context) error {
	defer t.stop()
	if err := t.shutdown(ctx); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	for {
		size, err := t.Size()
		if err != nil {
			return fmt.Errorf("close the log: %w", err)
		}
		raw, err := t.Checkpoint()
		if err != nil {
			return fmt.Errorf("close the log: %w", err)
		}
		if raw != nil {
			if head, err := tiles.OpenCheckpoint(raw); err != nil || head.Size >= size {
				return err
			}
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return fmt.Errorf("close the log: wait for a checkpoint: %w", ctx.Err())
		}
	}
}
