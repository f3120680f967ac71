// Package pgtest gives tests a real Postgres.
//
// [URL] is what most tests want: an empty database of their own on a server that
// the test process shares and that starts with the first call. [NewServer] gives
// a whole server to a test that wants to stop it, start it again, or kill it.
//
// The environment variable AVHUB_TEST_POSTGRES changes where [URL] looks: the URL
// of a running server (its user must be allowed to create databases) is used
// instead of a server of our own, and "skip" skips every test that needs
// Postgres. Without it, a machine that has no Postgres fails these tests: a test
// that is silently left out proves nothing.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// variable is the name of the environment variable that chooses the server.
const variable = "AVHUB_TEST_POSTGRES"

// patience bounds everything that a healthy server does within a second or two.
// It is long because test machines are busy.
const patience = 60 * time.Second

// shared starts the server of this test process at the first call. Nothing can
// own it but the process: tests of one package start and end independently of
// each other, and starting a server for each would cost a second apiece.
var shared = sync.OnceValues(func() (*Server, error) {
	s, err := create()
	if err != nil {
		return nil, err
	}
	return s, s.start()
})

// URL returns the postgres:// URL of a fresh, empty database, which is dropped
// when t ends, whoever is still connected to it. It may be called from tests
// that run in parallel, and more than once in a test.
func URL(t testing.TB) string {
	t.Helper()
	server := os.Getenv(variable)
	switch server {
	case "skip":
		skip(t)
	case "":
		s, err := shared()
		if err != nil {
			t.Fatalf("start Postgres for tests: %v", err)
		}
		server = s.address("postgres")
	}
	return database(t, server)
}

func skip(t testing.TB) {
	t.Helper()
	t.Skipf("needs Postgres, and %s=skip says to go without", variable)
}

// database creates a database on server, has it dropped when t ends, and returns
// its URL.
func database(t testing.TB, server string) string {
	t.Helper()
	name := newName()
	mine, err := withDatabase(server, name)
	if err != nil {
		t.Fatal(err)
	}
	// template0 because nobody can be connected to it: copying template1 fails
	// while another session looks at it.
	if err := execute(server, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database %s: %v", name, err)
		}
	})
	return mine
}

// newName returns a name that is unique on a server which several test
// processes, or several people, share.
func newName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return "avhub_test_" + hex.EncodeToString(b[:])
}

// withDatabase returns server's URL with another database in it. Its errors do
// not repeat the URL, which may hold a password.
func withDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return "", fmt.Errorf("%s is not a URL: use postgres://user@host:port/database, or skip", variable)
	}
	u.Path = "/" + name
	return u.String(), nil
}

// execute runs one statement on a connection of its own.
func execute(server, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
