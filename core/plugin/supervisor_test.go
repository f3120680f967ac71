package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestAConnectorIsDescribedConfiguredAndDeliveredTo(t *testing.T) {
	t.Parallel()
	r := running(t)
	info, ok := r.Info()
	if !ok || info.Name != "traces" || info.Version != "1.2.3" || info.Order != PerSubject || !info.Coalesce || !info.Counts || !info.KeepsHistory || info.Notifies ||
		!slices.Equal(info.Events, []string{"tenant.*"}) || !json.Valid(info.ConfigSchema) {
		t.Errorf("%+v %v", info, ok)
	}
	req := batchOf("a:ok", "a:ok", "b:reject", "c:after", "c:ok")
	req.States["a"] = []byte(`{"count":40}`)
	resp, err := r.Deliver(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, v := range resp.GetVerdicts() {
		kinds = append(kinds, strings.TrimPrefix(v.GetKind().String(), "KIND_"))
	}
	if got, want := strings.Join(kinds, " "), "APPLIED APPLIED REJECT RETRY HELD"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if v := resp.GetVerdicts()[3]; !v.GetThrottled() || v.GetRetryAfterMs() != 1000 || v.GetReason() != "slow down" {
		t.Errorf("%v", v)
	}
	if got := string(resp.GetStates()["a"]); got != `{"count":42}` {
		t.Errorf("state %s", got)
	}
	st := r.await(t, "running", func(s Status) bool { return s.State == Running })
	if st.PID != r.pid(t) || st.Version != "1.2.3" || st.Restarts != 0 {
		t.Errorf("%+v", st)
	}
	r.stop()
	if st := r.Status(); st.State != Stopped || st.PID != 0 {
		t.Errorf("%+v", st)
	}
	if !gone(st.PID) {
		t.Error("the process outlived Run")
	}
	if _, err := r.Deliver(t.Context(), req); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after Run: %v", err)
	}
	if err := r.WaitReady(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after Run: %v", err)
	}
	if err := r.Run(t.Context()); err == nil {
		t.Error("Run ran twice")
	}
	if _, err := os.Stat(filepath.Join(r.traces, "closed")); err != nil {
		t.Error("the connector was not closed")
	}
	if left, _ := os.ReadDir(r.runDir); len(left) != 0 {
		t.Errorf("left in the socket folder: %v", left)
	}
}

func TestLaw11_TheProcessSeesOnlyItsOwnEnvironment(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	spec.Env["STRIPE_KEY"] = "mine"
	spec.Env["AVHUB_PLUGIN"] = "not the cookie"
	spec.Dir = traces
	r := run(t, spec, traces, quick())
	var names []string
	for line := range strings.Lines(r.reason(t, "env")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.ToUpper(name) == name && !strings.HasPrefix(value, " ") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		switch name {
		case modeVar, "STRIPE_KEY", "AVHUB_PLUGIN":
		default:
			if !strings.HasPrefix(name, "PLUGIN_") {
				t.Errorf("the connector sees %s", name)
			}
		}
	}
	if !slices.Contains(names, "STRIPE_KEY") {
		t.Errorf("the connector does not see its own: %v", names)
	}
	if wd := r.reason(t, "dir"); wd != traces {
		t.Errorf("working directory %s", wd)
	}
}

func TestLaw7_AKilledConnectorIsStartedAgain(t *testing.T) {
	t.Parallel()
	r := running(t)
	pid := r.pid(t)
	for range 3 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		st := r.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
		if !strings.Contains(st.Reason, "signal: killed") {
			t.Errorf("reason %q", st.Reason)
		}
		next := r.pid(t)
		if next == pid {
			t.Fatal("the dead process answered")
		}
		pid = next
	}
	if st := r.Status(); st.State != Running || st.Restarts != 3 || st.PID != pid {
		t.Errorf("%+v", st)
	}
}

