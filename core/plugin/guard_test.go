package plugin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestChildrenThatIgnoreSignalsEndWithTheConnector(t *testing.T) {
	t.Parallel()
	r := running(t)
	child, err := strconv.Atoi(r.reason(t, "deaf-child"))
	if err != nil || child <= 1 {
		t.Fatal(child, err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(child, signal); err != nil {
			t.Fatal(err)
		}
	}
	if gone(child) {
		t.Fatal("it does not ignore signals, so this proves nothing")
	}
	r.stop()
	eventually(t, "the end of the child", func() bool { return gone(child) })
}

// A frozen connector answers nothing and ends at no word. Its neighbour must not
// notice.
func TestLaw7_AFrozenConnectorDisturbsNoOther(t *testing.T) {
	t.Parallel()
	frozen, other := running(t), running(t)
	pid := frozen.pid(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	slowest := time.Duration(0)
	for !gone(pid) {
		began := time.Now()
		other.deliver(t, "a:ok")
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 10*quick().pingWithin {
		t.Errorf("a call of the other one took %s", slowest)
	}
	if st := other.Status(); st.Restarts != 0 {
		t.Errorf("the other one: %+v", st)
	}
	st := frozen.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
	if !strings.Contains(st.Reason, "no sign of life") {
		t.Errorf("%+v", st)
	}
	frozen.deliver(t, "a:ok")
}

func TestLaw11_NothingOfTheHubsEnvironmentReachesAConnector(t *testing.T) {
	// Not parallel: it changes the environment of the whole process.
	t.Setenv("AVHUB_ADMIN_TOKEN", "canary-of-the-hub")
	mine, _ := testSpec(t, "connector")
	mine.Env["STRIPE_KEY"] = "canary-of-another"
	theirs, traces := testSpec(t, "connector")
	r := run(t, mine, traces, quick())
	r.ready(t)
	other := run(t, theirs, traces, quick())
	if env := other.reason(t, "env"); strings.Contains(env, "canary") {
		t.Errorf("it sees\n%s", env)
	}
	if env := r.reason(t, "env"); !strings.Contains(env, "canary-of-another") || strings.Contains(env, "canary-of-the-hub") {
		t.Errorf("it sees\n%s", env)
	}
}

func TestMessagesHaveTheSameLimitInBothDirections(t *testing.T) {
	t.Parallel()
	r := running(t)
	big := func(n int) *pluginpb.DeliverRequest {
		req := batchOf("a:echo")
		req.Events[0].Data = append(append([]byte(`"`), bytes.Repeat([]byte("x"), n)...), '"')
		return req
	}
	// Well over gRPC's own 4 MiB, there and back.
	resp, err := r.Deliver(t.Context(), big(10<<20))
	if err != nil || resp.GetVerdicts()[0].GetReason() != "10485762" {
		t.Fatalf("%v %.100v", err, resp)
	}
	var states []string
	for i := range 150 {
		states = append(states, strconv.Itoa(i)+":remember=60000")
	}
	resp, err = r.Deliver(t.Context(), batchOf(states...))
	if size := 0; err == nil {
		for _, state := range resp.GetStates() {
			size += len(state)
		}
		if size < 8<<20 {
			t.Errorf("%d states of %d bytes", len(resp.GetStates()), size)
		}
	} else {
		t.Error(err)
	}
	// Beyond the limit it is an error of the call, and of nothing else.
	_, err = r.Deliver(t.Context(), big(plugin.MaxMessageBytes))
	if status.Code(errors.Unwrap(err)) != codes.ResourceExhausted || errors.Is(err, ErrCrashed) {
		t.Errorf("%v", err)
	}
	r.deliver(t, "a:ok")
	if st := r.Status(); st.Restarts != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAnAnswerThatIsTooLargeIsNotTakenIn(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "bloated")
	r := run(t, spec, traces, quick())
	r.ready(t)
	_, err := r.Deliver(t.Context(), batchOf("a:ok"))
	if status.Code(errors.Unwrap(err)) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	if st := r.Status(); st.State != Running || st.Restarts != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAFrozenConnectorIsConfiguredAndDeliveredToWithinTheirTime(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	tm := quick()
	tm.pingEvery, tm.configure, tm.drain, tm.kill = time.Hour, 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	r := run(t, spec, traces, tm)
	pid := r.pid(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connector is frozen", func() bool { return stopped(pid) })
	if _, err := r.Reconfigure(t.Context(), r.config("hello", traces)); status.Code(errors.Unwrap(err)) != codes.DeadlineExceeded {
		t.Errorf("Reconfigure: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.Deliver(ctx, batchOf("a:ok")); status.Code(errors.Unwrap(err)) != codes.DeadlineExceeded {
		t.Errorf("Deliver: %v", err)
	}
	r.Restart("it is frozen")
	if next := r.pid(t); next == pid || !gone(pid) {
		t.Errorf("process %d after %d", next, pid)
	}
}

func TestAFolderOfSocketsIsPrivate(t *testing.T) {
	t.Parallel()
	r := running(t)
	folders := 0
	for _, pattern := range []string{"/*", "/*/*", "/*/*/plugin-dir*"} {
		found, err := filepath.Glob(r.runDir + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			info, err := os.Stat(path)
			if err != nil || !info.IsDir() {
				continue
			}
			folders++
			if info.Mode().Perm() != 0o700 {
				t.Errorf("%s has %s", path, info.Mode())
			}
		}
	}
	if folders < 2 {
		t.Errorf("%d folders found", folders)
	}
}
