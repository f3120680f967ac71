package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// hub talks to the connector as a hub does, over a real connection.
type hub struct {
	pluginpb.ConnectorClient
	log *strings.Builder
}

func serve(t *testing.T, cfg config) hub {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := &strings.Builder{}
	go func() { done <- connector().ServeListener(ctx, lis, log) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h := hub{pluginpb.NewConnectorClient(conn), log}
	raw, _ := json.Marshal(map[string]any{"url": cfg.URL, "headers": cfg.Headers, "timeout": cfg.Timeout.String()})
	resp, err := h.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: raw})
	if err != nil || len(resp.GetDiagnostics()) > 0 {
		t.Fatal(err, resp.GetDiagnostics())
	}
	return h
}

func (h hub) deliver(t *testing.T, id string) *pluginpb.Verdict {
	t.Helper()
	resp, err := h.Deliver(t.Context(), &pluginpb.DeliverRequest{Events: []*pluginpb.Event{{
		Id: id, Type: "tenant.created", Key: "tenant:t1", Position: 1, Source: "authvital", Subject: "organization:t1",
		TenantId: "t1", Data: []byte(`{"tenant_id":"t1"}`), Attempt: 1,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetVerdicts()[0]
}

func TestAnEventIsPostedAsJSONWithItsIdempotencyKey(t *testing.T) {
	t.Parallel()
	type request struct {
		method, body string
		header       http.Header
	}
	var mu sync.Mutex
	var got []request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, request{r.Method, string(body), r.Header})
	}))
	defer server.Close()
	h := serve(t, config{URL: server.URL, Headers: map[string]string{"Authorization": "Bearer canary"}, Timeout: 10 * time.Second})
	for _, id := range []string{"e1", "e1", "e2"} {
		if v := h.deliver(t, id); v.GetKind() != pluginpb.Verdict_KIND_APPLIED {
			t.Fatal(v)
		}
	}
	first := got[0]
	if first.method != "POST" || first.header.Get("Content-Type") != "application/json" || first.header.Get("Authorization") != "Bearer canary" {
		t.Errorf("%+v", first)
	}
	var ev struct {
		ID, Type string
		Data     json.RawMessage
	}
	if err := json.Unmarshal([]byte(first.body), &ev); err != nil || ev.ID != "e1" || ev.Type != "tenant.created" || string(ev.Data) != `{"tenant_id":"t1"}` {
		t.Errorf("%v: %s", err, first.body)
	}
	key := func(i int) string { return got[i].header.Get("Idempotency-Key") }
	if key(0) == "" || key(0) != key(1) || key(0) == key(2) || got[0].body != got[1].body {
		t.Errorf("keys %s %s %s", key(0), key(1), key(2))
	}
}

func TestWhatTheReceiverAnswersBecomesTheVerdict(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var code int
	var after string
	redirected := false
	mux := http.NewServeMux()
	mux.HandleFunc("/hook", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Retry-After", after)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { redirected = true })
	server := httptest.NewServer(mux)
	defer server.Close()
	h := serve(t, config{URL: server.URL + "/hook", Timeout: 10 * time.Second})
	for _, tc := range []struct {
		code  int
		after string
		kind  pluginpb.Verdict_Kind
		ms    int64
	}{
		{202, "", pluginpb.Verdict_KIND_APPLIED, 0},
		{503, "30", pluginpb.Verdict_KIND_RETRY, 30_000},
		{503, "", pluginpb.Verdict_KIND_RETRY, 0},
		{408, "", pluginpb.Verdict_KIND_RETRY, 0},
		{425, "", pluginpb.Verdict_KIND_RETRY, 0},
		{403, "", pluginpb.Verdict_KIND_HALT, 0},
		{404, "", pluginpb.Verdict_KIND_REJECT, 0},
		{307, "", pluginpb.Verdict_KIND_REJECT, 0},
	} {
		mu.Lock()
		code, after = tc.code, tc.after
		mu.Unlock()
		if v := h.deliver(t, "e"); v.GetKind() != tc.kind || v.GetRetryAfterMs() != tc.ms || v.GetThrottled() != (tc.ms > 0) {
			t.Errorf("%d: %v", tc.code, v)
		}
	}
	if redirected {
		t.Error("a redirect was followed")
	}
}

func TestANetworkFaultIsTriedAgainAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the client leave once the body is read
		<-r.Context().Done()
	}))
	defer hanging.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, cfg := range map[string]config{
		"refused":     {URL: gone.URL + "/canary", Timeout: time.Minute},
		"slow":        {URL: hanging.URL + "/canary", Timeout: 50 * time.Millisecond},
		"no host":     {URL: "http://canary.invalid/", Timeout: time.Minute},
		"bad headers": {URL: hanging.URL, Timeout: time.Minute, Headers: map[string]string{"X": "canary\r\nY: 1"}},
	} {
		h := serve(t, cfg)
		v := h.deliver(t, "e")
		if v.GetKind() != pluginpb.Verdict_KIND_RETRY || v.GetThrottled() {
			t.Errorf("%s: %v", name, v)
		}
		if strings.Contains(v.GetReason()+h.log.String(), "canary/") || strings.Contains(v.GetReason(), "/canary") {
			t.Errorf("%s: a secret in %q", name, v.GetReason())
		}
	}
}

func TestAnAddressOrATimeoutThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	h := serve(t, config{URL: "http://localhost", Timeout: time.Second})
	for _, cfg := range []string{`{"url":"ftp://x"}`, `{"url":"https://"}`, `{"url":"http://x","timeout":"0s"}`} {
		resp, err := h.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: []byte(cfg), DryRun: true})
		if err != nil || len(resp.GetDiagnostics()) != 1 || resp.GetDiagnostics()[0].GetPath() == "" {
			t.Errorf("%s: %v %v", cfg, resp.GetDiagnostics(), err)
		}
	}
}
