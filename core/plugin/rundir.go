package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// maxSocketPath is what a unix socket's path may have on every system: 104
// bytes on the BSDs, 108 on Linux, with a zero byte at the end.
const maxSocketPath = 103

// socketNameBytes is what the handshake's library adds to the folder that it is
// given: "/plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN".
const socketNameBytes = 1 + 10 + 10 + 1 + 6 + 10

// socketDir is the private folder of one start of one plugin.
type socketDir struct {
	path string
	lock *os.File
}

// newSocketDir makes the folder of a start inside the plugin's own one, after
// sweeping away what starts of dead hubs left there.
//
// Each start's folder has a lock that its hub holds. The system releases it
// when the hub ends in whatever way, so a folder whose lock can be had belongs
// to nobody.
func newSocketDir(runDir, plugin string) (*socketDir, error) {
	if runDir == "" {
		runDir = filepath.Join(os.TempDir(), "avhub-"+strconv.Itoa(os.Getuid()))
	}
	abs, err := filepath.Abs(runDir)
	if err != nil {
		return nil, fmt.Errorf("making the plugin's socket folder: %w", err)
	}
	// A name may be longer than a socket's path has room for.
	sum := sha256.Sum256([]byte(plugin))
	own := filepath.Join(abs, hex.EncodeToString(sum[:4]))
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("making the plugin's socket folder: %w", err)
	}
	dir, err := startDir(own)
	for tries := 0; errors.Is(err, errTaken) && tries < maxStartTries; tries++ {
		dir, err = startDir(own)
	}
	if err != nil {
		return nil, fmt.Errorf("making the plugin's socket folder: %w", err)
	}
	if n := len(dir.path) + socketNameBytes; n > maxSocketPath {
		dir.remove()
		return nil, fmt.Errorf("making the plugin's socket folder: a socket below %s would have a path of %d bytes, and %d are possible: choose a shorter folder", abs, n, maxSocketPath)
	}
	return dir, nil
}

// maxStartTries is more often than others sweep or end the plugin at the same
// moment.
const maxStartTries = 20

// errTaken says that somebody else has swept the folder away while it was being
// made: before it is locked, it looks like one that a dead hub has left.
var errTaken = errors.New("another hub keeps taking it")

// startDir makes and locks the folder of a start inside the plugin's own.
func startDir(own string) (*socketDir, error) {
	taken := func(err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return errTaken
		}
		return err
	}
	if err := os.Mkdir(own, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := checkPrivate(own); err != nil {
		return nil, taken(err)
	}
	sweep(own)
	path, err := os.MkdirTemp(own, "")
	if err != nil {
		return nil, taken(err)
	}
	lock, held, err := lockFile(filepath.Join(path, "lock"))
	switch {
	case err != nil:
		_ = os.RemoveAll(path)
		return nil, taken(err)
	case !held:
		return nil, errTaken // whoever holds it removes it
	}
	if _, err := os.Stat(filepath.Join(path, "lock")); err != nil {
		_ = lock.Close() // of a file that is gone
		return nil, taken(err)
	}
	return &socketDir{path, lock}, nil
}

func (d *socketDir) remove() {
	_ = os.RemoveAll(d.path)
	_ = d.lock.Close()
	// Goes only if no other hub has anything in it.
	_ = os.Remove(filepath.Dir(d.path))
}

// sweep removes the folders of starts whose hub is gone.
func sweep(own string) {
	entries, _ := os.ReadDir(own)
	for _, e := range entries {
		path := filepath.Join(own, e.Name())
		lock, held, err := lockFile(filepath.Join(path, "lock"))
		if err != nil || !held {
			continue
		}
		_ = os.RemoveAll(path)
		_ = lock.Close()
	}
}
