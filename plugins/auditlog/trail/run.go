package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"golang.org/x/mod/sumdb/note"
)

// recover brings the trail to where it was: it reads the write-ahead file, proves
// the log, and gives the log what it does not have yet.
func (t *Trail) recover(ctx context.Context) error {
	w, entries, err := openWAL(filepath.Join(t.dir, "wal"))
	if err != nil {
		return err
	}
	t.wal = w
	if t.head, err = t.prove(ctx, entries); err != nil {
		return err
	}
	t.next = t.head.Size
	if t.log, err = openTessera(filepath.Join(t.dir, "log"), t.opts.Interval, t.opts.Signers); err != nil {
		return err
	}
	if err := t.replay(entries); err != nil {
		return errors.Join(err, t.log.Close(ctx))
	}
	return nil
}

// prove reads the log that the signed checkpoint commits to, compares it with
// the write-ahead file, and notes its ids.
func (t *Trail) prove(ctx context.Context, ahead [][]byte) (tiles.Checkpoint, error) {
	raw, err := t.Files().Checkpoint()
	if isMissing(err) {
		return tiles.Checkpoint{}, t.nothing()
	}
	if err != nil {
		return tiles.Checkpoint{}, err
	}
	head, err := tiles.OpenCheckpoint(raw, append([]note.Verifier{t.opts.Verifier}, t.opts.Former...)...)
	if err != nil {
		return head, fmt.Errorf("%w: its checkpoint: %w", ErrDamaged, err)
	}
	if len(head.Signers) == 0 {
		return head, fmt.Errorf("%w: its checkpoint is not signed by the key of this trail (%s)", ErrDamaged, t.opts.Verifier.Name())
	}
	first, _, _ := t.wal.bounds()
	err = t.Files().Scan(ctx, head.Head, func(i int64, entry []byte) error {
		if at := i - first; at >= 0 && at < int64(len(ahead)) && !bytes.Equal(entry, ahead[at]) {
			return fmt.Errorf("%w: entry %d is one thing in the log and another in the write-ahead file", ErrDamaged, i)
		}
		return t.note(i, entry)
	})
	var damage *tiles.Damage
	if errors.As(err, &damage) {
		return head, fmt.Errorf("%w: %w; run `avhub-auditlog verify`", ErrDamaged, err)
	}
	return head, err
}

// note keeps the id of an entry that was found.
func (t *Trail) note(i int64, entry []byte) error {
	id, err := idOf(entry)
	if err != nil {
		return fmt.Errorf("%w: entry %d is not readable: %w", ErrDamaged, i, err)
	}
	if id != "" {
		t.index[id] = i
	}
	if t.opts.Found != nil {
		t.opts.Found(i, entry)
	}
	return nil
}

// nothing makes sure that a log without a checkpoint is a new one.
func (t *Trail) nothing() error {
	if left, _ := filepath.Glob(filepath.Join(t.dir, "log", "tile", "*")); len(left) > 0 {
		first, _ := filepath.Glob(filepath.Join(t.dir, "wal", "00000000000000000000.wal"))
		if len(first) == 0 {
			return fmt.Errorf("%w: there are entries, but no checkpoint over them", ErrDamaged)
		}
	}
	return nil
}

// replay compares the write-ahead file with the log, and adds what the log does
// not have. What is in the tree but under no checkpoint is in the file, too.
func (t *Trail) replay(entries [][]byte) error {
	size, err := t.log.Size()
	if err != nil {
		return fmt.Errorf("read the size of the log: %w", err)
	}
	first, next, any := t.wal.bounds()
	if !any {
		first, next = size, size
	}
	if size < t.head.Size || first > t.head.Size || next < size || next < t.head.Size {
		return fmt.Errorf("%w: the checkpoint is over %d entries, the log has %d, the write-ahead file has %d to %d: parts of the folder are of another time",
			ErrDamaged, t.head.Size, size, first, next)
	}
	for i := t.head.Size; i < next; i++ {
		data := entries[i-first]
		if err := t.note(i, data); err != nil {
			return err
		}
		t.tail[i] = data
	}
	t.next = next
	return t.catchUp(size, entries[min(size-first, int64(len(entries))):])
}

// catchUp adds entries to the log, the first of which is to have the given
// index, many at a time.
func (t *Trail) catchUp(next int64, entries [][]byte) error {
	for chunk := range slices.Chunk(entries, group) {
		futures := make([]func() (uint64, error), len(chunk))
		for i, data := range chunk {
			futures[i] = t.log.Add(data)
		}
		for _, future := range futures {
			index, err := future()
			if err != nil {
				return fmt.Errorf("add entry %d to the log: %w", next, err)
			}
			if int64(index) != next {
				return fmt.Errorf("%w: entry %d became entry %d of the log", ErrDamaged, next, index)
			}
			next++
		}
	}
	return nil
}

// write makes entries durable, many by one sync, and hands them to the log.
func (t *Trail) write() {
	defer close(t.drain)
	for {
		var first *adding
		select {
		case first = <-t.queue:
		case <-t.stop:
			select {
			case first = <-t.queue: // taken before the end
			default:
				return
			}
		}
		batch := []*adding{first}
		for len(batch) < group {
			select {
			case a := <-t.queue:
				batch = append(batch, a)
				continue
			default:
			}
			break
		}
		data := make([][]byte, len(batch))
		for i, a := range batch {
			data[i] = a.data
		}
		t.mu.Lock()
		err := t.failed
		t.mu.Unlock()
		if err == nil {
			if err = t.wal.append(first.index, data); err != nil {
				t.opts.Log.Error("the trail takes no more entries until it is opened again", "error", err)
				t.fail(err)
				err = fmt.Errorf("%w: %w", ErrClosed, err)
			}
		}
		for _, a := range batch {
			a.done <- err
			<-t.room
			if err == nil {
				t.drain <- drained{a.index, t.log.Add(a.data)}
			}
		}
	}
}

// settle sees that the log gives each entry the place that it was promised.
func (t *Trail) settle() {
	for d := range t.drain {
		index, err := d.future()
		if err == nil && int64(index) != d.index {
			err = fmt.Errorf("%w: entry %d became entry %d of the log", ErrDamaged, d.index, index)
		}
		if err != nil {
			t.opts.Log.Error("the log did not take an entry; it stays in the write-ahead file", "entry", d.index, "error", err)
			t.fail(err)
		}
	}
}

// watch follows the checkpoints that the log publishes.
func (t *Trail) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
		}
		if err := t.look(); err != nil {
			t.opts.Log.Error("the trail's checkpoint", "error", err)
			t.fail(err)
			return
		}
	}
}

func (t *Trail) look() error {
	t.mu.Lock()
	known, next := t.head.Size, t.next
	t.mu.Unlock()
	if known == next {
		return nil
	}
	raw, err := t.log.Checkpoint()
	if err != nil || raw == nil {
		return err
	}
	head, err := tiles.OpenCheckpoint(raw, t.opts.Verifier)
	if err != nil {
		return err
	}
	if head.Size < known {
		return fmt.Errorf("%w: a checkpoint over %d entries follows one over %d", ErrDamaged, head.Size, known)
	}
	if head.Size == known {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head = head
	for i := known; i < head.Size; i++ {
		delete(t.tail, i)
	}
	t.move()
	return t.wal.drop(head.Size)
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
