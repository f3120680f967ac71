package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// The test binary is also the connector, and the hub, that the tests start.
const modeVar = "AVHUB_TEST_MODE"

func TestMain(m *testing.M) {
	switch os.Getenv(modeVar) {
	case "":
		os.Exit(m.Run())
	case "connector":
		connectorMain()
	case "noisy":
		// Everything that can go wrong on standard output before the handshake.
		fmt.Println("starting up")
		fmt.Println(strings.Repeat("x", 3*maxLineBytes))
		fmt.Print("no newline here")
		connectorMain()
	case "mute":
		_ = os.Stdout.Close() // nothing was written
		select {}
	case "silent":
		fmt.Println("I am no connector")
		select {}
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot open /etc/secret-place: permission denied")
		os.Exit(3)
	case "liar":
		fmt.Println("1|1|unix|/nowhere|grpc|")
		select {}
	case "foreign":
		fmt.Fprintln(os.Stderr, foreignMain(true, foreign{}))
	case "deaf":
		fmt.Fprintln(os.Stderr, foreignMain(false, foreign{}))
	case "newer":
		fmt.Println("1|7|unix|/nowhere|grpc|")
		select {}
	case "pensive":
		fmt.Fprintln(os.Stderr, foreignMain(true, pensive{}))
	case "bloated":
		fmt.Fprintln(os.Stderr, foreignMain(true, bloated{}))
	case "brooding":
		_ = exec.Command("/bin/sleep", "300").Start()
		select {}
	case "deaf-child":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("ready")
		time.Sleep(5 * time.Minute)
	case "hog":
		hold(1 << 30)
		select {}
	case "spinner":
		spin(context.Background())
	case "hub":
		hubMain()
	}
	os.Exit(0)
}

type config struct {
	Greeting string `json:"greeting" doc:"What to say." default:"hello" enum:"hello|die|fatal"`
	Dir      string `json:"dir" doc:"Where to leave traces."`
}

type state struct {
	Count int    `json:"count"`
	Text  string `json:"text,omitempty"`
}

type conn struct {
	dir string
	log *slog.Logger
}

func connectorMain() {
	plugin.Plugin[config, state]{
		Info: plugin.Info{Name: "traces", Version: "1.2.3", Summary: "leaves traces", Events: []string{"tenant.*"}, Order: plugin.PerSubject, Coalesce: true, Counts: true, KeepsHistory: true},
		Open: func(_ context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
			switch cfg.Greeting {
			case "die":
				return nil, errors.New("cannot say die: say hello")
			case "fatal":
				fmt.Fprintln(os.Stderr, "out of luck")
				os.Exit(4)
			}
			return conn{cfg.Dir, log}, nil
		},
	}.Main()
}

func (c conn) trace(name, text string) error {
	return os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600)
}

func (c conn) Close() error { return c.trace("closed", "") }

func (c conn) Deliver(ctx context.Context, ev plugin.Event, st *state) error {
	st.Count++
	switch ev.Type {
	case "env":
		return plugin.Skip(strings.Join(os.Environ(), "\n"))
	case "files":
		var open []string
		links, err := filepath.Glob("/proc/self/fd/*")
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil {
				open = append(open, to)
			}
		}
		return errors.Join(plugin.Skip(strings.Join(open, "\n")), err)
	case "dir":
		wd, err := os.Getwd()
		return errors.Join(plugin.Skip(wd), err)
	case "pid":
		return plugin.Skip(strconv.Itoa(os.Getpid()))
	case "log":
		c.log.Debug("d", "n", 1)
		c.log.Warn("w", "level", "mine", "plugin", "spoofed")
		c.log.Error("e\x1b[31m\nforged")
		slog.Info("through slog")
		log.Print("through log")
		fmt.Println("through stdout")
		fmt.Fprintln(os.Stderr, "through os.Stderr")
		_, _ = syscall.Write(2, []byte("raw\n{\"@message\":5,\"@level\":[]}\n{\"@message\":\"x\",\"@level\":\"panic\"}\n"))
		_, _ = syscall.Write(2, bytes.Repeat([]byte("long"), maxLineBytes))
		_, _ = syscall.Write(2, []byte("\nafter the long one\n"))
		_, _ = syscall.Write(1, []byte("raw stdout\n"))
	case "slow":
		if err := c.trace("inside", ""); err != nil {
			return err
		}
		for {
			if _, err := os.Stat(filepath.Join(c.dir, "release")); err == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Millisecond):
			}
		}
	case "crash":
		go panic("a goroutine of the connector's own")
		select {}
	case "child":
		// A grandchild that outlives its parent unless its group is killed, and
		// holds the parent's standard error open.
		cmd := exec.Command("/bin/sleep", "300")
		cmd.Stderr = os.NewFile(2, "stderr")
		if err := cmd.Start(); err != nil {
			return err
		}
		return plugin.Skip(strconv.Itoa(cmd.Process.Pid))
	case "freeze":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done()
	case "reject":
		return plugin.Reject(errors.New("bad"))
	case "after":
		return plugin.RetryAfter(time.Second, errors.New("slow down"))
	}
	return c.greedy(ctx, ev, st)
}

