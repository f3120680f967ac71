//go:build !unix

package plugin

import "os"

// checkPrivate relies on the permissions of the user's temporary folder.
func checkPrivate(string) error { return nil }

// lockFile opens the file; the system keeps an open file from being removed,
// so another hub's folder survives a sweep.
func lockFile(path string) (*os.File, bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	return f, err == nil, err
}
