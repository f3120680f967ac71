package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avhub/avhub/plugins/auditlog/entry"
)

func begin(t *testing.T, dir string) *Vault {
	t.Helper()
	v, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func sealed(t *testing.T, v *Vault, who, field, value string) entry.Sealed {
	t.Helper()
	s, err := v.Seal(who, field, json.RawMessage(value))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reveal(t *testing.T, dir string, s entry.Sealed) (string, error) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(s)
	out, err := r.Reveal(raw)
	return string(out), err
}

// nowhere fails if a text stands in any file of a folder.
func nowhere(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%q stands in %s", text, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestASealedValueIsTheSameEachTimeAndOpensWithItsKeyAlone(t *testing.T) {
	dir := t.TempDir()
	v := begin(t, dir)
	first := sealed(t, v, "identity:u1", "email", `"ines@fjord.example"`)
	if again := sealed(t, v, "identity:u1", "email", `"ines@fjord.example"`); again != first {
		t.Errorf("%v, then %v", first, again)
	}
	if other := sealed(t, v, "identity:u2", "email", `"ines@fjord.example"`); other.Commit == first.Commit {
		t.Error("two people's commitments to one value are the same: they tell that the value is")
	}
	if other := sealed(t, v, "identity:u1", "username", `"ines@fjord.example"`); other.Commit == first.Commit {
		t.Error("two fields' commitments to one value are the same")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = begin(t, dir)
	if again := sealed(t, v, "identity:u1", "email", `"ines@fjord.example"`); again != first {
		t.Errorf("after a restart %v became %v", first, again)
	}
	if got, err := reveal(t, dir, first); err != nil || got != `"ines@fjord.example"` {
		t.Errorf("%s, %v", got, err)
	}
	nowhere(t, dir, "ines@")
	data, _ := os.ReadFile(filepath.Join(dir, "vault", "values"))
	if n := bytes.Count(data, []byte("\n")); n != 3 {
		t.Errorf("%d lines for 3 values", n)
	}
}

func TestWhoWasErasedStaysErased(t *testing.T) {
	dir := t.TempDir()
	v := begin(t, dir)
	email := sealed(t, v, "identity:u1", "email", `"Ines@fjord.example"`)
	other := sealed(t, v, "identity:u2", "email", `"bo@fjord.example"`)
	invited, err := v.SealAddress("email", "ines@Fjord.example")
	if err != nil {
		t.Fatal(err)
	}
	owners, err := v.Erase("identity:u1")
	if err != nil || len(owners) != 2 || owners[1] != "identity:u1" || owners[0] != invited.Owner {
		t.Fatalf("%v, %v; want %s and the person", owners, err, invited.Owner)
	}
	for range 2 {
		for _, gone := range []entry.Sealed{email, invited} {
			if got, err := reveal(t, dir, gone); !errors.Is(err, ErrGone) {
				t.Errorf("%s, %v", got, err)
			}
		}
		if got, err := reveal(t, dir, other); err != nil || got != `"bo@fjord.example"` {
			t.Errorf("another person: %s, %v", got, err)
		}
		if again := sealed(t, v, "identity:u1", "email", `"ines@fjord.example"`); again.Commit != Erased {
			t.Errorf("came back: %v", again)
		}
		if again, _ := v.SealAddress("email", "ines@fjord.example"); again.Commit != Erased {
			t.Errorf("the address came back: %v", again)
		}
		if _, err := v.Erase("identity:u1"); err != nil {
			t.Errorf("a second time: %v", err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		v = begin(t, dir)
	}
	nowhere(t, dir, "fjord.example")
}

func TestSomebodyWhoOnlyWasInvitedIsErasedByTheAddress(t *testing.T) {
	v := begin(t, t.TempDir())
	before, _ := v.SealAddress("email", "guest@fjord.example")
	owners, err := v.Erase("address:Guest@fjord.example")
	if err != nil || len(owners) != 1 || owners[0] != before.Owner || strings.Contains(owners[0], "@") {
		t.Fatalf("%v, %v", owners, err)
	}
	if after, _ := v.SealAddress("email", "guest@fjord.example"); after.Commit != Erased {
		t.Errorf("%v", after)
	}
}

func TestATornEndOfTheVaultIsCutAndDamageIsToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		harm func([]byte) []byte
		ok   bool
	}{
		"half a line":          {func(b []byte) []byte { return b[:len(b)-9] }, true},
		"zeros":                {func(b []byte) []byte { return append(b, make([]byte, 512)...) }, true},
		"a damaged first line": {func(b []byte) []byte { b[0] = 'x'; return b }, false},
	} {
		dir := t.TempDir()
		v := begin(t, dir)
		first := sealed(t, v, "identity:u1", "email", `"a"`)
		second := sealed(t, v, "identity:u1", "email", `"b"`)
		_ = v.Close()
		path := filepath.Join(dir, "vault", "values")
		data, _ := os.ReadFile(path)
		if err := os.WriteFile(path, c.harm(data), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Open(dir)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if again := sealed(t, v, "identity:u1", "email", `"b"`); again != second {
			t.Errorf("%s: %v", name, again)
		}
		if err := errors.Join(v.Sync(), v.Close()); err != nil {
			t.Fatal(err)
		}
		for s, want := range map[entry.Sealed]string{first: `"a"`, second: `"b"`} {
			if got, err := reveal(t, dir, s); err != nil || got != want {
				t.Errorf("%s: %s, %v; want %s", name, got, err, want)
			}
		}
	}
}

func TestALostSecretIsNotReplacedInSilence(t *testing.T) {
	dir := t.TempDir()
	v := begin(t, dir)
	sealed(t, v, "identity:u1", "email", `"a"`)
	_ = v.Close()
	if err := os.Remove(filepath.Join(dir, "secret")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "secret is missing") {
		t.Errorf("%v", err)
	}
}
