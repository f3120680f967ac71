package trail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The write-ahead file is what an entry is acknowledged by. It is a folder of
// segments, each named by the index of its first entry:
//
//	record = length (4 bytes, big-endian) CRC-32C of the entry (4 bytes) entry
//
// A segment goes when the log has all of its entries under a signed checkpoint.

const (
	recordHead = 8
	// segmentBytes ends a segment.
	segmentBytes = 8 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type wal struct {
	mu   sync.Mutex
	dir  string
	file *os.File // open segment; nil: none
	size int64
	segs []segment // by index; the last one is open if file is not nil
	buf  []byte
}

type segment struct {
	first, next int64 // entries first ≤ i < next
	path        string
}

// openWAL reads what is there and returns it by index. A torn end is cut: what
// was not written whole was never acknowledged.
func openWAL(dir string) (*wal, [][]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("open the write-ahead file: %w", err)
	}
	w := &wal{dir: dir}
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return nil, nil, fmt.Errorf("open the write-ahead file: %w", err)
	}
	for _, name := range names {
		first, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".wal"), 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("open the write-ahead file: %s is none of its segments; remove what does not belong there", name)
		}
		w.segs = append(w.segs, segment{first: first, next: first, path: name})
	}
	slices.SortFunc(w.segs, func(a, b segment) int { return int(a.first - b.first) })
	var entries [][]byte
	for i := range w.segs {
		s := &w.segs[i]
		if i > 0 && s.first != w.segs[i-1].next {
			return nil, nil, fmt.Errorf("%w: entries %d to %d are not in the write-ahead file", ErrDamaged, w.segs[i-1].next, s.first-1)
		}
		found, err := s.read(i == len(w.segs)-1)
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, found...)
	}
	return w, entries, nil
}

// first is the index of the first entry that is kept, next that of the one to
// come; false when nothing is kept.
func (w *wal) bounds() (first, next int64, any bool) {
	if len(w.segs) == 0 {
		return 0, 0, false
	}
	return w.segs[0].first, w.segs[len(w.segs)-1].next, true
}

// read reads a segment; of the last one it cuts a torn end.
func (s *segment) read(last bool) (entries [][]byte, err error) {
	data, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("read the write-ahead file: %w", err)
	}
	at := 0
	for at < len(data) {
		entry, whole := record(data[at:])
		if !whole {
			break
		}
		entries = append(entries, entry)
		at += recordHead + len(entry)
	}
	s.next = s.first + int64(len(entries))
	if at == len(data) {
		return entries, nil
	}
	// A write that a crash cut short ends the file. Whole records behind the
	// broken one say that it was acknowledged, and damaged later.
	if !last || anyRecord(data[at+1:]) {
		return nil, fmt.Errorf("%w: entry %d in %s, at byte %d, is not what was written", ErrDamaged, s.next, s.path, at)
	}
	if err := cut(s.path, int64(at)); err != nil {
		return nil, fmt.Errorf("cut the torn end of the write-ahead file: %w", err)
	}
	return entries, nil
}

// record returns the entry at the beginning of data.
func record(data []byte) ([]byte, bool) {
	if len(data) < recordHead {
		return nil, false
	}
	n := int(binary.BigEndian.Uint32(data))
	if n == 0 || n > maxEntry || len(data) < recordHead+n {
		return nil, false
	}
	entry := data[recordHead : recordHead+n : recordHead+n]
	return entry, crc32.Checksum(entry, castagnoli) == binary.BigEndian.Uint32(data[4:])
}

// anyRecord looks for a whole record at any place.
func anyRecord(data []byte) bool {
	for i := 0; i+recordHead < len(data); i++ {
		if _, ok := record(data[i:]); ok {
			return true
		}
	}
	return false
}

func cut(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// append writes entries, of which the first has the given index, and makes them
// durable. After an error the file must not be used any more: nobody knows what
// of it is on the disk.
func (w *wal) append(first int64, entries [][]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil || w.size >= segmentBytes {
		if err := w.begin(first); err != nil {
			return err
		}
	}
	w.buf = w.buf[:0]
	for _, entry := range entries {
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(len(entry)))
		w.buf = binary.BigEndian.AppendUint32(w.buf, crc32.Checksum(entry, castagnoli))
		w.buf = append(w.buf, entry...)
	}
	if _, err := w.file.Write(w.buf); err != nil {
		return fmt.Errorf("write to the write-ahead file: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("write to the write-ahead file: %w", err)
	}
	w.size += int64(len(w.buf))
	w.segs[len(w.segs)-1].next += int64(len(entries))
	return nil
}

// begin starts a segment.
func (w *wal) begin(first int64) error {
	if err := w.close(); err != nil {
		return err
	}
	path := filepath.Join(w.dir, fmt.Sprintf("%020d.wal", first))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("begin a segment of the write-ahead file: %w", err)
	}
	if err := syncDir(w.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.size = f, 0
	if n := len(w.segs); n > 0 && w.segs[n-1].first == first {
		w.segs = w.segs[:n-1] // it was empty
	}
	w.segs = append(w.segs, segment{first: first, next: first, path: path})
	return nil
}

// drop removes segments whose entries are all below size.
func (w *wal) drop(size int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.segs) > 0 && w.segs[0].next <= size && (len(w.segs) > 1 || w.file == nil) {
		if err := os.Remove(w.segs[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove a segment of the write-ahead file: %w", err)
		}
		w.segs = w.segs[1:]
	}
	return nil
}

func (w *wal) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return fmt.Errorf("close the write-ahead file: %w", err)
	}
	return nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	err = f.Sync()
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
