// Package hook runs programs of the team's own: it is the driver exec, and what
// secrets may be given to.
package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

const (
	// maxOutput bounds what a program may print, in bytes.
	maxOutput = 1 << 20
	// maxWords bounds what is quoted of its standard error.
	maxWords = 500
	// exitLater is the exit code that asks to be tried later, as of sendmail.
	exitLater = 75
)

// Command is a program that takes JSON and prints JSON. Nothing about a tenant
// is ever among its arguments.
type Command struct {
	Argv    []string // the first is an absolute path
	Env     []string // names of variables that it gets
	Timeout time.Duration
	// Quiet leaves what it prints out of errors, for programs that are given
	// secrets.
	Quiet bool
}

// Run gives it in as JSON on standard input, and returns what it printed. It has
// a process group of its own, which is killed when ctx or its time ends.
func (c Command) Run(ctx context.Context, in any) ([]byte, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	program := filepath.Base(c.Argv[0])
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = []string{}
	for _, n := range c.Env {
		if v, ok := os.LookupEnv(n); ok {
			cmd.Env = append(cmd.Env, n+"="+v)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, words := &bounded{most: maxOutput}, &bounded{most: maxWords}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(raw), out, words
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	said := ""
	if text := strings.TrimSpace(words.buf.String()); text != "" && !c.Quiet {
		said = ": " + strings.ToValidUTF8(text, "?")
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("running %s: it did not end within %v, and was killed%s", program, c.Timeout, said)
	case errors.As(err, &exit) && exit.ExitCode() == exitLater:
		return nil, fmt.Errorf("running %s: %w%s", program, resource.ErrLater, said)
	case err != nil:
		return nil, fmt.Errorf("running %s: %w%s", program, err, said)
	case out.cut:
		return nil, fmt.Errorf("running %s: it printed more than %d bytes", program, maxOutput)
	}
	return out.buf.Bytes(), nil
}

// bounded keeps the beginning of what is written.
type bounded struct {
	most int
	cut  bool
	buf  bytes.Buffer
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.buf.Len()
	b.cut = b.cut || len(p) > room
	b.buf.Write(p[:min(len(p), room)])
	return len(p), nil
}
