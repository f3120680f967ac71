// Package integration reads members over AuthVital's integration API.
//
// An answer of the API is not paged, so one may hold every member of a large
// tenant: it is read as a stream, member by member, in bounded memory. Whatever
// passes with time (a provider that is busy, restarting or out of reach, an
// answer that breaks off) is tried again; whatever does not is an error that
// says what was asked and what to do.
package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Options of New.
type Options struct {
	BaseURL      string // without a slash at its end
	ClientID     string
	ClientSecret string
	Log          zerolog.Logger

	// Transport is how requests travel; nil: one of the client's own.
	Transport http.RoundTripper
	// Idle is how long the provider may stay silent within an answer; zero: 30 s.
	Idle time.Duration
	// Wait pauses between attempts; nil: for real.
	Wait func(ctx context.Context, pause time.Duration) error
}

const (
	idleTimeout = 30 * time.Second
	// headTimeout is how long an answer may take to begin. The provider collects
	// all members before it sends the first.
	headTimeout = 2 * time.Minute
	maxHeaders  = 64 << 10 // bytes
	maxErrBody  = 16 << 10 // bytes of an answer that is not a success
)

// Client asks one provider. It is safe for concurrent use.
type Client struct {
	opts  Options
	http  *http.Client
	turn  sync.Mutex // one fetch of a token at a time
	token token
}

// New returns a client. It asks for nothing yet.
func New(opts Options) *Client {
	if opts.Idle <= 0 {
		opts.Idle = idleTimeout
	}
	if opts.Wait == nil {
		opts.Wait = wait
	}
	if opts.Transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.ResponseHeaderTimeout, own.MaxResponseHeaderBytes = headTimeout, maxHeaders
		opts.Transport = own
	}
	return &Client{opts: opts, http: &http.Client{
		Transport: opts.Transport,
		// A redirect would carry the secret or the token to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Read reads one unit and hands what it holds to sink, in the order of the
// answer. When an attempt fails half way, all of it is read again, and sink is
// told so by Begin. An error of the sink ends the reading and is returned as it
// is. Others are *Refused, *Unavailable, or say that the answer is none.
func (c *Client) Read(ctx context.Context, u Unit, sink Sink) (Answer, error) {
	var a Answer
	var known Head
	err := c.retry(ctx, u.asked(), func() error {
		var err error
		a, err = c.readOnce(ctx, u, known, sink)
		if errors.Is(err, errHeadLate) {
			known = a.Head
			a, err = c.readOnce(ctx, u, known, sink)
		}
		return err
	})
	return a, err
}

func (c *Client) readOnce(ctx context.Context, u Unit, known Head, sink Sink) (Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.get(ctx, u)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	if err := isJSON(resp, u.asked()); err != nil {
		return Answer{}, err
	}
	body := newPatient(resp.Body, c.opts.Idle, func() { cancel(errSilent) })
	defer body.stop()
	a, err := readAnswer(body, u, known, sink)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
		err = &transient{err: fmt.Errorf("read %s: the provider sent nothing for %s in the middle of its answer", u.asked(), c.opts.Idle)}
	}
	return a, err
}

// get asks for a unit. A token that is refused is replaced once.
func (c *Client) get(ctx context.Context, u Unit) (*http.Response, error) {
	for fresh := false; ; fresh = true {
		tok, err := c.bearer(ctx)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.opts.BaseURL+u.path(), nil)
		if err != nil {
			return nil, fmt.Errorf("ask for %s: %w", u.asked(), err)
		}
		req.Header.Set("Authorization", "Bearer "+tok)
		resp, err := c.send(ctx, req, u.asked())
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		refusal := c.refusal(resp, u.asked(), tok)
		if resp.StatusCode == http.StatusUnauthorized && !fresh {
			c.forget(tok) // it expired, or was withdrawn
			continue
		}
		return nil, refusal
	}
}

// send sends a request. The answer's body must be closed.
func (c *Client) send(ctx context.Context, req *http.Request, asked string) (*http.Response, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "avhub")
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	// *url.Error repeats the address.
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	err = fmt.Errorf("ask for %s: %w", asked, err)
	if ctx.Err() != nil {
		return nil, err
	}
	return nil, &transient{err: err}
}

// isJSON tells an answer from a page for people, such as a proxy's.
func isJSON(resp *http.Response, asked string) error {
	kind := resp.Header.Get("Content-Type")
	if kind == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(kind)
	if err == nil && (media == "application/json" || strings.HasSuffix(media, "+json")) {
		return nil
	}
	if err != nil || media == "" {
		media = "something else"
	}
	return &Unusable{Asked: asked, Reason: fmt.Sprintf("the answer is %s instead of JSON. Is the source's api.url, or its host, where the API is?", media)}
}

// patient reads a body whose sender may not be silent for long. Time that passes
// between two reads is the reader's own and does not count.
type patient struct {
	body  io.Reader
	limit time.Duration
	timer *time.Timer
}

var errSilent = errors.New("the provider is silent")

func newPatient(body io.Reader, limit time.Duration, giveUp func()) *patient {
	p := &patient{body: body, limit: limit, timer: time.AfterFunc(limit, giveUp)}
	p.timer.Stop()
	return p
}

func (p *patient) Read(b []byte) (int, error) {
	p.timer.Reset(p.limit)
	defer p.timer.Stop()
	return p.body.Read(b)
}

func (p *patient) stop() { p.timer.Stop() }
