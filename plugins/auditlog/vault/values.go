package vault

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// line is one value: sealed text of an owner, or a large value.
type line struct {
	Owner  string          `json:"owner,omitempty"`
	Commit string          `json:"commit,omitempty"`
	Text   []byte          `json:"text,omitempty"`
	Hash   string          `json:"hash,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"`
}

// values is a file that only grows.
type values struct {
	path string

	mu      sync.Mutex
	file    *os.File
	known   map[[16]byte]struct{} // by commitment or hash
	written int64                 // bytes
	failed  error

	syncing sync.Mutex
	synced  int64
}

// openValues reads what is there. A torn end is cut: no entry stands on it.
func openValues(path string) (*values, error) {
	s := &values{path: path, known: map[[16]byte]struct{}{}}
	whole, err := eachLine(path, func(l line) error {
		s.known[short(l.Commit+l.Hash)] = struct{}{}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if s.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err = s.file.Truncate(whole); err == nil {
		_, err = s.file.Seek(whole, io.SeekStart)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.written, s.synced = whole, 0
	return s, nil
}

func short(hexed string) (out [16]byte) {
	raw, _ := hex.DecodeString(hexed)
	copy(out[:], raw)
	return out
}

// eachLine reads whole lines, and tells where they end.
func eachLine(path string, visit func(line) error) (whole int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return whole, fmt.Errorf("line %d of %s is damaged; restore the file from a backup", n, path)
		}
		if err := visit(l); err != nil {
			return whole, err
		}
		whole += int64(len(text))
	}
}

// keep appends a value unless it is there. It is durable after sync.
func (s *values) keep(id string, value func() line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if _, ok := s.known[short(id)]; ok {
		return nil
	}
	text, err := json.Marshal(value())
	if err != nil {
		return fmt.Errorf("keep a value: %w", err)
	}
	if _, err := s.file.Write(append(text, '\n')); err != nil {
		s.failed = fmt.Errorf("keep a value in the vault: %w", err)
		return s.failed
	}
	s.written += int64(len(text)) + 1
	s.known[short(id)] = struct{}{}
	return nil
}

// sync makes durable what was written before it was called; who comes while
// another syncs shares the next one.
func (s *values) sync() error {
	s.mu.Lock()
	mine, failed := s.written, s.failed
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.synced >= mine {
		return nil
	}
	s.mu.Lock()
	upTo := s.written
	s.mu.Unlock()
	if err := s.file.Sync(); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = fmt.Errorf("sync the vault: %w", err)
		return s.failed
	}
	s.synced = upTo
	return nil
}

func (s *values) each(visit func(line) error) error {
	_, err := eachLine(s.path, visit)
	return err
}

func (s *values) close() error { return s.file.Close() }

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeFile puts a file in place, whole or not at all, and durably.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}
