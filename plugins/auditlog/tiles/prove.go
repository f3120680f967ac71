package tiles

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Prove returns an entry with the proof that it is entry i of the tree.
func (d Dir) Prove(h Head, i int64) (entry []byte, proof tlog.RecordProof, err error) {
	if entry, err = d.Entry(h, i); err != nil {
		return nil, nil, err
	}
	if proof, err = tlog.ProveRecord(h.Size, i, d.Hashes(h)); err != nil {
		return nil, nil, fmt.Errorf("prove entry %d: %w", i, err)
	}
	if err := tlog.CheckRecord(proof, h.Size, h.Root, i, tlog.RecordHash(entry)); err != nil {
		return nil, nil, &Damage{File: BundlePath(i/width, int(min(h.Size-i/width*width, width))), Index: i, What: "the entry does not have the hash that the tree commits to"}
	}
	return entry, proof, nil
}

// Consistent tells whether the tree of now has the tree of old as its
// beginning: that nothing was changed or taken away since. ErrFork says no.
func (d Dir) Consistent(old, now Head) error {
	switch {
	case old.Size > now.Size:
		return fmt.Errorf("%w: it had %d entries before and has %d now", ErrFork, old.Size, now.Size)
	case old.Size == now.Size && old.Root != now.Root:
		return fmt.Errorf("%w: two roots for %d entries", ErrFork, now.Size)
	case old.Size == now.Size, old.Size == 0:
		return nil
	}
	proof, err := tlog.ProveTree(now.Size, old.Size, d.Hashes(now))
	if err != nil {
		return fmt.Errorf("prove that the trail of %d entries goes on from that of %d: %w", now.Size, old.Size, err)
	}
	if err := tlog.CheckTree(proof, now.Size, now.Root, old.Size, old.Root); err != nil {
		return fmt.Errorf("%w: the first %d entries are not those of before", ErrFork, old.Size)
	}
	return nil
}

// ErrFork: one head does not go on from another.
var ErrFork = fmt.Errorf("the trail has forked, or was rolled back")
