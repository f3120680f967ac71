package main

import (
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/avhub/avhub/sdk/plugin/plugintest"
)

// receiver is a peer that takes what is well signed, once for each id, and
// refuses another body under an id that it has, as a hub does.
func receiver(t testing.TB) (config, func() any) {
	key := sharedKey()
	private, err := parsePrivate(key)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]*rsa.PublicKey{publicJWK(&private.PublicKey).Kid: &private.PublicKey}
	var mu sync.Mutex
	got := map[string]json.RawMessage{}
	server := plugintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, ok := readWebhook(r, set)
		if !ok {
			http.Error(w, `{"error":"the signature does not fit the bytes","reason":"bad_signature"}`, http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch have, known := got[sent.Event]; {
		case !known:
			got[sent.Event] = json.RawMessage(sent.Body)
			_, _ = w.Write([]byte(`{"status":"accepted"}`))
		case string(have) != sent.Body:
			_, _ = w.Write([]byte(`{"status":"conflict"}`))
		default:
			_, _ = w.Write([]byte(`{"status":"duplicate"}`))
		}
	}))
	return config{URL: server.URL + "/webhooks/hub", Sources: []string{"authvital"}, Key: key}, func() any {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestLaws(t *testing.T) { plugintest.Run(t, connector, receiver) }

func BenchmarkDeliver(b *testing.B) { plugintest.Bench(b, connector, receiver) }
