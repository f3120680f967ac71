package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// keySetPath is where peers look for a key set.
const keySetPath = "/.well-known/jwks.json"

// maxConnections bounds what strangers can hold open. Peers ask once an hour.
const maxConnections = 64

// publication is a key set while it is served. While one configuration follows
// another both are in force for a moment, on the same address as a rule, so
// publications share a listener, which shows the keys of all of them.
type publication struct {
	at  *publicAddress
	set []jwk
}

// publicAddress is one listener with the publications on it.
type publicAddress struct {
	address string
	server  *http.Server
	done    chan struct{} // closed when the server has ended
	shown   []*publication
}

// addresses are those that this process listens on. An address is bound once
// in a process, whatever asks for it, hence one for all.
var addresses = struct {
	sync.Mutex
	open map[string]*publicAddress
}{open: map[string]*publicAddress{}}

// publish serves a key set until the publication is closed.
func publish(ctx context.Context, address string, set []jwk, log *slog.Logger) (*publication, error) {
	addresses.Lock()
	defer addresses.Unlock()
	at := addresses.open[address]
	if at == nil {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("serving the key set: %w; of several plugins with one key, only one needs listen", err)
		}
		at = &publicAddress{address: address, done: make(chan struct{})}
		at.server = &http.Server{
			Handler: at, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), MaxHeaderBytes: 16 << 10,
			ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		}
		go func() {
			defer close(at.done)
			err := at.server.Serve(netutil.LimitListener(listener, maxConnections))
			if !errors.Is(err, http.ErrServerClosed) {
				log.Error("the key set is not served any more", "error", err.Error())
			}
		}()
		addresses.open[address] = at
		log.Info("the key set is served", "address", listener.Addr().String(), "path", keySetPath, "key_id", set[0].Kid, "keys", len(set))
	}
	p := &publication{at, set}
	at.shown = append(at.shown, p)
	return p, nil
}

// close takes the keys back. The last one out frees the address.
func (p *publication) close() error {
	if p == nil {
		return nil
	}
	addresses.Lock()
	defer addresses.Unlock()
	at := p.at
	at.shown = slices.DeleteFunc(at.shown, func(other *publication) bool { return other == p })
	if len(at.shown) > 0 {
		return nil
	}
	delete(addresses.open, at.address)
	err := at.server.Close()
	<-at.done
	return err
}

// ServeHTTP answers with the keys of all publications, the newest first.
func (at *publicAddress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != keySetPath {
		http.Error(w, "there is only "+keySetPath+" here", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the key set can be read, no more", http.StatusMethodNotAllowed)
		return
	}
	addresses.Lock()
	var set []jwk
	for _, p := range slices.Backward(at.shown) {
		for _, key := range p.set {
			if !slices.Contains(set, key) {
				set = append(set, key)
			}
		}
	}
	addresses.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(encodeSet(set)) // whoever asked is gone
}
