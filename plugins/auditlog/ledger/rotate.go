package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/entry"
	"golang.org/x/mod/sumdb/note"
)

// Rotate makes a new key, which signs from the next opening on, beside the one
// of before. The entry that tells it is under a checkpoint of the old key alone.
// Nobody may write to the trail meanwhile.
func Rotate(ctx context.Context, dir, reason, by string) (public string, err error) {
	if strings.TrimSpace(reason) == "" {
		return "", fmt.Errorf("%w: it needs a reason, which the trail will tell", ErrRequest)
	}
	l, err := rotating(ctx, dir)
	if err != nil {
		return "", err
	}
	if len(l.keys.signers) > 1 {
		return "", errors.Join(fmt.Errorf("%w: two keys sign already; end that with --finish first", ErrRequest), l.Close(ctx))
	}
	secret, public, err := note.GenerateKey(rand.Reader, l.Origin())
	if err == nil {
		_, err = l.tell(ctx, entry.Rotated, by, map[string]any{"new": public, "old": l.PublicKey(), "reason": reason})
	}
	if err = errors.Join(err, l.Close(ctx)); err != nil {
		return "", fmt.Errorf("rotate the key: %w", err)
	}
	// The public one first: it is harmless alone, and the other one is not.
	verifiers := append([]string{public}, l.keys.verifiers...)
	if err := writeFile(filepath.Join(dir, verifierFile), []byte(strings.Join(verifiers, "\n")+"\n"), 0o644); err != nil {
		return "", err
	}
	return public, writeFile(filepath.Join(dir, signerFile), []byte(secret+"\n"+l.keys.secrets[0]+"\n"), 0o600)
}

// FinishRotation makes the old key sign no more, and forgets it.
func FinishRotation(ctx context.Context, dir, reason, by string) error {
	l, err := rotating(ctx, dir)
	if err != nil {
		return err
	}
	if len(l.keys.signers) < 2 {
		return errors.Join(fmt.Errorf("%w: one key signs, so there is nothing to finish", ErrRequest), l.Close(ctx))
	}
	_, err = l.tell(ctx, entry.Rotated, by, map[string]any{"new": l.PublicKey(), "ended": l.keys.ended(), "reason": reason})
	if err = errors.Join(err, l.Close(ctx)); err != nil {
		return fmt.Errorf("finish the rotation of the key: %w", err)
	}
	return writeFile(filepath.Join(dir, signerFile), []byte(l.keys.secrets[0]+"\n"), 0o600)
}

// ended are the public keys that still sign and shall not.
func (k *keys) ended() (public []string) {
	for _, p := range k.verifiers {
		v, err := note.NewVerifier(p)
		if err == nil && p != k.public && slices.ContainsFunc(k.signers, func(s note.Signer) bool { return s.KeyHash() == v.KeyHash() }) {
			public = append(public, p)
		}
	}
	return public
}

func rotating(ctx context.Context, dir string) (*Ledger, error) {
	l, err := Open(ctx, dir, Options{Interval: 100 * time.Millisecond})
	if inUse, _ := InUse(err); inUse {
		return nil, fmt.Errorf("%w: stop the hub, or take the plugin out of its configuration, for as long as this takes", err)
	}
	return l, err
}
