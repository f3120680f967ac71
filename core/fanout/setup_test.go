package fanout_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/rs/zerolog"
)

const patience = 30 * time.Second

// onBoth runs a test on SQLite and on Postgres.
func onBoth(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) { test(t, setup(t, url)) })
}

type bundle struct {
	t       *testing.T
	store   *store.Store
	journal *journal.Journal
	plugin  *fake
	log     zerolog.Logger
}

func setup(t *testing.T, url string) *bundle {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	st := storetest.Open(t, url)
	b := &bundle{t: t, store: st, log: zerolog.Nop()}
	b.journal = journal.New(st, noMirror{}, journal.Options{})
	done := make(chan struct{})
	go func() { defer close(done); b.journal.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	b.plugin = &fake{order: plugin.PerTenant}
	return b
}

type noMirror struct{}

func (noMirror) Apply(context.Context, []*event.Event) error { return nil }
func (noMirror) Refs(*event.Event) []mirror.Ref              { return nil }
func (noMirror) Entities(context.Context, []mirror.Ref) (map[mirror.Ref]json.RawMessage, error) {
	return nil, nil
}

func (noMirror) Count(context.Context, map[mirror.Ref]json.RawMessage) error { return nil }

// append journals an event of the tenant and returns its position.
func (b *bundle) append(tenant, id string, data string) int64 {
	b.t.Helper()
	return b.appendOf("test.happened", tenant, id, data)
}

// appendOf journals an event of a type.
func (b *bundle) appendOf(kind, tenant, id string, data string) int64 {
	b.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"type":%q,"timestamp":"2026-01-02T03:04:05.678Z","tenant_id":%q,"application_id":null,"data":%s}`, id, kind, tenant, data)
	ev, err := event.DecodeWebhook([]byte(body))
	if err != nil {
		b.t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt = "test", store.Now()
	ev.Evidence = event.Evidence{KeyID: "k", Signature: []byte("s"), SignedTimestamp: "1", Body: []byte(body)}
	receipt, err := b.journal.Append(context.Background(), ev)
	if err != nil {
		b.t.Fatal(err)
	}
	return receipt.Position
}

// running is a consumer at work.
type running struct {
	t    *testing.T
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func (b *bundle) config() fanout.Config {
	return fanout.Config{Name: "p", Events: []string{"*"}, RetryFor: time.Hour, ConfigHash: "1"}
}

func (b *bundle) deps() fanout.Deps {
	return fanout.Deps{
		Store: b.store, Journal: b.journal, Mirror: noMirror{}, Plugin: b.plugin, Hub: rand.Text(), Log: b.log,
		Backoff: func(int) time.Duration { return 5 * time.Millisecond },
	}
}

func (b *bundle) start(change ...func(*fanout.Config, *fanout.Deps)) *running {
	cfg, deps := b.config(), b.deps()
	for _, f := range change {
		f(&cfg, &deps)
	}
	return b.run(fanout.New(cfg, deps))
}

func (b *bundle) run(c *fanout.Consumer) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: b.t, stop: cancel, done: make(chan struct{})}
	go func() { defer close(r.done); r.err = c.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-r.done })
	return r
}

func (r *running) end() error {
	r.t.Helper()
	r.stop()
	return r.wait()
}

func (r *running) wait() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		r.t.Fatal("the consumer did not end")
		return nil
	}
}

// until polls a condition.
func (b *bundle) until(what string, condition func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			p, _ := fanout.Plugins(context.Background(), b.store)
			trouble, _ := fanout.List(context.Background(), b.store, fanout.Filter{})
			out, _ := json.Marshal(map[string]any{"plugins": p, "trouble": trouble})
			b.t.Fatalf("never happened: %s\n%s", what, out)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *bundle) settled() bool {
	list, err := fanout.Plugins(context.Background(), b.store)
	return err == nil && len(list) == 1 && list[0].Lag == 0 && list[0].Lanes == 0
}

func (b *bundle) trouble() fanout.Trouble {
	b.t.Helper()
	trouble, err := fanout.List(context.Background(), b.store, fanout.Filter{})
	if err != nil {
		b.t.Fatal(err)
	}
	return trouble
}

// fake is a plugin in this process that keeps to the protocol: it works off a
// batch in order and holds a key after an unsettled event.
type fake struct {
	order    plugin.Order
	coalesce bool
	counts   bool
	body     bool
	// stateSchema is what it says of its states.
	stateSchema []byte
	// deliver decides about one event; state is what the key remembers, and
	// what is returned replaces it unless nil.
	deliver func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte)
	// call, if set, replaces all of that.
	call func(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error)

	mu   sync.Mutex
	seen []*pluginpb.Event
}

func (f *fake) WaitReady(context.Context) error { return nil }
func (f *fake) Status() plugin.Status           { return plugin.Status{State: plugin.Running, Version: "1"} }
func (f *fake) Info() (plugin.Info, bool) {
	return plugin.Info{Name: "p", Version: "1", Order: f.order, Coalesce: f.coalesce, Counts: f.counts, Body: f.body, StateSchema: f.stateSchema}, true
}

func (f *fake) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	if f.call != nil {
		return f.call(ctx, req)
	}
	resp := &pluginpb.DeliverResponse{States: map[string][]byte{}}
	states, held := map[string][]byte{}, map[string]bool{}
	for k, v := range req.GetStates() {
		states[k] = v
	}
	for _, ev := range req.GetEvents() {
		v := &pluginpb.Verdict{Kind: pluginpb.Verdict_KIND_HELD}
		if !held[ev.GetKey()] {
			f.mu.Lock()
			f.seen = append(f.seen, ev)
			f.mu.Unlock()
			var state []byte
			v, state = f.deliver(ev, states[ev.GetKey()])
			if state != nil {
				states[ev.GetKey()], resp.States[ev.GetKey()] = state, state
			}
			switch v.GetKind() {
			case pluginpb.Verdict_KIND_RETRY, pluginpb.Verdict_KIND_AGAIN, pluginpb.Verdict_KIND_HALT:
				held[ev.GetKey()] = true
			}
		}
		v.Position = ev.GetPosition()
		resp.Verdicts = append(resp.Verdicts, v)
	}
	return resp, nil
}

// delivered returns the ids that the plugin was given, in order.
func (f *fake) delivered() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]string, len(f.seen))
	for i, ev := range f.seen {
		ids[i] = ev.GetId()
	}
	return ids
}

func verdict(kind pluginpb.Verdict_Kind, reason string) *pluginpb.Verdict {
	return &pluginpb.Verdict{Kind: kind, Reason: reason}
}

func applied() *pluginpb.Verdict { return verdict(pluginpb.Verdict_KIND_APPLIED, "") }

var errCut = errors.New("connection cut")
