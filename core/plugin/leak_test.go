package plugin

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Not parallel, nor are its parts: it counts what belongs to the whole process.
func TestLaw10_StartsThatFailLeaveNothingBehind(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("there is no /proc to count in")
	}
	const starts = 50
	for _, kind := range []struct{ name, mode, config string }{
		{"good", "connector", ""},
		{"no handshake", "silent", ""},
		{"no handshake, and a child", "brooding", ""},
		{"another protocol version", "newer", ""},
		{"exits at once", "exits", ""},
		{"lies about its address", "liar", ""},
		{"dies in Open", "connector", `{"greeting":"fatal"}`},
		{"rejects its configuration", "connector", `{"greeting":"die"}`},
		{"describe hangs", "pensive", ""},
		{"is missing", "missing", ""},
	} {
		t.Run(kind.name, func(t *testing.T) {
			spec, _ := testSpec(t, kind.mode)
			if kind.config != "" {
				spec.Config = []byte(kind.config)
			}
			if kind.mode == "missing" {
				spec.Command = []string{"/no/such/program"}
			}
			// The children of this process are found by a mark that they inherit.
			mark := "MARK=" + filepath.Base(t.TempDir()) + strconv.Itoa(os.Getpid())
			spec.Env["MARK"] = strings.TrimPrefix(mark, "MARK=")
			opts := Options{RunDir: shortDir(t), timing: quick()}
			opts.timing.start = 300 * time.Millisecond
			if kind.mode == "connector" || kind.mode == "newer" {
				opts.timing.start = 10 * time.Second
			}
			one := func() error {
				s := New(spec, opts)
				inst, err := s.start(t.Context())
				if err == nil {
					inst.drain()
					inst.kill()
				}
				return err
			}
			bad := kind.name != "good"
			if err := one(); (err != nil) != bad {
				t.Fatalf("a start: %v", err)
			}
			files, routines := openFiles(t), runtime.NumGoroutine()
			var all sync.WaitGroup
			turn := make(chan struct{}, 8)
			for range starts {
				all.Go(func() {
					turn <- struct{}{}
					defer func() { <-turn }()
					if err := one(); (err != nil) != bad {
						t.Errorf("a start: %v", err)
					}
				})
			}
			all.Wait()
			eventually(t, "files and goroutines to go", func() bool {
				return openFiles(t) <= files && runtime.NumGoroutine() <= routines
			})
			eventually(t, "processes to go", func() bool { return marked(mark) == 0 })
			if left, _ := os.ReadDir(opts.RunDir); len(left) != 0 {
				t.Errorf("left in the socket folder: %v", left)
			}
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// marked counts the processes that have a variable in their environment.
func marked(mark string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), mark) {
			n++
		}
	}
	return n
}
