package plugintest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// ServeWorld serves a World over HTTP, for `avhub plugin verify --world` and a
// connector in any language. docs/connectors-testing.md tells the protocol.
func ServeWorld[C any](t testing.TB, world World[C]) *httptest.Server {
	t.Helper()
	s := &servedWorld[C]{tb: t, world: world}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		s.close()
	})
	return server
}

// servedWorld is one world at a time. Its servers are also there below /N/, so
// that somebody else can stand in front of them.
type servedWorld[C any] struct {
	tb    testing.TB
	world World[C]

	mu      sync.Mutex
	current *worldTB
	look    func() any
}

const maxResetBytes = 1 << 16

func (s *servedWorld[C]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/reset":
		s.reset(w, r)
	case r.Method == http.MethodGet && r.URL.Path == "/look":
		s.mu.Lock()
		look := s.look
		s.mu.Unlock()
		if look == nil {
			http.Error(w, "there is no world yet: POST /reset comes first", http.StatusConflict)
			return
		}
		writeJSON(w, look())
	default:
		s.pass(w, r)
	}
}

func (s *servedWorld[C]) reset(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Base string `json:"base"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxResetBytes)).Decode(&asked); err != nil || asked.Base == "" {
		http.Error(w, `send {"base": "http://…"}: where the connector reaches this server`, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.close()
	}
	s.current = &worldTB{TB: s.tb, gate: &laws.Gate{}}
	cfg, look := s.world(s.current)
	s.look = look
	config, err := configJSON(cfg)
	if err != nil {
		http.Error(w, fmt.Sprintf("writing the configuration as JSON: %v", err), http.StatusInternalServerError)
		return
	}
	text := string(config)
	for i, server := range s.current.servers {
		text = strings.ReplaceAll(text, server.url, strings.TrimRight(asked.Base, "/")+"/"+strconv.Itoa(i))
	}
	writeJSON(w, map[string]any{"config": json.RawMessage(text)})
}

// pass hands a request to the server that it is for.
func (s *servedWorld[C]) pass(w http.ResponseWriter, r *http.Request) {
	number, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	i, err := strconv.Atoi(number)
	s.mu.Lock()
	var handler http.Handler
	if err == nil && s.current != nil && i >= 0 && i < len(s.current.servers) {
		handler = s.current.servers[i].handler
	}
	s.mu.Unlock()
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	http.StripPrefix("/"+number, handler).ServeHTTP(w, r)
}

func (s *servedWorld[C]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.close()
		s.current, s.look = nil, nil
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw)
}

// serveUntilInterrupted is ServeWorld at an address, for a person.
func serveUntilInterrupted[C any](t *testing.T, addr string, world World[C]) {
	t.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("serving the world: %v", err)
	}
	s := &servedWorld[C]{tb: t, world: world}
	defer s.close()
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	go func() {
		<-interrupted
		_ = server.Close()
	}()
	fmt.Fprintf(os.Stderr, "the world is at http://%s until this is interrupted:\n  avhub plugin verify --world http://%s ./your-connector\n", lis.Addr(), lis.Addr())
	_ = server.Serve(lis)
}
