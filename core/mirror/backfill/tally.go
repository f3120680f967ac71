package backfill

import (
	"hash/maphash"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// Limits of what a summary lists; the rest is counted.
const (
	maxProblems = 100
	maxShown    = 500 // changes of a dry run
)

// Summary is what a run did, or with Options.DryRun would do.
type Summary struct {
	Source string `json:"source"`
	DryRun bool   `json:"dry_run"`
	// ResumedFrom is when the run began that this one went on with.
	ResumedFrom *time.Time `json:"resumed_from,omitempty"`

	Units    int       `json:"units"`               // that were read
	Earlier  int       `json:"units_read_earlier"`  // by the run that was gone on with
	Unknown  []string  `json:"unknown_to_provider"` // tenants of the mirror that the provider does not know
	Failed   []Failure `json:"failed"`
	Members  int64     `json:"members"`
	Facts    int64     `json:"facts"`    // that were new
	Departed int64     `json:"departed"` // of them, such as say that somebody is not listed any more

	// Rows counts rows of the mirror by kind.
	Rows    map[string]*RowCount `json:"rows"`
	Skipped map[string]int64     `json:"skipped"` // members, by reason

	Problems        []Problem      `json:"problems"`
	ProblemsOmitted int64          `json:"problems_omitted"`
	Changes         []event.Change `json:"changes,omitempty"` // of a dry run
	ChangesOmitted  int64          `json:"changes_omitted,omitempty"`

	Took time.Duration `json:"-"`
}

// RowCount tells what became of the rows of one kind. Each row counts once.
type RowCount struct {
	Created   int64 `json:"created"`
	Changed   int64 `json:"changed"`
	Unchanged int64 `json:"unchanged"`
}

// Problem is a member of whom nothing could be taken.
type Problem struct {
	Unit   string `json:"unit"`
	Number int    `json:"number"`       // in the answer, from 1
	ID     string `json:"id,omitempty"` // of the membership, if it could be read
	Reason string `json:"reason"`
}

// fate is what became of a row so far.
type fate uint8

const (
	untouched fate = iota + 1
	changed
	created
)

// tally counts rows. It keeps eight bytes and a fate for each, so that a row that
// several members tell of counts once.
type tally struct {
	seed  maphash.Seed
	fates map[uint64]fate
	rows  map[string]*RowCount
}

func newTally() *tally {
	return &tally{seed: maphash.MakeSeed(), fates: map[uint64]fate{}, rows: map[string]*RowCount{}}
}

func (t *tally) note(ref mirror.Ref, is fate) {
	count := t.rows[ref.Kind]
	if count == nil {
		count = &RowCount{}
		t.rows[ref.Kind] = count
	}
	key := maphash.Comparable(t.seed, ref)
	was := t.fates[key]
	if is <= was {
		return
	}
	t.fates[key] = is
	for _, step := range [...]struct {
		of fate
		by int64
	}{{was, -1}, {is, 1}} {
		switch step.of {
		case untouched:
			count.Unchanged += step.by
		case changed:
			count.Changed += step.by
		case created:
			count.Created += step.by
		}
	}
}

// outcome notes all rows that a fact tells of.
func (t *tally) outcome(o *mirror.FactOutcome) {
	for _, c := range o.Changes {
		ref := mirror.Ref{Kind: c.Entity, ID: c.ID}
		if c.Field == "exists" && string(c.After) == "true" {
			t.note(ref, created)
		} else {
			t.note(ref, changed)
		}
	}
	for _, ref := range o.About {
		t.note(ref, untouched)
	}
}

// keys is a set of keys, of which it keeps eight bytes each.
type keys struct {
	seed maphash.Seed
	in   map[uint64]struct{}
}

func newKeys() *keys { return &keys{maphash.MakeSeed(), map[uint64]struct{}{}} }

// add returns false for one that is in already.
func (k *keys) add(key string) bool {
	h := maphash.String(k.seed, key)
	if _, in := k.in[h]; in {
		return false
	}
	k.in[h] = struct{}{}
	return true
}

func (k *keys) has(key string) bool {
	_, in := k.in[maphash.String(k.seed, key)]
	return in
}
