package fanout_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// A configuration is put in force while the plugin is answering that it halts:
// the halt was about the one before.
func TestAHaltOfAnEarlierConfigurationDoesNotCount(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var c *fanout.Consumer
		var mended atomic.Bool
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			if mended.CompareAndSwap(false, true) {
				if !c.SetConfigHash("2") {
					t.Error("it has not halted yet")
				}
				return verdict(pluginpb.Verdict_KIND_HALT, "the key was revoked"), nil
			}
			return applied(), nil
		}
		c = fanout.New(b.config(), b.deps())
		b.append("t", "e", "{}")
		r := b.run(c)
		b.until("delivered under the new one", b.settled)
		if err := r.end(); err != nil {
			t.Errorf("it ended with %v", err)
		}
		if got := b.plugin.delivered(); !slices.Equal(got, []string{"e", "e"}) {
			t.Errorf("delivered %v", got)
		}
	})
}

// Once the halt is being written, a configuration comes too late for this
// consumer. It is told so, and what is written is the halt of the one before, so
// that the next consumer starts.
func TestAReloadThatMeetsAHaltIsNotLost(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		busy, release := make(chan struct{}), make(chan struct{})
		var mended atomic.Bool
		b.plugin.call = func(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
			inner := &fake{deliver: func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
				switch {
				case mended.Load():
				case ev.GetId() == "slow":
					close(busy)
					<-release // the consumer waits for it before it ends
				case ev.GetId() == "halts":
					return verdict(pluginpb.Verdict_KIND_HALT, "the key was revoked"), nil
				}
				return applied(), nil
			}}
			return inner.Deliver(ctx, req)
		}
		c := fanout.New(b.config(), b.deps())
		r := b.run(c)
		b.append("a", "slow", "{}")
		<-busy
		b.append("b", "halts", "{}")
		b.until("it has halted", func() bool { return !c.SetConfigHash("1") })
		if c.SetConfigHash("2") {
			t.Error("a consumer that ends takes a new configuration")
		}
		mended.Store(true)
		close(release)
		if err := r.wait(); !errors.Is(err, fanout.ErrHalted) {
			t.Fatalf("it ended with %v", err)
		}
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.ConfigHash = "2" })
		b.until("delivered under the new one", b.settled)
	})
}
