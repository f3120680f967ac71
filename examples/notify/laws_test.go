package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/plugintest"
)

// receiver is what events are POSTed to. Like the receivers that the README asks
// for, it does nothing twice under one key.
func receiver(t testing.TB) (config, func() any) {
	var mu sync.Mutex
	got := map[string]any{}
	server := plugintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.Header.Get("Idempotency-Key")] = body
	}))
	cfg := config{URL: server.URL + "/hook", Headers: map[string]string{"Authorization": "Bearer canary"}}
	return cfg, func() any {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestLaws(t *testing.T) { plugintest.Run(t, connector(), receiver) }

func BenchmarkDeliver(b *testing.B) { plugintest.Bench(b, connector(), receiver) }
