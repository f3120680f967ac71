// Command notify is a connector that POSTs every event to a URL.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

type config struct {
	URL     string            `json:"url" doc:"Where to POST events." required:"true" secret:"true" pattern:"^https?://[^/]" example:"https://example.com/hook"`
	Headers map[string]string `json:"headers" doc:"Sent with every request." secret:"true"`
	Timeout time.Duration     `json:"timeout" doc:"For one request." default:"10s" min:"1ms"`
}

type notifier struct {
	cfg    config
	client *http.Client
}

func open(_ context.Context, cfg config, _ *slog.Logger) (plugin.Connector[struct{}], error) {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return notifier{cfg, &http.Client{Timeout: cfg.Timeout, CheckRedirect: stay}}, nil
}

func (n notifier) Deliver(ctx context.Context, ev plugin.Event, _ *struct{}) error {
	body, err := json.Marshal(ev)
	if err != nil {
		return plugin.Reject(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return plugin.Halt(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", ev.Once("notify"))
	for name, value := range n.cfg.Headers {
		req.Header.Set(name, value)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return plugin.HTTPVerdict(resp)
}

func connector() plugin.Plugin[config, struct{}] {
	return plugin.Plugin[config, struct{}]{Info: plugin.Info{
		Name: "notify", Version: "1.0.0", Summary: "POSTs every event to a URL",
		Events: []string{"*"}, Order: plugin.PerSubject, Notifies: true,
	}, Open: open}
}

func main() { connector().Main() }
