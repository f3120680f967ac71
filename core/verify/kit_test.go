package verify_test

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/source"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/core/verify"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/rs/zerolog"
)

const patience = 60 * time.Second

// world is a database that a hub works on: a real journal, a real consumer, and a
// plugin that keeps a log of what it receives.
type world struct {
	t        *testing.T
	store    *store.Store
	journal  *journal.Journal
	provider *provider.Provider
	keys     map[string]*rsa.PublicKey
	plugin   *receiver
	log      string
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	return newWorldOf(t, url, provider.New(t))
}

func newWorldOf(t *testing.T, url string, signs *provider.Provider) *world {
	t.Helper()
	w := &world{t: t, store: storetest.Open(t, url), provider: signs, log: filepath.Join(t.TempDir(), "received.jsonl")}
	w.journal = journal.New(w.store, noMirror{}, journal.Options{})
	w.background(func(ctx context.Context) { w.journal.Run(ctx) })
	resp, err := http.Get(w.provider.URL + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	set, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = source.ParseKeys(set); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(w.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	w.plugin = &receiver{out: out}
	return w
}

// background runs f until the test ends.
func (w *world) background(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

// send journals a signed event of the tenant.
func (w *world) send(tenant, id string) {
	w.t.Helper()
	body := fmt.Appendf(nil, `{"id":%q,"type":"test.happened","timestamp":"2026-01-02T03:04:05.678Z","tenant_id":%q,"application_id":null,"data":{"n":1}}`, id, tenant)
	ev, err := event.DecodeWebhook(body)
	if err != nil {
		w.t.Fatal(err)
	}
	headers := w.provider.Webhook(body)
	signature, err := base64.StdEncoding.DecodeString(headers["X-AuthVital-Signature"])
	if err != nil {
		w.t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt = "authvital", store.Now()
	ev.Evidence = event.Evidence{KeyID: headers["X-AuthVital-Key-Id"], Signature: signature, SignedTimestamp: headers["X-AuthVital-Timestamp"], Body: body}
	if _, err := w.journal.Append(context.Background(), ev); err != nil {
		w.t.Error(err)
	}
}

// deliver runs a consumer and returns what ends it.
func (w *world) deliver() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c := fanout.New(
		fanout.Config{Name: "p", Events: []string{"*"}, RetryFor: time.Hour, ConfigHash: "1"},
		fanout.Deps{
			Store: w.store, Journal: w.journal, Mirror: noMirror{}, Plugin: w.plugin, Hub: "hub", Log: zerolog.Nop(),
			Backoff: func(int) time.Duration { return time.Hour },
		})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	return sync.OnceFunc(func() { cancel(); <-done })
}

// settle waits until the consumer has passed everything.
func (w *world) settle() {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		list, err := fanout.Plugins(context.Background(), w.store)
		if err == nil && len(list) == 1 && list[0].Lag == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the plugin never came to the end: %+v, %v", list, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// fill makes a history: keys that went well, one that is blocked, a dead letter.
// Positions are those of the ids.
func (w *world) fill() {
	w.t.Helper()
	for i := 1; i <= 20; i++ {
		tenant, id := fmt.Sprintf("t%d", i%4), fmt.Sprintf("e%d", i)
		switch i {
		case 10: // of t2: blocked, with e14 and e18 behind it
			id = "retry-10"
		case 11: // of t3
			id = "reject-11"
		}
		w.send(tenant, id)
	}
	stop := w.deliver()
	w.settle()
	stop()
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	n, err := w.store.SQL(w.t.Context()).Exec(w.t.Context(), statement, args...)
	if err != nil || n == 0 {
		w.t.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}

func (w *world) options() verify.Options {
	return verify.Options{
		Plugins:   []verify.Plugin{{Name: "p", Order: plugin.PerTenant, Events: []string{"*"}}},
		Receivers: []string{w.log}, Keys: w.keys,
	}
}

func (w *world) verify(change ...func(*verify.Options)) *verify.Report {
	w.t.Helper()
	opts := w.options()
	for _, f := range change {
		f(&opts)
	}
	report, err := verify.Run(w.t.Context(), w.store, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// lines reads the log; rewrite replaces it.
func (w *world) lines() []string {
	w.t.Helper()
	text, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func (w *world) rewrite(lines []string) {
	w.t.Helper()
	if err := os.WriteFile(w.log, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// say adds lines to the log that nobody sent, each after the others.
func (w *world) say(deliveries ...verify.Delivery) {
	w.t.Helper()
	lines := w.lines()
	for i, d := range deliveries {
		d.Plugin = "p"
		if d.Seq == 0 {
			d.Seq = 1_000_000 + int64(i)
		}
		line, err := json.Marshal(d)
		if err != nil {
			w.t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	w.rewrite(lines)
}

// without takes the lines about an event away.
func (w *world) without(id string) {
	w.t.Helper()
	w.rewrite(slices.DeleteFunc(w.lines(), func(line string) bool { return strings.Contains(line, `"id":"`+id+`"`) }))
}

func kinds(r *verify.Report) []verify.Kind {
	var found []verify.Kind
	for _, f := range r.Findings {
		if !slices.Contains(found, f.Kind) {
			found = append(found, f.Kind)
		}
	}
	return found
}

type noMirror struct{}

func (noMirror) Apply(context.Context, []*event.Event) error { return nil }
func (noMirror) Refs(*event.Event) []mirror.Ref              { return nil }
func (noMirror) Count(context.Context, map[mirror.Ref]json.RawMessage) error {
	return nil
}

func (noMirror) Entities(context.Context, []mirror.Ref) (map[mirror.Ref]json.RawMessage, error) {
	return nil, nil
}

// receiver is a plugin whose state is the position of the last event of the key,
// and that logs what it is given. Events whose id says so are retried or rejected.
type receiver struct {
	mu  sync.Mutex
	out *os.File
	seq atomic.Int64
}

func (*receiver) WaitReady(context.Context) error { return nil }
func (*receiver) Status() plugin.Status           { return plugin.Status{State: plugin.Running, Version: "1"} }
func (*receiver) Info() (plugin.Info, bool) {
	return plugin.Info{Name: "p", Version: "1", Order: plugin.PerTenant}, true
}

func (r *receiver) Deliver(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	resp := &pluginpb.DeliverResponse{States: map[string][]byte{}}
	states, held := map[string][]byte{}, map[string]bool{}
	for k, v := range req.GetStates() {
		states[k] = v
	}
	for _, ev := range req.GetEvents() {
		v := &pluginpb.Verdict{Position: ev.GetPosition(), Kind: pluginpb.Verdict_KIND_HELD}
		resp.Verdicts = append(resp.Verdicts, v)
		key := ev.GetKey()
		if held[key] {
			continue
		}
		var before int64
		_ = json.Unmarshal(states[key], &before) // empty: 0
		d := verify.Delivery{Run: "1", Plugin: "p", Position: ev.GetPosition(), ID: ev.GetId(), Key: key, Replay: ev.GetReplay(), State: &before, Verdict: "applied"}
		v.Kind = pluginpb.Verdict_KIND_APPLIED
		switch {
		case strings.HasPrefix(ev.GetId(), "retry"):
			d.Verdict, v.Kind, held[key] = "retry", pluginpb.Verdict_KIND_RETRY, true
		case strings.HasPrefix(ev.GetId(), "reject"):
			d.Verdict, v.Kind = "reject", pluginpb.Verdict_KIND_REJECT
		default:
			states[key] = fmt.Append(nil, ev.GetPosition())
			resp.States[key] = states[key]
		}
		if err := r.write(d); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

func (r *receiver) write(d verify.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Seq = r.seq.Add(1)
	line, err := json.Marshal(d)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	return err
}
