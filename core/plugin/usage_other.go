//go:build !linux

package plugin

import (
	"errors"
	"os"
)

// The configuration refuses limits on this system, and Usage has nothing to say.

const canLimit = false

func groupMembers(int) []int { return nil }

func usageOf([]int, bool) Usage { return Usage{} }

func limitFiles(int, int) error {
	return errors.New("limiting the plugin's open files: this system has no way to do that")
}

func stopGroup(*os.Process, bool) {}
