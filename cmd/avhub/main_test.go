package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests run the real program, which is built once when a test first asks for
// it, with the connector that dev looks for beside it.
var (
	programDir string // made and removed by TestMain
	programs   = sync.OnceValue(buildPrograms)
)

// lasting is the program for what goes on for a while: it looks for data races if
// its tests do, which would make each short verb take seconds.
const lasting = "avhub-lasting"

func buildPrograms() error {
	for name, args := range map[string][]string{
		"avhub":          {"."},
		lasting:          append(buildFlags(), "."),
		"avhub-notify":   {"../../examples/notify"},
		"avhub-slack":    {"../../examples/slack"},
		"avhub-forward":  {"../../examples/forward"},
		"avhub-strict":   {"./testdata/strict"},
		"avhub-auditlog": {"../../plugins/auditlog"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-o", filepath.Join(programDir, name)}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "avhub-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		programDir = dir
		return m.Run()
	}())
}

// program is the path of a built program.
func program(t *testing.T, name string) string {
	t.Helper()
	if err := programs(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(programDir, name)
}

// deadline is for things that take a moment on an idle machine, and much longer
// on a busy one.
const deadline = 60 * time.Second

// environ is the environment of the program: that of the test without what would
// configure a hub.
func environ(more ...string) []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "AVHUB_") && !strings.HasPrefix(pair, "STRIPE_") && !strings.HasPrefix(pair, "NO_COLOR=") {
			env = append(env, pair)
		}
	}
	return append(env, more...)
}

type result struct {
	code     int
	out, err string
}

// run runs the program in dir to its end.
func run(t *testing.T, dir string, args ...string) result {
	t.Helper()
	avhub := program(t, "avhub") // built by the first who asks, which takes its time
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, avhub, args...)
	cmd.Dir, cmd.Env = dir, environ()
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("avhub %s: %v", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String()}
}

// done runs the program and wants exit code 0.
func done(t *testing.T, dir string, args ...string) result {
	t.Helper()
	r := run(t, dir, args...)
	if r.code != 0 {
		t.Fatalf("avhub %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r
}

// process is a program that goes on.
type process struct {
	cmd    *exec.Cmd
	out    *lines
	err    *lines
	waited chan struct{}
}

// lines collects what a process writes, and wakes who waits for a line of it.
type lines struct {
	mu   sync.Mutex
	all  []string
	more chan struct{}
}

func (l *lines) read(r io.Reader) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		l.mu.Lock()
		l.all = append(l.all, scanner.Text())
		close(l.more)
		l.more = make(chan struct{})
		l.mu.Unlock()
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}

// wait returns the first line that holds all of the words.
func (l *lines) wait(t *testing.T, words ...string) string {
	t.Helper()
	return l.waitAfter(t, 0, words...)
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// waitAfter is wait without the first lines.
func (l *lines) waitAfter(t *testing.T, from int, words ...string) string {
	t.Helper()
	for timeout := time.After(deadline); ; {
		l.mu.Lock()
		fresh, more := l.all[from:], l.more
		from = len(l.all)
		l.mu.Unlock()
		for _, line := range fresh {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line, word)
			}
			if all {
				return line
			}
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no line with %q came:\n%s", words, l.text())
		}
	}
}

// start starts the program in dir. It is killed at the end of the test if it is
// still there.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return startProgram(t, program(t, lasting), dir, args...)
}

func startProgram(t *testing.T, path, dir string, args ...string) *process {
	t.Helper()
	return startWith(t, environ(), path, dir, args...)
}

func startWith(t *testing.T, env []string, path, dir string, args ...string) *process {
	t.Helper()
	p := &process{
		cmd: exec.Command(path, args...), waited: make(chan struct{}),
		out: &lines{more: make(chan struct{})}, err: &lines{more: make(chan struct{})},
	}
	p.cmd.Dir, p.cmd.Env = dir, env
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.out.read(stdout) })
	readers.Go(func() { p.err.read(stderr) })
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // the exit code is looked at by those who want to know
		close(p.waited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.waited
		if strings.Contains(p.err.text(), "DATA RACE") {
			t.Error("the program has a data race")
		}
		if t.Failed() {
			t.Logf("avhub %s:\n%s\n%s", strings.Join(args, " "), p.out.text(), p.err.text())
		}
	})
	return p
}

// end sends a signal and returns the exit code.
func (p *process) end(t *testing.T, with os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(with); err != nil {
		t.Fatal(err)
	}
	return p.wait(t)
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.waited:
	case <-time.After(deadline):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		t.Fatal("the process did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// field is the value behind name= in a line of a console log.
func field(t *testing.T, line, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(line, name+"=")
	if !ok {
		t.Fatalf("there is no %s= in %q", name, line)
	}
	value, _, _ := strings.Cut(rest, " ")
	return value
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
