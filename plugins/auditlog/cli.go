package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
	"github.com/avhub/avhub/plugins/auditlog/verify"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
)

// exitUse is the exit code of wrong use, and of what could not be judged; the
// others are verify's classes.
const exitUse = 4

// run is what the binary does: for a hub it is a connector, for a person the
// tool that keeps, reads and judges trails.
func run() int {
	ofConnector := []string{"describe", "debug", "version", "--version"}
	switch args := os.Args[1:]; {
	case os.Getenv(plugin.MagicCookieKey) == plugin.MagicCookieValue,
		len(args) > 0 && slices.Contains(ofConnector, args[0]),
		len(args) > 1 && args[0] == "check" && strings.HasPrefix(args[1], "--config"):
		connectorPlugin().Main()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return command(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// tool is one run of the command.
type tool struct {
	out, err io.Writer
	keys     []string
}

// verdict is an error that has been told already, with its exit code.
type verdict struct{ code int }

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", v.code) }

func command(ctx context.Context, args []string, out, errOut io.Writer) int {
	t := &tool{out: out, err: errOut}
	root := &cobra.Command{
		Use:   "avhub-auditlog",
		Short: "Keep, read and judge an audit trail",
		Long: "For a hub this is a connector that keeps an audit trail. For a person it reads and judges\n" +
			"one, with no hub, no network and no account: the folder and the public key are enough.\n\n" +
			"Exit codes: 0 fine, 1 tampered, 2 incomplete, 3 not authenticated, 4 wrong use or not readable.\n\n" +
			"As a connector it also knows: describe, check --config FILE, debug, version.",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(t.verifyVerb(), t.proveVerb(), t.checkVerb(), t.diffVerb(), t.historyVerb(), t.bundleVerb(), t.exportVerb(),
		t.eraseVerb(), t.holdVerb(), t.releaseVerb(), t.keyVerb(), t.rotateVerb())
	err := root.ExecuteContext(ctx)
	var told verdict
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		return told.code
	default:
		fmt.Fprintf(errOut, "avhub-auditlog: %s\n", err)
		return exitUse
	}
}

func (t *tool) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// place is a trail's folder: that of a connector, or an auditor's copy of its
// log.
type place struct {
	dir string // as it was named
	log string // where the checkpoint is
	key string // the file of public keys beside it
}

func placeOf(dir string) (place, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return place{}, fmt.Errorf("open the trail: %w", err)
	}
	if !info.IsDir() {
		return place{}, fmt.Errorf("open the trail: %s is no folder", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
		return place{dir, filepath.Join(dir, "log"), filepath.Join(dir, "verifier.pub")}, nil
	}
	return place{dir, dir, filepath.Join(dir, "verifier.pub")}, nil
}

func (p place) files() tiles.Dir { return tiles.Dir{FS: os.DirFS(p.log)} }

func (t *tool) keyFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&t.keys, "key", nil, "public `key` of the trail, or a file with such, that you got another way than the trail")
}

// verifiers are the keys that were given, else those beside the log.
func (t *tool) verifiers(p *place) (keys []note.Verifier, pinned bool, err error) {
	texts := t.keys
	if len(texts) == 0 && p != nil {
		if _, err := os.Stat(p.key); err == nil {
			texts = []string{p.key}
		}
	}
	for _, text := range texts {
		found := []string{text}
		if data, err := os.ReadFile(text); err == nil {
			found = strings.Fields(string(data))
		}
		for _, one := range found {
			v, err := note.NewVerifier(one)
			if err != nil {
				return nil, false, fmt.Errorf("%q is neither a public key nor a file with one; `avhub-auditlog key DIR` prints that of a trail", text)
			}
			keys = append(keys, v)
		}
	}
	return keys, len(t.keys) > 0, nil
}

// head opens the checkpoint of a trail, and refuses one that is not
// authenticated: what comes of it would prove nothing.
func (t *tool) head(p place) (tiles.Checkpoint, []byte, bool, error) {
	keys, pinned, err := t.verifiers(&p)
	if err != nil {
		return tiles.Checkpoint{}, nil, false, err
	}
	raw, err := p.files().Checkpoint()
	if errors.Is(err, fs.ErrNotExist) {
		return tiles.Checkpoint{}, nil, false, fmt.Errorf("there is no trail in %s, or no checkpoint yet", p.dir)
	}
	if err != nil {
		return tiles.Checkpoint{}, nil, false, err
	}
	head, err := tiles.OpenCheckpoint(raw, keys...)
	if err == nil && len(head.Signers) == 0 {
		err = errors.New("none of the known keys signed it: give the trail's public key by --key")
	}
	if err != nil {
		fmt.Fprintf(t.err, "avhub-auditlog: the checkpoint of %s is not authenticated: %s\n", p.dir, err)
		return head, raw, pinned, verdict{int(verify.NotAuthenticated)}
	}
	return head, raw, pinned, nil
}

// account is whose doing it is.
func account() string {
	if u, err := user.Current(); err == nil {
		return "account:" + u.Username
	}
	return fmt.Sprintf("account:uid-%d", os.Getuid())
}

// progress shows how far a long reading is, on a terminal.
func (t *tool) progress(what string) func(done, of int64) {
	f, ok := t.err.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return nil
	}
	return func(done, of int64) {
		if done == of {
			fmt.Fprint(f, "\r\033[K")
			return
		}
		fmt.Fprintf(f, "\r%s: %d of %d entries", what, done, of)
	}
}
