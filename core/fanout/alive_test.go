package fanout_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// progress is where the plugin stands; zero before its consumer has claimed the
// cursor.
func (b *bundle) progress() fanout.Progress {
	b.t.Helper()
	list, err := fanout.Plugins(context.Background(), b.store)
	if err == nil && len(list) == 0 {
		return fanout.Progress{}
	}
	if err != nil || len(list) != 1 {
		b.t.Fatalf("%v: %+v", err, list)
	}
	return list[0]
}

func TestAnIdleHubGivesSignsOfLife(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var ahead, asked atomic.Int64 // of the system's clock; how often it was asked
		now := func() time.Time { asked.Add(1); return store.Now().Add(time.Duration(ahead.Load())) }
		r := b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Now = now })
		b.until("it runs", func() bool {
			list, _ := fanout.Plugins(context.Background(), b.store)
			return len(list) == 1 && list[0].State == "running"
		})
		before := b.progress().UpdatedAt
		// Signs that come with every look at the journal would wear SQLite out.
		ahead.Store(int64(5 * time.Second))
		looks := asked.Load() + 12
		b.until("the hub has looked around several times", func() bool { return asked.Load() > looks })
		if after := b.progress().UpdatedAt; !after.Equal(before) {
			t.Errorf("a sign of life after %s", after.Sub(before))
		}
		ahead.Store(int64(15 * time.Second))
		b.until("there is a sign of life", func() bool { return b.progress().UpdatedAt.Sub(before) > 10*time.Second })
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if p := b.progress(); p.State != "stopped" {
			t.Errorf("%+v", p)
		}
	})
}

// down is a plugin that cannot be started.
type down struct{ *fake }

func (down) WaitReady(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (down) Status() plugin.Status {
	return plugin.Status{State: plugin.Backoff, Reason: "no such file", Restarts: 7}
}

func TestAHubWhosePluginIsDownGivesSignsOfLifeToo(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var ahead atomic.Int64
		b.start(func(_ *fanout.Config, d *fanout.Deps) {
			d.Plugin = down{b.plugin}
			d.Now = func() time.Time { return store.Now().Add(time.Duration(ahead.Load())) }
		})
		b.until("its state is told", func() bool {
			list, _ := fanout.Plugins(context.Background(), b.store)
			return len(list) == 1 && list[0].State == "backoff" && list[0].Restarts == 7 && list[0].Reason == "no such file"
		})
		before := b.progress().UpdatedAt
		ahead.Store(int64(time.Minute))
		b.until("there is a sign of life", func() bool { return b.progress().UpdatedAt.Sub(before) > 30*time.Second })
	})
}

// A hub that is killed leaves what it last wrote.
func TestAHubThatWasNotSeenForLongIsStale(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		for _, c := range []struct {
			state string
			ago   time.Duration
			want  string
		}{
			{"running", time.Second, "running"},
			{"running", 20 * time.Second, "running"}, // a sign of life may be late
			{"running", time.Minute, fanout.Stale},
			{"backoff", time.Hour, fanout.Stale},
			{"stopped", time.Hour, "stopped"},
			{"halted", time.Hour, "halted"},
		} {
			ctx := context.Background()
			if _, err := b.store.SQL(ctx).Exec(ctx, `DELETE FROM avhub_cursors`); err != nil {
				t.Fatal(err)
			}
			_, err := b.store.SQL(ctx).Exec(ctx, `INSERT INTO avhub_cursors (id, plugin, state, updated_at) VALUES (?, ?, ?, ?)`,
				"p/0", "p", c.state, store.Now().Add(-c.ago).UnixMicro())
			if err != nil {
				t.Fatal(err)
			}
			p := b.progress()
			last := ""
			if c.want == fanout.Stale {
				last = c.state
			}
			if p.State != c.want || p.LastState != last {
				t.Errorf("%s, %s ago: %+v", c.state, c.ago, p)
			}
		}
	})
}
