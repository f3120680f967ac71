package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ErrNotAlone: another process serves the same SQLite file.
var ErrNotAlone = errors.New("another hub works on this database")

// aloneSuffix of the file beside a SQLite database whose lock the hub holds.
const aloneSuffix = ".hub"

// holder is what the lock's file says of who holds it.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Alone makes this process the only hub on a SQLite file, until release is
// called or the process ends, however it ends. The error is ErrNotAlone, and
// says who is there, if another one is. Programs that only look, or that do an
// operator's work, need not be alone.
//
// On Postgres it does nothing: there, hubs share the work.
func (s *Store) Alone() (release func(), err error) {
	if s.dialect != SQLite {
		return func() {}, nil
	}
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return nil, fmt.Errorf("lock the database for this hub: %w", err)
	}
	file, held, err := lockFile(path + aloneSuffix)
	if err != nil {
		return nil, fmt.Errorf("lock the database for this hub: %w", err)
	}
	if !held {
		defer file.Close()
		return nil, fmt.Errorf("%w: %s serves %s; stop it first. Several hubs can work together on Postgres (storage.url: postgres://…), not on SQLite",
			ErrNotAlone, whoHolds(file), s.path)
	}
	host, _ := os.Hostname()
	text, err := json.Marshal(holder{os.Getpid(), host, Now().Truncate(time.Second)})
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(append(text, '\n'), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the database for this hub: %w", err), file.Close())
	}
	// The file stays: removing it would let a third one lock a new file while a
	// second one waits for this one.
	return func() { _ = file.Close() }, nil
}

func whoHolds(file *os.File) string {
	var h holder
	raw, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil || json.Unmarshal(raw, &h) != nil || h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %q, since %s,", h.PID, h.Host, h.Since.Format(time.RFC3339))
}
