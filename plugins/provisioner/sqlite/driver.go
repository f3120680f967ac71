// Package sqlite gives a tenant a SQLite database: a folder of its own with the
// file tenant.db. Closing moves the folder aside in one step.
//
//	DIR/open/NAME/tenant.db     can be used
//	DIR/closed/NAME/tenant.db   is kept
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	_ "modernc.org/sqlite" // the driver

	"github.com/avhub/avhub/plugins/provisioner/name"
	"github.com/avhub/avhub/plugins/provisioner/resource"
)

const (
	openDir   = "open"
	closedDir = "closed"
	makingDir = ".making" // half made, or half deleted; nothing in it counts
	markFile  = "avhub.json"
	dataFile  = "tenant.db"
)

// Driver makes databases in one folder.
type Driver struct {
	Dir  string       // absolute
	Init string       // SQL that a new database begins with; may be empty
	Step func(string) // told before and after each step that changes something

	mu sync.Mutex // flock knows no goroutines
}

// lock keeps everybody else out of the folder, also other processes. A process
// that dies lets go.
func (d *Driver) lock() (unlock func(), err error) {
	d.mu.Lock()
	for _, sub := range []string{openDir, closedDir, makingDir} {
		if err := os.MkdirAll(filepath.Join(d.Dir, sub), 0o700); err != nil {
			d.mu.Unlock()
			return nil, fmt.Errorf("making the folder of databases: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(d.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("locking the folder of databases: %w", err)
	}
	return func() {
		_ = f.Close()
		d.mu.Unlock()
	}, nil
}

func (d *Driver) path(sub, n string) string { return filepath.Join(d.Dir, sub, n) }

// Observe looks into the folder.
func (d *Driver) Observe(_ context.Context, n string) (resource.Observed, error) {
	have, _, err := d.observe(n)
	return have, err
}

// observe also returns the folder in which it is.
func (d *Driver) observe(n string) (resource.Observed, string, error) {
	var have resource.Observed
	if !name.Safe(n) {
		return have, "", fmt.Errorf("looking for a database: %q is no name of ours", n)
	}
	for _, sub := range []string{openDir, closedDir} {
		dir := d.path(sub, n)
		_, err := os.Lstat(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return have, "", fmt.Errorf("looking for a database: %w", err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, markFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return have, "", fmt.Errorf("reading a database's mark: %w", err)
		}
		have = resource.Observed{Exists: true, Open: sub == openDir}
		have.Mark, have.Marked = resource.Parse(string(raw))
		info, err := os.Stat(filepath.Join(dir, dataFile))
		have.Whole = err == nil && info.Mode().IsRegular()
		have.References = map[string]string{"path": filepath.Join(dir, dataFile)}
		return have, dir, nil
	}
	return have, "", nil
}

// Put makes, moves and marks.
func (d *Driver) Put(ctx context.Context, n string, m resource.Mark, may resource.May) error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	have, dir, err := d.observe(n)
	sub := closedDir
	if m.Phase == resource.Active {
		sub = openDir
	}
	switch {
	case err != nil:
		return err
	case have.Exists && (!have.Marked && !may.Adopt || have.Marked && !have.Mark.Of(m.Owner, m.Tenant, m.Resource)):
		return resource.ErrNotOwned
	case (!have.Exists || !have.Whole) && !may.Create:
		return resource.ErrGone
	case !have.Exists:
		return d.make(ctx, n, sub, m)
	case !have.Whole:
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return resource.ErrNotOwned
		}
		if err := d.create(ctx, dir); err != nil {
			return err
		}
	}
	d.Step("before mark")
	if err := writeMark(dir, m); err != nil {
		return err
	}
	d.Step("after mark")
	if to := d.path(sub, n); to != dir {
		if err := os.Rename(dir, to); err != nil {
			return fmt.Errorf("moving a database: %w", err)
		}
		d.Step("after move")
	}
	return nil
}

// make builds the whole aside, and puts it in its place in one step.
func (d *Driver) make(ctx context.Context, n, sub string, m resource.Mark) error {
	tmp, err := os.MkdirTemp(d.path(makingDir, ""), "new-")
	if err != nil {
		return fmt.Errorf("making a database: %w", err)
	}
	d.Step("before create")
	err = d.create(ctx, tmp)
	if err == nil {
		err = writeMark(tmp, m)
	}
	if err == nil {
		d.Step("before move")
		err = os.Rename(tmp, d.path(sub, n))
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
		return fmt.Errorf("making a database: %w", err)
	}
	d.Step("after move")
	return nil
}

// create makes the file, with what it begins with.
func (d *Driver) create(ctx context.Context, dir string) error {
	tmp := filepath.Join(dir, ".new.db")
	_ = os.Remove(tmp)
	at := &url.URL{Path: tmp}
	db, err := sql.Open("sqlite", "file:"+at.EscapedPath())
	if err != nil {
		return fmt.Errorf("creating a database: %w", err)
	}
	db.SetMaxOpenConns(1)
	// The header is written by the first change, so an empty database has one, too.
	_, err = db.ExecContext(ctx, "PRAGMA user_version = 1")
	if err == nil && d.Init != "" {
		var tx *sql.Tx
		if tx, err = db.BeginTx(ctx, nil); err == nil {
			if _, err = tx.ExecContext(ctx, d.Init); err == nil {
				err = tx.Commit()
			} else {
				_ = tx.Rollback()
				err = fmt.Errorf("running its init: %w", err)
			}
		}
	}
	if err = errors.Join(err, db.Close()); err == nil {
		err = os.Rename(tmp, filepath.Join(dir, dataFile))
	}
	if err != nil {
		return fmt.Errorf("creating a database: %w", err)
	}
	return nil
}

// writeMark writes it whole or not at all.
func writeMark(dir string, m resource.Mark) error {
	tmp, err := os.CreateTemp(dir, ".mark-*")
	if err != nil {
		return fmt.Errorf("marking a database: %w", err)
	}
	_, err = tmp.WriteString(m.Text())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, markFile))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("marking a database: %w", err)
	}
	return nil
}

