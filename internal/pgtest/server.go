package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a Postgres of its own, for tests of outages. Its methods end the
// test when something goes wrong, so call them from the test's goroutine. It
// keeps its data and its URL while it is stopped and started again.
type Server struct {
	t      testing.TB // nil for the server that the process shares
	dir    string     // holds the data, the socket and the log; removed at the end
	tools  tools
	leash  *leash
	cmd    *exec.Cmd
	exited chan struct{} // closed once cmd has ended; nil before the first start
}

// Mode is a way to stop a server.
type Mode syscall.Signal

const (
	// Fast ends all sessions, writes everything out and exits.
	Fast = Mode(syscall.SIGINT)
	// Immediate exits without writing anything out: the next start recovers
	// from the log, as after a crash.
	Immediate = Mode(syscall.SIGQUIT)
)

// NewServer starts a server that belongs to t and is removed when t ends. It
// needs Postgres on this machine, even where AVHUB_TEST_POSTGRES names a server
// elsewhere: that one is not ours to stop.
func NewServer(t testing.TB) *Server {
	t.Helper()
	if os.Getenv(variable) == "skip" {
		skip(t)
	}
	s, err := create()
	if err != nil {
		t.Fatalf("create a Postgres server: %v", err)
	}
	s.t = t
	t.Cleanup(s.remove)
	s.Start()
	return s
}

// URL returns the URL of the server's one database, which is empty at first.
func (s *Server) URL() string { return s.address("postgres") }

// Socket is the unix socket on which the server answers, for what stands between
// it and its clients. Who comes by it is taken for a local user.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// Start starts the server after Stop or Kill9, and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	if s.running() {
		s.t.Fatal("start Postgres: it runs already")
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("start Postgres: %v", err)
	}
}

// Stop stops the server in the given way, and returns when it is gone.
func (s *Server) Stop(mode Mode) {
	s.t.Helper()
	if !s.running() {
		s.t.Fatal("stop Postgres: it does not run")
	}
	if err := s.stop(syscall.Signal(mode)); err != nil {
		s.t.Fatalf("stop Postgres: %v", err)
	}
}

// Kill9 kills the server's process and every session's with SIGKILL, and returns
// when they are gone. It finds the sessions in /proc; where there is none, they
// end by themselves, a moment later.
func (s *Server) Kill9() {
	s.t.Helper()
	if !s.running() {
		s.t.Fatal("kill Postgres: it does not run")
	}
	if err := s.stop(syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill Postgres: %v", err)
	}
	deadline := time.Now().Add(patience)
	for len(killWithin(s.data())) > 0 {
		if time.Now().After(deadline) {
			s.t.Fatal("kill Postgres: its sessions survive SIGKILL")
		}
		time.Sleep(time.Millisecond)
	}
}

// create makes the data directory of a server, and the leash that removes it.
func create() (*Server, error) {
	tools, err := findTools()
	if err != nil {
		return nil, err
	}
	// /tmp rather than TMPDIR: the path of a Unix socket holds about a hundred
	// bytes, and the server's user must be able to reach it.
	dir, err := os.MkdirTemp("/tmp", "avhub-pg-")
	if err != nil {
		return nil, fmt.Errorf("create a directory for its data: %w", err)
	}
	s := &Server{dir: dir, tools: tools}
	if err := s.init(); err != nil {
		if s.leash != nil {
			s.leash.release()
		}
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) init() error {
	var err error
	if s.tools.user != nil {
		if err := os.Chown(s.dir, int(s.tools.user.Uid), int(s.tools.user.Gid)); err != nil {
			return fmt.Errorf("give its directory to its user: %w", err)
		}
	}
	if s.leash, err = newLeash(s.tools, s.dir); err != nil {
		return err
	}
	out, err := s.tools.command(s.dir, "initdb", "--pgdata="+s.data(), "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string    { return filepath.Join(s.dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "server.log") }

// address returns the URL of a database. The port is spelled out because PGPORT
// in the environment would change it otherwise.
func (s *Server) address(name string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + name, RawQuery: "host=" + s.dir + "&port=5432"}
	return u.String()
}

func (s *Server) running() bool {
	if s.exited == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

func (s *Server) start() error {
	log, err := os.OpenFile(s.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open its log: %w", err)
	}
	defer log.Close() // the server has its own handle
	cmd := s.tools.command(s.dir, "postgres", append([]string{"-D", s.data(), "-k", s.dir}, settings()...)...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	return s.awaitReady()
}

// settings of the server, as command line arguments.
func settings() []string {
	var args []string
	for _, setting := range []string{
		"listen_addresses=", // only the socket in its own directory: no port to share with strangers
		"port=5432",
		"max_connections=200",
		"shared_buffers=32MB",
		// A commit that was answered must survive kill -9 of the server, which
		// is what tests do to it. For that it must have reached the kernel, so
		// synchronous_commit stays on (off would leave it in the dead server's
		// memory). That it also reaches the disk matters only when the machine
		// loses power, which tests cannot do.
		"synchronous_commit=on",
		"fsync=off",
		"full_page_writes=off",
		"dynamic_shared_memory_type=mmap", // /dev/shm is 64 MB in many containers
		"timezone=UTC",
		"logging_collector=off",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

func (s *Server) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.address("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended at once; its log says:\n%s", s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w; its log says:\n%s", err, s.logTail())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) logTail() []byte {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return log[max(0, len(log)-4096):]
}

func (s *Server) stop(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal it: %w", err)
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("it still runs; its log says:\n%s", s.logTail())
	}
}

func (s *Server) remove() {
	if s.running() {
		if err := s.stop(syscall.SIGQUIT); err != nil {
			s.t.Errorf("stop Postgres: %v", err)
		}
	}
	if err := s.leash.release(); err != nil {
		s.t.Errorf("remove Postgres: %v", err)
	}
}
