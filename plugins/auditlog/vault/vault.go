// Package vault keeps what must not stand in the trail: the plain text of what
// is personal, encrypted under a key for each person, so that it can be erased,
// and values that are too large.
//
//	keys/      one file for each person or address: a key, or the word "erased"
//	vault/     values, one JSON object in a line; nothing is ever taken out
//	secret     the trail's own key
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/avhub/avhub/plugins/auditlog/entry"
)

// Erased is what stands in place of a commitment when the key is gone.
const Erased = "erased"

const keySize = 32

// Vault is open for writing; one process at a time may have it open. It is safe
// for concurrent use, and an entry.Sealer.
type Vault struct {
	dir    string
	secret []byte
	values *values

	mu     sync.Mutex
	owners map[string]*owner
}

// owner is whom a key belongs to.
type owner struct {
	mu     sync.Mutex
	loaded bool
	key    []byte // nil: erased
}

// Open opens the vault in dir, or begins one.
func Open(dir string) (*Vault, error) {
	for _, d := range []string{"keys", "vault"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("open the vault: %w", err)
		}
	}
	v := &Vault{dir: dir, owners: map[string]*owner{}}
	var err error
	if v.values, err = openValues(filepath.Join(dir, "vault", "values")); err != nil {
		return nil, fmt.Errorf("open the vault: %w", err)
	}
	if v.secret, err = v.ownSecret(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the vault: %w", err), v.values.close())
	}
	return v, nil
}

// ownSecret reads the trail's own key. A vault with values and without it has
// lost it: with another one, known addresses would not be known any more.
func (v *Vault) ownSecret() ([]byte, error) {
	path := filepath.Join(v.dir, "secret")
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if len(v.values.known) > 0 {
		return nil, fmt.Errorf("%s is missing: restore it from a backup", path)
	}
	key = make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key, writeFile(path, []byte(hex.EncodeToString(key)+"\n"))
}

// Close ends it.
func (v *Vault) Close() error { return v.values.close() }

// Sync makes durable what was sealed and kept so far.
func (v *Vault) Sync() error { return v.values.sync() }

// Seal hides a value under its owner's key, and keeps it.
func (v *Vault) Seal(who, field string, value json.RawMessage) (entry.Sealed, error) {
	key, err := v.key(who, true)
	if err != nil {
		return entry.Sealed{}, err
	}
	if key == nil {
		return entry.Sealed{Owner: who, Commit: Erased}, nil
	}
	commit := mac(key, field, string(value))
	return entry.Sealed{Owner: who, Commit: hex.EncodeToString(commit)},
		v.values.keep(hex.EncodeToString(commit), func() line {
			return line{Owner: who, Commit: hex.EncodeToString(commit), Text: seal(key, commit, field+"\x00"+string(value))}
		})
}

// SealAddress hides an e-mail address under a key of its own.
func (v *Vault) SealAddress(field, address string) (entry.Sealed, error) {
	text, err := json.Marshal(address)
	if err != nil {
		return entry.Sealed{}, err
	}
	return v.Seal(v.addressOwner(address), field, text)
}

// Opaque hides a value under the trail's own key, and does not keep it.
func (v *Vault) Opaque(field string, value json.RawMessage) (entry.Opaque, error) {
	return entry.Opaque{Digest: hex.EncodeToString(mac(v.secret, "opaque", field, string(value)))}, nil
}

// Keep keeps a large value under its hash.
func (v *Vault) Keep(hash string, value []byte) error {
	return v.values.keep(hash, func() line { return line{Hash: hash, Value: value} })
}

func (v *Vault) addressOwner(address string) string {
	return "address:" + hex.EncodeToString(mac(v.secret, "address", strings.ToLower(strings.TrimSpace(address))))[:32]
}

// Owner is what a subject as a person writes it is called in the trail: an
// e-mail address after "address:" is disguised, all else stays.
func (v *Vault) Owner(subject string) string {
	if address, ok := strings.CutPrefix(subject, "address:"); ok && strings.Contains(address, "@") {
		return v.addressOwner(address)
	}
	return subject
}

