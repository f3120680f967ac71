package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
)

// Lock is the content of a lock file, which pins the plugins of a configuration.
// It is made to be committed: no times, no paths, and always the same order.
type Lock struct {
	// Format is lockFormat.
	Format  int               `json:"format"`
	Plugins map[string]Locked `json:"plugins"`
}

// Locked is what a lock file knows of one plugin.
type Locked struct {
	Version string `json:"version"`
	// SHA256 has a hash for each platform that the plugin was locked on.
	SHA256 map[string]string `json:"sha256"`
}

const (
	lockFormat   = 1
	maxLockBytes = 1 << 20
)

// Platform is the key of this machine's hashes in a lock file: "linux/amd64".
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

var sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ReadLock reads a lock file. Without one the error is fs.ErrNotExist, by
// errors.Is.
func ReadLock(path string) (*Lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the lock file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLockBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the lock file: %w", err)
	}
	bad := func(what string) (*Lock, error) {
		return nil, fmt.Errorf("reading the lock file: %s %s; restore it, or remove it and run `avhub plugin lock`", path, what)
	}
	if len(text) > maxLockBytes {
		return bad("is larger than 1 MiB")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	l := &Lock{}
	if err := dec.Decode(l); err != nil {
		var format struct {
			Format int `json:"format"`
		}
		if json.Unmarshal(text, &format) == nil && format.Format > lockFormat {
			return bad("was written by a newer avhub")
		}
		return bad("is no lock file: " + printable([]byte(err.Error())))
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad("has something behind its end")
	}
	if l.Format != lockFormat {
		return bad("has a format that this avhub does not know")
	}
	for name, p := range l.Plugins {
		for platform, sum := range p.SHA256 {
			if !sha256Pattern.MatchString(sum) {
				return bad(fmt.Sprintf("has no SHA-256 for %q on %q", name, platform))
			}
		}
	}
	if l.Plugins == nil {
		l.Plugins = map[string]Locked{}
	}
	return l, nil
}

// NewLock returns one that pins nothing.
func NewLock() *Lock { return &Lock{Format: lockFormat, Plugins: map[string]Locked{}} }

// Set pins a plugin on this platform. Hashes for other platforms stay as long
// as they are of the same version.
func (l *Lock) Set(name, version, sum string) {
	p := Locked{Version: version, SHA256: map[string]string{}}
	if old := l.Plugins[name]; old.Version == version {
		for platform, sum := range old.SHA256 {
			p.SHA256[platform] = sum
		}
	}
	p.SHA256[Platform()] = sum
	l.Plugins[name] = p
}

// Write replaces the file at path as a whole.
func (l *Lock) Write(path string) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".avhub-lock-*")
	if err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing the lock file: %w", err)
	}
	return nil
}

// Pin returns what a plugin has to be on this platform. A plugin that is not
// locked is refused: the error is ErrRefused, by errors.Is.
func (l *Lock) Pin(name string) (*Pin, error) {
	way := fmt.Sprintf("look at the change, then accept it with `avhub plugin lock %s`", name)
	p, there := l.Plugins[name]
	if !there {
		return nil, fmt.Errorf("%w: it is not in the lock file: %s", ErrRefused, way)
	}
	sum := p.SHA256[Platform()]
	if sum == "" {
		return nil, fmt.Errorf("%w: the lock file has no hash of it for %s: %s", ErrRefused, Platform(), way)
	}
	return &Pin{SHA256: sum, Version: p.Version, Way: way}, nil
}

// Locker returns an Options.Pin that asks the lock file at path at every start,
// so that what an operator accepts counts without more ado. No file, or an empty
// path, pins nothing; a file that cannot be read refuses every start.
func Locker(path, name string) func() (*Pin, error) {
	return func() (*Pin, error) {
		if path == "" {
			return nil, nil
		}
		l, err := ReadLock(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return l.Pin(name)
	}
}
