package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bundleOf splits a file of entries.
func bundleOf(data []byte) (entries [][]byte) {
	for len(data) > 0 {
		n := 2 + int(binary.BigEndian.Uint16(data))
		entries, data = append(entries, data[2:n]), data[n:]
	}
	return entries
}

func joined(entries [][]byte) (out []byte) {
	for _, e := range entries {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(e))), e...)
	}
	return out
}

// TestEachWayToTamperIsFoundAndNamed takes one trail of 700 entries, of which a
// checkpoint was saved at 600.
func TestEachWayToTamperIsFoundAndNamed(t *testing.T) {
	base := filepath.Join(t.TempDir(), "trail")
	writes(t, base, 0, 500)
	early := copied(t, base)
	writes(t, base, 500, 600)
	saved := filepath.Join(t.TempDir(), "saved.checkpoint")
	raw, err := os.ReadFile(filepath.Join(base, "log", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(saved, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	writes(t, base, 600, 700)
	key := publicKey(t, base)

	entries := func(f func([][]byte) [][]byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "log", "tile", "entries", "000"), func(b []byte) []byte { return joined(f(bundleOf(b))) })
		}
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		code int
		says string
	}{
		"nothing": {func(*testing.T, string) {}, 0, "unmodified  yes"},
		"a byte of an old entry": {entries(func(e [][]byte) [][]byte {
			e[70] = bytes.Replace(e[70], []byte("evt_70"), []byte("evt_71"), 1)
			return e
		}), 1, "TAMPERED    entry 70: tile/entries/000"},
		"a byte of a tile": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "log", "tile", "0", "001"), func(b []byte) []byte { b[32*44] ^= 1; return b })
		}, 1, "entry 300: "},
		"a byte of the checkpoint": {func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, "log", "checkpoint"), func(b []byte) []byte { return bytes.Replace(b, []byte("\n700\n"), []byte("\n701\n"), 1) })
		}, 3, "checkpoint: a signature is not by the key"},
		"an entry is removed":  {entries(func(e [][]byte) [][]byte { return append(e[:100:100], e[101:]...) }), 1, "entry 100: "},
		"an entry is inserted": {entries(func(e [][]byte) [][]byte { return append(append(e[:90:90], e[5]), e[90:255]...) }), 1, "entry 90: "},
		"two are swapped":      {entries(func(e [][]byte) [][]byte { e[20], e[30] = e[30], e[20]; return e }), 1, "entry 20: "},
		"one is edited": {entries(func(e [][]byte) [][]byte {
			e[33] = bytes.Replace(e[33], []byte(`"basis":"derived"`), []byte(`"basis":"event"`), 1)
			return e
		}), 1, "entry 33: "},
		"the end is cut off": {func(t *testing.T, dir string) {
			for _, part := range []string{"entries", "0"} {
				if err := os.RemoveAll(filepath.Join(dir, "log", "tile", part, "002.p")); err != nil {
					t.Fatal(err)
				}
			}
		}, 2, "INCOMPLETE  from entry 512 on: tile/entries/002"},
		"the folder is rolled back": {func(t *testing.T, dir string) { replaced(t, dir, early) }, 1, "ROLLED BACK: saved.checkpoint is over 600 entries, here are 500: from entry 500 on"},
		"rolled back and written on": {func(t *testing.T, dir string) {
			replaced(t, dir, early)
			writes(t, dir, 1000, 1200)
		}, 1, "FORK: the first 600 entries"},
		"a fork of the same length": {func(t *testing.T, dir string) {
			replaced(t, dir, early)
			writes(t, dir, 1000, 1100)
		}, 1, "FORK: the first 600 entries"},
		"the key is swapped": {func(t *testing.T, dir string) {
			for _, name := range []string{"signer.key", "verifier.pub", "log", "wal"} {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			writes(t, dir, 0, 700)
		}, 3, "none of the given keys signed it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, base)
			c.harm(t, dir)
			args := []string{"verify", dir, "--key", key}
			if name != "the key is swapped" { // a checkpoint of the other key is no use there
				args = append(args, "--since", saved)
			}
			code, out := does(t, args...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit code %d, want %d; it should say %q:\n%s", code, c.code, c.says, out)
			}
		})
	}
}

func replaced(t *testing.T, dir, by string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(by)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"signer.key", "secret"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAGapInAStreamIsFound is for who has the key and leaves out an event: the
// hub counts.
func TestAGapInAStreamIsFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 100)
	l := opens(t, dir)
	if _, err := l.Record(t.Context(), happening(7*20), 17); err != nil { // 15 are there, the hub remembers 17
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, out := does(t, "verify", dir, "--key", publicKey(t, dir))
	if code != 2 || !strings.Contains(out, "entry 100 is number 18 of the stream tenant:tnt_0, number 16 was to come: 2 missing before it") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if !strings.Contains(out, "unmodified  yes") || !strings.Contains(out, "complete    NO") {
		t.Errorf("unmodified and complete are two answers:\n%s", out)
	}
}

func TestVerifySaysWhichTrustItRestsOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 10)
	key := publicKey(t, dir)
	other := filepath.Join(t.TempDir(), "other")
	writes(t, other, 0, 1)
	for want, args := range map[string][]string{
		"0 rests on    a key that you gave":              {"--key", key},
		"0 rests on    the key that lies beside the log": {},
		"3 rests on    nothing":                          {"--key", publicKey(t, other)},
		"4 neither a public key nor a file":              {"--key", "nonsense"},
	} {
		code, out := does(t, append([]string{"verify", dir}, args...)...)
		if wantCode, says, _ := strings.Cut(want, " "); string(rune('0'+code)) != wantCode || !strings.Contains(out, says) {
			t.Errorf("%v: exit code %d, want %s:\n%s", args, code, want, out)
		}
	}
	if code, out := does(t, "verify", t.TempDir()); code != 4 || !strings.Contains(out, "there is no trail here") {
		t.Errorf("an empty folder: %d %s", code, out)
	}
}
