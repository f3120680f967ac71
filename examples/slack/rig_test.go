package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

const token = "xoxb-canary-token"

// posted is a message in a channel.
type posted struct {
	Channel, Text string
	mark          string
	request       map[string]any
}

// workspace is as much of Slack as the connector sees: it knows one token, and
// gives out a channel's history in pages of two.
type workspace struct {
	t testing.TB

	mu       sync.Mutex
	messages []posted // oldest first
	calls    []string // methods, in order
	scopes   string
	// meddle, if set, may answer in the workspace's place: before what was asked
	// is done, or after that.
	meddle func(method string, done bool) (status int, body string, answered bool)
	header http.Header // goes with what meddle answers
}

func (s *workspace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	s.calls = append(s.calls, method)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	for _, done := range []bool{false, true} {
		if s.meddle != nil {
			if status, text, answered := s.meddle(method, done); answered {
				for name, values := range s.header {
					w.Header()[name] = values
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, text)
				return
			}
		}
		if !done {
			body = s.do(r, method, body)
		}
	}
	if s.scopes != "" {
		w.Header().Set("X-OAuth-Scopes", s.scopes)
	}
	_, _ = w.Write(body)
}

func (s *workspace) do(r *http.Request, method string, body []byte) []byte {
	if method == "/services/T0/B0/canary" { // an incoming webhook
		s.post(body)
		return []byte("ok")
	}
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+token {
		return []byte(`{"ok":false,"error":"invalid_auth"}`)
	}
	switch method {
	case "auth.test":
		return []byte(`{"ok":true,"team":"Acme"}`)
	case "chat.postMessage":
		s.post(body)
		return []byte(`{"ok":true,"channel":"C1","ts":"1.2"}`)
	case "conversations.history":
		return s.history(body)
	}
	return []byte(`{"ok":false,"error":"unknown_method"}`)
}

func (s *workspace) post(body []byte) {
	var m struct {
		Channel, Text string
		Metadata      metadata
	}
	var request map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		s.t.Errorf("%v: %s", err, body)
	}
	_ = json.Unmarshal(body, &request)
	s.messages = append(s.messages, posted{m.Channel, m.Text, m.Metadata.Payload.Mark, request})
}

func (s *workspace) history(body []byte) []byte {
	form := map[string]string{}
	for _, pair := range strings.Split(string(body), "&") {
		name, value, _ := strings.Cut(pair, "=")
		form[name] = value
	}
	if oldest, err := strconv.ParseInt(form["oldest"], 10, 64); err != nil || time.Since(time.Unix(oldest, 0)) < skew || form["include_all_metadata"] != "true" {
		s.t.Errorf("the history was asked for with %s", body)
	}
	var all []posted
	for _, m := range slices.Backward(s.messages) { // newest first, as Slack has it
		if m.Channel == form["channel"] {
			all = append(all, m)
		}
	}
	from, _ := strconv.Atoi(form["cursor"])
	to := min(from+2, len(all))
	page := map[string]any{"ok": true, "has_more": to < len(all)}
	var messages []any
	for _, m := range all[from:to] {
		messages = append(messages, map[string]any{"text": m.Text, "metadata": map[string]any{"event_type": metadataType, "event_payload": map[string]any{"mark": m.mark}}})
	}
	page["messages"] = messages
	if to < len(all) {
		page["response_metadata"] = map[string]any{"next_cursor": strconv.Itoa(to)}
	}
	text, err := json.Marshal(page)
	if err != nil {
		s.t.Error(err)
	}
	return text
}

// world is a fresh workspace, with the configuration of a connector that posts
// there; look shows what a reader of the channels sees.
func world(t *testing.T) (map[string]any, *workspace, func() any) {
	t.Helper()
	s := &workspace{t: t}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	cfg := map[string]any{
		"token": token, "api_url": server.URL + "/api/", "max_age": "0s",
		"routes": []any{map[string]any{"events": []string{"*"}, "channel": "#all"}},
	}
	return cfg, s, func() any {
		s.mu.Lock()
		defer s.mu.Unlock()
		lines := []string{}
		for _, m := range s.messages {
			lines = append(lines, m.Channel+" "+m.Text)
		}
		return lines
	}
}

func (s *workspace) interfere(f func(method string, done bool) (int, string, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle, s.calls = f, nil
}

func (s *workspace) called() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.calls, " ")
}

// hub talks to the connector as a hub does, over a real connection, and keeps
// its states.
type hub struct {
	pluginpb.ConnectorClient
	t      *testing.T
	log    *lockedBuffer
	states map[string][]byte
	stop   func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t *testing.T) *hub {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := &lockedBuffer{}
	go func() { done <- connector.ServeListener(ctx, lis, log) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &hub{pluginpb.NewConnectorClient(conn), t, log, map[string][]byte{}, stop}
}

// configured is a hub whose connector has a configuration in force.
func configured(t *testing.T, cfg map[string]any) *hub {
	t.Helper()
	h := serve(t)
	if wrong := h.configure(cfg, false); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return h
}

// restarted is what a hub has after the connector's process was killed: a new
// one, and the states that were committed.
func (h *hub) restarted(cfg map[string]any) *hub {
	h.t.Helper()
	h.stop()
	next := configured(h.t, cfg)
	next.states = h.states
	return next
}

func (h *hub) configure(cfg map[string]any, dry bool) []string {
	h.t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := h.Configure(h.t.Context(), &pluginpb.ConfigureRequest{Config: raw, DryRun: dry})
	if err != nil {
		h.t.Fatal(err)
	}
	var wrong []string
	for _, d := range resp.GetDiagnostics() {
		wrong = append(wrong, fmt.Sprintf("%s: %s; %s", d.GetPath(), d.GetSummary(), d.GetDetail()))
	}
	return wrong
}

// deliver hands over one event, once, and commits the state unless it is lost.
func (h *hub) deliver(ev *pluginpb.Event, lost bool) *pluginpb.Verdict {
	h.t.Helper()
	resp, err := h.Deliver(h.t.Context(), &pluginpb.DeliverRequest{Events: []*pluginpb.Event{ev}, States: h.states})
	if err != nil {
		h.t.Fatal(err)
	}
	for key, state := range resp.GetStates() {
		if lost {
			break
		}
		h.states[key] = state
		if len(state) == 0 {
			delete(h.states, key)
		}
	}
	return resp.GetVerdicts()[0]
}

// apply delivers as the hub does: again, for as long as it is asked to.
func (h *hub) apply(ev *pluginpb.Event) *pluginpb.Verdict {
	h.t.Helper()
	for range 5 {
		if v := h.deliver(ev, false); v.GetKind() != pluginpb.Verdict_KIND_AGAIN {
			return v
		}
	}
	h.t.Fatal("it asks to be called again and again")
	return nil
}

// positions are given out in the order in which things happen.
var positions atomic.Int64

// happened is an event about tenant t1, which the mirror calls Acme.
func happened(id, typ, data string) *pluginpb.Event {
	return &pluginpb.Event{
		Id: id, Type: typ, Key: "tenant:t1", Position: positions.Add(1), Source: "authvital", Subject: "organization:t1", TenantId: "t1", Attempt: 1,
		OccurredAtUs: time.Now().UnixMicro(), Data: []byte(data),
		Entities: []*pluginpb.Entity{{Kind: "organization", Id: "t1", Json: []byte(`{"tenant_id":"t1","name":"Acme","slug":"acme","plan":"pro"}`)}},
	}
}
