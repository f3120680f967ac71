package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Pin is what a plugin's program has to be to be started.
type Pin struct {
	SHA256  string // of the program's file, in lower-case hex
	Version string // what the connector calls itself; empty: anything
	Way     string // what an operator does who wants another program; one sentence
}

// ErrRefused says that a program was not started, or not kept, because it is not
// the one that is pinned.
var ErrRefused = errors.New("refused")

// maxProgramBytes bounds what is read of a program that is pinned.
const maxProgramBytes = 1 << 30

// FindProgram returns the absolute path of the program that a command names.
func FindProgram(command []string) (string, error) {
	if len(command) == 0 || command[0] == "" {
		return "", errors.New("the plugin has no command: name its program in the configuration")
	}
	path, err := exec.LookPath(command[0])
	if err == nil {
		// The working directory of the process may be another one.
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("finding the plugin's program: %w", err)
	}
	return path, nil
}

// HashProgram returns the SHA-256 of the program that a command names, in hex.
// That is the file alone: neither the interpreter of a script nor what the
// command's arguments name.
func HashProgram(command []string) (string, error) {
	path, err := FindProgram(command)
	if err != nil {
		return "", err
	}
	return copyProgram(path, io.Discard)
}

// copyProgram copies a program and returns the hash of what it copied.
func copyProgram(path string, to io.Writer) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading the plugin's program: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the plugin's program: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("reading the plugin's program: %s is no file", path)
	case info.Size() > maxProgramBytes:
		return "", fmt.Errorf("reading the plugin's program: %s is larger than 1 GiB", path)
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sum, to), io.LimitReader(f, maxProgramBytes)); err != nil {
		return "", fmt.Errorf("reading the plugin's program: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// pinned copies the program into a private folder and returns the copy's path if
// it is the one that pin names. What was hashed is what will run, whatever
// becomes of the original in the meantime.
func pinned(path, dir string, pin Pin) (string, error) {
	// In a folder of its own, so that the copy can keep its name, which is what
	// lists of processes show.
	dir = filepath.Join(dir, "program")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("copying the plugin's program: %w", err)
	}
	to := filepath.Join(dir, filepath.Base(path))

	// A process that is forked while the copy is open for writing holds it open,
	// too, for a moment, and what is open for writing cannot be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return "", fmt.Errorf("copying the plugin's program: %w", err)
	}
	sum, err := copyProgram(path, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("copying the plugin's program to %s: %w", dir, err)
	}
	if sum != pin.SHA256 {
		_ = os.Remove(to)
		return "", fmt.Errorf("%w: its program %s has the SHA-256 %s… and the one that is pinned has %s…: %s",
			ErrRefused, path, short(sum), short(pin.SHA256), pin.Way)
	}
	return to, nil
}

// short is enough of a hash to tell it from another one.
func short(sum string) string { return sum[:min(len(sum), 12)] }

// accepts looks whether a connector is of the version that is pinned. The file
// alone does not decide that: a script may run something else.
func (p *Pin) accepts(info Info) error {
	if p == nil || p.Version == "" || info.Version == p.Version {
		return nil
	}
	return fmt.Errorf("%w: it calls itself version %q, and the one that is pinned is %q: %s",
		ErrRefused, printable([]byte(info.Version)), p.Version, p.Way)
}
