package hub_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/rs/zerolog"
)

func TestAHubWarnsOfRowsThatWereWrittenUnderOtherRules(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		cfg := config.Default()
		cfg.Storage.URL = url
		started := func() (*hub.Hub, bool) {
			t.Helper()
			var log bytes.Buffer
			h, err := hub.New(ctx, &cfg, hub.Options{Log: zerolog.New(&log)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = h.Close() })
			return h, strings.Contains(log.String(), "avhub mirror rebuild")
		}
		if _, warned := started(); warned {
			t.Error("it warns where nothing is")
		}
		cfg.Mirror.OnDelete = "mark"
		h, warned := started()
		if warned {
			t.Error("it warns of rules that no row was written under")
		}
		running, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); h.Journal().Run(running) }()
		body := []byte(`{"id":"e1","type":"tenant.created","timestamp":"2026-01-02T03:04:05Z","tenant_id":"t1","application_id":null,"data":{"tenant_id":"t1"}}`)
		ev, err := event.DecodeWebhook(body)
		if err != nil {
			t.Fatal(err)
		}
		ev.Source, ev.Evidence.Body = "s", body
		if _, err := h.Journal().Append(ctx, ev); err != nil {
			t.Fatal(err)
		}
		stop()
		<-ended
		if _, warned := started(); warned {
			t.Error("it warns although the rules are the same")
		}
		cfg.Mirror.OnDelete = "remove"
		h, warned = started()
		if !warned {
			t.Error("it does not warn of other rules")
		}
		if _, err := hub.NewMirror(h.Store(), &cfg, zerolog.Nop()).Rebuild(ctx, h.Journal(), mirror.RebuildOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, warned := started(); warned {
			t.Error("it still warns after a rebuild")
		}
	})
}
