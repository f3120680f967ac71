// Package ledger is the whole trail of a hub: events become entries, what is
// personal goes to the vault, and what is done to the trail is told in it.
package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/avhub/avhub/plugins/auditlog/trail"
	"github.com/avhub/avhub/plugins/auditlog/vault"
	"github.com/avhub/avhub/sdk/plugin"
)

// Options of Open.
type Options struct {
	// Origin names a new trail; a trail that is there keeps its own.
	Origin string
	// Interval is how often a checkpoint is signed while entries come: 1 s by
	// default, 100 ms at least.
	Interval time.Duration
	Log      *slog.Logger
}

// Ledger is open for writing. It is safe for concurrent use.
type Ledger struct {
	dir   string
	log   *slog.Logger
	keys  *keys
	trail *trail.Trail
	vault *vault.Vault

	mu      sync.Mutex
	seqs    map[string]int64  // last place in each stream
	held    map[string]string // why, by subject
	events  int64
	entries int64
	config  string              // what the last Opened told
	known   map[tiles.Head]bool // heads that the trail goes on from
}

// Open opens the trail in dir, or begins one.
func Open(ctx context.Context, dir string, opts Options) (_ *Ledger, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the trail: %w", err)
	}
	l := &Ledger{dir: dir, log: opts.Log, seqs: map[string]int64{}, held: map[string]string{}, known: map[tiles.Head]bool{}}
	unlock, err := trail.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("open the trail in %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if l.keys, err = readKeys(dir, opts.Origin); err != nil {
		return nil, err
	}
	if opts.Origin != "" && opts.Origin != l.Origin() {
		return nil, fmt.Errorf("the trail in %s has the origin %q, not %q: a trail keeps its name, so begin another in another folder, or name this one's", dir, l.Origin(), opts.Origin)
	}
	if l.vault, err = vault.Open(dir); err != nil {
		return nil, err
	}
	l.trail, err = trail.OpenLocked(ctx, dir, unlock, trail.Options{
		Signers: l.keys.signers, Verifier: l.keys.verifier, Former: l.keys.former,
		Interval: opts.Interval, Log: opts.Log, Found: l.found,
	})
	if err != nil {
		return nil, errors.Join(err, l.vault.Close())
	}
	return l, nil
}

