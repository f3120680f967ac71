package laws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

const (
	// worldWithin bounds one question to a remote world.
	worldWithin = 30 * time.Second
	// maxWorldBytes bounds its answer.
	maxWorldBytes = 16 << 20
)

// RemoteWorld makes worlds of a server that speaks the protocol of
// docs/connectors-testing.md. A proxy on a loopback address stands between the
// connector and that server.
func RemoteWorld(address string) (func(context.Context) (World, error), error) {
	target, err := url.Parse(address)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, errors.New("the world's address must be a URL, such as http://127.0.0.1:9000")
	}
	r := &remote{target: target, client: &http.Client{Timeout: worldWithin}}
	return r.open, nil
}

type remote struct {
	target *url.URL
	client *http.Client
}

func (r *remote) open(ctx context.Context) (World, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return World{}, fmt.Errorf("listening for the connector's requests: %w", err)
	}
	gate := &Gate{}
	quietly := log.New(io.Discard, "", 0) // connections are cut on purpose
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(r.target) },
		ErrorLog: quietly,
	}
	server := &http.Server{Handler: gate.Wrap(proxy), ReadHeaderTimeout: worldWithin, ErrorLog: quietly}
	go func() { _ = server.Serve(lis) }()
	world := World{Gate: gate, Close: func() { _ = server.Close() }, Look: r.look}
	var answer struct {
		Config json.RawMessage `json:"config"`
	}
	err = r.ask(ctx, http.MethodPost, "/reset", map[string]string{"base": "http://" + lis.Addr().String()}, &answer)
	if err == nil && (len(answer.Config) == 0 || answer.Config[0] != '{') {
		err = errors.New(`its answer has no object "config"`)
	}
	if err != nil {
		world.Close()
		return World{}, fmt.Errorf("asking the world to begin anew (POST /reset): %w", err)
	}
	world.Config = answer.Config
	return world, nil
}

func (r *remote) look(ctx context.Context) (any, error) {
	var answer any
	if err := r.ask(ctx, http.MethodGet, "/look", nil, &answer); err != nil {
		return nil, fmt.Errorf("asking the world how it looks (GET /look): %w", err)
	}
	return answer, nil
}

func (r *remote) ask(ctx context.Context, method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		sent = bytes.NewReader(mustJSON(body))
	}
	at := strings.TrimRight(r.target.String(), "/") + path
	req, err := http.NewRequestWithContext(ctx, method, at, sent)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: is the world running?", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxWorldBytes))
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered %s: %.300s", resp.Status, bytes.TrimSpace(raw))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("its answer is not JSON: %w", err)
	}
	return nil
}
