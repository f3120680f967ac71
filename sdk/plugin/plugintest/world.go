package plugintest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"sync"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// World makes a fresh fake of what the connector works on, and returns the
// connector's configuration for it and a way to look at it. It is called for
// every history that is played; whatever t.Cleanup and t.TempDir are asked for
// is over with that history.
//
// What look returns is compared as JSON, so two runs that came to the same must
// return the same: sort lists whose order means nothing, and leave out ids and
// times that the fake makes up.
//
// In cfg, a member that is left at zero is left out of the configuration, so
// its default holds.
type World[C any] func(t testing.TB) (cfg C, look func() any)

// NewServer is httptest.NewServer for a World: the laws stand between the
// connector and handler, count its requests, lose replies, answer in the
// handler's place, and kill the connector in the middle of a request. The server
// is closed when the World is over. With a t that is not of a World it is an
// ordinary test server.
func NewServer(t testing.TB, handler http.Handler) *httptest.Server {
	t.Helper()
	w, ok := t.(*worldTB)
	if ok {
		handler = w.gate.Wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	if ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.servers = append(w.servers, servedAt{server.URL, handler})
	}
	return server
}

// worldTB is the t that a World gets: a test's, but with an end of its own.
type worldTB struct {
	testing.TB
	gate *laws.Gate

	mu       sync.Mutex
	cleanups []func()
	dirs     []string
	servers  []servedAt
}

// servedAt is a server that NewServer made.
type servedAt struct {
	url     string
	handler http.Handler
}

// Cleanup runs f at the end of the World.
func (w *worldTB) Cleanup(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleanups = append(w.cleanups, f)
}

// TempDir makes a folder that goes with the World.
func (w *worldTB) TempDir() string {
	dir, err := os.MkdirTemp("", "plugintest-world-")
	if err != nil {
		w.TB.Fatalf("making a temporary folder: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs = append(w.dirs, dir)
	return dir
}

func (w *worldTB) close() {
	for {
		w.mu.Lock()
		if len(w.cleanups) == 0 {
			w.mu.Unlock()
			break
		}
		last := w.cleanups[len(w.cleanups)-1]
		w.cleanups = w.cleanups[:len(w.cleanups)-1]
		w.mu.Unlock()
		last()
	}
	for _, dir := range w.dirs {
		_ = os.RemoveAll(dir)
	}
}

// localServer finds a test server in a configuration.
var localServer = regexp.MustCompile(`https?://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?`)

// open makes one world for the laws.
func (world World[C]) open(tb testing.TB) (laws.World, error) {
	w := &worldTB{TB: tb, gate: &laws.Gate{}}
	cfg, look := world(w)
	config, err := configJSON(cfg)
	if err != nil {
		w.close()
		return laws.World{}, fmt.Errorf("writing the configuration as JSON: %w", err)
	}
	out := laws.World{Config: config, Close: w.close}
	if look != nil {
		out.Look = func(context.Context) (any, error) { return look(), nil }
	}
	if len(w.servers) > 0 {
		out.Gate = w.gate
	} else if at := localServer.Find(config); at != nil {
		w.close()
		return laws.World{}, fmt.Errorf("the configuration names %s, where the laws cannot stand between: make that server with plugintest.NewServer instead of httptest.NewServer", at)
	}
	return out, nil
}
