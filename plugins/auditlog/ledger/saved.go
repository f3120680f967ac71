package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"golang.org/x/mod/sumdb/note"
)

// savedForm names saved checkpoints by how many entries they are over, so that
// the last name is the latest.
const savedForm = "%020d.checkpoint"

// Save puts the latest checkpoint into a folder, best one on another machine's
// disk: what lies there finds a roll-back.
func (l *Ledger) Save(folder string) error {
	raw, err := l.trail.Files().Checkpoint()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	head, err := tiles.OpenCheckpoint(raw, l.keys.verifier)
	if err != nil {
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	path := filepath.Join(folder, fmt.Sprintf(savedForm, head.Size))
	if _, err := os.Stat(path); head.Size == 0 || err == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	return writeFile(path, raw, 0o644)
}

// HoldAgainst compares the trail with the latest checkpoint in a folder.
func (l *Ledger) HoldAgainst(ctx context.Context, folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.checkpoint"))
	if err != nil || len(names) == 0 {
		return err
	}
	latest := slices.Max(names)
	raw, err := os.ReadFile(latest)
	if err != nil {
		return fmt.Errorf("read a saved checkpoint: %w", err)
	}
	head, err := tiles.OpenCheckpoint(raw, append([]note.Verifier{l.keys.verifier}, l.keys.former...)...)
	if err == nil && len(head.Signers) == 0 {
		err = errors.New("no key of this trail signed it")
	}
	if err != nil {
		return fmt.Errorf("%w: saved checkpoint %s: %w", ErrRolledBack, latest, err)
	}
	if err := l.Extends(ctx, head.Head, head.Size-1); err != nil {
		return fmt.Errorf("saved checkpoint %s: %w", latest, err)
	}
	return nil
}
