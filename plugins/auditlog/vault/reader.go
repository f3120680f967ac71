package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/avhub/avhub/plugins/auditlog/entry"
)

// Reader opens what is sealed, beside a process that writes.
type Reader struct {
	dir   string
	lines map[[16]byte]line
	keys  map[string][]byte
}

// OpenReader reads the vault in dir. It fails with fs.ErrNotExist where there is
// none, as in an auditor's copy.
func OpenReader(dir string) (*Reader, error) {
	r := &Reader{dir: dir, lines: map[[16]byte]line{}, keys: map[string][]byte{}}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err != nil {
		return nil, fmt.Errorf("open the vault for reading: %w", err)
	}
	_, err := eachLine(filepath.Join(dir, "vault", "values"), func(l line) error {
		r.lines[short(l.Commit+l.Hash)] = l
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the vault for reading: %w", err)
	}
	return r, nil
}

// ErrGone: the value cannot be read any more, because its owner was erased.
var ErrGone = errors.New("erased")

// Reveal returns what a sealed or a large value stands for, and any other value
// as it is.
func (r *Reader) Reveal(value json.RawMessage) (json.RawMessage, error) {
	var hidden struct {
		entry.Sealed
		Large string `json:"large"`
	}
	if len(value) == 0 || value[0] != '{' || json.Unmarshal(value, &hidden) != nil {
		return value, nil
	}
	switch {
	case hidden.Large != "":
		l, ok := r.lines[short(hidden.Large)]
		if !ok {
			return value, errors.New("the value is not in the vault")
		}
		return l.Value, nil
	case hidden.Commit == Erased:
		return nil, ErrGone
	case hidden.Commit == "":
		return value, nil
	}
	key, ok := r.keys[hidden.Owner]
	if !ok {
		var err error
		if key, err = readKey(keyFile(r.dir, hidden.Owner)); err != nil && !errors.Is(err, errErased) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		r.keys[hidden.Owner] = key
	}
	if key == nil {
		return nil, ErrGone
	}
	l, ok := r.lines[short(hidden.Commit)]
	if !ok {
		return value, errors.New("the value is not in the vault")
	}
	_, text, err := open(key, l)
	return text, err
}
