package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/plugin"
	"github.com/spf13/cobra"
)

// lockedJSON is a plugin as lock --json prints it. Members are only ever added.
type lockedJSON struct {
	Plugin  string `json:"plugin"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	// Change is what was, or with --check what would have to be, done: "added",
	// "changed", "removed", or "none".
	Change string `json:"change"`
	// Before are version and hash that were locked until now.
	BeforeVersion string `json:"before_version,omitempty"`
	BeforeSHA256  string `json:"before_sha256,omitempty"`
}

func (c *cli) pluginLock() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock [NAME...]",
		Short: "Pin the plugins' programs",
		Long: "Writes the version and the SHA-256 of each plugin's program to " + config.LockName + ", beside the\n" +
			"configuration. Once that file is there, a hub starts no other program than those, and\n" +
			"`avhub check` reports what differs. It is made to be committed.\n\n" +
			"With names, only those plugins are looked at; without, all are, and those that the\n" +
			"configuration no longer has are taken out. Each is started once and asked for its version.\n" +
			"A running hub acts on the file at a plugin's next start, and at once on SIGHUP.\n\n" +
			"With --check nothing is written and nothing is started: exit code 1 if the file is not\n" +
			"current. What is pinned is the program alone, not the interpreter of a script and not\n" +
			"files that the command's arguments name.",
	}
	flags := addConfigFlags(cmd)
	check := cmd.Flags().Bool("check", false, "write nothing; fail if the file is not current")
	asJSON := jsonFlag(cmd, "a JSON array")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := c.load(flags, "plugins")
		if err != nil {
			return err
		}
		list, err := c.lock(cmd.Context(), cfg, args, *check)
		if err != nil {
			return err
		}
		if *asJSON {
			err = c.writeJSON(list)
		} else {
			err = c.printLocked(list)
		}
		if err == nil && *check && slices.ContainsFunc(list, lockedJSON.differs) {
			c.say("%s is not current; look at the changes, then run `avhub plugin lock`", cfg.LockFile())
			err = errReported
		}
		return err
	}
	return cmd
}

func (l lockedJSON) differs() bool { return l.Change != "none" }

// lock brings the lock file up to date, or with check tells what that would do.
func (c *cli) lock(ctx context.Context, cfg *config.Config, names []string, check bool) ([]lockedJSON, error) {
	for _, name := range names {
		if !slices.ContainsFunc(cfg.Plugins, func(p config.Plugin) bool { return p.Name == name }) {
			return nil, fmt.Errorf("the configuration has no plugin %q; `avhub plugin list` shows those it has", name)
		}
	}
	lock, err := plugin.ReadLock(cfg.LockFile())
	if errors.Is(err, fs.ErrNotExist) {
		lock, err = plugin.NewLock(), nil
	}
	if err != nil {
		return nil, err
	}
	list := []lockedJSON{}
	for _, p := range cfg.Plugins {
		if len(names) > 0 && !slices.Contains(names, p.Name) {
			continue
		}
		is, err := c.lockOne(ctx, cfg, p, lock, check)
		if err != nil {
			return nil, fmt.Errorf("locking plugin %s: %w", p.Name, err)
		}
		list = append(list, is)
	}
	for _, name := range slices.Sorted(maps.Keys(lock.Plugins)) {
		there := slices.ContainsFunc(cfg.Plugins, func(p config.Plugin) bool { return p.Name == name })
		if len(names) == 0 && !there {
			old := lock.Plugins[name]
			list = append(list, lockedJSON{Plugin: name, Change: "removed", BeforeVersion: old.Version, BeforeSHA256: old.SHA256[plugin.Platform()]})
			delete(lock.Plugins, name)
		}
	}
	// A file that pins nothing still refuses what is not in it.
	if check || !slices.ContainsFunc(list, lockedJSON.differs) {
		return list, nil
	}
	return list, lock.Write(cfg.LockFile())
}

// lockOne looks at one plugin and, unless check is set, takes it into the lock.
func (c *cli) lockOne(ctx context.Context, cfg *config.Config, p config.Plugin, lock *plugin.Lock, check bool) (lockedJSON, error) {
	old, there := lock.Plugins[p.Name]
	is := lockedJSON{Plugin: p.Name, BeforeVersion: old.Version, BeforeSHA256: old.SHA256[plugin.Platform()]}
	var err error
	if is.SHA256, err = plugin.HashProgram(p.Command); err != nil {
		return is, err
	}
	if check {
		is.Version = old.Version
	} else {
		ctx, cancel := context.WithTimeout(ctx, pluginWithin)
		defer cancel()
		// What is asked for its version is what was hashed.
		_, info, err := plugin.Check(ctx, plugin.Spec{Name: p.Name, Command: p.Command, Env: p.Env, Config: json.RawMessage("{}")},
			plugin.Options{Log: c.logger(cfg.Log, c.err), Pin: func() (*plugin.Pin, error) {
				return &plugin.Pin{SHA256: is.SHA256, Way: "it was changed while it was being locked; lock it again"}, nil
			}})
		if err != nil {
			return is, err
		}
		is.Version = info.Version
		lock.Set(p.Name, info.Version, is.SHA256)
		c.tellUnpinned(p)
	}
	switch {
	case !there:
		is.Change = "added"
	case is.SHA256 != is.BeforeSHA256 || is.Version != is.BeforeVersion:
		is.Change = "changed"
	default:
		is.Change = "none"
	}
	return is, nil
}

// tellUnpinned warns of programs that decide little about what will run.
func (c *cli) tellUnpinned(p config.Plugin) {
	for _, arg := range p.Command[1:] {
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() {
			c.say("warning: plugin %s: what its arguments name is not pinned, only %s", p.Name, p.Command[0])
			return
		}
	}
	path, err := plugin.FindProgram(p.Command)
	if err != nil {
		return // it was there a moment ago
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	var begin [2]byte
	if _, err := io.ReadFull(f, begin[:]); err == nil && bytes.Equal(begin[:], []byte("#!")) {
		c.say("warning: plugin %s: %s is a script; the script is pinned, not what it runs", p.Name, p.Command[0])
	}
}

func (c *cli) printLocked(list []lockedJSON) error {
	if len(list) == 0 {
		c.say("no plugins; add one below plugins: in the configuration")
		return nil
	}
	t := newTable("PLUGIN", "VERSION", "HASH", "")
	t.whole = 3
	for _, l := range list {
		change := map[string]string{"none": "as before"}[l.Change]
		switch {
		case l.Change == "changed":
			change = strings.TrimSpace(fmt.Sprintf("changed from %s %s", l.BeforeVersion, shortHash(l.BeforeSHA256)))
		case change == "":
			change = l.Change
		}
		t.add(l.Plugin, l.Version, shortHash(l.SHA256), change)
	}
	return t.print(c)
}

func shortHash(sum string) string { return sum[:min(len(sum), 12)] }