// hubMain runs a supervisor until it is killed, and tells the connector's pid.
func hubMain() {
	spec := Spec{Name: "orphan", Command: []string{os.Args[0]}, Env: map[string]string{modeVar: os.Getenv("CONNECTOR")},
		Config: json.RawMessage(fmt.Sprintf(`{"dir":%q}`, os.Getenv("TRACES")))}
	s := New(spec, Options{RunDir: os.Getenv("RUN_DIR"), Log: zerolog.Nop(), timing: timing{noDeathSignal: os.Getenv("LEASH_ONLY") != ""}})
	go func() { _ = s.Run(context.Background()) }()
	if err := s.WaitReady(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(s.Status().PID)
	if os.Getenv("BUSY") != "" {
		_, _ = s.Deliver(context.Background(), batchOf("a:slow"))
	}
	select {}
}

// rig is a supervisor that runs, with the places that its connector writes to.
type rig struct {
	*Supervisor
	traces, runDir string
	logs           *logBuffer
	changes        chan Status
	stop           func()
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) lines(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range bytes.Lines(l.b.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("log line %.200q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

// find waits for a log line with a message.
func (l *logBuffer) find(t *testing.T, message string) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, "log line "+message, func() bool {
		for _, line := range l.lines(t) {
			if line["message"] == message {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// shortDir is a folder whose path is short enough for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "av")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func testSpec(t *testing.T, mode string) (Spec, string) {
	t.Helper()
	traces := t.TempDir()
	cfg, _ := json.Marshal(config{Dir: traces, Greeting: "hello"})
	return Spec{Name: "traces", Command: []string{os.Args[0]}, Env: map[string]string{modeVar: mode}, Config: cfg}, traces
}

func quick() timing {
	return timing{
		pingEvery: 50 * time.Millisecond, pingWithin: time.Second,
		crash:  backoff{base: 20 * time.Millisecond, max: 100 * time.Millisecond},
		reject: backoff{base: 50 * time.Millisecond, max: 200 * time.Millisecond},
	}
}

// run starts a supervisor for the spec and ends it with the test.
func run(t *testing.T, spec Spec, traces string, tm timing) *rig {
	t.Helper()
	return runWith(t, spec, traces, Options{timing: tm})
}

// runWith is run with more options.
func runWith(t *testing.T, spec Spec, traces string, opts Options) *rig {
	t.Helper()
	r := &rig{traces: traces, runDir: shortDir(t), logs: &logBuffer{}, changes: make(chan Status, 1000)}
	opts.Log, opts.RunDir, opts.OnChange = zerolog.New(r.logs), r.runDir, func(s Status) { r.changes <- s }
	r.Supervisor = New(spec, opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("Run did not return within 30 s")
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

// running is run, waiting until the connector takes batches.
func running(t *testing.T) *rig {
	t.Helper()
	spec, traces := testSpec(t, "connector")
	r := run(t, spec, traces, quick())
	r.ready(t)
	return r
}

func (r *rig) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		t.Fatalf("%v; status %+v", err, r.Status())
	}
}

// deliver hands over a batch, again while there is no connector.
func (r *rig) deliver(t *testing.T, words ...string) *pluginpb.DeliverResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		r.ready(t)
		resp, err := r.Deliver(ctx, batchOf(words...))
		if err == nil {
			return resp
		}
		if !errors.Is(err, ErrNotRunning) && !errors.Is(err, ErrCrashed) && !errors.Is(err, ErrEnded) {
			t.Fatal(err)
		}
	}
}

// reason delivers one event of a type and returns its verdict's reason.
func (r *rig) reason(t *testing.T, typ string) string {
	t.Helper()
	return r.deliver(t, "k:"+typ).GetVerdicts()[0].GetReason()
}

func (r *rig) pid(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(r.reason(t, "pid"))
	if err != nil || pid <= 1 {
		t.Fatal(pid, err)
	}
	return pid
}

// await waits for a status.
func (r *rig) await(t *testing.T, what string, ok func(Status) bool) Status {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case s := <-r.changes:
			if ok(s) {
				return s
			}
		case <-timeout:
			t.Fatalf("waited 30 s for: %s; status %+v", what, r.Status())
		}
	}
}

func batchOf(words ...string) *pluginpb.DeliverRequest {
	req := &pluginpb.DeliverRequest{States: map[string][]byte{}}
	for i, w := range words {
		key, typ, _ := strings.Cut(w, ":")
		req.Events = append(req.Events, &pluginpb.Event{Id: strconv.Itoa(i), Type: typ, Key: key, Position: int64(i + 1), Data: []byte(`{}`)})
	}
	return req
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for: %s", what)
		}
	}
}

// gone tells whether a process has ended; a zombie that nobody reaps has.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == syscall.ESRCH
	}
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	return bytes.HasPrefix(bytes.TrimSpace(after), []byte("Z"))
}

// stopped tells whether a process stands still.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.HasPrefix(bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:]), []byte("T"))
}
