package hook

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

func script(t *testing.T, text string) Command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return Command{Argv: []string{path}, Timeout: 20 * time.Second}
}

func TestAProgramGetsItsInputAndOnlyTheVariablesThatAreNamed(t *testing.T) {
	t.Setenv("HOOK_NAMED", "yes")
	t.Setenv("HOOK_SECRET", "canary")
	c := script(t, `cat; echo "|$HOOK_NAMED|$HOOK_SECRET"`)
	c.Env = []string{"HOOK_NAMED"}
	out, err := c.Run(t.Context(), map[string]string{"a": `$(touch x); '"`})
	if err != nil || string(out) != `{"a":"$(touch x); '\""}|yes|`+"\n" {
		t.Errorf("%q %v", out, err)
	}
}

func TestExit75MeansLater(t *testing.T) {
	if _, err := script(t, "echo busy >&2; exit 75").Run(t.Context(), nil); !errors.Is(err, resource.ErrLater) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("%v", err)
	}
	if _, err := script(t, "exit 3").Run(t.Context(), nil); err == nil || errors.Is(err, resource.ErrLater) {
		t.Errorf("%v", err)
	}
}

func TestAProgramThatDoesNotEndIsKilledWithItsChildren(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	c := script(t, "sleep 1000 & echo $! >"+pid+"; wait")
	c.Timeout = 500 * time.Millisecond
	if _, err := c.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%v", err)
	}
	raw, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		// A zombie that nobody collected is dead, too.
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		if syscall.Kill(child, 0) != nil || err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("its child lives on")
		}
	}
}

func TestEndlessOutputIsAnError(t *testing.T) {
	if _, err := script(t, "head -c 2000000 /dev/zero").Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%v", err)
	}
}

func TestAProgramThatIsGivenSecretsIsNotQuoted(t *testing.T) {
	c := script(t, "cat >&2; exit 1")
	c.Quiet = true
	if _, err := c.Run(t.Context(), "canary"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	for _, text := range []string{"", "echo no", "echo '[]'", "exit 1", `echo '{"exists":"yes"}'`} {
		d := &Driver{Command: script(t, text), Step: func(string) { t.Error("it was changed") }}
		if _, err := d.Observe(t.Context(), "one"); err == nil {
			t.Errorf("%q was taken for an answer", text)
		}
		if err := d.Put(t.Context(), "one", resource.Mark{Tenant: "t", Resource: "r"}, resource.May{Create: true}); err == nil {
			t.Errorf("%q was taken for an answer", text)
		}
	}
}