// key returns an owner's key; nil: it was erased. With create, whoever has none
// gets one, which is durable before it is used.
func (v *Vault) key(who string, create bool) ([]byte, error) {
	v.mu.Lock()
	o := v.owners[who]
	if o == nil {
		o = &owner{}
		v.owners[who] = o
	}
	v.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.loaded {
		return o.key, nil
	}
	path := v.keyFile(who)
	key, err := readKey(path)
	switch {
	case errors.Is(err, errErased):
		key = nil
	case errors.Is(err, fs.ErrNotExist) && create:
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		err = os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = writeFile(path, []byte(hex.EncodeToString(key)+"\n"))
		}
		if err != nil {
			return nil, fmt.Errorf("make the key of %s: %w", who, err)
		}
	case err != nil:
		return nil, fmt.Errorf("read the key of %s: %w", who, err)
	}
	o.loaded, o.key = true, key
	return key, nil
}

// Erase destroys the keys of a person and of the e-mail addresses that were
// known to be that person's. It returns whose keys are gone. Doing it again is
// harmless, and completes what a crash cut short.
func (v *Vault) Erase(who string) (owners []string, err error) {
	who = v.Owner(who)
	key, err := v.key(who, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	seen := map[string]bool{who: true}
	if key != nil {
		err := v.values.each(func(l line) error {
			if l.Owner != who {
				return nil
			}
			if _, value, err := open(key, l); err == nil {
				var address string
				if json.Unmarshal(value, &address) == nil && strings.Contains(address, "@") && !seen[v.addressOwner(address)] {
					seen[v.addressOwner(address)] = true
					owners = append(owners, v.addressOwner(address))
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look for the addresses of %s: %w", who, err)
		}
	}
	owners = append(owners, who) // last: its key tells the others
	for _, o := range owners {
		if err := v.destroy(o); err != nil {
			return nil, fmt.Errorf("destroy the key of %s: %w", o, err)
		}
	}
	return owners, nil
}

func (v *Vault) destroy(who string) error {
	v.mu.Lock()
	o := v.owners[who]
	if o == nil {
		o = &owner{}
		v.owners[who] = o
	}
	v.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	path := v.keyFile(who)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// Where the disk writes in place, the key is overwritten.
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		_, err = f.WriteAt(make([]byte, 2*keySize), 0)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := writeFile(path, []byte(Erased+"\n")); err != nil {
		return err
	}
	o.loaded, o.key = true, nil
	return nil
}

func (v *Vault) keyFile(who string) string { return keyFile(v.dir, who) }

func keyFile(dir, who string) string {
	sum := sha256.Sum256([]byte(who))
	name := hex.EncodeToString(sum[:16])
	return filepath.Join(dir, "keys", name[:2], name)
}

var errErased = errors.New("the key was erased")

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	said := strings.TrimSpace(string(text))
	if said == Erased || strings.Trim(said, "\x00") == "" && len(said) > 0 { // an erasure that a crash cut short
		return nil, errErased
	}
	key, err := hex.DecodeString(said)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s holds no key: restore it from a backup", path)
	}
	return key, nil
}

// mac is the HMAC-SHA-256 of parts with a zero byte between them.
func mac(key []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write([]byte(strings.Join(parts, "\x00")))
	return m.Sum(nil)
}

func aead(key []byte) cipher.AEAD {
	derived := sha256.Sum256(append([]byte("avhub-auditlog vault\x00"), key...))
	block, err := aes.NewCipher(derived[:])
	if err == nil {
		var g cipher.AEAD
		if g, err = cipher.NewGCM(block); err == nil {
			return g
		}
	}
	panic(err) // of a key of 32 bytes: never
}

// seal encrypts. The nonce is the beginning of the commitment, which differs for
// different texts under one key.
func seal(key, commit []byte, text string) []byte {
	g := aead(key)
	return g.Seal(nil, commit[:g.NonceSize()], []byte(text), commit)
}

// open decrypts a line, and holds it against its commitment.
func open(key []byte, l line) (field string, value []byte, err error) {
	commit, err := hex.DecodeString(l.Commit)
	if err != nil || len(commit) != sha256.Size {
		return "", nil, errors.New("a value of the vault has no commitment")
	}
	g := aead(key)
	text, err := g.Open(nil, commit[:g.NonceSize()], l.Text, commit)
	if err != nil {
		return "", nil, fmt.Errorf("a value of the vault does not open: %w", err)
	}
	field, rest, _ := strings.Cut(string(text), "\x00")
	if !hmac.Equal(mac(key, field, rest), commit) {
		return "", nil, errors.New("a value of the vault is not the one that was committed to")
	}
	return field, []byte(rest), nil
}
