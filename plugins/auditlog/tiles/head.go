// Package tiles reads a trail as its files are: a Merkle log in tiles
// (c2sp.org/tlog-tiles) with signed checkpoints (c2sp.org/tlog-checkpoint). It
// is the auditor's path through the bytes: it shares nothing with the code that
// writes them, and uses golang.org/x/mod/sumdb and the standard library alone.
package tiles

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Head is what a checkpoint says: how many entries there are, and the hash that
// commits to them all.
type Head struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	// Rest are further lines of the text; signed, but without a meaning here.
	Rest string
}

// Tree is the head as x/mod knows it.
func (h Head) Tree() tlog.Tree { return tlog.Tree{N: h.Size, Hash: h.Root} }

// ErrHead: a text is no checkpoint.
var ErrHead = errors.New("not a checkpoint")

// ParseHead reads a checkpoint's text, without its signatures.
func ParseHead(text string) (Head, error) {
	lines := strings.SplitAfterN(text, "\n", 4)
	if len(lines) < 4 {
		return Head{}, fmt.Errorf("%w: it has fewer than three lines", ErrHead)
	}
	origin, size, root := strings.TrimSuffix(lines[0], "\n"), strings.TrimSuffix(lines[1], "\n"), strings.TrimSuffix(lines[2], "\n")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != size {
		return Head{}, fmt.Errorf("%w: its size is %q", ErrHead, size)
	}
	hash, err := base64.StdEncoding.Strict().DecodeString(root)
	if err != nil || len(hash) != tlog.HashSize {
		return Head{}, fmt.Errorf("%w: its root is %q", ErrHead, root)
	}
	if origin == "" {
		return Head{}, fmt.Errorf("%w: it has no origin", ErrHead)
	}
	h := Head{Origin: origin, Size: n, Rest: lines[3]}
	copy(h.Root[:], hash)
	return h, nil
}

// Checkpoint is a head with the signatures under it.
type Checkpoint struct {
	Head
	// Signers are the names of the given keys that have signed, in the order of
	// their signatures; empty when none of them has.
	Signers []string
	// Unknown counts signatures by other keys.
	Unknown int
}

// ErrSignature: a signature that claims to be by a given key is not.
var ErrSignature = errors.New("a signature is not by the key that it names")

// OpenCheckpoint reads a signed checkpoint. One that none of the keys has signed
// is no error: who reads it decides what that is worth. A false signature is.
func OpenCheckpoint(raw []byte, keys ...note.Verifier) (Checkpoint, error) {
	n, err := note.Open(raw, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		if forged := (*note.InvalidSignatureError)(nil); errors.As(err, &forged) {
			return Checkpoint{}, fmt.Errorf("%w: %s", ErrSignature, forged.Name)
		}
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrHead, err)
	}
	head, err := ParseHead(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Head: head, Unknown: len(n.UnverifiedSigs)}
	for _, s := range n.Sigs {
		c.Signers = append(c.Signers, s.Name)
	}
	return c, nil
}
