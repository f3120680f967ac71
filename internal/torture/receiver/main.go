// Command receiver is the connector that the torture rig delivers to. It logs each
// delivery in the format that `avhub verify` reads, durably, before it answers,
// and its state counts what it applied.
//
// The variable TORTURE_RECEIVER chooses its behaviour: counter, plain (no state),
// slow, or flaky, which fails, throttles, hangs and dies at random until the file
// named calm appears in its folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

type config struct {
	Plugin string `json:"plugin" doc:"The plugin's name in the hub's configuration." required:"true"`
	Dir    string `json:"dir" doc:"Where logs are written." required:"true"`
	Seed   int    `json:"seed" doc:"Of what happens at random, together with the process's number."`
}

// state shows each event of a key that was applied once, and only once.
type state struct {
	Count int64  `json:"count"`
	Last  int64  `json:"last"` // position
	Sum   uint64 `json:"sum"`  // of the ids' hashes
}

func (s *state) add(ev plugin.Event) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(ev.ID)) // a hash never fails
	s.Count++
	s.Sum += h.Sum64()
	s.Last = max(s.Last, ev.Position)
}

// receiver is what all of them share.
type receiver struct {
	cfg  config
	log  *log
	kind string

	mu     sync.Mutex
	random *rand.Rand
}

func open(kind string, cfg config) *receiver {
	return &receiver{
		cfg: cfg, kind: kind, log: &log{dir: cfg.Dir, plugin: cfg.Plugin},
		random: rand.New(rand.NewPCG(uint64(cfg.Seed), uint64(os.Getpid()))),
	}
}

// below returns a random number from 0 to n-1.
func (r *receiver) below(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.random.IntN(n)
}

// Close is called when no delivery runs any more.
func (r *receiver) Close() error { return r.log.close() }

// deliver decides about an event, and logs that; before is the position that its
// key's state was saved with, nil without state.
func (r *receiver) deliver(ctx context.Context, ev plugin.Event, before *int64) error {
	began := now()
	err, dies := r.outcome(ctx)
	verdict := "applied"
	if err != nil {
		verdict = "retry"
	}
	if dies && r.below(2) == 0 {
		os.Exit(3) // nothing of it is known
	}
	if e := r.log.write(line{
		Began: began, Plugin: r.cfg.Plugin, Position: ev.Position, ID: ev.ID, Key: ev.Key, Attempt: ev.Attempt,
		Replay: ev.Replay, Fence: ev.Fence, Verdict: verdict, State: before,
	}); e != nil {
		return plugin.Halt(fmt.Errorf("log the delivery: %w", e))
	}
	if dies {
		os.Exit(4) // it was applied, and the hub does not hear of it
	}
	return err
}

func (r *receiver) outcome(ctx context.Context) (err error, dies bool) {
	switch r.kind {
	case "slow":
		return pause(ctx, time.Duration(1+r.below(15))*time.Millisecond), false
	case "flaky":
	default:
		return nil, false
	}
	if _, err := os.Stat(filepath.Join(r.cfg.Dir, "calm")); err == nil {
		return nil, false
	}
	switch n := r.below(1000); {
	case n < 20:
		return errors.New("it fails at random"), false
	case n < 40:
		return plugin.RetryAfter(100*time.Millisecond, errors.New("it is throttled at random")), false
	case n < 42:
		return pause(ctx, time.Minute), false
	case n < 44:
		return nil, true
	case n < 100:
		return pause(ctx, time.Duration(r.below(40))*time.Millisecond), false
	}
	return nil, false
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("hung: %w", ctx.Err())
	case <-time.After(d):
		return nil
	}
}

// remembering keeps state, forgetful none.
type remembering struct{ *receiver }

func (r remembering) Deliver(ctx context.Context, ev plugin.Event, st *state) error {
	before := st.Last
	if err := r.deliver(ctx, ev, &before); err != nil {
		return err
	}
	st.add(ev)
	return nil
}

type forgetful struct{ *receiver }

func (r forgetful) Deliver(ctx context.Context, ev plugin.Event, _ *struct{}) error {
	return r.deliver(ctx, ev, nil)
}

func main() {
	kind := os.Getenv("TORTURE_RECEIVER")
	info := plugin.Info{Name: "torture-" + kind, Version: "1", Summary: "logs what it is given", Events: []string{"*"}, Order: plugin.PerTenant}
	if kind == "plain" || kind == "flaky" {
		info.Order = plugin.PerSubject
	}
	if kind == "plain" {
		plugin.Plugin[config, struct{}]{Info: info, Open: func(_ context.Context, cfg config, _ *slog.Logger) (plugin.Connector[struct{}], error) {
			return forgetful{open(kind, cfg)}, nil
		}}.Main()
	}
	plugin.Plugin[config, state]{Info: info, Open: func(_ context.Context, cfg config, _ *slog.Logger) (plugin.Connector[state], error) {
		return remembering{open(kind, cfg)}, nil
	}}.Main()
}
