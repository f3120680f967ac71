package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/avhub/avhub/config"
	"github.com/spf13/cobra"
)

func (c *cli) initVerb() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a configuration to begin with",
		Long: "Writes " + config.DefaultFile + ", commented and for its owner alone to read, and the folder data into\n" +
			"DIR, the working directory if none is named. A file that is there already stays, unless\n" +
			"--force is given.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return wrongUse("unexpected argument %q after the folder", args[1])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a configuration file that is there")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		if err := writeInitial(dir, force); err != nil {
			return err
		}
		file := filepath.Join(dir, config.DefaultFile)
		c.say("wrote %s", file)
		c.say("")
		c.say("What to do next:")
		if dir != "." {
			c.say("  cd %s", quoted(dir))
		}
		c.say("  1. Edit %s: sources[0].host is your AuthVital.", config.DefaultFile)
		c.say("  2. avhub check --online")
		c.say("  3. avhub serve")
		c.say("  4. In AuthVital, enter https://THIS-HOST/webhooks/authvital as the webhook's URL.")
		return nil
	}
	return cmd
}

func writeInitial(dir string, force bool) error {
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return fmt.Errorf("making the folder for data: %w", err)
	}
	file := filepath.Join(dir, config.DefaultFile)
	if force {
		// What is there is replaced as a whole and not written into: it may be a
		// link, and may be readable by others.
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replacing the configuration file: %w", err)
		}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; edit it, or replace it with --force", file)
	}
	if err != nil {
		return fmt.Errorf("writing the configuration file: %w", err)
	}
	_, err = f.Write(config.Example())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}
