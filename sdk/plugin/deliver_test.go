package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestVerdictsReachTheWireThroughWrapping(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	verdicts := map[string]error{
		"nil":       nil,
		"plain":     boom,
		"skip":      Skip("not ours"),
		"reject":    fmt.Errorf("creating: %w", Reject(boom)),
		"nilreject": Reject(nil),
		"after":     fmt.Errorf("a: %w", fmt.Errorf("b: %w", RetryAfter(1500*time.Microsecond, boom))),
		"afterzero": RetryAfter(0, boom),
		"halt":      errors.Join(boom, Halt(boom)),
		"again":     Again(),
		"outer":     Reject(RetryAfter(time.Hour, boom)),
		"badutf8":   errors.New("a\xffb"),
		"long":      errors.New(strings.Repeat("ä", 100_000)),
	}
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, ev Event, _ *testState) error {
		return verdicts[ev.Type]
	}}))
	for _, tc := range []struct {
		typ       string
		kind      pluginpb.Verdict_Kind
		reason    string
		ms        int64
		throttled bool
	}{
		{"nil", pluginpb.Verdict_KIND_APPLIED, "", 0, false},
		{"plain", pluginpb.Verdict_KIND_RETRY, "boom", 0, false},
		{"skip", pluginpb.Verdict_KIND_SKIPPED, "not ours", 0, false},
		{"reject", pluginpb.Verdict_KIND_REJECT, "creating: boom", 0, false},
		{"nilreject", pluginpb.Verdict_KIND_REJECT, "rejected without a reason", 0, false},
		{"after", pluginpb.Verdict_KIND_RETRY, "a: b: boom", 2, true},
		{"afterzero", pluginpb.Verdict_KIND_RETRY, "boom", 0, false},
		{"halt", pluginpb.Verdict_KIND_HALT, "boom\nboom", 0, false},
		{"again", pluginpb.Verdict_KIND_AGAIN, "again, with the state saved", 0, false},
		{"outer", pluginpb.Verdict_KIND_REJECT, "boom", 0, false},
		{"badutf8", pluginpb.Verdict_KIND_RETRY, "a\uFFFDb", 0, false},
		{"long", pluginpb.Verdict_KIND_RETRY, strings.Repeat("ä", maxReasonBytes/2) + "…", 0, false},
	} {
		v := r.mustDeliver(t, batchOf("k:"+tc.typ)).GetVerdicts()[0]
		if v.GetKind() != tc.kind || v.GetReason() != tc.reason || v.GetRetryAfterMs() != tc.ms || v.GetThrottled() != tc.throttled {
			t.Errorf("%s: got %v", tc.typ, v)
		}
	}
}

func TestAfterAnUnsettledEventTheRestOfItsKeyIsHeld(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, ev Event, _ *testState) error {
		mu.Lock()
		seen[ev.Key]++
		mu.Unlock()
		switch ev.Type {
		case "retry":
			return errors.New("later")
		case "again":
			return Again()
		case "halt":
			return Halt(errors.New("revoked"))
		case "reject":
			return Reject(errors.New("bad"))
		case "skip":
			return Skip("no")
		}
		return nil
	}}))
	resp := r.mustDeliver(t, batchOf("a:retry", "b:ok", "a:ok", "c:again", "c:ok", "d:halt", "d:ok", "e:reject", "e:skip", "e:ok", "b:ok"))
	want := "RETRY APPLIED HELD AGAIN HELD HALT HELD REJECT SKIPPED APPLIED APPLIED"
	if got := kinds(resp); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if seen["a"] != 1 || seen["c"] != 1 || seen["d"] != 1 || seen["e"] != 3 {
		t.Errorf("held events were attempted: %v", seen)
	}
}

func TestAKeyIsSerialAndKeysRunConcurrently(t *testing.T) {
	t.Parallel()
	const keys = 4
	var mu sync.Mutex
	order := map[string][]int64{}
	inKey := map[string]bool{}
	meet := make(chan struct{})
	var arrived atomic.Int32
	r := serveConfigured(t, always(connector[testState]{deliver: func(ctx context.Context, ev Event, _ *testState) error {
		mu.Lock()
		if inKey[ev.Key] {
			t.Errorf("two Delivers at a time for %s", ev.Key)
		}
		inKey[ev.Key] = true
		order[ev.Key] = append(order[ev.Key], ev.Position)
		first := len(order[ev.Key]) == 1
		mu.Unlock()
		if first {
			// Passes only when all keys are in Deliver at once.
			if arrived.Add(1) == keys {
				close(meet)
			}
			select {
			case <-meet:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		mu.Lock()
		inKey[ev.Key] = false
		mu.Unlock()
		return nil
	}}))
	var words []string
	for range 20 {
		for k := range keys {
			words = append(words, fmt.Sprintf("k%d", k))
		}
	}
	resp := r.mustDeliver(t, batchOf(words...))
	if strings.Trim(kinds(resp), "APLIED ") != "" {
		t.Fatal(kinds(resp))
	}
	for k, got := range order {
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				t.Fatalf("%s: out of order: %v", k, got)
			}
		}
	}
}