func TestADeathInTheMiddleOfABatchIsToldAsSuch(t *testing.T) {
	t.Parallel()
	r := running(t)
	_, err := r.Deliver(t.Context(), batchOf("a:crash"))
	if !errors.Is(err, ErrCrashed) || !strings.Contains(err.Error(), "panic: a goroutine of the connector's own") {
		t.Errorf("%v", err)
	}
	line := r.logs.find(t, "panic: a goroutine of the connector's own")
	if line["level"] != "error" || line["plugin"] != "traces" {
		t.Errorf("%v", line)
	}
	r.deliver(t, "a:ok")
}

func TestAFrozenConnectorIsReplaced(t *testing.T) {
	t.Parallel()
	r := running(t)
	pid := r.pid(t)
	_, err := r.Deliver(t.Context(), batchOf("a:freeze"))
	if !errors.Is(err, ErrCrashed) {
		t.Errorf("%v", err)
	}
	st := r.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
	if !strings.Contains(st.Reason, "does not answer: no sign of life for ") {
		t.Errorf("reason %q", st.Reason)
	}
	if next := r.pid(t); next == pid || !gone(pid) {
		t.Errorf("pid %d after %d", next, pid)
	}
}

func TestAConnectorThatIsFrozenStopsWithTheHub(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	tm := quick()
	tm.pingEvery, tm.drain, tm.kill = time.Hour, 100*time.Millisecond, 100*time.Millisecond
	r := run(t, spec, traces, tm)
	pid := r.pid(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if !gone(pid) {
		t.Error("the frozen process is still there")
	}
}

func TestChildrenOfAConnectorEndWithIt(t *testing.T) {
	t.Parallel()
	r := running(t)
	child, err := strconv.Atoi(r.reason(t, "child"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(r.pid(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the connector's child", func() bool { return gone(child) })
	r.deliver(t, "a:ok")
}

func TestStoppingLetsWhatIsInFlightFinish(t *testing.T) {
	t.Parallel()
	r := running(t)
	type answer struct {
		resp *pluginpb.DeliverResponse
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := r.Deliver(context.Background(), batchOf("a:slow", "a:ok"))
		got <- answer{resp, err}
	}()
	eventually(t, "the slow event", func() bool { _, err := os.Stat(filepath.Join(r.traces, "inside")); return err == nil })
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	eventually(t, "the begin of the drain", func() bool {
		_, err := r.Deliver(t.Context(), batchOf("b:ok"))
		return errors.Is(err, ErrNotRunning)
	})
	if err := os.WriteFile(filepath.Join(r.traces, "release"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := <-got
	<-stopped
	if a.err != nil || a.resp.GetVerdicts()[0].GetKind() != pluginpb.Verdict_KIND_APPLIED || a.resp.GetVerdicts()[1].GetKind() != pluginpb.Verdict_KIND_HELD {
		t.Errorf("%v %v", a.resp, a.err)
	}
	if _, err := os.Stat(filepath.Join(r.traces, "closed")); err != nil {
		t.Error("the connector was not closed")
	}
}

func TestARejectedConfigurationIsAStatusWithPaths(t *testing.T) {
	t.Parallel()
	for cfg, want := range map[string]string{
		`{"greeting":"moin","dri":"x"}`: `greeting: `,
		`{"greeting":"die"}`:            "cannot say die: say hello",
		`[`:                             "not valid JSON",
	} {
		spec, traces := testSpec(t, "connector")
		spec.Config = json.RawMessage(cfg)
		r := run(t, spec, traces, quick())
		for range 2 { // and it is tried again
			st := r.await(t, "misconfigured", func(s Status) bool { return s.State == Misconfigured })
			if !strings.Contains(st.Reason, want) || st.PID != 0 || st.Version != "1.2.3" {
				t.Errorf("%s: %+v", cfg, st)
			}
		}
		if _, err := r.Deliver(t.Context(), batchOf("a:ok")); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v", cfg, err)
		}
	}
}

func TestAProgramThatIsNoConnectorIsAStatusWithTheReason(t *testing.T) {
	t.Parallel()
	notExecutable := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(notExecutable, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, mode, command, want string
	}{
		{"exits", "exits", os.Args[0], "exit status 3: cannot open /etc/secret-place: permission denied"},
		{"silent", "silent", os.Args[0], "no handshake within 1s"},
		{"mute", "mute", os.Args[0], "it closed its output before the handshake: is this program an avhub connector?"},
		{"missing", "", "/no/such/program", "no such file"},
		{"not in PATH", "", "no-such-program-at-all", "not found in $PATH"},
		{"not executable", "", notExecutable, "permission denied"},
		{"nothing", "", "", "no command"},
		{"a shell tool", "", "true", "ended before the handshake: exit status 0"},
		{"dies in Open", "connector", os.Args[0], "the plugin's process ended: exit status 4: out of luck"},
		{"lies about its address", "liar", os.Args[0], "nowhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			spec, traces := testSpec(t, tc.mode)
			spec.Command = []string{tc.command}
			spec.Config = json.RawMessage(`{"greeting":"fatal"}`)
			tm := quick()
			tm.start = time.Second
			r := run(t, spec, traces, tm)
			st := r.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
			if !strings.Contains(st.Reason, tc.want) || strings.Contains(st.Reason, "\n") {
				t.Errorf("reason %q", st.Reason)
			}
			r.stop()
			if left, _ := os.ReadDir(r.runDir); len(left) != 0 {
				t.Errorf("left in the socket folder: %v", left)
			}
		})
	}
}

func TestWhatAConnectorPrintsIsLoggedWithItsLevelAndCannotForge(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "noisy")
	r := run(t, spec, traces, quick())
	r.deliver(t, "a:log")
	for message, want := range map[string]map[string]any{
		"d":                                    {"level": "debug", "n": 1.0, "plugin": "traces"},
		"w":                                    {"level": "warn", "plugin.level": "mine", "plugin.plugin": "spoofed", "plugin": "traces"},
		"e [31m forged":                        {"level": "error"},
		"through slog":                         {"level": "info"},
		"through log":                          {"level": "info"},
		"through stdout":                       {"level": "debug", "stream": "stdout"},
		"through os.Stderr":                    {"level": "info", "stream": "stderr"},
		"raw":                                  {"level": "info", "stream": "stderr"},
		"x":                                    {"level": "info"},
		"after the long one":                   {"level": "info"},
		"raw stdout":                           {"level": "debug", "stream": "stdout"},
		"starting up":                          {"level": "debug", "stream": "stdout"},
		"no newline here":                      {"level": "debug", "stream": "stdout"},
		strings.Repeat("long", maxLineBytes/4): {"level": "info"},
		strings.Repeat("x", maxLineBytes):      {"level": "debug"},
		`{"@message":5,"@level":[]}`:           {"level": "info"},
		"the plugin is running":                {"level": "info", "version": "1.2.3"},
	} {
		line := r.logs.find(t, message)
		for k, v := range want {
			if line[k] != v {
				t.Errorf("%.40q: %s is %v, want %v", message, k, line[k], v)
			}
		}
	}
}

func TestLaw7_AConnectorEndsWhenItsHubIsKilled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		connector string
		env       []string
		busy      bool
	}{
		{"by the death signal", "deaf", nil, false},
		{"by the leash", "connector", []string{"LEASH_ONLY=1"}, false},
		{"by the leash, while busy", "connector", []string{"LEASH_ONLY=1", "BUSY=1"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.connector == "deaf" && runtime.GOOS != "linux" {
				t.Skip("there is no death signal on this system")
			}
			runDir, traces := shortDir(t), t.TempDir()
			hub := exec.Command(os.Args[0])
			hub.Env = append(tc.env, modeVar+"=hub", "RUN_DIR="+runDir, "TRACES="+traces, "CONNECTOR="+tc.connector)
			hub.Stderr = os.Stderr
			out, err := hub.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := hub.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = hub.Process.Kill(); _ = hub.Wait() })
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || pid <= 1 { // 0 would be this test's own group
				t.Fatalf("the hub says that the connector's pid is %q", line)
			}
			t.Cleanup(func() {
				if !gone(pid) {
					_ = syscall.Kill(-pid, syscall.SIGKILL)
				}
			})
			if tc.busy {
				eventually(t, "the slow event", func() bool { _, err := os.Stat(filepath.Join(traces, "inside")); return err == nil })
			}
			if gone(pid) {
				t.Fatal("the connector is not there to begin with")
			}
			if err := hub.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end of the connector", func() bool { return gone(pid) })
			_ = hub.Wait() // only then its locks are free

			// What the dead hub left is swept by the next one.
			if left, _ := filepath.Glob(filepath.Join(runDir, "*", "*", "*")); len(left) == 0 {
				t.Fatal("the dead hub left nothing to sweep, so this proves nothing")
			}
			spec, _ := testSpec(t, "connector")
			spec.Name = "orphan"
			s := New(spec, Options{RunDir: runDir})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			if err := s.WaitReady(ctx); err != nil {
				t.Fatal(err)
			}
			if starts, _ := filepath.Glob(filepath.Join(runDir, "*", "*")); len(starts) != 1 {
				t.Errorf("folders of starts: %v", starts)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(runDir); len(left) != 0 {
				t.Errorf("left in the socket folder: %v", left)
			}
		})
	}
}

func TestAHubDoesNotSweepTheSocketsOfAnotherOne(t *testing.T) {
	t.Parallel()
	runDir := shortDir(t)
	first, err := newSocketDir(runDir, "p")
	if err != nil {
		t.Fatal(err)
	}
	second, err := newSocketDir(runDir, "p")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.path); err != nil {
		t.Errorf("the first hub's folder: %v", err)
	}
	info, err := os.Stat(second.path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	first.remove()
	second.remove()
	if left, _ := os.ReadDir(runDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestASocketFolderThatCannotBeUsedIsRefusedWithTheWayOut(t *testing.T) {
	t.Parallel()
	runDir := shortDir(t)
	dir, err := newSocketDir(runDir, "p")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir.path), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := newSocketDir(runDir, "p"); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a folder that others can enter: %v", err)
	}
	dir.remove()
	long := filepath.Join(runDir, strings.Repeat("x", 80))
	if _, err := newSocketDir(long, "p"); err == nil || !strings.Contains(err.Error(), "choose a shorter folder") {
		t.Errorf("a folder with a long path: %v", err)
	}
}

func TestPausesGrowToTheirCeilingAndStartAnew(t *testing.T) {
	t.Parallel()
	b := backoff{base: 250 * time.Millisecond, max: time.Minute}
	longest := func(n int) (d time.Duration) {
		for range 2000 {
			c := b
			c.tries = n
			p := c.next()
			if p < minPause {
				t.Fatalf("a pause of %s", p)
			}
			d = max(d, p)
		}
		return d
	}
	for n, ceiling := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		if d := longest(n); d > ceiling || d < ceiling*9/10 {
			t.Errorf("after %d tries: up to %s, want %s", n, d, ceiling)
		}
	}
	for range 1000 {
		if d := b.next(); d > b.max {
			t.Fatalf("%s is over the ceiling", d)
		}
	}
	if d := longest(b.tries); d < 50*time.Second {
		t.Errorf("after 1000 tries: only up to %s", d)
	}
	b.reset()
	if d := b.next(); d > b.base {
		t.Errorf("after a reset: %s", d)
	}
}

func TestCheckAsksWithoutOpening(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	opts := Options{RunDir: shortDir(t)}
	spec.Config = json.RawMessage(fmt.Sprintf(`{"greeting":"moin","dir":%q}`, traces))
	diags, info, err := Check(t.Context(), spec, opts)
	if err != nil || info.Name != "traces" || len(diags) != 1 || diags[0].Path != "greeting" || diags[0].Severity != SeverityError {
		t.Errorf("%v %+v %v", diags, info, err)
	}
	spec.Config = json.RawMessage(fmt.Sprintf(`{"greeting":"fatal","dir":%q}`, traces))
	diags, _, err = Check(t.Context(), spec, opts)
	if err != nil || len(diags) != 0 {
		t.Errorf("%v %v", diags, err)
	}
	if left, _ := os.ReadDir(opts.RunDir); len(left) != 0 {
		t.Errorf("left in the socket folder: %v", left)
	}
	spec.Env[modeVar] = "exits"
	if _, _, err := Check(t.Context(), spec, opts); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec.Env[modeVar] = "silent"
	if _, _, err := Check(ctx, spec, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
