package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

// CheckFiles looks whether the plugins' programs are there and can be run: what
// a file cannot tell about the machine it is used on. The error is an [*Error].
func (c *Config) CheckFiles() error {
	found := &collector{origin: c.origin}
	for i, p := range c.Plugins {
		if len(p.Command) == 0 || p.Attach != "" {
			continue // Load does not let the first through; the other is not started
		}
		if summary, detail := checkProgram(p.Command[0], c.origin.isExpanded(schema.Path{"plugins", i, "command", 0})); summary != "" {
			found.add(schema.Path{"plugins", i, "command", 0}, summary, detail)
		}
	}
	return found.error()
}

// checkProgram names the program unless its name came from ${…}.
func checkProgram(program string, hidden bool) (summary, detail string) {
	shown := "the program"
	if !hidden {
		shown = fmt.Sprintf("the program %.200q", program)
	}
	if !strings.ContainsRune(program, '/') {
		_, err := exec.LookPath(program)
		switch {
		case errors.Is(err, exec.ErrDot):
			return shown + " was found only in the working directory, through PATH", "write ./ before it when that is the one you mean"
		case err != nil:
			return shown + " is not in PATH", "install it, or write its path with a slash"
		}
		return "", ""
	}
	info, err := os.Stat(program)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return shown + " does not exist", "build or install it, or correct the path; a relative one begins at the working directory"
	case err != nil:
		return shown + " cannot be looked at: " + reason(err), "let the user that runs the hub reach it"
	case !info.Mode().IsRegular():
		return shown + " is no file", "name the program itself"
	}
	if _, err := exec.LookPath(program); err != nil {
		return shown + " cannot be executed", "make it executable: chmod +x"
	}
	return "", ""
}
