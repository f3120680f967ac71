package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"golang.org/x/mod/sumdb/tlog"
)

func python(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not on this machine")
	}
	text, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(text)
}

type agreed struct {
	Size   int64       `json:"size"`
	Root   []byte      `json:"root"`
	Heads  []agreedAt  `json:"heads"`
	Proofs []agreedFor `json:"proofs"`
}

type agreedAt struct {
	Size int64  `json:"size"`
	Root []byte `json:"root"`
}

type agreedFor struct {
	Index int64    `json:"index"`
	Entry []byte   `json:"entry"`
	Path  [][]byte `json:"path"`
}

// TestASecondImplementationAgrees has a program in another language read the
// same files: its root, its thousand proofs and its earlier heads are the same.
func TestASecondImplementationAgrees(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	var heads []agreedAt
	for _, part := range [][2]int{{0, 300}, {300, 512}, {512, 1300}} {
		writes(t, dir, part[0], part[1])
		raw, err := os.ReadFile(filepath.Join(dir, "log", "checkpoint"))
		if err != nil {
			t.Fatal(err)
		}
		head, err := tiles.OpenCheckpoint(raw)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, agreedAt{head.Size, head.Root[:]})
		if err := os.WriteFile(filepath.Join(dir, "saved"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := tiles.Dir{FS: os.DirFS(filepath.Join(dir, "log"))}
	last := heads[len(heads)-1]
	head := tiles.Head{Origin: "audit.example", Size: last.Size, Root: tlog.Hash(last.Root)}
	set := agreed{Size: last.Size, Root: last.Root, Heads: heads}
	for range 1000 {
		i := rand.Int64N(head.Size)
		data, proof, err := d.Prove(head, i)
		if err != nil {
			t.Fatal(err)
		}
		p := agreedFor{Index: i, Entry: data}
		for _, h := range proof {
			p.Path = append(p.Path, h[:])
		}
		set.Proofs = append(set.Proofs, p)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "proofs.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	key := publicKey(t, dir)
	if code, out := python(t, "testdata/agree.py", filepath.Join(dir, "log"), key, file); code != 0 || !strings.Contains(out, "1000 proofs and 3 heads agree") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out := python(t, "verify/auditor.py", "log", filepath.Join(dir, "log"), "--key", key, "--since", filepath.Join(dir, "saved")); code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	change(t, filepath.Join(dir, "log", "tile", "entries", "001"), func(b []byte) []byte { b[100] ^= 1; return b })
	if code, out := python(t, "verify/auditor.py", "log", filepath.Join(dir, "log"), "--key", key); code != 1 {
		t.Errorf("a changed byte: exit code %d: %s", code, out)
	}
}

func TestABundleIsCheckedWithNothingButItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 300)
	out := filepath.Join(t.TempDir(), "bundle.tar")
	if code, said := does(t, "bundle", dir, "--tenant", "tnt_3", "--out", out); code != 0 || !strings.HasPrefix(said, "43 of 300 entries") {
		t.Fatalf("%d %s", code, said)
	}
	unpacked := t.TempDir()
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(unpacked, filepath.FromSlash(h.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	key := publicKey(t, dir)
	if code, said := python(t, filepath.Join(unpacked, "auditor.py"), "bundle", unpacked, "--key", key); code != 0 || !strings.Contains(said, "43 entries, each proved") {
		t.Errorf("%d %s", code, said)
	}
	entries, _ := filepath.Glob(filepath.Join(unpacked, "entries", "*.entry"))
	change(t, entries[7], func(b []byte) []byte { return bytes.Replace(b, []byte("tnt_3"), []byte("tnt_4"), 1) })
	if code, said := python(t, filepath.Join(unpacked, "auditor.py"), "bundle", unpacked, "--key", key); code != 1 {
		t.Errorf("an edited entry: %d %s", code, said)
	}
	if code, said := does(t, "bundle", dir, "--tenant", "tnt_3", "--out", out); code != 4 {
		t.Errorf("a bundle was overwritten: %d %s", code, said)
	}
}

func TestAProofHoldsWithNeitherTheTrailNorANetwork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 300)
	key := publicKey(t, dir)
	name := filepath.Join(t.TempDir(), "e")
	if code, said := does(t, "prove", dir, "--event", "evt_123", "--out", name); code != 0 {
		t.Fatal(said)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if code, said := does(t, "check", name+".proof", name+".entry", "--key", key); code != 0 || !strings.Contains(said, "it is entry 123") {
		t.Errorf("%d %s", code, said)
	}
	if code, said := python(t, "verify/auditor.py", "proof", name+".proof", name+".entry", "--key", key); code != 0 {
		t.Errorf("%d %s", code, said)
	}
	good, _ := os.ReadFile(name + ".proof")
	for what, c := range map[string]struct {
		file string
		f    func([]byte) []byte
		code int
	}{
		"another entry":  {".entry", func(b []byte) []byte { return append(b, ' ') }, 1},
		"another index":  {".proof", func(b []byte) []byte { return bytes.Replace(b, []byte("index 123"), []byte("index 122"), 1) }, 1},
		"no proof":       {".proof", func([]byte) []byte { return []byte("x") }, 1},
		"another size":   {".proof", func(b []byte) []byte { return bytes.Replace(b, []byte("\n300\n"), []byte("\n301\n"), 1) }, 3},
		"a shorter path": {".proof", func(b []byte) []byte { return bytes.Replace(b, b[bytes.Index(b, []byte("123\n"))+4:][:45], nil, 1) }, 1},
		"a path of nothing": {".proof", func(b []byte) []byte {
			return bytes.Replace(b, []byte("=\n"), []byte("=\n"+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"), 1)
		}, 1},
	} {
		entry, _ := os.ReadFile(name + ".entry")
		change(t, name+c.file, c.f)
		if code, said := does(t, "check", name+".proof", name+".entry", "--key", key); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", what, code, c.code, said)
		}
		if code, said := python(t, "verify/auditor.py", "proof", name+".proof", name+".entry", "--key", key); code == 0 {
			t.Errorf("%s: the other program said %d: %s", what, code, said)
		}
		if err := errors.Join(os.WriteFile(name+".proof", good, 0o600), os.WriteFile(name+".entry", entry, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
