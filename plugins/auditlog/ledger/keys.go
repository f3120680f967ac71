package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Files of the keys that sign checkpoints. The first key signs, the others sign
// beside it while auditors get to know the first one.
const (
	signerFile   = "signer.key"
	verifierFile = "verifier.pub" // all that ever signed, the current one first
)

type keys struct {
	signers   []note.Signer
	verifier  note.Verifier
	former    []note.Verifier
	public    string // of the first one
	secrets   []string
	verifiers []string
}

// names of keys stand in signatures, and are the log's origin.
var originForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./_-]{0,99}$`)

// readKeys reads the keys of a folder, or makes the first one. A folder with a
// log and without a key has lost it, and gets no other one in silence.
func readKeys(dir, origin string) (*keys, error) {
	path := filepath.Join(dir, signerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "log", "checkpoint")); err == nil {
			return nil, fmt.Errorf("%s is missing, but there is a trail that it signed: restore it from a backup", path)
		}
		if err := makeKey(dir, origin); err != nil {
			return nil, err
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 it, and consider whether somebody has it", path, info.Mode().Perm())
	}
	k := &keys{secrets: strings.Fields(string(text))}
	for _, secret := range k.secrets {
		s, err := note.NewSigner(secret)
		if err != nil {
			return nil, fmt.Errorf("%s holds no signing key: restore it from a backup", path) // the library's text may quote it
		}
		k.signers = append(k.signers, s)
	}
	public, err := os.ReadFile(filepath.Join(dir, verifierFile))
	if err != nil {
		return nil, fmt.Errorf("read the public keys: %w", err)
	}
	k.verifiers = strings.Fields(string(public))
	for _, p := range k.verifiers {
		v, err := note.NewVerifier(p)
		if err != nil {
			return nil, fmt.Errorf("%s holds a line that is no public key: restore it from a backup", filepath.Join(dir, verifierFile))
		}
		if len(k.signers) > 0 && v.KeyHash() == k.signers[0].KeyHash() && v.Name() == k.signers[0].Name() {
			k.verifier, k.public = v, p
			continue
		}
		k.former = append(k.former, v)
	}
	if len(k.signers) == 0 || k.verifier == nil {
		return nil, fmt.Errorf("%s and %s in %s do not belong together: restore them from a backup", signerFile, verifierFile, dir)
	}
	return k, nil
}

// makeKey makes the first key. The public one is written first: without the
// secret one it is made anew.
func makeKey(dir, origin string) error {
	if origin == "" {
		origin = "avhub-auditlog/" + strings.ToLower(rand.Text()[:10])
	}
	if !originForm.MatchString(origin) {
		return fmt.Errorf("the origin %q cannot be the name of a key: use letters, digits and ./_-", origin)
	}
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return fmt.Errorf("make the signing key: %w", err)
	}
	if err := writeFile(filepath.Join(dir, verifierFile), []byte(public+"\n"), 0o644); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, signerFile), []byte(secret+"\n"), 0o600)
}

// writeFile puts a file in place, whole or not at all, and durably.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(d.Sync(), d.Close())
}
