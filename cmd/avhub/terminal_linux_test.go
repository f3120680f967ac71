package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/avhub/avhub/core/simulator"
)

// terminal opens a pseudo terminal, which is how Linux makes them (pty(7)).
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	control, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n, unlock uint32
	var failed syscall.Errno
	err = control.Control(func(fd uintptr) {
		if _, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlock))); failed == 0 {
			_, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCGPTN, uintptr(unsafe.Pointer(&n)))
		}
	})
	if err != nil || failed != 0 {
		t.Fatal(err, failed)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// onTerminal runs the program on a terminal where somebody types.
func onTerminal(t *testing.T, dir, typed string, env []string, args ...string) (code int, shown string) {
	t.Helper()
	master, slave := terminal(t)
	cmd := exec.Command(program(t, "avhub"), args...)
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(deadline, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	if _, err := io.WriteString(master, typed); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, _ = io.Copy(&out, master) // ends with EIO when the program is gone
	_ = cmd.Wait()               // the exit code is what is asked for
	return cmd.ProcessState.ExitCode(), out.String()
}

func TestOnATerminalDiscardAsks(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	s.answer.Store(http.StatusBadRequest)
	s.send(t, simulator.Command{Type: "tenant.created"})
	list := func() []troubleJSON { return read[[]troubleJSON](t, s.dir, "delivery", "list") }
	eventually(t, "an event is a dead letter", func() bool { return len(list()) == 1 })
	for _, no := range []string{"n\n", "\n", "maybe\n", "\x04"} {
		code, shown := onTerminal(t, s.dir, no, environ(), "delivery", "discard", "--all")
		if code != 1 || !strings.Contains(shown, "[y/N]") || !strings.Contains(shown, "nothing was changed") || len(list()) != 1 {
			t.Errorf("after %q: exit code %d\n%s", no, code, shown)
		}
	}
	if code, shown := onTerminal(t, s.dir, "y\n", environ(), "delivery", "discard", "--all"); code != 0 || len(list()) != 0 {
		t.Errorf("after y: exit code %d\n%s", code, shown)
	}
}

func TestColoursAreForTerminalsWhoseOwnersWantThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		env     []string
		colours bool
	}{
		"a terminal":    {environ("TERM=xterm"), true},
		"NO_COLOR":      {environ("TERM=xterm", "NO_COLOR=1"), false},
		"NO_COLOR=":     {environ("TERM=xterm", "NO_COLOR="), true},
		"dumb terminal": {environ("TERM=dumb"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, shown := onTerminal(t, dir, "", c.env, "check")
			if code != 0 || strings.Contains(shown, "\x1b[") != c.colours {
				t.Errorf("exit code %d, shown %q", code, shown)
			}
		})
	}
}
