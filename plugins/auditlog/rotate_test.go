package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAKeyIsRotatedWhileAuditorsFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	writes(t, dir, 0, 50)
	old := publicKey(t, dir)
	saved := filepath.Join(t.TempDir(), "saved")
	raw, _ := os.ReadFile(filepath.Join(dir, "log", "checkpoint"))
	if err := os.WriteFile(saved, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := does(t, "rotate-key", dir, "--finish", "--reason", "x"); code != 4 || !strings.Contains(out, "nothing to finish") {
		t.Errorf("%d %s", code, out)
	}
	code, out := does(t, "rotate-key", dir, "--reason", "yearly")
	if code != 0 {
		t.Fatal(out)
	}
	fresh, _, _ := strings.Cut(out, "\n")
	if code, out := does(t, "history", dir, "--key", old, "--kind", "key_rotated"); code != 0 || !strings.Contains(out, fresh) {
		t.Errorf("the old key does not vouch for the new one: %d %s", code, out)
	}
	writes(t, dir, 50, 100)
	for _, key := range []string{old, fresh} { // both sign
		if code, out := does(t, "verify", dir, "--key", key); code != 0 {
			t.Errorf("%d %s", code, out)
		}
		if code, out := python(t, "verify/auditor.py", "log", filepath.Join(dir, "log"), "--key", key); code != 0 {
			t.Errorf("%d %s", code, out)
		}
	}
	if code, out := does(t, "rotate-key", dir, "--reason", "again"); code != 4 || !strings.Contains(out, "two keys sign already") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := does(t, "rotate-key", dir, "--finish", "--reason", "all know it"); code != 0 {
		t.Fatal(out)
	}
	writes(t, dir, 100, 120)
	if code, out := does(t, "verify", dir, "--key", old); code != 3 {
		t.Errorf("the old key still counts: %d %s", code, out)
	}
	if code, out := does(t, "verify", dir, "--key", fresh, "--key", old, "--since", saved); code != 0 || !strings.Contains(out, "goes on     from 1") {
		t.Errorf("%d %s", code, out)
	}
	secret, _ := os.ReadFile(filepath.Join(dir, "signer.key"))
	if n := len(strings.Fields(string(secret))); n != 1 {
		t.Errorf("%d keys are left", n)
	}
	l := opens(t, dir)
	defer l.Close(t.Context())
	if code, out := does(t, "rotate-key", dir, "--reason", "x"); code != 4 || !strings.Contains(out, "stop the hub") {
		t.Errorf("beside a writer: %d %s", code, out)
	}
}
