package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// line is a line of the log, as docs/verify.md describes it.
type line struct {
	Seq      int64  `json:"seq"`
	Began    int64  `json:"began"`
	Run      string `json:"run"`
	Plugin   string `json:"plugin"`
	Position int64  `json:"position"`
	ID       string `json:"id"`
	Key      string `json:"key"`
	Attempt  int    `json:"attempt"`
	Replay   bool   `json:"replay,omitempty"`
	Fence    int64  `json:"fence,omitempty"`
	Verdict  string `json:"verdict"`
	State    *int64 `json:"state,omitempty"`
}

// now is a clock that all processes of the machine share and nobody sets.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // it has no other clock
	}
	return ts.Nano()
}

// log is the file of this process. Lines that come together reach the disk
// together.
type log struct {
	dir, plugin string

	mu      sync.Mutex
	file    *os.File // made by the first line
	run     string
	waiting *flush // what the next write takes
	busy    bool   // a write is under way
}

// flush is one write, and all who wait for it.
type flush struct {
	bytes []byte
	done  chan struct{}
	err   error
}

// write returns when the line is on disk.
func (l *log) write(d line) error {
	l.mu.Lock()
	if l.file == nil {
		l.run = fmt.Sprintf("%s-%d-%d", l.plugin, os.Getpid(), now())
		var err error
		if l.file, err = os.Create(filepath.Join(l.dir, l.run+".jsonl")); err != nil {
			l.mu.Unlock()
			return err
		}
	}
	if l.waiting == nil {
		l.waiting = &flush{done: make(chan struct{})}
	}
	mine := l.waiting
	d.Run, d.Seq = l.run, now()
	text, err := json.Marshal(d)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	mine.bytes = append(append(mine.bytes, text...), '\n')
	if !l.busy {
		l.busy = true
		go l.work()
	}
	l.mu.Unlock()
	<-mine.done
	return mine.err
}

// work writes until nothing waits.
func (l *log) work() {
	for {
		l.mu.Lock()
		f := l.waiting
		l.waiting = nil
		if f == nil {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if _, f.err = l.file.Write(f.bytes); f.err == nil {
			f.err = l.file.Sync()
		}
		close(f.done)
	}
}

func (l *log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
