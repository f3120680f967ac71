package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// shortDir is a folder for sockets, whose paths must be short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "av-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// text takes a log from several goroutines.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *text) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *text) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// stubborn is a connector made with the example's package, which does what
// events tell it to.
type stubborn struct {
	pluginpb.ConnectorClient
	log *text
}

func startStubborn(t *testing.T) stubborn {
	t.Helper()
	lib, err := filepath.Abs(pythonExample)
	if err != nil {
		t.Fatal(err)
	}
	s := stubborn{log: &text{}}
	alone, err := plugin.StartAlone(t.Context(), plugin.Spec{
		Name: "stubborn", Command: []string{python(t), "testdata/python/stubborn.py"}, Env: map[string]string{"PYTHONPATH": lib},
	}, plugin.Options{Log: zerolog.New(s.log), RunDir: shortDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(alone.Stop)
	s.ConnectorClient = alone.Client()
	return s
}

func (s stubborn) configure(t *testing.T, config string, dryRun bool) string {
	t.Helper()
	resp, err := s.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(config), DryRun: dryRun})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range resp.GetDiagnostics() {
		lines = append(lines, d.GetPath()+": "+d.GetSummary())
	}
	return strings.Join(lines, "\n")
}

// tell delivers events, each "key what to do", and returns the verdicts and the
// states in one line each.
func (s stubborn) tell(t *testing.T, states map[string]string, what ...string) (verdicts []string, after map[string]string) {
	t.Helper()
	req := &pluginpb.DeliverRequest{States: map[string][]byte{}}
	for key, state := range states {
		req.States[key] = []byte(state)
	}
	for i, line := range what {
		key, do, _ := strings.Cut(line, " ")
		req.Events = append(req.Events, &pluginpb.Event{
			Id: fmt.Sprint("e", i), Type: "tenant.updated", Key: key, Position: int64(i + 1), Data: fmt.Appendf(nil, `{"do":%q}`, do),
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := s.Deliver(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range resp.GetVerdicts() {
		if v.GetPosition() != int64(i+1) {
			t.Errorf("verdict %d is for position %d", i, v.GetPosition())
		}
		verdicts = append(verdicts, strings.ToLower(strings.TrimPrefix(v.GetKind().String(), "KIND_")))
		if strings.Contains(v.GetReason(), "canary") {
			t.Errorf("a reason tells the secret: %s", v.GetReason())
		}
		if v.GetThrottled() {
			verdicts[i] += fmt.Sprintf(" %d", v.GetRetryAfterMs())
		}
	}
	after = map[string]string{}
	for key, state := range resp.GetStates() {
		after[key] = string(state)
	}
	return verdicts, after
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestAConnectorInPythonAnswersAsTheProtocolAsks(t *testing.T) {
	t.Parallel()
	s := startStubborn(t)
	if _, err := s.Deliver(t.Context(), &pluginpb.DeliverRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Deliver before Configure: %v", err)
	}
	if _, err := s.Check(t.Context(), &pluginpb.CheckRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Check before Configure: %v", err)
	}

	for config, want := range map[string]string{
		`{`:                             ": the configuration is not valid JSON",
		`[]`:                            ": must be of type object",
		`{}`:                            "secret: is missing",
		`{"secret":"s","level":"mid"}`:  "level: is not allowed; it takes one of low, high",
		`{"secret":"s","ports":[80,0]}`: "ports[1]: must be from 1 to 65535",
		`{"secret":"s","ports":[true]}`: "ports[0]: must be of type integer",
		`{"secret":"s","prots":[]}`:     "prots: is not known; it takes secret, level, ports",
		strings.Repeat("[", 100_000):    ": the configuration is not valid JSON",
	} {
		same(t, config[:min(40, len(config))], s.configure(t, config, true), want)
	}
	same(t, "a good one", s.configure(t, `{"secret":"canary-1"}`, true), "")
	if _, err := s.Deliver(t.Context(), &pluginpb.DeliverRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a dry run put a configuration in force: %v", err)
	}
	same(t, "in force", s.configure(t, `{"secret":"canary-1"}`, false), "")
	same(t, "what the connector itself refuses", s.configure(t, `{"secret":"canary-2","ports":[13],"level":"high"}`, false),
		": nobody can listen on 13, says ***")
	if resp, err := s.Check(t.Context(), &pluginpb.CheckRequest{}); err != nil || len(resp.GetDiagnostics()) != 1 ||
		resp.GetDiagnostics()[0].GetSummary() != "the key *** is not known" {
		t.Errorf("Check: %v %v", resp, err)
	}

	verdicts, states := s.tell(t, nil, "a ok", "b retry", "a wait", "b ok", "a ok", "c reject", "c ok", "d fail", "d ok", "e again", "e ok")
	same(t, "verdicts", verdicts, []string{"applied", "retry", "retry 1501", "held", "held", "reject", "applied", "retry", "held", "again", "held"})
	seen := func(n int) string { return fmt.Sprintf(`{"seen": %d, "level": "low"}`, n) }
	same(t, "states: of a failure none is kept", states, map[string]string{"a": seen(2), "b": seen(1), "c": seen(2), "e": seen(1)})

	verdicts, states = s.tell(t, map[string]string{"a": seen(2), "b": seen(7), "x": "[]", "g": `{"seen":1}`, "e": seen(1)},
		"a forget", "b ok", "x ok", "g grow", "e again")
	same(t, "verdicts", verdicts, []string{"applied", "applied", "retry", "reject", "applied"})
	same(t, "states: an empty one deletes", states, map[string]string{"a": "", "b": seen(8), "e": seen(2)})

	verdicts, _ = s.tell(t, nil, "a meet", "b meet")
	same(t, "keys run at the same time", verdicts, []string{"applied", "applied"})

	if !strings.Contains(s.log.String(), `"level":"error"`) || !strings.Contains(s.log.String(), "RuntimeError: cannot work with ***") {
		t.Errorf("a failure has no stack in the log:\n%s", s.log)
	}
	if strings.Contains(s.log.String(), "canary") {
		t.Errorf("the log tells the secret:\n%s", s.log)
	}
}

func TestAConnectorInPythonTakesTheLargestMessageAndAnswersInTime(t *testing.T) {
	t.Parallel()
	s := startStubborn(t)
	same(t, "configure", s.configure(t, `{"secret":"canary-1"}`, false), "")
	large := fmt.Appendf(nil, `{"do":"ok","fat":"%s"}`, strings.Repeat("x", 15<<20))
	resp, err := s.Deliver(t.Context(), &pluginpb.DeliverRequest{Events: []*pluginpb.Event{{Key: "k", Position: 1, Data: large}}})
	if err != nil || resp.GetVerdicts()[0].GetKind() != pluginpb.Verdict_KIND_APPLIED {
		t.Errorf("a message of 15 MiB: %v %v", resp, err)
	}

	// What ignores its deadline is answered for; its key is let go of when it ends.
	events := []*pluginpb.Event{
		{Key: "slow", Position: 1, Data: []byte(`{"do":"block"}`)}, {Key: "slow", Position: 2, Data: []byte(`{"do":"ok"}`)},
		{Key: "fast", Position: 3, Data: []byte(`{"do":"ok"}`)},
	}
	kinds := s.inTime(t, events)
	same(t, "verdicts", kinds, []string{"KIND_RETRY", "KIND_HELD", "KIND_APPLIED"})
	verdicts, _ := s.tell(t, nil, events[0].GetKey()+" ok", "fast ok")
	same(t, "while it goes on", verdicts, []string{"retry", "applied"})
	verdicts, _ = s.tell(t, nil, "other free")
	same(t, "letting it go on", verdicts, []string{"applied"})

	// In place, and for the events that come from now on.
	same(t, "configure", s.configure(t, `{"secret":"canary-2","level":"high"}`, false), "")
	_, states := s.tell(t, nil, "fast ok")
	same(t, "the new configuration is in force", states["fast"], `{"seen": 1, "level": "high"}`)
	if _, err := s.Drain(t.Context(), &pluginpb.DrainRequest{TimeoutMs: 5000}); err != nil {
		t.Errorf("drain: %v", err)
	}
	if _, err := s.Deliver(t.Context(), &pluginpb.DeliverRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Deliver after Drain: %v", err)
	}
	same(t, "configure after a drain", s.configure(t, `{"secret":"canary-1"}`, false), "")
	verdicts, _ = s.tell(t, nil, "slow ok")
	same(t, "after a drain", verdicts, []string{"applied"})
}

// inTime delivers with a deadline. A machine with much else to do may hold up an
// answer that left in time, so it tries again with other keys.
func (s stubborn) inTime(t *testing.T, events []*pluginpb.Event) []string {
	t.Helper()
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(try)*2*time.Second)
		resp, err := s.Deliver(ctx, &pluginpb.DeliverRequest{Events: events})
		cancel()
		if status.Code(err) == codes.DeadlineExceeded && try < 5 {
			for _, ev := range events {
				ev.Key = strings.TrimRight(ev.GetKey(), "'") + strings.Repeat("'", try)
			}
			continue
		}
		if err != nil {
			t.Fatalf("the answer did not leave before the deadline: %v", err)
		}
		var kinds []string
		for _, v := range resp.GetVerdicts() {
			kinds = append(kinds, v.GetKind().String())
		}
		return kinds
	}
}
