// Package trail writes an audit trail: entries in an append-only Merkle log,
// each of them once, acknowledged when they are durable.
//
// A folder holds one trail:
//
//	log/          the log: checkpoint, tiles and entries (c2sp.org/tlog-tiles)
//	wal/          entries that are acknowledged and not under a checkpoint yet
//	lock          held while somebody writes
package trail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"golang.org/x/mod/sumdb/note"
)

// Errors of a trail.
var (
	// ErrInUse: somebody else writes to it.
	ErrInUse = errors.New("the trail is in use")
	// ErrInUseHere is ErrInUse when this very process does.
	ErrInUseHere = fmt.Errorf("%w by this process", ErrInUse)
	// ErrDamaged: its files are not what was written. It takes no entry then.
	ErrDamaged = errors.New("the trail is damaged")
	// ErrClosed: the trail was closed, or a write failed; open it again.
	ErrClosed = errors.New("the trail is closed")
	// ErrTooLarge: an entry is larger than a log holds.
	ErrTooLarge = errors.New("the entry is too large")
)

const (
	// maxEntry is the limit of the format: a length is told in two bytes.
	maxEntry = 1<<16 - 1
	// queued entries wait for the write-ahead file; beyond, Add waits.
	queued = 1024
	// group is how many are made durable by one sync.
	group = 512
	// drainAhead is how many acknowledged entries may be on their way into the
	// log; beyond, they wait in the write-ahead file's memory, and Add waits.
	drainAhead = 4096
	// watchEvery is how often the published checkpoint is looked at.
	watchEvery = 20 * time.Millisecond
)

// Options of Open.
type Options struct {
	// Signers sign the checkpoints. The first one's name is the log's origin.
	Signers []note.Signer
	// Verifier is the first signer's; the checkpoint that is found must be
	// signed by it or by one of Former.
	Verifier note.Verifier
	Former   []note.Verifier
	// Interval is how often a checkpoint is signed while entries come: 1 s by
	// default, 100 ms at least.
	Interval time.Duration
	Log      *slog.Logger
	// Found is told every entry that is there already, in order, before Open
	// returns; nil: nobody asks.
	Found func(i int64, entry []byte)
}

// Trail is open for writing. It is safe for concurrent use.
type Trail struct {
	dir    string
	opts   Options
	unlock func()
	log    merkle
	wal    *wal

	mu     sync.Mutex
	index  map[string]int64 // id → index
	next   int64            // index of the next entry
	tail   map[int64][]byte // entries that are not under a checkpoint yet
	broken error            // why nothing is taken any more
	failed error            // why nothing is written any more
	head   tiles.Checkpoint // published
	moved  chan struct{}    // closed and replaced when head moves, or broken is set

	room   chan struct{} // a token for each entry that waits for the disk
	queue  chan *adding  // has room for as many
	drain  chan drained
	stop   chan struct{}
	once   sync.Once
	closed error // what Close came to
	tasks  sync.WaitGroup
}

type adding struct {
	index int64
	data  []byte
	done  chan error
}

type drained struct {
	index  int64
	future func() (uint64, error)
}

// Open opens the trail in dir, or begins one. It reads and proves the whole log
// first, about a million entries in a second or two, so that nothing is added to
// a log that is damaged, and nothing is added twice.
func Open(ctx context.Context, dir string, opts Options) (*Trail, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the trail: %w", err)
	}
	unlock, err := Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("open the trail in %s: %w", dir, err)
	}
	t, err := OpenLocked(ctx, dir, unlock, opts)
	if err != nil {
		unlock()
	}
	return t, err
}

// OpenLocked is Open for who has the folder's lock already; unlock is called at
// the end of Close, and not when opening fails.
func OpenLocked(ctx context.Context, dir string, unlock func(), opts Options) (*Trail, error) {
	if opts.Interval == 0 {
		opts.Interval = time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o700); err != nil {
		return nil, fmt.Errorf("open the trail: %w", err)
	}
	t := &Trail{
		dir: dir, unlock: unlock, opts: opts, index: map[string]int64{}, tail: map[int64][]byte{},
		moved: make(chan struct{}), room: make(chan struct{}, queued), queue: make(chan *adding, queued), drain: make(chan drained, drainAhead), stop: make(chan struct{}),
	}
	if err := t.recover(ctx); err != nil {
		return nil, fmt.Errorf("open the trail in %s: %w", dir, err)
	}
	t.tasks.Go(t.write)
	t.tasks.Go(t.settle)
	t.tasks.Go(t.watch)
	return t, nil
}

// Files are the log's files as an auditor reads them.
func (t *Trail) Files() tiles.Dir { return tiles.Dir{FS: os.DirFS(filepath.Join(t.dir, "log"))} }

// Receipt is where an entry is.
type Receipt struct {
	Index int64
	// Duplicate: the trail had the id already, Stored is the entry it has under
	// it; nothing was added.
	Duplicate bool
	Stored    []byte
}

