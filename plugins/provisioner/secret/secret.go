// Package secret brings generated passwords to the one place where they are
// kept. They go nowhere else.
package secret

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/avhub/avhub/plugins/provisioner/hook"
	"github.com/avhub/avhub/plugins/provisioner/name"
)

// Secret is what somebody needs to log in.
type Secret struct {
	Name     string `json:"name"`
	Tenant   string `json:"tenant_id"`
	Resource string `json:"resource"`
	User     string `json:"user"`
	Password string `json:"password"`
	Host     string `json:"host,omitempty"`
	Port     string `json:"port,omitempty"`
	Database string `json:"database,omitempty"`
}

// Sink keeps secrets. A later one of the same name takes the place of an earlier.
type Sink interface {
	Put(ctx context.Context, s Secret) error
	// Ref says where the secret of a name is; empty: the sink alone knows.
	Ref(name string) string
}

// Password makes one, of 130 bits.
func Password() string { return rand.Text() }

// Folder keeps each secret in a file of its own, which its owner alone can read.
type Folder struct{ Dir string }

// Ref is the file's path.
func (f Folder) Ref(n string) string { return filepath.Join(f.Dir, n+".json") }

// Put writes the file, whole or not at all.
func (f Folder) Put(_ context.Context, s Secret) error {
	if !name.Safe(s.Name) {
		return errors.New("writing a secret: its name is none of ours")
	}
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("writing a secret: %w", err)
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("writing a secret: %w", err)
	}
	tmp, err := os.CreateTemp(f.Dir, ".making-*") // 0600
	if err != nil {
		return fmt.Errorf("writing a secret: %w", err)
	}
	_, err = tmp.Write(append(raw, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.Ref(s.Name))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing a secret: %w", err)
	}
	return nil
}

// Command gives each secret to a program, on its standard input.
type Command struct{ Hook hook.Command }

// Ref is unknown here.
func (Command) Ref(string) string { return "" }

// Put runs the program.
func (c Command) Put(ctx context.Context, s Secret) error {
	if _, err := c.Hook.Run(ctx, s); err != nil {
		return fmt.Errorf("giving a secret to its sink: %w", err)
	}
	return nil
}
