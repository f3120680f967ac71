package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/rs/zerolog"
)

const (
	role     = "AVHUB_HUB_TEST_ROLE"
	patience = 30 * time.Second
)

// TestMain lets the test binary be a plugin whose credentials were revoked, or
// one that dies of an event.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "crashes": // as soon as it runs
		plugin.Plugin[struct{}, struct{}]{
			Info: plugin.Info{Name: "applies", Version: "1", Summary: "crashes", Events: []string{"*"}},
			Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) {
				time.AfterFunc(20*time.Millisecond, func() { os.Exit(3) })
				return applies{}, nil
			},
		}.Main()
		return
	case "fragile":
		fragileMain()
		return
	case "applies":
		plugin.Plugin[struct{}, struct{}]{
			Info: plugin.Info{Name: "applies", Version: "1", Summary: "applies all", Events: []string{"*"}},
			Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) {
				return applies{}, nil
			},
		}.Main()
		return
	case "remembers":
		remembersMain()
		return
	case "revoked":
		plugin.Plugin[struct{}, struct{}]{
			Info: plugin.Info{Name: "revoked", Version: "1", Summary: "halts", Events: []string{"*"}},
			Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) {
				return revoked{}, nil
			},
		}.Main()
		return
	}
	os.Exit(m.Run())
}

type revoked struct{}

func (revoked) Deliver(context.Context, plugin.Event, *struct{}) error {
	return plugin.Halt(errors.New("the key was revoked"))
}

func setup(t *testing.T, change func(*config.Config)) *hub.Hub {
	t.Helper()
	cfg := config.Default()
	cfg.Storage.URL = storetest.SQLite(t)
	cfg.Server.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
	change(&cfg)
	h, err := hub.New(context.Background(), &cfg, hub.Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func serve(t *testing.T, h *hub.Hub) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestAnAddressInUseIsAnErrorAtOnceAndNamesItsKey(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, change := range map[string]func(*config.Config){
		"server.listen": func(c *config.Config) { c.Server.Listen = taken.Addr().String() },
		"admin.listen":  func(c *config.Config) { c.Admin.Listen = taken.Addr().String() },
	} {
		err := setup(t, change).Serve(context.Background())
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestReadinessNamesTheSourceWithoutKeys(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	h := setup(t, func(c *config.Config) {
		c.Sources = []config.Source{{Name: "authvital", Host: gone.URL, Path: "/hook", MaxAge: time.Minute, MaxAhead: time.Minute}}
	})
	if err := h.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	serve(t, h)
	resp, err := http.Get("http://" + h.AdminAddr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var checks []struct {
		Name string
		OK   bool
	}
	if err := json.NewDecoder(resp.Body).Decode(&checks); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || fmt.Sprint(checks) != "[{storage true} {keys of authvital false}]" {
		t.Errorf("%d %v", resp.StatusCode, checks)
	}
}

// A plugin that halts is stopped and waits for a person. The hub goes on.
func TestLaw6_AHaltedPluginDoesNotHoldUpTheHub(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := provider.New(t)
	h := setup(t, func(c *config.Config) {
		c.Sources = []config.Source{{Name: "authvital", Host: p.URL, Path: "/hook", MaxAge: time.Minute, MaxAhead: time.Minute}}
		c.Plugins = []config.Plugin{{Name: "billing", Command: []string{self}, Env: map[string]string{role: "revoked"}, RetryFor: time.Hour}}
	})
	if err := h.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	serve(t, h)
	send := func(id string) int {
		body := fmt.Sprintf(`{"id":%q,"type":"tenant.deleted","timestamp":"2026-01-02T03:04:05Z","tenant_id":"t","data":{"tenant_id":"t"}}`, id)
		req, err := http.NewRequest(http.MethodPost, "http://"+h.PublicAddr().String()+"/hook", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range p.Webhook([]byte(body)) {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	until(t, "the first event is accepted", func() bool { return send("first") == http.StatusOK })
	until(t, "the plugin has halted", func() bool {
		list, err := fanout.Plugins(context.Background(), h.Store())
		return err == nil && len(list) == 1 && list[0].State == "halted" && list[0].Reason == "the key was revoked" && list[0].Lag == 1
	})
	if status := send("second"); status != http.StatusOK {
		t.Errorf("after the halt: %d", status)
	}
}