func TestPanicRetriesTheEventWithTheStackInTheLogAndTheStateAsItWas(t *testing.T) {
	t.Parallel()
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, ev Event, st *testState) error {
		st.Seen++
		switch ev.Type {
		case "panic":
			panic("kaputt")
		case "exit":
			runtime.Goexit()
		}
		return nil
	}}))
	resp := r.mustDeliver(t, batchOf("a:ok", "a:panic", "a:ok", "b:ok", "c:exit", "c:ok"))
	if got, want := kinds(resp), "APPLIED RETRY HELD APPLIED RETRY HELD"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got := resp.GetVerdicts()[1].GetReason(); !strings.HasPrefix(got, "panic: kaputt\n  at ") || !strings.Contains(got, "deliver_test.go:") || strings.Contains(got, "runtime.") || strings.Count(got, "\n") > 6 {
		t.Errorf("reason %q", got)
	}
	if got := string(resp.GetStates()["a"]); got != `{"seen":1}` {
		t.Errorf("state of a: %s", got)
	}
	if _, ok := resp.GetStates()["c"]; ok {
		t.Error("a state was saved for an event that did not return")
	}
	lines := logLines(t, r.logs.String())
	if len(lines) != 1 || lines[0]["@level"] != "error" || !strings.Contains(fmt.Sprint(lines[0]["stack"]), "deliver_test.go") {
		t.Errorf("log: %v", lines)
	}
}

func TestStateTravelsWithEveryVerdictAndOnlyWhenItChanged(t *testing.T) {
	t.Parallel()
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, ev Event, st *testState) error {
		if st.lost != 0 {
			t.Error("a field that JSON does not carry survived an event")
		}
		st.lost = 1
		switch ev.Type {
		case "look":
			return nil
		case "forget":
			*st = testState{}
			return nil
		case "retry":
			st.Seen++
			return errors.New("later")
		case "reject":
			st.Seen++
			return Reject(errors.New("bad"))
		case "halt":
			st.Seen++
			return Halt(errors.New("stop"))
		case "again":
			st.Seen++
			return Again()
		case "skip":
			st.Seen++
			return Skip("no")
		}
		st.Seen++
		return nil
	}}))
	req := batchOf("new:ok", "new:ok", "same:look", "none:look", "gone:forget", "retry:retry", "reject:reject", "halt:halt", "again:again", "skip:skip", "zero:forget")
	for _, k := range []string{"same", "gone", "retry", "reject", "halt", "again", "skip"} {
		// Spaces, and a field of another version, to prove that an unchanged state
		// is recognized by what it means.
		req.States[k] = []byte(`{ "seen": 7, "of_another_version": true }`)
	}
	got := r.mustDeliver(t, req).GetStates()
	want := map[string]string{"new": `{"seen":2}`, "gone": "", "retry": `{"seen":8}`, "reject": `{"seen":8}`, "halt": `{"seen":8}`, "again": `{"seen":8}`, "skip": `{"seen":8}`}
	if len(got) != len(want) {
		t.Errorf("states of %d keys, want %d: %s", len(got), len(want), got)
	}
	for k, w := range want {
		if g, ok := got[k]; !ok || string(g) != w {
			t.Errorf("state of %s: %q (sent: %v), want %q", k, g, ok, w)
		}
	}
}

func TestAStateThatIsTooLargeOrUnreadableCostsOnlyItsOwnKey(t *testing.T) {
	t.Parallel()
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, ev Event, st *testState) error {
		st.Seen++
		switch ev.Type {
		case "big":
			st.Blob = strings.Repeat("x", MaxStateBytes)
			return errors.New("later")
		case "bighalt":
			st.Blob = strings.Repeat("x", MaxStateBytes)
			return Halt(errors.New("revoked"))
		}
		return nil
	}}))
	req := batchOf("a:ok", "a:big", "a:ok", "bad:ok", "bad:ok", "b:ok", "c:bighalt")
	req.States["bad"] = []byte(`{"seen":"many"}`)
	resp := r.mustDeliver(t, req)
	if got, want := kinds(resp), "APPLIED REJECT APPLIED RETRY HELD APPLIED HALT"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got := string(resp.GetStates()["a"]); got != `{"seen":2}` {
		t.Errorf("state of a: %.80s", got)
	}
	if got := resp.GetVerdicts()[1].GetReason(); !strings.Contains(got, "65556 bytes, and at most 65536 are kept") {
		t.Errorf("reason: %s", got)
	}
	reason := resp.GetVerdicts()[3].GetReason()
	if !strings.Contains(reason, `field "seen" must be int`) || strings.Contains(reason, "many") {
		t.Errorf("reason: %s", reason)
	}
	if _, ok := resp.GetStates()["bad"]; ok {
		t.Error("an unreadable state was overwritten")
	}
}

