//go:build !unix

package store

import "os"

// lockFile relies on the user to start one hub only.
func lockFile(path string) (*os.File, bool, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	return file, err == nil, err
}
