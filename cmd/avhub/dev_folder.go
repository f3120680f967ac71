package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/avhub/avhub/core/simulator"
)

// devDir is where dev keeps its things unless told otherwise.
const devDir = "data/dev"

// devFolder is the folder of `avhub dev`.
type devFolder struct{ dir string }

// The files that dev makes. Nothing else in the folder is ever touched, and none
// has a name that a hub's own might have: somebody will say --dir data --fresh.
const (
	devDatabase  = "dev.db"
	devConfig    = "dev.yaml" // what the hub was started with, for other verbs
	devLog       = "hub.log"
	devControl   = "dev.json"    // how a running dev is reached
	devAudit     = "dev-audit"   // the folder of the audit trail
	devDatabases = "dev-tenants" // a folder, with a database for each tenant
)

func (f devFolder) path(name string) string { return filepath.Join(f.dir, name) }

// control tells other processes how to reach a running dev.
type control struct {
	PID int `json:"pid"`
	// URL and Token open the simulator's control endpoint.
	URL   string `json:"url"`
	Token string `json:"token"`
	// Server and Admin are the hub's listeners.
	Server string `json:"server"`
	Admin  string `json:"admin"`
}

// prepare makes the folder. With fresh what an earlier run left is removed.
func (f devFolder) prepare(fresh bool) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of dev: %w", err)
	}
	if running, err := f.running(); err == nil {
		return fmt.Errorf("another `avhub dev` (process %d) runs in %s; end it, or name another folder with --dir", running.PID, f.dir)
	}
	if !fresh {
		return nil
	}
	for _, name := range []string{devDatabase, devDatabase + "-wal", devDatabase + "-shm", devConfig, devLog, devControl} {
		if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	if err := errors.Join(os.RemoveAll(f.path(devAudit)), os.RemoveAll(f.path(devDatabases))); err != nil {
		return fmt.Errorf("removing what an earlier run left: %w", err)
	}
	return nil
}

// write replaces a file as a whole, for its owner alone.
func (f devFolder) write(name string, text []byte) error {
	tmp, err := os.CreateTemp(f.dir, "."+name+"-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.path(name))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing %s: %w", f.path(name), err)
	}
	return nil
}

func (f devFolder) announce(is control) error {
	text, err := json.MarshalIndent(is, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", devControl, err)
	}
	return f.write(devControl, append(text, '\n'))
}

// retract takes back what announce said.
func (f devFolder) retract() error {
	if err := os.Remove(f.path(devControl)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", f.path(devControl), err)
	}
	return nil
}

// errNoDev tells that no dev runs in the folder.
var errNoDev = errors.New("no `avhub dev` is running")

// running returns how to reach the dev that runs in the folder. A file that a
// killed one left behind does not count: nobody answers there.
func (f devFolder) running() (control, error) {
	text, err := os.ReadFile(f.path(devControl))
	if errors.Is(err, fs.ErrNotExist) {
		return control{}, errNoDev
	}
	if err != nil {
		return control{}, fmt.Errorf("reading how to reach dev: %w", err)
	}
	var is control
	if err := json.Unmarshal(text, &is); err != nil || is.URL == "" {
		return control{}, errNoDev
	}
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(is.URL + simulator.KeySetPath)
	if err != nil {
		return control{}, errNoDev
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		return control{}, errNoDev
	}
	return is, nil
}
