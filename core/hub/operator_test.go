package hub_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin"
)

const operatorToken = "tok-canary"

// memory is a state with a secret.
type memory struct {
	Type  string `json:"type"`
	Token string `json:"token" secret:"true"`
}

type remembers struct{}

func (remembers) Deliver(_ context.Context, ev plugin.Event, st *memory) error {
	*st = memory{ev.Type, "hunter2"}
	return nil
}

func remembersMain() {
	plugin.Plugin[struct{}, memory]{
		Info: plugin.Info{Name: "remembers", Version: "1", Summary: "remembers", Events: []string{"*"}},
		Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[memory], error) {
			return remembers{}, nil
		},
	}.Main()
}

func TestAPluginIsSteeredOverTheAPI(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, database string) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		p := provider.New(t)
		h := setup(t, func(c *config.Config) {
			c.Storage.URL, c.Admin.Token = database, operatorToken
			c.Sources = []config.Source{{Name: "authvital", Host: p.URL, Path: "/hook", MaxAge: time.Minute, MaxAhead: time.Minute}}
			c.Plugins = []config.Plugin{{
				Name: "r", Command: []string{self}, Env: map[string]string{role: "remembers"}, RetryFor: time.Hour, OnDead: "continue", Partitions: 2,
			}}
		})
		if err := h.Listen(context.Background()); err != nil {
			t.Fatal(err)
		}
		serve(t, h)
		ask := func(method, path, body string) string {
			t.Helper()
			req, err := http.NewRequest(method, "http://"+h.AdminAddr().String()+"/api/v1/"+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+operatorToken)
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		says := func(path, text string) func() bool {
			return func() bool { return strings.Contains(ask("GET", path, ""), text) }
		}
		send := func(tenant string) {
			t.Helper()
			body := `{"id":"e` + tenant + `","type":"tenant.created","timestamp":"2026-01-02T03:04:05Z","tenant_id":"` + tenant +
				`","data":{"tenant_id":"` + tenant + `","name":"n","slug":"` + tenant + `"}}`
			until(t, "the event is accepted", func() bool { return post(t, h, p, body) == http.StatusOK })
		}
		for _, tenant := range []string{"t1", "t2", "t3"} {
			send(tenant)
			until(t, "it is remembered, without what is secret", says("plugins/r/state/tenant:"+tenant, `"state":{"token":"(secret)","type":"tenant.created"}`))
		}
		ask("POST", "plugins/r/pause", `{"reason":"for a test"}`)
		until(t, "it is paused", says("plugins/r", `"state":"paused","reason":"for a test"`))
		send("t4")
		ask("POST", "plugins/r/resume", "")
		until(t, "what came meanwhile is delivered", says("plugins/r/state/tenant:t4", `"token":"(secret)"`))
		if got := ask("POST", "replays", `{"plugin":"r","rate":0}`); !strings.Contains(got, `"id":1`) {
			t.Fatal(got)
		}
		until(t, "all comes again", says("replays/1", `"counts":{"applied":4,"skipped":0,"failed":0,"deferred":0}`))
		ask("POST", "plugins/r/restart", "")
		send("t5")
		until(t, "it goes on after a restart", says("plugins/r/state/tenant:t5", `"token":"(secret)"`))
	})
}
