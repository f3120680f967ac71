package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/schema"
)

// server is the wire's side of a Plugin: the five calls of the protocol. What
// Deliver does with a batch is in deliver.go.
type server[C, S any] struct {
	pluginpb.UnimplementedConnectorServer

	p         Plugin[C, S]
	log       *slog.Logger
	mask      *mask
	describe  *pluginpb.DescribeResponse
	stateless bool   // S holds nothing, so there is no state to encode
	zeroState []byte // JSON of the zero S

	keys keyLocks

	configuring sync.Mutex // one Configure or Drain at a time
	mu          sync.Mutex
	current     *session[S] // nil: not configured, or drained
	// open are the sessions that are not closed: the one in force, and those
	// before it that still have calls.
	open []*session[S]
}

// newServer finds the author's mistakes: bad Info, bad tags, a state that JSON
// cannot hold. stderr takes the log, one JSON line for each record.
func newServer[C, S any](p Plugin[C, S], stderr io.Writer) (*server[C, S], error) {
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("checking the connector's Info: %w", err)
	}
	sch, err := schema.Of[C]()
	if err != nil {
		return nil, fmt.Errorf("reading the tags of the configuration %v: %w", reflect.TypeFor[C](), err)
	}
	js, err := sch.JSONSchema()
	if err != nil {
		return nil, fmt.Errorf("making the JSON Schema of %v: %w", reflect.TypeFor[C](), err)
	}
	zero, err := json.Marshal(new(S))
	if err != nil {
		return nil, fmt.Errorf("encoding the zero state %v as JSON: %w", reflect.TypeFor[S](), err)
	}
	var features []string
	stateless := reflect.TypeFor[S]().Size() == 0
	if p.Info.Counts {
		features = append(features, FeatureCounts)
	}
	if p.Info.Body {
		features = append(features, FeatureBody)
	}
	m := &mask{}
	return &server[C, S]{
		p:         p,
		log:       newLogger(maskedWriter{m, stderr}),
		mask:      m,
		stateless: stateless,
		zeroState: zero,
		describe: &pluginpb.DescribeResponse{
			Name:         p.Info.Name,
			Version:      p.Info.Version,
			Summary:      p.Info.Summary,
			Events:       p.Info.Events,
			Order:        p.Info.Order.toWire(),
			Coalesce:     p.Info.Coalesce,
			Notifies:     p.Info.Notifies,
			KeepsHistory: p.Info.KeepsHistory,
			ConfigSchema: js,
			StateSchema:  stateSchema[S](stateless),
			Features:     features,
		},
	}, nil
}

// stateSchema is what the tags of the state say. JSON carries more than a schema
// can be made of, such as a type that contains itself: then there is none, and the
// hub hides all text.
func stateSchema[S any](stateless bool) []byte {
	if stateless {
		return nil
	}
	sch, err := schema.Of[S]()
	if err != nil {
		return nil
	}
	js, err := sch.JSONSchema()
	if err != nil {
		return nil
	}
	return js
}

func (s *server[C, S]) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	return s.describe, nil
}

// Configure puts a configuration in force: the new connector is opened, then
// the two are swapped, then the old one is closed after its last call. Events
// of running batches that have not started come back HELD, so the old
// configuration does not linger.
func (s *server[C, S]) Configure(ctx context.Context, req *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	s.configuring.Lock()
	defer s.configuring.Unlock()

	cfg, diags := decodeConfig[C](req.GetConfig())
	if len(diags) > 0 || req.GetDryRun() {
		return &pluginpb.ConfigureResponse{Diagnostics: diags}, nil
	}

	old := s.session()
	if old != nil {
		s.mask.set(old.cfg, cfg)
	} else {
		s.mask.set(cfg)
	}
	conn, err := s.connect(ctx, cfg)
	if err != nil {
		return &pluginpb.ConfigureResponse{Diagnostics: failure(reason(err, s.mask))}, nil
	}
	next := newSession(conn, cfg)
	if err := ctx.Err(); err != nil {
		// The caller has given up, so for it the old configuration stands.
		s.logClose(next.close())
		return nil, status.FromContextError(err).Err()
	}
	s.mu.Lock()
	s.current = next
	s.open = append(s.open, next)
	s.mu.Unlock()
	if old != nil {
		s.retire(old)
	}
	return &pluginpb.ConfigureResponse{}, nil
}

// retire lets a session start nothing more, and closes it after its last call.
func (s *server[C, S]) retire(sess *session[S]) {
	if !sess.retire() {
		return
	}
	go func() {
		<-sess.idle
		s.logClose(sess.close())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = slices.DeleteFunc(s.open, func(o *session[S]) bool { return o == sess })
	}()
}

func (s *server[C, S]) connect(ctx context.Context, cfg C) (conn Connector[S], err error) {
	err = guard(func() (err error) {
		conn, err = s.p.Open(ctx, cfg, s.log)
		return err
	})
	var p *panicError
	if errors.As(err, &p) {
		s.log.Error("Open panicked", "panic", p.Error(), "stack", p.stack)
	}
	if err == nil && conn == nil {
		err = errors.New("the connector's Open returned neither a connector nor an error")
	}
	return conn, err
}

