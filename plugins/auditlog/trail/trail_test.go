package trail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const testOrigin = "audit.example"

var keys = sync.OnceValue(func() [2]string {
	seed := deterministic{}
	skey, vkey, err := note.GenerateKey(&seed, testOrigin)
	if err != nil {
		panic(err)
	}
	return [2]string{skey, vkey}
})

// deterministic gives the same key to this program and its children.
type deterministic struct{ n byte }

func (d *deterministic) Read(p []byte) (int, error) {
	for i := range p {
		d.n++
		p[i] = d.n
	}
	return len(p), nil
}

func testOptions() Options {
	signer, err := note.NewSigner(keys()[0])
	if err != nil {
		panic(err)
	}
	verifier, err := note.NewVerifier(keys()[1])
	if err != nil {
		panic(err)
	}
	return Options{Signers: []note.Signer{signer}, Verifier: verifier, Interval: 100 * time.Millisecond}
}

func start(t *testing.T, dir string) *Trail {
	t.Helper()
	tr, err := Open(t.Context(), dir, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close(context.Background()) })
	return tr
}

func add(t *testing.T, tr *Trail, n int) Receipt {
	t.Helper()
	r, err := tr.Add(t.Context(), ID("s", eventID(n)), entryOf(n))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func finish(t *testing.T, tr *Trail) {
	t.Helper()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventIsAddedOnceHoweverOftenItComes(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, dir)
	for i := range 600 {
		if r := add(t, tr, i); r.Duplicate || r.Index != int64(i) {
			t.Fatalf("%+v", r)
		}
	}
	check := func(tr *Trail) {
		t.Helper()
		for i := range 600 {
			if r := add(t, tr, i); !r.Duplicate || r.Index != int64(i) || string(r.Stored) != string(entryOf(i)) {
				t.Fatalf("%d: %+v", i, r)
			}
		}
	}
	check(tr)
	if err := tr.Published(t.Context(), 599); err != nil {
		t.Fatal(err)
	}
	check(tr)
	finish(t, tr)
	check(start(t, dir))
}

func TestCloseBringsEverythingUnderACheckpoint(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, dir)
	var adds sync.WaitGroup
	for i := range 1000 {
		adds.Go(func() { add(t, tr, i) })
	}
	adds.Wait()
	finish(t, tr)
	head := headOf(t, dir)
	if head.Size != 1000 {
		t.Errorf("the checkpoint is over %d entries", head.Size)
	}
	if err := tr.Files().Scan(t.Context(), head.Head, nil); err != nil {
		t.Error(err)
	}
	if _, err := tr.Add(t.Context(), "x", []byte("{}")); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed trail: %v", err)
	}
}

func TestASecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "/.", link} {
		if _, err := Open(t.Context(), path, testOptions()); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhatIsNoEntryIsRefused(t *testing.T) {
	tr := start(t, t.TempDir())
	for _, size := range []int{0, maxEntry + 1, 1 << 20} {
		if _, err := tr.Add(t.Context(), "x", []byte(strings.Repeat("x", size))); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// The write-ahead file of a trail that was killed holds what the log does not.
func TestATornEndIsCutAndAnythingElseIsDamage(t *testing.T) {
	for name, c := range map[string]struct {
		harm    func([]byte) []byte
		damaged bool
		next    int64
	}{
		"whole":                     {func(b []byte) []byte { return b }, false, 3},
		"half a record":             {func(b []byte) []byte { return b[:len(b)-5] }, false, 2},
		"half a length":             {func(b []byte) []byte { return append(b, 0, 0) }, false, 3},
		"zeros":                     {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, false, 3},
		"a changed byte before":     {func(b []byte) []byte { b[recordHead+3] ^= 1; return b }, true, 0},
		"a changed length before":   {func(b []byte) []byte { b[3] ^= 1; return b }, true, 0},
		"a length beyond any entry": {func(b []byte) []byte { b[0] = 0xff; return b }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w, _, err := openWAL(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.append(0, [][]byte{entryOf(0), entryOf(1), entryOf(2)}); err != nil {
				t.Fatal(err)
			}
			path := w.segs[0].path
			if err := w.close(); err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(path)
			if err := os.WriteFile(path, c.harm(data), 0o600); err != nil {
				t.Fatal(err)
			}
			w, entries, err := openWAL(dir)
			if c.damaged {
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("%d entries, %v", len(entries), err)
				}
				return
			}
			if err != nil || int64(len(entries)) != c.next {
				t.Fatalf("%d entries, %v", len(entries), err)
			}
			if err := w.append(c.next, [][]byte{entryOf(9)}); err != nil {
				t.Fatal(err)
			}
			if _, entries, err = openWAL(dir); err != nil || int64(len(entries)) != c.next+1 {
				t.Errorf("after another: %d entries, %v", len(entries), err)
			}
		})
	}
}

func TestADamagedOrForeignLogTakesNothing(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, dir)
	for i := range 300 {
		add(t, tr, i)
	}
	finish(t, tr)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	tr = start(t, dir)
	for i := 300; i < 400; i++ {
		add(t, tr, i)
	}
	finish(t, tr)
	for name, harm := range map[string]func(dir string, o *Options) error{
		"a byte of an old entry": func(dir string, _ *Options) error {
			return flip(filepath.Join(dir, "log", "tile", "entries", "000"), 70)
		},
		"a byte of a tile":   func(dir string, _ *Options) error { return flip(filepath.Join(dir, "log", "tile", "0", "000"), 70) },
		"a byte of the root": func(dir string, _ *Options) error { return flip(filepath.Join(dir, "log", "checkpoint"), 25) },
		"no checkpoint and no write-ahead file": func(dir string, _ *Options) error {
			return errors.Join(os.Remove(filepath.Join(dir, "log", "checkpoint")), os.RemoveAll(filepath.Join(dir, "wal")))
		},
		"an older state of a log": func(dir string, _ *Options) error {
			return copyFile(filepath.Join(old, "log", ".state", "treeState"), filepath.Join(dir, "log", ".state", "treeState"))
		},
		"another key": func(_ string, o *Options) error {
			skey, vkey, err := note.GenerateKey(&deterministic{99}, testOrigin)
			if err != nil {
				return err
			}
			o.Signers[0], _ = note.NewSigner(skey)
			o.Verifier, err = note.NewVerifier(vkey)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			harmed := filepath.Join(t.TempDir(), "trail")
			if err := os.CopyFS(harmed, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			o := testOptions()
			if err := harm(harmed, &o); err != nil {
				t.Fatal(err)
			}
			if tr, err := Open(t.Context(), harmed, o); !errors.Is(err, ErrDamaged) {
				t.Errorf("it opened: %v", err)
				if err == nil {
					finish(t, tr)
				}
			}
		})
	}
}

// A crash before a checkpoint is published looks like this.
func TestALogWithoutItsLatestCheckpointComesBackWhole(t *testing.T) {
	for name, harm := range map[string]func(checkpoint string, early []byte) error{
		"no checkpoint":       func(checkpoint string, _ []byte) error { return os.Remove(checkpoint) },
		"an older checkpoint": func(checkpoint string, early []byte) error { return os.WriteFile(checkpoint, early, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			checkpoint := filepath.Join(dir, "log", "checkpoint")
			tr := start(t, dir)
			for i := range 300 {
				add(t, tr, i)
			}
			if err := tr.Published(t.Context(), 299); err != nil {
				t.Fatal(err)
			}
			early, err := os.ReadFile(checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			for i := 300; i < 400; i++ {
				add(t, tr, i)
			}
			finish(t, tr)
			if err := harm(checkpoint, early); err != nil {
				t.Fatal(err)
			}
			tr = start(t, dir)
			for i := range 400 {
				if r := add(t, tr, i); !r.Duplicate || r.Index != int64(i) {
					t.Fatalf("entry %d: %+v", i, r)
				}
			}
			finish(t, tr)
			if head := headOf(t, dir); head.Size != 400 {
				t.Errorf("the checkpoint is over %d entries", head.Size)
			}
		})
	}
}

func flip(path string, at int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[at] ^= 1
	return os.WriteFile(path, data, 0o600)
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func TestAFullDiskCostsNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, dir)
	add(t, tr, 0)
	tr.wal.mu.Lock()
	_ = tr.wal.file.Close() // the next write fails
	tr.wal.mu.Unlock()
	if _, err := tr.Add(t.Context(), ID("s", eventID(1)), entryOf(1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("a failed write: %v", err)
	}
	if _, err := tr.Add(t.Context(), ID("s", eventID(2)), entryOf(2)); !errors.Is(err, ErrClosed) {
		t.Fatalf("after a failed write: %v", err)
	}
	_ = tr.Close(t.Context())
	tr = start(t, dir)
	if r := add(t, tr, 0); !r.Duplicate {
		t.Errorf("what was acknowledged is gone: %+v", r)
	}
	if r := add(t, tr, 1); r.Duplicate || r.Index != 1 {
		t.Errorf("%+v", r)
	}
}

func TestPublishedWaitsForACheckpoint(t *testing.T) {
	tr := start(t, t.TempDir())
	r := add(t, tr, 0)
	if err := tr.Published(t.Context(), r.Index); err != nil {
		t.Fatal(err)
	}
	entry, _, err := tr.Files().Prove(tr.Head().Head, r.Index)
	if err != nil || string(entry) != string(entryOf(0)) {
		t.Errorf("%s, %v", entry, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tr.Published(ctx, 17); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an entry that is not there: %v", err)
	}
}
