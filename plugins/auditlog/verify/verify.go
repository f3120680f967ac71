// Package verify judges a trail by nothing but its files. It shares no code with
// what writes a trail: it reads through package tiles, golang.org/x/mod/sumdb and
// the standard library.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"golang.org/x/mod/sumdb/note"
)

// Class of a finding, which is also the exit code that tells it.
type Class int

const (
	Fine             Class = 0
	Tampered         Class = 1 // what is there is not what was signed, or not what was signed before
	Incomplete       Class = 2 // something that was there is missing
	NotAuthenticated Class = 3 // nobody knows who signed it
)

func (c Class) String() string {
	return [...]string{"fine", "tampered", "incomplete", "not authenticated"}[c]
}

// Finding is something wrong.
type Finding struct {
	Class Class  `json:"class"`
	Name  string `json:"name"` // of the class
	// Index is the entry that it is about, or from which on; -1: all.
	Index int64  `json:"index"`
	What  string `json:"what"`
}

// Options of Run.
type Options struct {
	// Keys are what checkpoints are verified with.
	Keys []note.Verifier
	// Pinned: the keys come from elsewhere than the trail itself.
	Pinned bool
	// Since are checkpoints that were saved at other times: the trail must go on
	// from each of them.
	Since []Saved
	// Progress is told how far it is; nil: nobody asks.
	Progress func(done, of int64)
}

// Saved is a checkpoint as it was kept, and where.
type Saved struct {
	From string
	Raw  []byte
}

// Report is what was found. Unmodified and Complete are two answers.
type Report struct {
	Origin string `json:"origin,omitempty"`
	Size   int64  `json:"size"`
	Root   string `json:"root,omitempty"`
	// Unmodified: every entry that is there is what was signed.
	Unmodified bool `json:"unmodified"`
	// Complete: no entry of a stream is missing between the first and the last,
	// and none that a saved checkpoint tells of.
	Complete bool `json:"complete"`
	// Trust says what it rests on: "pinned key", "key found beside the log" or
	// "none".
	Trust string `json:"trust"`
	// Since is how many saved checkpoints it goes on from.
	Since     int            `json:"since"`
	Findings  []Finding      `json:"findings"`
	Kinds     map[string]int `json:"kinds,omitempty"` // entries by kind
	Streams   int            `json:"streams"`
	Erased    []string       `json:"erased,omitempty"` // subjects whose personal data was erased
	Conflicts []int64        `json:"conflicts,omitempty"`
	From      *time.Time     `json:"from,omitempty"` // of the oldest event
	To        *time.Time     `json:"to,omitempty"`   // of the newest
	Took      time.Duration  `json:"-"`
}

// Class is the worst that was found: tampered before not authenticated before
// incomplete.
func (r *Report) Class() Class {
	worst := Fine
	rank := map[Class]int{Fine: 0, Incomplete: 1, NotAuthenticated: 2, Tampered: 3}
	for _, f := range r.Findings {
		if rank[f.Class] > rank[worst] {
			worst = f.Class
		}
	}
	return worst
}

func (r *Report) find(c Class, index int64, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{c, c.String(), index, fmt.Sprintf(format, args...)})
}

// Run judges the trail in dir, the folder with the file checkpoint. An error says
// that it could not be judged; what is wrong with it is in the report.
func Run(ctx context.Context, dir fs.FS, opts Options) (*Report, error) {
	began := time.Now()
	r := &Report{Trust: "none", Kinds: map[string]int{}, Findings: []Finding{}}
	defer func() { r.Took = time.Since(began) }()
	d := tiles.Dir{FS: dir}
	raw, err := d.Checkpoint()
	if errors.Is(err, fs.ErrNotExist) {
		if left, _ := fs.Glob(dir, "tile/*"); len(left) == 0 {
			return nil, fmt.Errorf("there is no trail here: %w", err)
		}
		r.find(Incomplete, -1, "there are entries, but no checkpoint over them")
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	head, ok := r.head(raw, opts)
	if !ok {
		return r, nil
	}
	r.Origin, r.Size, r.Root = head.Origin, head.Size, head.Root.String()
	if err := r.scan(ctx, d, head, opts.Progress); err != nil {
		return nil, err
	}
	for _, saved := range opts.Since {
		if err := r.since(d, head, saved, opts); err != nil {
			return nil, err
		}
	}
	r.Unmodified = !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Class == Tampered || f.Class == NotAuthenticated })
	r.Complete = r.Unmodified && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Class == Incomplete })
	return r, nil
}

// head opens the checkpoint; false: there is nothing to hold the entries against.
func (r *Report) head(raw []byte, opts Options) (tiles.Checkpoint, bool) {
	head, err := tiles.OpenCheckpoint(raw, opts.Keys...)
	switch {
	case errors.Is(err, tiles.ErrSignature):
		r.find(NotAuthenticated, -1, "checkpoint: %v: the checkpoint was changed, or the signature was", err)
		return head, false
	case err != nil:
		r.find(NotAuthenticated, -1, "checkpoint: %v", err)
		return head, false
	case len(head.Signers) == 0 && len(opts.Keys) == 0:
		r.find(NotAuthenticated, -1, "checkpoint: there is no key to verify it with: give one by --key")
	case len(head.Signers) == 0:
		r.find(NotAuthenticated, -1, "checkpoint: none of the given keys signed it: the key is another trail's, or somebody else signed this one")
	case !slices.Contains(head.Signers, head.Origin):
		r.find(NotAuthenticated, -1, "checkpoint: it is of the trail %q and was signed by %s", head.Origin, strings.Join(head.Signers, ", "))
	case opts.Pinned:
		r.Trust = "pinned key"
	default:
		r.Trust = "key found beside the log"
	}
	return head, true
}

