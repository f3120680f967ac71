package plugin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestLaw11_SecretsLeaveInNothingThatAConnectorPrints(t *testing.T) {
	t.Parallel()
	const secret = "canary \"quoted\"/+secret"
	r := running(t)
	r.Hide(secret, "tiny")
	for _, text := range []string{"plain " + secret, `{"@level":"warn","@message":"json canary \"quoted\"/+secret"}`, "url canary+%22quoted%22%2F%2Bsecret"} {
		r.deliver(t, "a:say="+text)
	}
	for _, message := range []string{"plain " + redacted, "json " + redacted, "url " + redacted} {
		r.logs.find(t, message)
	}
	_, err := r.Deliver(t.Context(), batchOf("a:blow=it has tiny "+secret))
	var c *Crash
	if !errors.As(err, &c) || !strings.Contains(c.Tail, "it has tiny "+redacted) {
		t.Errorf("%v", err)
	}
	st := r.await(t, "a pause", func(s Status) bool { return s.State == Backoff })
	for what, text := range map[string]string{"error": err.Error(), "tail": c.Tail, "reason": st.Reason} {
		if strings.Contains(text, "quoted") {
			t.Errorf("the %s tells the secret: %s", what, text)
		}
	}
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	if bytes.Contains(r.logs.b.Bytes(), []byte("quoted")) {
		t.Errorf("the log tells the secret")
	}
}

// A connector that writes as fast as it can neither fills the log nor the
// memory, keeps its errors visible, and its hub at rest.
func TestAFloodOfLinesIsBoundedAndCounted(t *testing.T) {
	t.Parallel()
	r := running(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, _ = r.Deliver(ctx, batchOf("a:flood"))
	line := r.logs.find(t, "after the flood")
	if line["level"] != "error" {
		t.Errorf("%v", line)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if n := len(r.logs.lines(t)); n > gateBurst+30*gateRate {
		t.Errorf("%d lines were logged", n)
	}
	r.stop()
	var told, left float64
	for _, line := range r.logs.lines(t) {
		if n, ok := line["lines"].(float64); ok {
			told, left = told+1, left+n
		}
	}
	if told == 0 || left == 0 || int64(left) != r.dropped.Load() {
		t.Errorf("told %v times that %v lines were left out, of %d", told, left, r.dropped.Load())
	}
}

func TestALineWithoutAnEndAndBinaryNoiseAreCutAndHarmless(t *testing.T) {
	t.Parallel()
	r := running(t)
	r.deliver(t, "a:endless=20", "a:say=after it")
	r.deliver(t, "a:log")
	r.logs.find(t, "w")
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	for line := range bytes.Lines(r.logs.b.Bytes()) {
		if len(line) > 2*maxLineBytes {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func TestTheGateLetsWarningsThroughWhenOthersFloodIt(t *testing.T) {
	t.Parallel()
	var dropped atomic.Int64
	logs := &logBuffer{}
	now := time.Now()
	g := newGate(Options{Log: zerolog.New(logs).Level(zerolog.InfoLevel), timing: timing{dropped: &dropped}})
	g.now = func() time.Time { return now }
	g.usual.at, g.grave.at = now, now
	for range 10 * gateBurst {
		g.event(zerolog.DebugLevel, 10).Msg("nobody wants it, so it costs nothing")
	}
	for range 10 * gateBurst {
		g.event(zerolog.InfoLevel, 10).Msg("info")
	}
	for range 10 {
		g.event(zerolog.ErrorLevel, 10).Msg("error")
	}
	counts := map[any]int{}
	for _, line := range logs.lines(t) {
		counts[line["level"]]++
	}
	// One warning tells what was left out.
	if counts["info"] != gateBurst || counts["error"] != 10 || counts["warn"] != 1 || dropped.Load() != 9*gateBurst {
		t.Errorf("%v, %d dropped", counts, dropped.Load())
	}
	now = now.Add(time.Second)
	for range gateBurst {
		g.event(zerolog.InfoLevel, 10).Msg("info")
	}
	g.end()
	counts = map[any]int{}
	for _, line := range logs.lines(t) {
		counts[line["level"]]++
	}
	if counts["info"] != gateBurst+gateRate || counts["warn"] != 2 {
		t.Errorf("a second later: %v", counts)
	}
	g.usual.left = 3
	if g.event(zerolog.InfoLevel, 4<<10) != nil {
		t.Error("a long line costs no more than a short one")
	}
}

// endless never ends and never blocks.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.read >= 3*readRate {
		return 0, io.EOF
	}
	e.read += int64(len(b))
	return len(b), nil
}

func TestReadingIsPaced(t *testing.T) {
	t.Parallel()
	began := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, &paced{r: &endless{}, left: readRate}, make([]byte, maxLineBytes))
	// The first second's worth is free.
	if took := time.Since(began); err != nil || n < 3*readRate || took < 1500*time.Millisecond {
		t.Errorf("%d MiB in %s: %v", n>>20, took, err)
	}
}
