package verify

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Delivery is one line of a receiver's log: one event that it was given, and
// what it said to that. A line is written before the receiver answers.
type Delivery struct {
	// Seq grows from line to line of one file, and by it the lines of several files
	// are put in order: a counter of an outside server, or a clock that all
	// processes share, in nanoseconds.
	Seq int64 `json:"seq"`
	// Began is the same, from when the event was given; 0: not told.
	Began int64 `json:"began,omitempty"`
	// Run names the process of the receiver, which is another after each start.
	Run string `json:"run,omitempty"`

	Plugin   string `json:"plugin"`
	Position int64  `json:"position"`
	ID       string `json:"id"`
	Key      string `json:"key"`
	Attempt  int    `json:"attempt,omitempty"`
	Replay   bool   `json:"replay,omitempty"`
	Fence    int64  `json:"fence,omitempty"`
	// Verdict is applied, skipped, reject, retry, again or halt.
	Verdict string `json:"verdict"`
	// State is the position of the event with which the state that came along was
	// saved; 0: it was empty. Absent: the receiver keeps none.
	State *int64 `json:"state,omitempty"`
}

// settles tells whether the event is done with once the verdict is committed.
func (d *Delivery) settles() bool {
	return d.Verdict == "applied" || d.Verdict == "skipped" || d.Verdict == "reject"
}

func (d *Delivery) problem() string {
	switch {
	case d.Plugin == "":
		return "it names no plugin"
	case d.Position < 1:
		return "its position is not a positive number"
	case d.ID == "" || d.Key == "":
		return "it has no id, or no key"
	case d.Seq < 0 || d.Began < 0 || d.Began > d.Seq:
		return "seq and began are not such that 0 ≤ began ≤ seq"
	case !d.settles() && !slices.Contains([]string{"retry", "again", "halt"}, d.Verdict):
		return "verdict is not applied, skipped, reject, retry, again or halt"
	}
	return ""
}

// maxLine is much more than a line with the longest ids and keys.
const maxLine = 64 << 10

// logFile is one file of a receiver's log.
type logFile struct {
	path   string
	file   *os.File
	in     *bufio.Reader
	line   int64
	read   int64 // bytes
	next   Delivery
	opened bool // and positioned behind next
	torn   int64
}

// ErrReceiver: a log is not in the format.
var ErrReceiver = errors.New("not the log of a receiver")

func (f *logFile) open() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	f.file, f.in, f.opened, f.line, f.read, f.torn = file, bufio.NewReaderSize(file, maxLine), true, 0, 0, 0
	return nil
}

func (f *logFile) close() {
	if f.opened {
		_ = f.file.Close() // it was only read
		f.opened = false
	}
}

// advance reads the next delivery; false at the end. A last line without an end,
// or one that another process wrote behind such, was cut by a crash: what it was
// about had not been answered.
func (f *logFile) advance() (bool, error) {
	for {
		line, err := f.in.ReadSlice('\n')
		f.read += int64(len(line))
		f.line++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return false, fmt.Errorf("%s, line %d: %w: it is longer than %d bytes", f.path, f.line, ErrReceiver, maxLine)
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				f.torn++
			}
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read %s: %w", f.path, err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var d Delivery
		if err := json.Unmarshal(line, &d); err != nil {
			if i := bytes.LastIndex(line, []byte(`{"seq":`)); i > 0 && line[0] == '{' && json.Unmarshal(line[i:], &d) == nil {
				f.torn++
			} else {
				return false, fmt.Errorf("%s, line %d: %w: %v", f.path, f.line, ErrReceiver, err)
			}
		}
		if problem := d.problem(); problem != "" {
			return false, fmt.Errorf("%s, line %d: %w: %s", f.path, f.line, ErrReceiver, problem)
		}
		if d.Seq < f.next.Seq {
			return false, fmt.Errorf("%s, line %d: %w: seq is %d after %d, and must not fall", f.path, f.line, ErrReceiver, d.Seq, f.next.Seq)
		}
		f.next = d
		return true, nil
	}
}

// merged reads the lines of several files in the order of seq. It keeps open only
// those files that have begun and not ended, so that there may be a file for each
// process that ever was.
type merged struct {
	waiting []*logFile // by their first line, not open
	active  byNext
	handed  bool  // the first of active was handed out
	ended   int64 // bytes of files that are read
	torn    int64
}

type byNext []*logFile

func (h byNext) Len() int           { return len(h) }
func (h byNext) Less(i, j int) bool { return h[i].next.Seq < h[j].next.Seq }
func (h byNext) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byNext) Push(x any)        { *h = append(*h, x.(*logFile)) }
func (h *byNext) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// openLogs finds the files and looks at the first line of each.
func openLogs(paths []string) (m *merged, bytes int64, err error) {
	m = &merged{}
	for _, path := range paths {
		files, err := logFiles(path)
		if err != nil {
			return nil, 0, fmt.Errorf("look for the logs of receivers: %w", err)
		}
		for _, name := range files {
			info, err := os.Stat(name)
			if err != nil {
				return nil, 0, fmt.Errorf("look at a receiver's log: %w", err)
			}
			bytes += info.Size()
			f := &logFile{path: name}
			if err := f.open(); err != nil {
				return nil, 0, fmt.Errorf("read a receiver's log: %w", err)
			}
			more, err := f.advance()
			f.close()
			if err != nil {
				return nil, 0, err
			}
			if more {
				m.waiting = append(m.waiting, f)
			} else {
				m.torn += f.torn
			}
		}
	}
	slices.SortStableFunc(m.waiting, func(a, b *logFile) int {
		switch {
		case a.next.Seq < b.next.Seq:
			return -1
		case a.next.Seq > b.next.Seq:
			return 1
		}
		return 0
	})
	return m, bytes, nil
}

func logFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".jsonl") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no file whose name ends in .jsonl", path)
	}
	return files, nil
}

// next returns the next delivery of all files; nil at the end. It is good until
// the next call.
func (m *merged) next() (*Delivery, error) {
	if m.handed {
		f := m.active[0]
		m.handed = false
		more, err := f.advance()
		if err != nil {
			return nil, err
		}
		if more {
			heap.Fix(&m.active, 0)
		} else {
			heap.Pop(&m.active)
			f.close()
			m.ended, m.torn = m.ended+f.read, m.torn+f.torn
		}
	}
	for len(m.waiting) > 0 && (len(m.active) == 0 || m.waiting[0].next.Seq <= m.active[0].next.Seq) {
		f := m.waiting[0]
		m.waiting = m.waiting[1:]
		f.next = Delivery{}
		if err := f.open(); err != nil {
			return nil, fmt.Errorf("read a receiver's log: %w", err)
		}
		if _, err := f.advance(); err != nil {
			return nil, err
		}
		heap.Push(&m.active, f)
	}
	if len(m.active) == 0 {
		return nil, nil
	}
	m.handed = true
	return &m.active[0].next, nil
}

// done is how many bytes were read.
func (m *merged) done() int64 {
	n := m.ended
	for _, f := range m.active {
		n += f.read
	}
	return n
}

func (m *merged) close() {
	for _, f := range m.active {
		f.close()
	}
}
