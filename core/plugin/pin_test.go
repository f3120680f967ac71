package plugin

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// locked is a supervisor's rig whose connector is a copy of the test binary,
// pinned by a lock file beside it.
func locked(t *testing.T, version string) (spec Spec, traces, lock string) {
	t.Helper()
	spec, traces = testSpec(t, "connector")
	dir := t.TempDir()
	spec.Command = []string{filepath.Join(dir, "traces")}
	copyFile(t, os.Args[0], spec.Command[0])
	lock = filepath.Join(dir, "avhub.lock")
	relock(t, lock, spec, version)
	return spec, traces, lock
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func relock(t *testing.T, lock string, spec Spec, version string) {
	t.Helper()
	sum, err := HashProgram(spec.Command)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLock()
	l.Set(spec.Name, version, sum)
	if err := l.Write(lock); err != nil {
		t.Fatal(err)
	}
}

// change makes another program of a file without breaking it.
func change(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tmp := path + ".changed"
	if err := errors.Join(os.WriteFile(tmp, append(text, "changed"...), 0o700), os.Rename(tmp, path)); err != nil {
		t.Fatal(err)
	}
}

func TestAPinnedConnectorStartsAgainAndAgain(t *testing.T) {
	t.Parallel()
	spec, traces, lock := locked(t, "1.2.3")
	r := runWith(t, spec, traces, Options{Pin: Locker(lock, spec.Name), timing: quick()})
	for range 3 {
		pid := r.pid(t)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the process is gone", func() bool { return gone(pid) })
	}
	r.pid(t)
	if pin := r.Pin(); pin == nil || pin.Version != "1.2.3" {
		t.Errorf("it runs as %+v", pin)
	}
}

func TestAChangedProgramIsRefusedUntilItIsAccepted(t *testing.T) {
	t.Parallel()
	spec, traces, lock := locked(t, "1.2.3")
	r := runWith(t, spec, traces, Options{Pin: Locker(lock, spec.Name), timing: quick()})
	pid := r.pid(t)
	change(t, spec.Command[0])
	// What runs, runs on. What is started anew is held against the lock.
	if again := r.pid(t); again != pid {
		t.Errorf("process %d became %d", pid, again)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	st := r.await(t, "the refusal", func(s Status) bool { return s.State == Refused })
	if !strings.Contains(st.Reason, "avhub plugin lock traces") || !strings.Contains(st.Reason, spec.Command[0]) || st.PID != 0 {
		t.Errorf("%+v", st)
	}
	relock(t, lock, spec, "1.2.3")
	if again := r.pid(t); again == pid {
		t.Error("the old process is still there")
	}
}

// Whoever can write where the program is has the moment between the look at it
// and its start, if it is started from there.
func TestSwappingTheProgramAfterTheLookDoesNotHelp(t *testing.T) {
	t.Parallel()
	for name, swap := range map[string]func(path string) error{
		"renamed over": func(path string) error {
			return errors.Join(os.WriteFile(path+".evil", []byte("#!/bin/sh\nexit 7\n"), 0o700), os.Rename(path+".evil", path))
		},
		"written into": func(path string) error { return os.WriteFile(path, []byte("#!/bin/sh\nexit 7\n"), 0o700) },
		"removed":      os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec, traces, lock := locked(t, "1.2.3")
			swapped := make(chan error, 100)
			tm := quick()
			tm.beforeExec = func() { swapped <- swap(spec.Command[0]) }
			r := runWith(t, spec, traces, Options{Pin: Locker(lock, spec.Name), timing: tm})
			pid := r.pid(t)
			if err := <-swapped; err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if name != "removed" {
				r.await(t, "the refusal of what was swapped in", func(s Status) bool { return s.State == Refused })
			}
		})
	}
}

func TestWhatIsNotLockedForThisPlaceIsRefused(t *testing.T) {
	t.Parallel()
	spec, _, lock := locked(t, "1.2.3")
	good, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"another plugin":   {strings.Replace(string(good), `"traces"`, `"tracer"`, 1), "not in the lock file"},
		"another platform": {strings.Replace(string(good), Platform(), "plan9/mips", 1), "no hash of it for " + Platform()},
		"another version":  {strings.Replace(string(good), "1.2.3", "1.2.4", 1), `calls itself version "1.2.3"`},
		"cut off":          {string(good[:len(good)/2]), "no lock file"},
		"empty":            {"", "no lock file"},
		"binary":           {"\x00\x1b[31m", "no lock file"},
		"no hash":          {`{"format":1,"plugins":{"traces":{"version":"1.2.3","sha256":{"` + Platform() + `":"abc"}}}}`, "no SHA-256"},
		"newer":            {`{"format":2,"plugins":[]}`, "newer avhub"},
		"unknown key":      {`{"format":1,"plugin":{}}`, "no lock file"},
		"no format":        {`{"plugins":{}}`, "a format"},
		"more behind it":   {string(good) + "{}", "behind its end"},
		"huge":             {`{"format":1,` + strings.Repeat(" ", maxLockBytes), "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "avhub.lock")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			runDir := shortDir(t)
			_, _, err := Check(t.Context(), spec, Options{Log: zerolog.Nop(), RunDir: runDir, Pin: Locker(path, spec.Name)})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if left, _ := os.ReadDir(runDir); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
	if _, _, err := Check(t.Context(), spec, Options{Log: zerolog.Nop(), RunDir: shortDir(t), Pin: Locker(lock, spec.Name)}); err != nil {
		t.Errorf("as it was locked: %v", err)
	}
}

func TestAScriptCanBePinned(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	script := filepath.Join(t.TempDir(), "connector.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec '"+os.Args[0]+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	spec.Command = []string{script}
	lock := filepath.Join(t.TempDir(), "avhub.lock")
	relock(t, lock, spec, "1.2.3")
	r := runWith(t, spec, traces, Options{Pin: Locker(lock, spec.Name), timing: quick()})
	r.pid(t)
}

func TestALockKeepsOtherPlatformsOfTheSameVersionAndIsStable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "avhub.lock")
	if _, err := ReadLock(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	l := NewLock()
	l.Plugins["x"] = Locked{Version: "1", SHA256: map[string]string{"plan9/mips": a}}
	l.Plugins["y"] = Locked{Version: "1", SHA256: map[string]string{"plan9/mips": a}}
	l.Set("x", "1", b)
	l.Set("y", "2", b)
	var texts []string
	for range 2 {
		if err := l.Write(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		if l, err = ReadLock(path); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := json.Marshal(map[string]map[string]string{
		"x": {"plan9/mips": a, Platform(): b}, "y": {Platform(): b},
	})
	got, _ := json.Marshal(map[string]map[string]string{"x": l.Plugins["x"].SHA256, "y": l.Plugins["y"].SHA256})
	if string(got) != string(want) || texts[0] != texts[1] {
		t.Errorf("%s\n%s\n%s", got, texts[0], texts[1])
	}
}