// found takes up what an entry of before means for those to come.
func (l *Ledger) found(_ int64, data []byte) {
	var e struct {
		Kind   string `json:"kind"`
		Stream string `json:"stream"`
		Seq    int64  `json:"seq"`
		Note   struct {
			Subject string `json:"subject"`
			Reason  string `json:"reason"`
			Config  string `json:"config"`
		} `json:"note"`
	}
	if bytes.HasPrefix(data, []byte(`{"v":1,"kind":"event",`)) {
		// All that is asked for of an event stands before this; a text in JSON has
		// no bare quotes, so this is no text.
		if at := bytes.Index(data, []byte(`,"occurred_at":`)); at > 0 {
			data = append(bytes.Clone(data[:at]), '}')
		}
	}
	if json.Unmarshal(data, &e) != nil {
		return // the trail has read it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries++
	switch e.Kind {
	case entry.Event:
		l.events++
		l.seqs[e.Stream] = max(l.seqs[e.Stream], e.Seq)
	case entry.Held:
		l.held[e.Note.Subject] = e.Note.Reason
	case entry.Released:
		delete(l.held, e.Note.Subject)
	case entry.Opened:
		l.config = e.Note.Config
	}
}

// Origin is the trail's name.
func (l *Ledger) Origin() string { return l.keys.verifier.Name() }

// PublicKey is what the trail's checkpoints are verified with.
func (l *Ledger) PublicKey() string { return l.keys.public }

// Size is how many entries there are, under a checkpoint or not.
func (l *Ledger) Size() int64 { return l.trail.Size() }

// Head is the latest signed checkpoint.
func (l *Ledger) Head() tiles.Checkpoint { return l.trail.Head() }

// Published waits until an entry is under a signed checkpoint.
func (l *Ledger) Published(ctx context.Context, index int64) error {
	return l.trail.Published(ctx, index)
}

// Close brings what was acknowledged under a checkpoint, and ends.
func (l *Ledger) Close(ctx context.Context) error {
	return errors.Join(l.trail.Close(ctx), l.vault.Close())
}

// Recorded says where an event is.
type Recorded struct {
	Index int64
	Seq   int64 // its place in its stream
	// Conflict: the trail has another event under this id; an entry tells.
	Conflict bool
	New      bool
}

// Record makes an entry of an event, unless it has one, and returns when it is
// durable. last is the place in the stream that the hub remembers: a trail that
// knows less has lost something, and the gap will tell. Two events of one stream
// must not be recorded at a time.
func (l *Ledger) Record(ctx context.Context, ev plugin.Event, last int64) (Recorded, error) {
	id := trail.ID(ev.Source, ev.ID)
	before, ok, err := l.trail.Lookup(id)
	if err != nil {
		return Recorded{}, fmt.Errorf("look for event %s in the trail: %w", ev.ID, err)
	}
	if ok {
		return l.again(ctx, ev, before)
	}
	l.mu.Lock()
	seq := max(last, l.seqs[ev.Key]) + 1
	l.mu.Unlock()
	_, data, err := l.build(ev, seq)
	if err != nil {
		return Recorded{}, err
	}
	r, err := l.trail.Add(ctx, id, data)
	if err != nil {
		return Recorded{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seqs[ev.Key] = max(l.seqs[ev.Key], seq)
	l.events++
	l.entries++
	return Recorded{Index: r.Index, Seq: seq, New: true}, nil
}

// build makes the entry, and keeps durably what it refers to.
func (l *Ledger) build(ev plugin.Event, seq int64) (*entry.Entry, []byte, error) {
	e, err := entry.Build(ev, seq, l.vault)
	if err != nil {
		return nil, nil, err
	}
	data, large, err := e.Fit()
	if err != nil {
		return nil, nil, fmt.Errorf("event %s: %w", ev.ID, err)
	}
	for hash, value := range large {
		if err := l.vault.Keep(hash, value); err != nil {
			return nil, nil, err
		}
	}
	return e, data, l.vault.Sync()
}

// again is for an event whose id the trail has. One that says something else is
// told as a conflict, once.
func (l *Ledger) again(ctx context.Context, ev plugin.Event, before trail.Receipt) (Recorded, error) {
	stored, err := entry.Decode(before.Stored)
	if err != nil {
		return Recorded{}, fmt.Errorf("read entry %d: %w", before.Index, err)
	}
	e, _, err := l.build(ev, stored.Seq)
	if err != nil {
		return Recorded{}, err
	}
	same, err := entry.Same(stored, e)
	if err != nil {
		return Recorded{}, fmt.Errorf("compare event %s with entry %d: %w", ev.ID, before.Index, err)
	}
	out := Recorded{Index: before.Index, Seq: stored.Seq, Conflict: !same}
	if same {
		return out, nil
	}
	came, err := e.Fingerprint()
	if err != nil {
		return Recorded{}, err
	}
	e.Kind, e.Seq = entry.Conflict, 0
	if e.Note, err = json.Marshal(map[string]any{"entry": before.Index, "came": came}); err != nil {
		return Recorded{}, err
	}
	data, err := e.Encode()
	if err != nil {
		return Recorded{}, err
	}
	r, err := l.trail.Add(ctx, trail.ID(ev.Source, ev.ID)+"\x00"+came, data)
	if err != nil {
		return Recorded{}, err
	}
	if !r.Duplicate {
		l.log.Error("an event came under an id that the trail knows, and says something else", "event", ev.ID, "source", ev.Source, "entry", before.Index, "conflict_entry", r.Index)
	}
	return out, nil
}
