package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// childVariable makes this test binary a process that has started the shared
// server, says where, and waits to be killed or to be told to leave.
const childVariable = "PGTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	s, err := shared()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.dir)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may be dead by then
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func count(t *testing.T, conn *pgx.Conn, query string) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestEachCallGivesAnEmptyDatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	var seen sync.Map
	for range 6 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			url := URL(t)
			t.Logf("url: %s", url)
			if _, twice := seen.LoadOrStore(url, true); twice {
				t.Error("the same database was given twice")
			}
			conn := connect(t, url)
			if n := count(t, conn, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`); n != 0 {
				t.Errorf("a fresh database has %d tables", n)
			}
			run(t, conn, `CREATE TABLE mine (id int)`)
		})
	}
}

func TestCommitsAreDurableAndTextIsUTF8(t *testing.T) {
	t.Parallel()
	conn := connect(t, URL(t))
	for setting, want := range map[string]string{"synchronous_commit": "on", "server_encoding": "UTF8", "TimeZone": "UTC"} {
		var got string
		if err := conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want && os.Getenv(variable) == "" {
			t.Errorf("%s = %s, want %s", setting, got, want)
		}
	}
}

func TestTheDatabaseIsDroppedAtTheEndThoughSomebodyIsConnected(t *testing.T) {
	t.Parallel()
	outer := t
	var url string
	t.Run("test", func(t *testing.T) {
		url = URL(t)
		// The outer test closes this connection, after the database is dropped.
		connect(outer, url)
	})
	_, err := pgx.Connect(t.Context(), url)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "3D000" { // invalid_catalog_name
		t.Fatalf("the database can still be reached after its test (error: %v)", err)
	}
}

func TestAStoppedServerRefusesAndComesBackWithItsData(t *testing.T) {
	t.Parallel()
	s := NewServer(t)
	run(t, connect(t, s.URL()), `CREATE TABLE kept (id int)`)
	for i, mode := range []Mode{Fast, Immediate} {
		run(t, connect(t, s.URL()), `INSERT INTO kept VALUES (1)`)
		s.Stop(mode)
		if _, err := pgx.Connect(t.Context(), s.URL()); err == nil {
			t.Fatal("a stopped server accepts connections")
		}
		s.Start()
		if n := count(t, connect(t, s.URL()), `SELECT count(*) FROM kept`); n != i+1 {
			t.Errorf("%d rows after restart %d, want %d", n, i+1, i+1)
		}
	}
}

func TestKill9KeepsWhatWasCommittedAndNothingElse(t *testing.T) {
	t.Parallel()
	s := NewServer(t)
	conn := connect(t, s.URL())
	run(t, conn, `CREATE TABLE kept (id int)`)
	const rounds, rows = 3, 50
	for round := range rounds {
		conn = connect(t, s.URL())
		for range rows {
			run(t, conn, `INSERT INTO kept VALUES (1)`)
		}
		open := connect(t, s.URL())
		run(t, open, `BEGIN`)
		run(t, open, `INSERT INTO kept VALUES (2)`)
		busy := connect(t, s.URL())
		go func() { _, _ = busy.Exec(context.Background(), `SELECT pg_sleep(600)`) }()

		s.Kill9()
		if left := killWithin(s.data()); len(left) != 0 {
			t.Fatalf("processes %v survive", left)
		}
		s.Start()
		if n := count(t, connect(t, s.URL()), `SELECT count(*) FROM kept`); n != (round+1)*rows {
			t.Fatalf("%d rows after kill %d, want %d", n, round+1, (round+1)*rows)
		}
	}
}

func TestAServerIsRemovedWithItsTest(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(*Server){
		"running": func(*Server) {},
		"killed":  func(s *Server) { s.Kill9() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *Server
			t.Run("test", func(t *testing.T) {
				s = NewServer(t)
				last(s)
			})
			if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
				t.Errorf("its directory is still there (error: %v)", err)
			}
			if s.running() {
				t.Error("it still runs")
			}
		})
	}
}

func TestTheSharedServerEndsWithItsProcessHoweverThatEnds(t *testing.T) {
	t.Parallel()
	needsOwnServer(t)
	for name, end := range map[string]func(*exec.Cmd, io.Closer) error{
		"exit":    func(_ *exec.Cmd, stdin io.Closer) error { return stdin.Close() },
		"kill -9": func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Signal(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"=1")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			dir := strings.TrimSpace(line)
			s := &Server{dir: dir}
			connect(t, s.URL())
			if err := end(cmd, stdin); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it may have been killed
			eventually(t, "the server's directory is removed", func() bool {
				_, err := os.Stat(dir)
				return os.IsNotExist(err)
			})
			if _, err := pgx.Connect(t.Context(), s.URL()); err == nil {
				t.Error("the server still answers")
			}
		})
	}
}

// needsOwnServer skips where the environment asks to go without.
func needsOwnServer(t *testing.T) {
	t.Helper()
	if os.Getenv(variable) == "skip" {
		skip(t)
	}
}

// rerun runs one test of this binary in another process, with AVHUB_TEST_POSTGRES
// set to value, and returns what it printed.
func rerun(t *testing.T, test, value string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+value)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAServerFromTheEnvironmentIsUsedAndLeftClean(t *testing.T) {
	t.Parallel()
	s := NewServer(t)
	out, err := rerun(t, "TestEachCallGivesAnEmptyDatabaseOfItsOwn", s.URL())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(out, s.dir); got != 6 {
		t.Errorf("%d of 6 databases were made on the server that the environment names:\n%s", got, out)
	}
	left := count(t, connect(t, s.URL()), `SELECT count(*) FROM pg_database WHERE datname LIKE 'avhub_test_%'`)
	if left != 0 {
		t.Errorf("%d databases are left behind", left)
	}
}

func TestSkippingIsAskedForAndSaid(t *testing.T) {
	t.Parallel()
	for _, test := range []string{"TestCommitsAreDurableAndTextIsUTF8", "TestKill9KeepsWhatWasCommittedAndNothingElse"} {
		out, err := rerun(t, test, "skip")
		if err != nil || !strings.Contains(out, "--- SKIP: "+test) || !strings.Contains(out, "AVHUB_TEST_POSTGRES=skip") {
			t.Errorf("want a skip that says why, got %v\n%s", err, out)
		}
	}
}

func TestAWrongURLInTheEnvironmentFailsWithoutShowingIt(t *testing.T) {
	t.Parallel()
	out, err := rerun(t, "TestCommitsAreDurableAndTextIsUTF8", "mysql://root:hunter2@localhost/db")
	if err == nil || !strings.Contains(out, "use postgres://") || strings.Contains(out, "hunter2") {
		t.Errorf("want a failure that names the way out and not the password, got %v\n%s", err, out)
	}
}

func TestWithoutPostgresTheErrorTellsTheWayOut(t *testing.T) {
	t.Parallel()
	half := t.TempDir() // postgres without initdb, and that not executable
	for name, mode := range map[string]os.FileMode{"postgres": 0o755, "initdb": 0o644} {
		if err := os.WriteFile(filepath.Join(half, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	_, err := findBin([]string{t.TempDir(), half})
	if err == nil {
		t.Fatal("found Postgres where there is none")
	}
	for _, way := range []string{"make test", "AVHUB_TEST_POSTGRES", "skip"} {
		if !strings.Contains(err.Error(), way) {
			t.Errorf("the error does not mention %q: %v", way, err)
		}
	}
}

func TestRootRunsPostgresAsAnotherUser(t *testing.T) {
	t.Parallel()
	users := func(names ...string) func(string) (*user.User, error) {
		return func(name string) (*user.User, error) {
			for i, known := range names {
				if known == name {
					return &user.User{Uid: fmt.Sprint(101 + i), Gid: fmt.Sprint(201 + i)}, nil
				}
			}
			return nil, user.UnknownUserError(name)
		}
	}
	if as, err := unprivileged(1000, users("postgres")); as != nil || err != nil {
		t.Errorf("an ordinary user became %v (error: %v)", as, err)
	}
	if as, err := unprivileged(0, users("postgres", "nobody")); err != nil || as.Uid != 101 || as.Gid != 201 {
		t.Errorf("root became %v, want postgres (error: %v)", as, err)
	}
	if as, err := unprivileged(0, users("nobody")); err != nil || as.Uid != 101 {
		t.Errorf("root became %v, want nobody (error: %v)", as, err)
	}
	if _, err := unprivileged(0, users()); err == nil || !strings.Contains(err.Error(), "refuses to run as root") {
		t.Errorf("without another user: %v", err)
	}
}