// Add adds an entry under an id, unless the trail has that id, and returns when
// it is durable. An entry of the trail's own has no id, and is always added. If
// ctx ends first, it may have been added all the same; adding it again is
// harmless.
func (t *Trail) Add(ctx context.Context, id string, data []byte) (Receipt, error) {
	if len(data) == 0 || len(data) > maxEntry {
		return Receipt{}, fmt.Errorf("%w: %d bytes, 1 to %d are allowed", ErrTooLarge, len(data), maxEntry)
	}
	select {
	case t.room <- struct{}{}:
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("add to the trail: wait for the disk: %w", ctx.Err())
	}
	a, receipt, err := t.enqueue(id, data)
	if err != nil || a == nil {
		<-t.room
		return receipt, err
	}
	select {
	case err := <-a.done:
		return receipt, err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("add to the trail: %w", ctx.Err())
	}
}

// enqueue gives the entry its place; nil: the id has one.
func (t *Trail) enqueue(id string, data []byte) (*adding, Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return nil, Receipt{}, t.broken
	}
	if i, ok := t.index[id]; ok && id != "" {
		stored, err := t.stored(i)
		return nil, Receipt{Index: i, Duplicate: true, Stored: stored}, err
	}
	a := &adding{index: t.next, data: bytes.Clone(data), done: make(chan error, 1)}
	if id != "" {
		t.index[id] = a.index
	}
	t.tail[a.index] = a.data
	t.queue <- a // there is room
	t.next++
	return a, Receipt{Index: a.index}, nil
}

// Lookup returns the entry that the trail has under an id.
func (t *Trail) Lookup(id string) (Receipt, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.index[id]
	if !ok || id == "" {
		return Receipt{}, false, nil
	}
	stored, err := t.stored(i)
	return Receipt{Index: i, Duplicate: true, Stored: stored}, true, err
}

// stored returns an entry that was added. The caller holds the lock.
func (t *Trail) stored(i int64) ([]byte, error) {
	if data, ok := t.tail[i]; ok {
		return data, nil
	}
	return t.Files().Entry(t.head.Head, i)
}

// Size is how many entries the trail has, published or not.
func (t *Trail) Size() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// Head is the latest signed checkpoint; its size is 0 before the first one.
func (t *Trail) Head() tiles.Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head
}

// Published waits until an entry is under a signed checkpoint.
func (t *Trail) Published(ctx context.Context, index int64) error {
	for {
		t.mu.Lock()
		head, broken, moved := t.head, t.broken, t.moved
		t.mu.Unlock()
		switch {
		case head.Size > index:
			return nil
		case broken != nil:
			return broken
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for a checkpoint: %w", ctx.Err())
		}
	}
}

// Close takes no more entries, brings all that were acknowledged under a
// checkpoint if ctx allows, and ends. What is not done by then is done at the
// next opening. It may be called again.
func (t *Trail) Close(ctx context.Context) error {
	t.once.Do(func() {
		t.end()
		close(t.stop)
		t.tasks.Wait()
		err := t.log.Close(ctx)
		t.closed = errors.Join(err, t.wal.close())
		t.unlock()
	})
	return t.closed
}

// fail makes the trail take and write nothing more: what of it is on the disk is
// found out at the next opening.
func (t *Trail) fail(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = fmt.Errorf("%w: %w", ErrClosed, why)
		t.broken = t.failed
		t.move()
	}
}

// end makes the trail take nothing more.
func (t *Trail) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil {
		t.broken = ErrClosed
		t.move()
	}
}

// move wakes whoever waits. The caller holds the lock.
func (t *Trail) move() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// idOf is the id that an entry is known by: its source and the event's id, and of
// a conflict also what came. The trail's other entries have none, and are not
// looked up.
func idOf(data []byte) (string, error) {
	var e struct {
		Kind    string `json:"kind"`
		Source  string `json:"source"`
		EventID string `json:"event_id"`
		Note    struct {
			Came string `json:"came"`
		} `json:"note"`
	}
	head := data
	if bytes.HasPrefix(data, eventBegins) {
		// Of an event all that is asked for stands before its type; a text in JSON
		// has no bare quotes, so this is no text.
		if at := bytes.Index(data, eventGoesOn); at > 0 {
			head = append(bytes.Clone(data[:at]), '}')
		}
	}
	if err := json.Unmarshal(head, &e); err != nil {
		return "", err
	}
	switch e.Kind {
	case "event":
		return ID(e.Source, e.EventID), nil
	case "conflict":
		return ID(e.Source, e.EventID) + "\x00" + e.Note.Came, nil
	default:
		return "", nil
	}
}

var (
	eventBegins = []byte(`{"v":1,"kind":"event",`)
	eventGoesOn = []byte(`,"type":`)
)

// ID is what an event is known by.
func ID(source, event string) string { return event + "\x00" + source }
