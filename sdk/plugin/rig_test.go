package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

type testConfig struct {
	URL   string `json:"url" doc:"Where to." required:"true"`
	Token string `json:"token" doc:"Key." secret:"true"`
	Limit int    `json:"limit" doc:"How many." default:"3" min:"1"`
}

type testState struct {
	Seen int    `json:"seen,omitempty"`
	Blob string `json:"blob,omitempty"`
	// lost is not in the JSON, so it must not survive an event.
	lost int
}

// connector is a Connector made of functions.
type connector[S any] struct {
	deliver func(ctx context.Context, ev Event, st *S) error
	check   func(ctx context.Context) error
	close   func() error
}

func (c connector[S]) Deliver(ctx context.Context, ev Event, st *S) error {
	return c.deliver(ctx, ev, st)
}

func (c connector[S]) Check(ctx context.Context) error {
	if c.check == nil {
		return nil
	}
	return c.check(ctx)
}

func (c connector[S]) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

func testInfo() Info {
	return Info{Name: "test", Version: "1.2.3", Summary: "tests", Events: []string{"*"}}
}

// always is a Plugin whose every configuration opens the same connector.
func always(c connector[testState]) Plugin[testConfig, testState] {
	return Plugin[testConfig, testState]{
		Info: testInfo(),
		Open: func(context.Context, testConfig, *slog.Logger) (Connector[testState], error) { return c, nil },
	}
}

type rig struct {
	pluginpb.ConnectorClient
	logs *logBuffer
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

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve runs p behind a real gRPC connection, not yet configured.
func serve[C, S any](t *testing.T, p Plugin[C, S]) *rig {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	logs := &logBuffer{}
	served := make(chan error, 1)
	go func() { served <- p.ServeListener(ctx, lis, logs) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Error("the connector did not stop serving")
		}
	})
	return &rig{pluginpb.NewConnectorClient(conn), logs}
}

// serveConfigured is serve with a good configuration in force.
func serveConfigured(t *testing.T, p Plugin[testConfig, testState]) *rig {
	t.Helper()
	r := serve(t, p)
	r.mustConfigure(t, `{"url":"http://x"}`)
	return r
}

func (r *rig) mustConfigure(t *testing.T, cfg string) {
	t.Helper()
	resp, err := r.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(cfg)})
	if err != nil || len(resp.GetDiagnostics()) > 0 {
		t.Fatalf("Configure: %v %v", err, resp.GetDiagnostics())
	}
}

// batchOf makes events of one type from "key" or "key:type" words, at positions
// from 1.
func batchOf(words ...string) *pluginpb.DeliverRequest {
	req := &pluginpb.DeliverRequest{States: map[string][]byte{}}
	for i, w := range words {
		key, typ, _ := strings.Cut(w, ":")
		req.Events = append(req.Events, &pluginpb.Event{
			Id: fmt.Sprintf("ev%d", i+1), Type: typ, Key: key, Position: int64(i + 1), Source: "authvital", Data: []byte(`{}`), Attempt: 1,
		})
	}
	return req
}

func (r *rig) mustDeliver(t *testing.T, req *pluginpb.DeliverRequest) *pluginpb.DeliverResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp, err := r.Deliver(ctx, req)
	if err != nil {
		t.Fatalf("Deliver: %v", err)
	}
	for i, v := range resp.GetVerdicts() {
		if v.GetPosition() != req.GetEvents()[i].GetPosition() {
			t.Fatalf("verdict %d is for position %d, want %d", i, v.GetPosition(), req.GetEvents()[i].GetPosition())
		}
	}
	return resp
}

// kinds writes the verdicts of an answer as "APPLIED HELD …".
func kinds(resp *pluginpb.DeliverResponse) string {
	var out []string
	for _, v := range resp.GetVerdicts() {
		out = append(out, strings.TrimPrefix(v.GetKind().String(), "KIND_"))
	}
	return strings.Join(out, " ")
}

func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for: %s", what)
		panic("unreachable")
	}
}

func logLines(t *testing.T, logs string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(logs) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}
