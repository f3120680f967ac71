package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// tools are the programs of one Postgres installation, and who may run them.
type tools struct {
	bin  string              // the directory that holds postgres and initdb
	user *syscall.Credential // nil: ourselves
}

// places are where packages put Postgres' programs, most of them outside of PATH.
func places() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                   // the PostgreSQL project's own RPMs
		"/usr/libexec/postgresql*",           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on ARM
		"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
	}
}

func findTools() (tools, error) {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// A link in PATH may point to a directory that holds the other programs.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	bin, err := findBin(append(dirs, glob(places())...))
	if err != nil {
		return tools{}, err
	}
	as, err := unprivileged(os.Getuid(), user.Lookup)
	if err != nil {
		return tools{}, err
	}
	return tools{bin: bin, user: as}, nil
}

// glob expands patterns; within one, the last by name comes first, which is the
// newest version as long as versions have as many digits.
func glob(patterns []string) []string {
	var dirs []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // only a malformed pattern does that
		}
		slices.Reverse(found)
		dirs = append(dirs, found...)
	}
	return dirs
}

func findBin(dirs []string) (string, error) {
	for _, dir := range dirs {
		if executable(filepath.Join(dir, "postgres")) && executable(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	return "", errors.New("found no postgres and initdb on this machine; `make test` installs them on Debian and Ubuntu " +
		"(elsewhere install your system's PostgreSQL server package, 13 or newer), or set " + variable +
		" to the postgres:// URL of a running server, or to skip to leave these tests out")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// unprivileged returns the user to run Postgres as, which refuses to run as root.
func unprivileged(uid int, lookup func(string) (*user.User, error)) (*syscall.Credential, error) {
	if uid != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := lookup(name)
		if err != nil {
			continue
		}
		id, errID := strconv.ParseUint(u.Uid, 10, 32)
		group, errGroup := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errID, errGroup); err != nil {
			return nil, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(id), Gid: uint32(group)}, nil
	}
	return nil, errors.New("run Postgres: it refuses to run as root, and there is no user postgres or nobody; create one, or run the tests as another user")
}

// command prepares one of the programs, to run in dir.
func (t tools) command(dir, name string, args ...string) *exec.Cmd {
	return t.run(dir, filepath.Join(t.bin, name), args...)
}

func (t tools) run(dir, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	// Not our environment: PGDATA, PGOPTIONS or a locale that is not installed
	// would change what the server does.
	cmd.Env = []string{"PATH=" + t.bin + ":/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"}
	// A process group of its own: Ctrl-C at the terminal is for the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: t.user}
	return cmd
}
