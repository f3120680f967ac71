package plugin

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/sdk/plugin"
)

// byHand starts the connector as a person does, and returns its process.
func byHand(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "debug", "--dir", dir)
	cmd.Env = append(os.Environ(), modeVar+"=connector")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// standsStill tells whether a process has come to its stop.
func standsStill(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Skip("there is no /proc to look at threads in")
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil || !strings.Contains(string(stat), ") T ") {
			return false
		}
	}
	return true
}

func TestAHubAttachesToAConnectorAndNeverEndsIt(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	dir := filepath.Join(shortDir(t), "debug")
	spec.Command, spec.Attach = []string{"/nowhere"}, dir
	pin := func() (*Pin, error) { return nil, fmt.Errorf("%w: asked for a pin", ErrRefused) }
	r := runWith(t, spec, traces, Options{timing: quick(), Pin: pin})
	r.await(t, "it says what to do", func(s Status) bool {
		return s.State == Starting && strings.Contains(s.Reason, "verb debug") && strings.Contains(s.Reason, dir)
	})

	first := byHand(t, dir)
	if pid := r.pid(t); pid != first.Process.Pid {
		t.Errorf("process %d answers, want %d", pid, first.Process.Pid)
	}
	// It stands at a breakpoint, for longer than a process may that a hub started.
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of its threads stand still", func() bool { return standsStill(t, first.Process.Pid) })
	answered := make(chan error, 1)
	go func() {
		_, err := r.Deliver(context.Background(), batchOf("a:ok"))
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("it answered while it stood still: %v", err)
	case <-time.After(quick().pingWithin + 500*time.Millisecond): // the time is what is tested
	}
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if pid := r.pid(t); pid != first.Process.Pid {
		t.Errorf("process %d answers, want %d", pid, first.Process.Pid)
	}

	// It ends, in whatever way, and comes back at the same place.
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	second := byHand(t, dir)
	eventually(t, "the second process answers", func() bool { return r.pid(t) == second.Process.Pid })

	r.stop()
	if gone(second.Process.Pid) {
		t.Error("the hub ended a process that it had not started")
	}
	if !exists(filepath.Join(traces, "closed")) {
		t.Error("the connector was not drained")
	}
	// Another hub can attach to it.
	info := func() Info {
		_, info, err := Check(t.Context(), spec, Options{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if got := info(); got.Version != "1.2.3" {
		t.Errorf("%+v", got)
	}
	if err := second.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if exists(filepath.Join(dir, plugin.DebugKeys)) {
		t.Error("the keys are still there")
	}
}

func TestTheDebugSocketIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	parent := shortDir(t)
	dir := filepath.Join(parent, "debug")
	byHand(t, dir)
	eventually(t, "it waits", func() bool { return exists(filepath.Join(dir, plugin.DebugKeys)) })
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, plugin.DebugKeys): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, err, info.Mode())
		}
	}
	// Who gets at the socket without the keys gets no further.
	raw, err := net.Dial("unix", filepath.Join(dir, plugin.DebugSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := conn.Handshake(); err == nil {
		if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("without a certificate: %v", err)
		}
	}
	// A second one does not push the first away.
	out, err := exec.Command("env", modeVar+"=connector", os.Args[0], "debug", "--dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "waits in "+dir+" already") {
		t.Errorf("%v: %s", err, out)
	}
	// A folder that others can enter is not used, by neither side.
	open := filepath.Join(parent, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command("env", modeVar+"=connector", os.Args[0], "debug", "--dir", open).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "only its owner can enter") {
		t.Errorf("%v: %s", err, out)
	}
	spec, _ := testSpec(t, "connector")
	spec.Attach = open
	if _, _, err := Check(t.Context(), spec, Options{Log: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), "only this user can enter") {
		t.Errorf("%v", err)
	}
}