// Destroy takes the folder out of its place in one step, and then deletes it.
func (d *Driver) Destroy(_ context.Context, n string, was resource.Mark) error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	have, dir, err := d.observe(n)
	switch {
	case err != nil:
		return err
	case !have.Exists:
		return d.sweep()
	case !have.Marked || !have.Mark.Same(was):
		return resource.ErrChanged
	}
	tmp, err := os.MkdirTemp(d.path(makingDir, ""), "old-")
	if err != nil {
		return fmt.Errorf("deleting a database: %w", err)
	}
	d.Step("before destroy")
	if err := os.Rename(dir, filepath.Join(tmp, n)); err != nil {
		return fmt.Errorf("deleting a database: %w", err)
	}
	d.Step("after destroy")
	return d.sweep()
}

// sweep deletes what a process that died has left half made or half deleted.
func (d *Driver) sweep() error {
	entries, err := os.ReadDir(d.path(makingDir, ""))
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.path(makingDir, ""), e.Name())))
	}
	return err
}

// List reads all marks.
func (d *Driver) List(_ context.Context, owner, suffix string) ([]resource.Found, error) {
	var out []resource.Found
	for _, sub := range []string{openDir, closedDir} {
		entries, err := os.ReadDir(filepath.Join(d.Dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("listing databases: %w", err)
		}
		for _, e := range entries {
			if !name.Safe(e.Name()) || !strings.HasSuffix(e.Name(), suffix) {
				continue
			}
			if have, _, err := d.observe(e.Name()); err == nil && have.Marked && have.Mark.Owner == owner {
				out = append(out, resource.Found{Name: e.Name(), Mark: have.Mark})
			}
		}
	}
	return out, nil
}

// Check looks whether the folder, or the one that it will be made in, is there.
func (d *Driver) Check(context.Context) error {
	for dir := d.Dir; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is no folder", dir)
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir):
			return fmt.Errorf("looking for the folder of databases: %w", err)
		}
	}
}

// Close has nothing to close.
func (d *Driver) Close() {}
