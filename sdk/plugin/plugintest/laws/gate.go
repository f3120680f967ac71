package laws

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

// Gate stands between a connector and the HTTP servers of its world. It counts
// requests, and does to them what the law that is being judged asks for. The
// zero value lets everything through.
type Gate struct {
	// KeepAlive lets the connector keep its connections. Otherwise each request
	// has one of its own: HTTP clients like to repeat by themselves what failed
	// on a connection that they had kept, and would hide what a law does.
	KeepAlive bool

	mu      sync.Mutex
	count   int
	plan    func(n int) fault // of the n-th request since it was set; nil: none
	since   int
	hung    int           // requests that are hanging now
	heard   chan struct{} // closed when a request has begun to hang; replaced by arm
	release chan struct{}
}

// faultKind is what happens to a request.
type faultKind int

const (
	pass   faultKind = iota
	lose             // the world does it, the reply is lost
	before           // something happens, then the connection is cut; the world hears nothing
	after            // the world does it, then something happens, and the reply is lost
	answer           // the world hears nothing, and the status is the answer
	hang             // the world hears nothing, and there is no answer until the gate is opened
	hold             // the request waits until the gate is opened, and goes on
)

type fault struct {
	kind   faultKind
	status int
	header http.Header
	do     func() // of before and after
}

// maxRequestBytes bounds what is read of a request to hold it.
const maxRequestBytes = 16 << 20

// Wrap puts the gate in front of a handler.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(next, w, r) })
}

func (g *Gate) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.count++
	g.since++
	f := fault{}
	if g.plan != nil {
		f = g.plan(g.since)
	}
	release := g.release
	g.mu.Unlock()
	if !g.KeepAlive {
		w.Header().Set("Connection", "close")
	}
	if f.kind == pass {
		next.ServeHTTP(w, r)
		return
	}
	// The server sees a client leave only once the body has been read.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch f.kind {
	case lose:
		next.ServeHTTP(&discarded{}, r)
	case before:
		f.do()
	case after:
		next.ServeHTTP(&discarded{}, r)
		f.do()
	case answer:
		for name, values := range f.header {
			w.Header()[name] = values
		}
		w.WriteHeader(f.status)
		return
	case hang, hold:
		if g.wait(r, release) && f.kind == hold {
			next.ServeHTTP(w, r)
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// wait keeps a request until the gate is opened (true) or its client leaves.
func (g *Gate) wait(r *http.Request, release chan struct{}) bool {
	g.mu.Lock()
	g.hung++
	close1(g.heard)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.hung--
	}()
	select {
	case <-release:
		return true
	case <-r.Context().Done():
		return false
	}
}

func close1(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// arm sets what happens to the requests from now on. heard is closed when one
// of them hangs or is held.
func (g *Gate) arm(plan func(n int) fault) (heard <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.plan, g.since = plan, 0
	g.heard, g.release = make(chan struct{}), make(chan struct{})
	return g.heard
}

// open lets everything through again, what is hanging too.
func (g *Gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.release != nil {
		close1(g.release)
	}
	g.plan, g.since = nil, 0
}

// requests counts all requests so far; n those since arm or open.
func (g *Gate) requests() (all, n int) {
	if g == nil {
		return 0, 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count, g.since
}

// Requests counts the requests so far.
func (g *Gate) Requests() int {
	all, _ := g.requests()
	return all
}

// allLeft waits until no request hangs any more, at most so long.
func (g *Gate) allLeft(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		g.mu.Lock()
		hung := g.hung
		g.mu.Unlock()
		if hung == 0 {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(time.Millisecond)
	}
}

// discarded takes an answer that nobody will get.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}
func (d *discarded) Flush()                      {}
