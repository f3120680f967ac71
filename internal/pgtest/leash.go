package pgtest

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The leash's script waits for the end of its standard input, which comes when
// the test process closes it or dies, however it dies. Then it stops the server,
// if one runs, and removes its directory.
//
//go:embed leash.sh
var leashScript string

// leash is a small process beside a server that ends the server with us. It
// serves where cleaning up ourselves does not: when the process panics, runs
// into its time limit or is killed; and no package needs a TestMain for it.
type leash struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func newLeash(tools tools, dir string) (*leash, error) {
	cmd := tools.run("/", "/bin/sh", "-c", leashScript, "leash", dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the server's leash: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server's leash: %w", err)
	}
	return &leash{cmd: cmd, stdin: stdin}, nil
}

// release ends the server, and returns when its directory is gone.
func (l *leash) release() error {
	if err := l.stdin.Close(); err != nil {
		return fmt.Errorf("release the server's leash: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- l.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the server's leash could not remove its directory: %w", err)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the server's leash does not end")
	}
}

// killWithin kills every process whose working directory is dir, as it is of all
// processes of a server, and returns those that it found. A process that is dead
// but not collected has no working directory, so the answer is empty once all
// are gone.
func killWithin(dir string) []int {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd")); err == nil && cwd == dir {
			found = append(found, pid)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
		}
	}
	return found
}