// said is what an entry says, as far as it is looked at.
type said struct {
	V          int        `json:"v"`
	Kind       string     `json:"kind"`
	Source     string     `json:"source"`
	EventID    string     `json:"event_id"`
	Stream     string     `json:"stream"`
	Seq        int64      `json:"seq"`
	OccurredAt *time.Time `json:"occurred_at"`
	Note       struct {
		Subject string `json:"subject"`
	} `json:"note"`
}

// progressEvery is how many entries lie between two words on progress.
const progressEvery = 4096

// maxFindings bounds what is listed of one kind.
const maxFindings = 100

func (r *Report) scan(ctx context.Context, d tiles.Dir, head tiles.Checkpoint, progress func(done, of int64)) error {
	next := map[string]int64{}
	ids := map[string]int64{}
	gaps := 0
	err := d.Scan(ctx, head.Head, func(i int64, data []byte) error {
		if progress != nil && i%progressEvery == 0 {
			progress(i, head.Size)
		}
		var e said
		if err := json.Unmarshal(data, &e); err != nil || e.V != 1 {
			r.find(Tampered, i, "entry %d is none of this format", i)
			return nil
		}
		r.Kinds[e.Kind]++
		switch e.Kind {
		case "conflict":
			r.Conflicts = append(r.Conflicts, i)
		case "erased":
			r.Erased = append(r.Erased, e.Note.Subject)
		case "event":
			r.period(e.OccurredAt)
			id := e.EventID + "\x00" + e.Source
			if first, twice := ids[id]; twice {
				r.find(Tampered, i, "entry %d tells of event %s again, which entry %d tells of", i, e.EventID, first)
			}
			ids[id] = i
			want, known := next[e.Stream]
			if !known {
				want = 1
			}
			if gaps++; e.Seq > want {
				r.find(Incomplete, i, "entry %d is number %d of the stream %s, number %d was to come: %d missing before it", i, e.Seq, e.Stream, want, e.Seq-want)
			} else if e.Seq < want {
				r.find(Tampered, i, "entry %d is number %d of the stream %s, where number %d was to come", i, e.Seq, e.Stream, want)
			} else {
				gaps--
			}
			next[e.Stream] = max(want, e.Seq+1)
			if gaps >= maxFindings {
				return errEnough
			}
		}
		return nil
	})
	r.Streams = len(next)
	var damage *tiles.Damage
	switch {
	case errors.Is(err, errEnough):
		r.find(Incomplete, -1, "more than %d entries are out of place: the rest was not looked at", maxFindings)
	case errors.As(err, &damage) && damage.Missing:
		r.find(Incomplete, damage.Index, "from entry %d on: %s: %s", damage.Index, damage.File, damage.What)
	case errors.As(err, &damage):
		r.find(Tampered, damage.Index, "entry %d: %s: %s", damage.Index, damage.File, damage.What)
	case err != nil:
		return fmt.Errorf("read the entries: %w", err)
	}
	if progress != nil {
		progress(head.Size, head.Size)
	}
	return nil
}

var errEnough = errors.New("enough was found")

func (r *Report) period(at *time.Time) {
	if at == nil {
		return
	}
	if r.From == nil || at.Before(*r.From) {
		r.From = at
	}
	if r.To == nil || at.After(*r.To) {
		r.To = at
	}
}

// since holds the trail against a checkpoint of another time.
func (r *Report) since(d tiles.Dir, now tiles.Checkpoint, saved Saved, opts Options) error {
	old, err := tiles.OpenCheckpoint(saved.Raw, opts.Keys...)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", saved.From, err)
	case len(opts.Keys) > 0 && len(old.Signers) == 0:
		return fmt.Errorf("%s: none of the given keys signed it", saved.From)
	case old.Origin != now.Origin:
		r.find(Tampered, -1, "%s is of the trail %q, this is %q", saved.From, old.Origin, now.Origin)
		return nil
	}
	err = d.Consistent(old.Head, now.Head)
	switch {
	case err == nil:
		r.Since++
	case errors.Is(err, tiles.ErrFork) && old.Size > now.Size:
		r.find(Tampered, now.Size, "ROLLED BACK: %s is over %d entries, here are %d: from entry %d on they are gone", saved.From, old.Size, now.Size, now.Size)
	case errors.Is(err, tiles.ErrFork):
		r.find(Tampered, old.Size-1, "FORK: the first %d entries are not those that %s was signed over (root %s): one of entries 0 to %d is another", old.Size, saved.From, old.Root, old.Size-1)
	case errors.Is(err, fs.ErrNotExist):
		r.find(Incomplete, -1, "that it goes on from %s cannot be proved: %v", saved.From, err)
	default:
		r.find(Tampered, -1, "that it goes on from %s cannot be proved: %v", saved.From, err)
	}
	return nil
}
