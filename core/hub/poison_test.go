package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/sdk/plugin"
)

// fragile dies of one event, as programs do: by a panic that nobody can catch.
// It remembers what it applied.
type fragile struct{}

type applied struct{ IDs []string }

const poison = "e7777"

func fragileMain() {
	plugin.Plugin[struct{}, applied]{
		Info: plugin.Info{Name: "fragile", Version: "1", Summary: "dies of an event", Events: []string{"*"}},
		Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[applied], error) {
			return fragile{}, nil
		},
	}.Main()
}

func (fragile) Deliver(_ context.Context, ev plugin.Event, st *applied) error {
	switch ev.ID {
	case poison:
		go panic("cannot digest " + ev.ID)
		select {}
	case "caught":
		panic("clumsy")
	}
	st.IDs = append(st.IDs, ev.ID)
	return nil
}

// Ten thousand events, one of which kills the plugin's process: it alone is given
// up, with the panic in its history; all others are applied once and in order.
func TestLaw6_APoisonousEventAmongTenThousandCostsOnlyItself(t *testing.T) {
	t.Parallel()
	const events, tenants = 10_000, 40
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := provider.New(t)
	h := setup(t, func(c *config.Config) {
		c.Sources = []config.Source{{Name: "authvital", Host: p.URL, Path: "/hook", MaxAge: time.Minute, MaxAhead: time.Minute}}
		c.Plugins = []config.Plugin{{Name: "fragile", Command: []string{self}, Env: map[string]string{role: "fragile"}, RetryFor: time.Hour}}
	})
	if err := h.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	serve(t, h)
	add := func(id, tenant string) {
		body := fmt.Sprintf(`{"id":%q,"type":"test.happened","timestamp":"2026-01-02T03:04:05Z","tenant_id":%q,"data":{}}`, id, tenant)
		ev, err := event.DecodeWebhook([]byte(body))
		if err != nil {
			t.Error(err)
			return
		}
		ev.Source, ev.ReceivedAt = "authvital", store.Now()
		ev.Evidence = event.Evidence{KeyID: "k", Signature: []byte("s"), SignedTimestamp: "1", Body: []byte(body)}
		if _, err := h.Journal().Append(context.Background(), ev); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for tenant := range tenants {
		wg.Go(func() {
			for i := tenant; i < events; i += tenants {
				add(fmt.Sprintf("e%d", i), fmt.Sprintf("t%d", tenant))
			}
		})
	}
	wg.Wait()
	ctx := context.Background()
	until(t, "all is settled", func() bool {
		list, err := fanout.Plugins(ctx, h.Store())
		return err == nil && len(list) == 1 && list[0].Lag == 0 && list[0].Lanes == 0
	})
	is, err := fanout.List(ctx, h.Store(), fanout.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(is.DeadLetters) != 1 || is.DeadLetters[0].EventID != poison {
		t.Fatalf("dead letters %+v", is.DeadLetters)
	}
	d := is.DeadLetters[0]
	if last := d.History[len(d.History)-1].Error; !strings.Contains(last, "panic: cannot digest "+poison) || !strings.Contains(last, "poison_test.go") {
		t.Errorf("its history ends with %q", last)
	}
	for tenant := range tenants {
		var want []string
		for i := tenant; i < events; i += tenants {
			if id := fmt.Sprintf("e%d", i); id != poison {
				want = append(want, id)
			}
		}
		row, err := h.Store().Read().PluginState.Get(ctx, fmt.Sprintf("fragile/tenant:t%d", tenant))
		if err != nil {
			t.Fatal(err)
		}
		var got applied
		if err := json.Unmarshal(row.State, &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.IDs, want) {
			t.Errorf("tenant %d applied %v, want %v", tenant, got.IDs, want)
		}
	}
	var list []fanout.Progress
	until(t, "it runs again after its last death", func() bool {
		list, err = fanout.Plugins(ctx, h.Store())
		return err == nil && list[0].State == "running"
	})
	t.Logf("%d restarts", list[0].Restarts)

	// A panic that the connector survives is a failure that says where it was.
	add("caught", "t0")
	until(t, "a lane", func() bool {
		is, err = fanout.List(ctx, h.Store(), fanout.Filter{})
		return err == nil && len(is.Lanes) == 1
	})
	if said := is.Lanes[0].History[0].Error; !strings.HasPrefix(said, "panic: clumsy\n  at ") || !strings.Contains(said, "poison_test.go:") {
		t.Errorf("the lane says %q", said)
	}
}
