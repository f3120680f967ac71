package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/plugintest"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

type notifyConfig struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
}

// notified is what notify POSTs to. One that is forgetful does not look at
// idempotency keys.
func notified(forgetful bool) plugintest.World[notifyConfig] {
	return func(t testing.TB) (notifyConfig, func() any) {
		var mu sync.Mutex
		seen, got := map[string]bool{}, map[string]int{}
		server := plugintest.NewServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var body struct{ ID string }
			_ = json.NewDecoder(r.Body).Decode(&body) // the kit sends nothing else
			mu.Lock()
			defer mu.Unlock()
			if key := r.Header.Get("Idempotency-Key"); forgetful || !seen[key] {
				seen[key] = true
				got[body.ID]++
			}
		}))
		return notifyConfig{server.URL + "/canary-hook", map[string]string{"Authorization": "Bearer canary-token"}}, func() any {
			mu.Lock()
			defer mu.Unlock()
			return got
		}
	}
}

func runVerify(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "avhub"), append([]string{"plugin", "verify"}, args...)...)
	cmd.Env = environ()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code is what is asked for
	if ctx.Err() != nil {
		t.Fatalf("it did not end in time: %s%s", stdout.String(), stderr.String())
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestVerifyJudgesABinaryInAFakeWorld(t *testing.T) {
	t.Parallel()
	world := plugintest.ServeWorld(t, notified(false))
	code, out, said := runVerify(t, "--json", "--seed", "5", "--histories", "2", "--world", world.URL, program(t, "avhub-notify"))
	var r laws.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s%s", err, out, said)
	}
	if code != exitDone || !r.OK || r.Connector != "notify" || r.Seed != 5 || len(r.Results) != 14 {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	for _, law := range r.Results {
		want := laws.Held
		switch law.Number {
		case 6, 10, 14: // it notifies, and never answers again
			want = laws.Undecided
		}
		if law.Outcome != want || want == laws.Undecided && law.Why == "" {
			t.Errorf("law %d: %s (%s), want %s", law.Number, law.Outcome, law.Why, want)
		}
	}
}

func TestVerifyTellsWhatBreaksALawAndHowToRepeatIt(t *testing.T) {
	t.Parallel()
	world := plugintest.ServeWorld(t, notified(true))
	code, out, said := runVerify(t, "--seed", "5", "--histories", "2", "--law", "2", "--law", "3", "--world", world.URL, program(t, "avhub-notify"))
	if code != exitFailed || said != "" {
		t.Errorf("exit %d: %s", code, said)
	}
	for _, want := range []string{
		"✗   2  A history that is delivered twice", "✓   3  ", "law 2 is broken: ", `+   "evt_`, "the shortest history found:\n    1  ",
		"notify 1.0.0: 1 law kept, 1 broken, 0 not decided; seed 5", "--seed 5",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "canary") {
		t.Errorf("a secret got out:\n%s", out)
	}
}

func TestWithoutAWorldVerifyJudgesWhatTheWireShows(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "connector.yaml")
	if err := os.WriteFile(file, []byte("headers: {Authorization: canary-token}\nurl: http://127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, said := runVerify(t, "--config", file, "--set", "url="+server.URL, "--histories", "1", program(t, "avhub-notify"))
	if code != exitDone || said != "" {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	for _, n := range []string{"✓   1", "–   2", "–   4", "–   5", "✓   8", "–   9", "✓  11", "✓  12", "✓  13", "5 laws kept, 0 broken, 9 not decided"} {
		if !strings.Contains(out, n) {
			t.Errorf("%q is missing in:\n%s", n, out)
		}
	}
}

func TestVerifySaysWhatKeepsItFromJudging(t *testing.T) {
	t.Parallel()
	notify := program(t, "avhub-notify")
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("- canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "program is missing"},
		{[]string{"--law", "15", notify}, exitUsage, "no law 15"},
		{[]string{"--histories", "0", notify}, exitUsage, "--histories"},
		{[]string{"--env", "PATH", notify}, exitUsage, "--env takes NAME=value"},
		{[]string{"--set", "canary", notify}, exitUsage, "--set takes path=value"},
		{[]string{"--world", "127.0.0.1:1", notify}, exitUsage, "must be a URL"},
		{[]string{"--world", "http://127.0.0.1:1", "--set", "url=canary", notify}, exitUsage, "of no use beside it"},
		{[]string{"--world", "http://127.0.0.1:1", notify}, exitFailed, "is the world running?"},
		{[]string{"--config", broken, notify}, exitFailed, "neither JSON nor YAML"},
		{[]string{"--config", broken + "x", notify}, exitFailed, "no such file"},
		{[]string{notify}, exitFailed, "rejects the configuration"},
		{[]string{"--set", "url=http://127.0.0.1:1/canary", notify}, exitFailed, "connection refused"},
		{[]string{"/bin/true"}, exitFailed, "ended before the handshake"},
		{[]string{"/there/is/none"}, exitFailed, "finding the plugin's program"},
	} {
		code, out, said := runVerify(t, c.args...)
		if code != c.code || out != "" || !strings.Contains(said, c.want) || strings.Contains(said, "canary") {
			t.Errorf("%v: exit %d, %s%s", c.args, code, out, said)
		}
	}
}

// Whoever interrupts it broke the call, not the connector.
func TestAnInterruptedVerifyBlamesNobody(t *testing.T) {
	t.Parallel()
	world := plugintest.ServeWorld(t, notified(false))
	cmd := exec.CommandContext(t.Context(), program(t, "avhub"), "plugin", "verify", "--histories", "20", "--world", world.URL, program(t, "avhub-notify"))
	cmd.Env = environ()
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(deadline, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	lines := bufio.NewScanner(out)
	lines.Scan() // the first law is through
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	all := lines.Text()
	for lines.Scan() {
		all += lines.Text()
	}
	_ = cmd.Wait() // the exit code is what is asked for
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || strings.Contains(all, "✗") || !strings.Contains(said.String(), "interrupted") {
		t.Errorf("exit %d: %s%s", code, all, said.String())
	}
}
