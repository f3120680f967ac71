package verify

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofHeader begins a proof (c2sp.org/tlog-proof).
const proofHeader = "c2sp.org/tlog-proof@v1"

// WriteProof makes the text that proves entry i to whoever has the trail's key.
func WriteProof(d tiles.Dir, checkpoint []byte, head tiles.Head, i int64) (entry, proof []byte, err error) {
	entry, hashes, err := d.Prove(head, i)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, i)
	for _, h := range hashes {
		b.WriteString(h.String() + "\n")
	}
	b.WriteString("\n")
	b.Write(checkpoint)
	return entry, b.Bytes(), nil
}

// ErrProof: a proof does not prove the entry.
var ErrProof = errors.New("the proof does not hold")

// ErrUnknownKey: none of the given keys signed.
var ErrUnknownKey = errors.New("none of the given keys signed the checkpoint of the proof")

// Proved is what a proof says.
type Proved struct {
	Index int64
	Head  tiles.Checkpoint
}

// maxHashes is how long a path through a tree can be.
const maxHashes = 63

// CheckProof checks that entry is in the trail that one of the keys signs. It
// needs neither the trail nor a network.
func CheckProof(proof, entry []byte, keys ...note.Verifier) (Proved, error) {
	text, checkpoint, ok := bytes.Cut(proof, []byte("\n\n"))
	lines := strings.Split(string(text), "\n")
	if !ok || len(lines) < 2 || lines[0] != proofHeader || len(lines) > maxHashes+2 {
		return Proved{}, fmt.Errorf("%w: it is not in the form %s", ErrProof, proofHeader)
	}
	number, ok := strings.CutPrefix(lines[1], "index ")
	index, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || index < 0 || strconv.FormatInt(index, 10) != number {
		return Proved{}, fmt.Errorf("%w: its second line is not the entry's index", ErrProof)
	}
	var path tlog.RecordProof
	for _, line := range lines[2:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return Proved{}, fmt.Errorf("%w: %q is no hash", ErrProof, line)
		}
		path = append(path, tlog.Hash(raw))
	}
	head, err := tiles.OpenCheckpoint(checkpoint, keys...)
	if err != nil {
		return Proved{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if index >= head.Size {
		return Proved{}, fmt.Errorf("%w: entry %d is not in a trail of %d", ErrProof, index, head.Size)
	}
	if err := tlog.CheckRecord(path, head.Size, head.Root, index, tlog.RecordHash(entry)); err != nil {
		return Proved{}, fmt.Errorf("%w: the trail of %d entries has another entry %d, or the path is another", ErrProof, head.Size, index)
	}
	if len(head.Signers) == 0 {
		return Proved{Index: index, Head: head}, ErrUnknownKey
	}
	return Proved{Index: index, Head: head}, nil
}

// Diff compares two checkpoints by a trail that has the later one: nil, or a
// finding that tells of a fork.
func Diff(d tiles.Dir, a, b tiles.Checkpoint) error {
	if a.Origin != b.Origin {
		return fmt.Errorf("%w: one is of the trail %q, the other of %q", tiles.ErrFork, a.Origin, b.Origin)
	}
	if a.Size > b.Size {
		a, b = b, a
	}
	return d.Consistent(a.Head, b.Head)
}