func decodeConfig[C any](raw []byte) (C, []*pluginpb.Diagnostic) {
	var cfg C
	var tree any
	if len(bytes.TrimSpace(raw)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&tree); err != nil {
			return cfg, failure("the configuration is not valid JSON")
		}
		if _, err := dec.Token(); err != io.EOF {
			return cfg, failure("the configuration has something behind its JSON object")
		}
	}
	var diags []*pluginpb.Diagnostic
	problems := schema.Decode(tree, &cfg)
	if len(problems) == 0 {
		problems = validate(&cfg)
	}
	for _, p := range problems {
		diags = append(diags, problemToWire(p))
	}
	return cfg, diags
}

// validate asks the configuration itself, if it has an opinion.
func validate[C any](cfg *C) (problems []schema.Problem) {
	v, ok := any(cfg).(Validator)
	if !ok {
		return nil
	}
	err := guard(func() error {
		problems = v.Validate()
		return nil
	})
	if err != nil {
		return []schema.Problem{{Kind: schema.BadSchema, Summary: "the connector failed to judge its configuration",
			Detail: "this is a bug of the connector: its Validate panicked"}}
	}
	m := &mask{}
	m.set(*cfg)
	for i := range problems {
		problems[i].Summary, problems[i].Detail = m.hide(problems[i].Summary), m.hide(problems[i].Detail)
	}
	return problems
}

// Check asks the connector whether it reaches its world. One that cannot tell
// has nothing to say.
func (s *server[C, S]) Check(ctx context.Context, _ *pluginpb.CheckRequest) (*pluginpb.CheckResponse, error) {
	sess := s.use()
	if sess == nil {
		return nil, errNotConfigured("Check")
	}
	defer sess.done()
	return &pluginpb.CheckResponse{Diagnostics: s.check(ctx, sess.conn)}, nil
}

func (s *server[C, S]) check(ctx context.Context, conn Connector[S]) []*pluginpb.Diagnostic {
	c, ok := conn.(Checker)
	if !ok {
		return nil
	}
	if err := guard(func() error { return c.Check(ctx) }); err != nil {
		return failure(reason(err, s.mask))
	}
	return nil
}

// Drain lets what is in flight finish, for at most the asked time, and closes
// the connector. Calls that began with an earlier configuration are in flight,
// too. Events that have not started come back HELD.
func (s *server[C, S]) Drain(ctx context.Context, req *pluginpb.DrainRequest) (*pluginpb.DrainResponse, error) {
	if err := s.drain(ctx, time.Duration(req.GetTimeoutMs())*time.Millisecond); err != nil {
		return nil, status.Error(codes.DeadlineExceeded, err.Error())
	}
	return &pluginpb.DrainResponse{}, nil
}

// cutShort is how long calls get to come back after their context was ended by
// a drain that ran out of time.
const cutShort = time.Second

func (s *server[C, S]) drain(ctx context.Context, timeout time.Duration) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.mu.Lock()
	s.current = nil
	open := slices.Clone(s.open)
	s.mu.Unlock()
	for _, sess := range open {
		s.retire(sess)
	}
	patience, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, sess := range open {
		select {
		case <-sess.idle:
		case <-patience.Done():
		}
	}
	for _, sess := range open {
		sess.cancel()
	}
	late := time.NewTimer(cutShort)
	defer late.Stop()
	for _, sess := range open {
		select {
		case <-sess.idle:
		case <-late.C:
			return errors.New("draining: Deliver is still running although its context has ended; the connector was not closed")
		}
	}
	for _, sess := range open {
		select {
		case <-sess.closed:
		case <-ctx.Done():
			return fmt.Errorf("draining: waiting for Close: %w", context.Cause(ctx))
		}
	}
	return nil
}

func (s *server[C, S]) session() *session[S] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// use returns the session in force, kept open until its done is called; nil if
// there is none. A session is retired only after another one, or none, is in
// force, so it cannot be retired under the lock.
func (s *server[C, S]) use() *session[S] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || !s.current.use() {
		return nil
	}
	return s.current
}

func (s *server[C, S]) logClose(err error) {
	if err != nil {
		s.log.Error("closing the connector", "error", err.Error())
	}
}

func errNotConfigured(call string) error {
	return status.Errorf(codes.FailedPrecondition, "%s came before Configure, or after Drain: configure the connector first", call)
}

// panicError is a panic of the author's code, caught.
type panicError struct {
	value any
	stack string // all of it, for the log
	top   string // where it came from, for the verdict
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard turns a panic of f into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack()), top: panicked()}
		}
	}()
	return f()
}

// panicFrames of a stack tell where a panic came from.
const panicFrames = 6

// panicked describes the functions that a panic came through, the innermost
// first. It is called while the panic is being recovered.
func panicked() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	var b strings.Builder
	for n, below, more := 0, false, true; more && n < panicFrames; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			below = true
		case !below || n == 0 && strings.HasPrefix(f.Function, "runtime."):
		case strings.HasSuffix(f.Function, "/sdk/plugin.guard"):
			return b.String()
		default:
			fmt.Fprintf(&b, "\n  at %s (%s:%d)", f.Function, f.File, f.Line)
			n++
		}
	}
	return b.String()
}