func TestABatchOfLargeStatesIsHeldBeforeItOutgrowsTheMessage(t *testing.T) {
	t.Parallel()
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, _ Event, st *testState) error {
		st.Blob = strings.Repeat("x", MaxStateBytes-100)
		return nil
	}}))
	words := make([]string, 256)
	for i := range words {
		words[i] = fmt.Sprintf("k%d", i)
	}
	got := strings.Fields(kinds(r.mustDeliver(t, batchOf(words...))))
	count := map[string]int{}
	for _, k := range got {
		count[k]++
	}
	if count["APPLIED"] < 180 || count["HELD"] == 0 || count["APPLIED"]+count["HELD"] != 256 {
		t.Errorf("verdicts: %v", count)
	}
}

func TestAtItsDeadlineABatchAnswersWithWhatItHas(t *testing.T) {
	t.Parallel()
	r := serveConfigured(t, always(connector[testState]{deliver: func(ctx context.Context, ev Event, st *testState) error {
		st.Seen++
		if ev.Type == "slow" {
			<-ctx.Done()
			return fmt.Errorf("calling: %w", ctx.Err())
		}
		return nil
	}}))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	resp, err := r.Deliver(ctx, batchOf("a:ok", "a:slow", "a:ok", "b:ok"))
	if err != nil {
		t.Fatalf("the answer came after the deadline, so every verdict in it is lost: %v", err)
	}
	if got, want := kinds(resp), "APPLIED RETRY HELD APPLIED"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(resp.GetStates()["a"]); got != `{"seen":2}` {
		t.Errorf("state of a: %s", got)
	}
}

func TestADeliverThatIgnoresItsDeadlineHoldsUpOnlyItsKeyAndNeverRunsTwice(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var running atomic.Int32
	// Without a connection, so that only the answer itself is looked at, however
	// slow the machine is.
	srv, err := newServer(always(connector[testState]{deliver: func(_ context.Context, ev Event, st *testState) error {
		st.Seen++
		if ev.Key == "stuck" {
			if running.Add(1) > 1 {
				t.Error("two Delivers at a time for one key")
			}
			<-release
			running.Add(-1)
		}
		return nil
	}}), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(`{"url":"x"}`)}); err != nil {
		t.Fatal(err)
	}
	deliver := func(ctx context.Context, words ...string) *pluginpb.DeliverResponse {
		resp, err := srv.Deliver(ctx, batchOf(words...))
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	resp := deliver(ctx, "stuck", "stuck", "a")
	if got, want := kinds(resp), "RETRY HELD APPLIED"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if _, ok := resp.GetStates()["stuck"]; ok {
		t.Error("the state of a Deliver that has not returned was sent")
	}
	resp = deliver(t.Context(), "stuck", "stuck", "a")
	if got, want := kinds(resp), "RETRY HELD APPLIED"; got != want {
		t.Fatalf("while it still runs: got %s, want %s", got, want)
	}
	if got := resp.GetVerdicts()[0].GetReason(); got != errBusy.Error() {
		t.Errorf("reason: %s", got)
	}
	close(release)
	for deadline := time.Now().Add(20 * time.Second); ; {
		resp = deliver(t.Context(), "stuck")
		if kinds(resp) == "APPLIED" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("20 s after it returned: %v", resp)
		}
	}
}

func TestALargeBatchFitsThroughTheMessageLimit(t *testing.T) {
	t.Parallel()
	var bytes atomic.Int64
	r := serveConfigured(t, always(connector[testState]{deliver: func(_ context.Context, ev Event, _ *testState) error {
		bytes.Add(int64(len(ev.Raw)))
		return nil
	}}))
	req := batchOf("a", "b")
	blob, _ := json.Marshal(map[string]string{"blob": strings.Repeat("x", 7<<20)})
	req.Events[0].Data, req.Events[1].Data = blob, blob
	if got := kinds(r.mustDeliver(t, req)); got != "APPLIED APPLIED" || bytes.Load() < 14<<20 {
		t.Errorf("%s, %d bytes", got, bytes.Load())
	}
}

func TestAStatelessConnectorSendsNoState(t *testing.T) {
	t.Parallel()
	p := Plugin[struct{}, struct{}]{Info: testInfo(), Open: openStateless}
	r := serve(t, p)
	r.mustConfigure(t, ``)
	req := batchOf("a")
	req.States["a"] = []byte(`{"left":"behind"}`)
	resp := r.mustDeliver(t, req)
	if kinds(resp) != "APPLIED" || len(resp.GetStates()) != 0 {
		t.Errorf("%v", resp)
	}
}
