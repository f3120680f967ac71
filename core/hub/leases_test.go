package hub_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/hub"
	corePlugin "github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/rs/zerolog"
)

type applies struct{}

func (applies) Deliver(context.Context, plugin.Event, *struct{}) error { return nil }

// tally counts what hubs deliver.
type tally struct {
	mu    sync.Mutex
	by    map[string]map[string]int // hub, event
	times map[string]int
}

func (c *tally) of(name string) func(fanout.Delivery) {
	return func(d fanout.Delivery) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.by[name] == nil {
			c.by[name] = map[string]int{}
		}
		c.by[name][d.Event.ID]++
		c.times[d.Event.ID]++
	}
}

func (c *tally) total(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.by[name])
}

func newTally() *tally { return &tally{by: map[string]map[string]int{}, times: map[string]int{}} }

// member is one hub of several, in this process.
type member struct {
	*hub.Hub
	cfg  *config.Config
	stop func()
}

func join(t *testing.T, url, name string, partitions int, c *tally) *member {
	t.Helper()
	return joinAs(t, url, name, "applies", partitions, c)
}

// joinAs is join with another plugin under the same name.
func joinAs(t *testing.T, url, name, plays string, partitions int, c *tally) *member {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.URL = url
	cfg.Server.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Plugins = []config.Plugin{{
		Name: "applies", Command: []string{self}, Env: map[string]string{role: plays}, RetryFor: time.Hour, OnDead: "continue", Partitions: partitions,
	}}
	h, err := hub.New(context.Background(), &cfg, hub.Options{Log: zerolog.New(zerolog.NewTestWriter(t)), OnDelivery: c.of(name)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	m := &member{Hub: h, cfg: &cfg}
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

func (m *member) append(t *testing.T, tenant, id string) {
	t.Helper()
	body := fmt.Sprintf(`{"id":%q,"type":"tenant.deleted","timestamp":"2026-01-02T03:04:05Z","tenant_id":%q,"data":{"tenant_id":%q}}`, id, tenant, tenant)
	ev, err := event.DecodeWebhook([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt, ev.Evidence.Body = "test", store.Now(), []byte(body)
	if _, err := m.Journal().Append(context.Background(), ev); err != nil {
		t.Fatal(err)
	}
}

func (m *member) owned() (own, all int) {
	list, err := fanout.Plugins(context.Background(), m.Store())
	if err != nil || len(list) != 1 {
		return 0, 0
	}
	owners := map[string]int{}
	for _, p := range list[0].Partitions {
		if p.LeaseUntil != nil && p.State == "running" {
			owners[p.Owner]++
			all++
		}
	}
	return len(owners), all
}

func TestLaw8_ASecondHubOnOneSQLiteFileRefusesToStart(t *testing.T) {
	t.Parallel()
	url := storetest.SQLite(t)
	one := join(t, url, "one", 1, newTally())
	until(t, "the first one delivers", func() bool { _, all := one.owned(); return all == 1 })
	cfg := *one.cfg
	two, err := hub.New(context.Background(), &cfg, hub.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	for what, err := range map[string]error{"Run": two.Run(t.Context()), "Serve": two.Serve(t.Context())} {
		if !errors.Is(err, store.ErrNotAlone) || !strings.Contains(err.Error(), "Postgres") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The next one need not wait for the lease of the one before.
	one.stop()
	c := newTally()
	three := join(t, url, "three", 1, c)
	three.append(t, "t", "e")
	until(t, "the next one delivers", func() bool { return c.total("three") == 1 })
}

// Whoever raises an epoch has the owner read its cursor again, no more.
func TestLaw8_ALostLeaseIsAskedForAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		c := newTally()
		h := join(t, url, "h", 2, c)
		h.append(t, "t", "e0")
		until(t, "the first event is delivered", func() bool { return c.total("h") == 1 })
		for i := range 3 {
			ctx := context.Background()
			if _, err := h.Store().SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET epoch = epoch + 1`); err != nil {
				t.Fatal(err)
			}
			for tenant := range 5 {
				h.append(t, fmt.Sprint("t", tenant), fmt.Sprintf("e%d-%d", i, tenant))
			}
			until(t, "the next events are delivered", func() bool { return c.total("h") == 1+5*(i+1) })
		}
	})
}

// Hubs that share partitions deliver each event once, at whichever hub it comes
// in, also while the number of partitions changes.
func TestLaw8_HubsShareTheWorkOfOnePlugin(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		c := newTally()
		one := join(t, url, "one", 1, c)
		members := []*member{one}
		if strings.HasPrefix(url, "postgres") {
			members = append(members, join(t, url, "two", 1, c))
		}
		sent := 0
		send := func(n int) {
			for range n {
				members[sent%len(members)].append(t, fmt.Sprint("t", sent%37), fmt.Sprint("e", sent))
				sent++
			}
		}
		for _, partitions := range []int{4, 3} {
			for _, m := range members {
				cfg := *m.cfg
				cfg.Plugins = []config.Plugin{cfg.Plugins[0]}
				cfg.Plugins[0].Partitions = partitions
				send(50)
				if err := m.Reload(context.Background(), &cfg); err != nil {
					t.Fatal(err)
				}
				m.cfg = &cfg
				send(50)
			}
			until(t, fmt.Sprintf("%d partitions are shared", partitions), func() bool {
				own, all := one.owned()
				return all == partitions && own == min(len(members), partitions)
			})
		}
		send(100)
		until(t, "everything is delivered", func() bool {
			list, err := fanout.Plugins(context.Background(), one.Store())
			return err == nil && list[0].Lag == 0 && c.total("one")+c.total("two") >= sent
		})
		if len(members) > 1 && c.total("two") == 0 {
			t.Error("the second hub had nothing to do")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for id, n := range c.times {
			if n != 1 {
				t.Errorf("%s was delivered %d times", id, n)
			}
		}
	})
}

// What makes a plugin crash may be there on one hub alone.
func TestLaw8_AHubWhosePluginCrashesInALoopLeavesItToAnother(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	c := newTally()
	ill := joinAs(t, url, "ill", "crashes", 2, c)
	quarantined := func() bool {
		list, err := fanout.Plugins(context.Background(), ill.Store())
		return err == nil && len(list) == 1 && list[0].State == string(corePlugin.Quarantined)
	}
	until(t, "the plugin is in quarantine", quarantined)
	for i := range 10 {
		ill.append(t, fmt.Sprint("t", i), fmt.Sprint("e", i))
	}
	well := join(t, url, "well", 2, c)
	until(t, "the other hub delivers all", func() bool { return c.total("well") == 10 })
	// Alone again, the first one shows what is the matter instead of nothing.
	well.stop()
	until(t, "it is the first hub's again", quarantined)
}
