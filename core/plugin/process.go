package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
)

// process is one started connector process, as the handshake's library wants a
// runner to be. It reads the process's output itself: the library would split
// long lines, lose levels, and panic on a log line whose message is a number.
type process struct {
	spec          Spec
	out           *gate // for what it prints
	noDeathSignal bool

	cmd    *exec.Cmd
	leash  *os.File // our end of the process's standard input
	stdout *io.PipeReader
	tail   lastLine

	mu      sync.Mutex
	started bool
	killed  bool   // before or after the start
	cut     bool   // killed while it may still have been running
	fault   string // why, if by its own fault
	reaped  bool   // its number may be another process's now

	exited chan struct{}
	exit   error // how it ended; set before exited is closed
}

var _ runner.Runner = (*process)(nil)

// program is what a process is started from.
type program struct {
	name string // the absolute path of what the configuration names
	file string // what is executed: the same, or the copy of it that was checked
}

// newProcess prepares a process. handshake is the environment that the library
// wants to pass.
func newProcess(spec Spec, prog program, out *gate, handshake []string, noDeathSignal bool) *process {
	cmd := exec.Command(prog.file, spec.Command[1:]...)
	cmd.Args[0] = prog.name
	cmd.Dir = spec.Dir
	// Never nil, which would mean the hub's whole environment. Of two values for
	// one name the last one counts, so the handshake's cannot be overridden.
	cmd.Env = make([]string, 0, len(spec.Env)+len(handshake))
	for k, v := range spec.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Env = append(cmd.Env, spec.Limits.environment(spec.Env)...)
	cmd.Env = append(cmd.Env, handshake...)
	return &process{
		spec: spec, out: out, noDeathSignal: noDeathSignal, cmd: cmd,
		exited: make(chan struct{}),
	}
}

// Start starts the process, and the goroutines that read its output and wait
// for its end.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.New("starting the plugin: it was stopped before it started")
	}
	var pipes [3][2]*os.File // of each standard stream, the end to read from and the end to write to
	closeAll := func() {
		for _, pair := range pipes {
			for _, f := range pair {
				if f != nil {
					_ = f.Close()
				}
			}
		}
	}
	for i := range pipes {
		var err error
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			closeAll()
			return fmt.Errorf("starting the plugin: %w", err)
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = pipes[0][0], pipes[1][1], pipes[2][1]
	p.cmd.SysProcAttr = sysProcAttr(!p.noDeathSignal)

	p.leash = pipes[0][1]

	var readers sync.WaitGroup
	readers.Add(2)
	startErr := make(chan error)
	go func() {
		// The death signal comes when the thread that started the process ends,
		// so that thread stays with this goroutine until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		keepInherited()
		err := p.cmd.Start()
		startErr <- err
		if err == nil {
			p.wait(&readers, pipes[1][0], pipes[2][0])
		}
	}()
	if err := <-startErr; err != nil {
		closeAll()
		if copied := p.cmd.Path; copied != p.cmd.Args[0] && errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("starting the plugin: %w; what is pinned is run from a copy, and no program may run in %s: set TMPDIR to a folder where one may", err, filepath.Dir(copied))
		}
		return fmt.Errorf("starting the plugin: %w", err)
	}
	p.started = true
	var limitErr error
	if most := p.spec.Limits.OpenFiles; most > 0 {
		limitErr = limitFiles(p.cmd.Process.Pid, most)
	}
	if p.spec.Limits.any() {
		go p.enforce(p.spec.Limits)
	}
	for _, f := range []*os.File{pipes[0][0], pipes[1][1], pipes[2][1]} {
		_ = f.Close()
	}
	handshake, lines := io.Pipe()
	p.stdout = handshake
	go func() {
		defer readers.Done()
		readStdout(pipes[1][0], lines, p.out)
	}()
	go func() {
		defer readers.Done()
		readStderr(pipes[2][0], p.out, &p.tail)
	}()
	return limitErr
}

// outputGrace is how long output is read after the end of the process, whose
// descendants may have left the group and hold the pipes open.
const outputGrace = time.Second

// wait reaps the process and ends what is left of its group.
func (p *process) wait(readers *sync.WaitGroup, stdout, stderr *os.File) {
	err := p.reap()
	_ = p.leash.Close()

	read := make(chan struct{})
	go func() {
		readers.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(outputGrace):
	}
	_ = stdout.Close()
	_ = stderr.Close()
	<-read
	p.out.end()
	p.exit = err
	close(p.exited)
}

// Wait returns when the process has ended.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.exit
}

// Kill ends the process and its group at once. It may be called at any time,
// also before Start, which then fails.
func (p *process) Kill(context.Context) error {
	p.kill("")
	return nil
}

// kill is Kill with the fault of the process that is the reason, if there is one.
func (p *process) kill(fault string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.started && !p.reaped {
		if !p.cut {
			p.fault = fault
		}
		p.cut = true
		killGroup(p.cmd.Process)
	}
}

// Stdout yields the handshake line and nothing else.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr yields nothing: it is read elsewhere.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the path of the program.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process id, empty before the start.
func (p *process) ID() string {
	if pid := p.pid(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return 0
	}
	return p.cmd.Process.Pid
}

// Diagnose adds nothing to the library's own message, which is replaced by
// a Crash.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost accepts only addresses of this machine.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	switch network {
	case "unix":
		return network, addr, nil
	case "tcp":
		host, _, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
			return network, addr, nil
		}
	}
	return "", "", fmt.Errorf("the plugin listens on %s %q: it must be a unix socket or a loopback address", network, addr)
}

// HostToPlugin is PluginToHost's counterpart.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// crash says how the process, which has ended, did so.
func (p *process) crash() *Crash {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &Crash{Exit: "exit status 0", Tail: p.tail.end(), line: p.tail.get()}
	switch {
	case p.fault != "" && p.signalled():
		c.Exit = p.fault
	case p.exit != nil:
		c.Exit = p.exit.Error()
	}
	return c
}

// signalled tells that the process, which has ended, did so by Kill's signal, or
// by somebody else's.
func (p *process) signalled() bool { return p.exit != nil && p.exit.Error() == "signal: killed" }

// atFault tells, of a process that has ended, that the hub did not end it for
// reasons of its own.
func (p *process) atFault() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.cut || p.fault != "" || !p.signalled()
}

// hasExited tells whether the process has ended, waiting for at most d.
func (p *process) hasExited(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	default:
	}
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// runnerFunc makes the library start this process, with the variable that tells
// it the hub's certificate, and tells made of it.
func runnerFunc(spec Spec, prog program, out *gate, keys string, noDeathSignal bool, made func(*process)) func(hclog.Logger, *exec.Cmd, string) (runner.Runner, error) {
	return func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
		p := newProcess(spec, prog, out, append(cmd.Env, keys), noDeathSignal)
		made(p)
		return p, nil
	}
}
