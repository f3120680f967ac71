package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The same event, a thousand times, fifty at a time, over two connections.
func TestLaw2_AThousandDeliveriesAreOneEvent(t *testing.T) {
	h := newHub(t, "sqlite://"+filepath.Join(t.TempDir(), "hub.db"))
	h.start()
	body := updated("e-0-1", "acme", 1)
	headers := h.provider.Webhook(body)
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 2, MaxIdleConnsPerHost: 2}}
	var mu sync.Mutex
	answers := map[string]int{}
	limit := make(chan struct{}, 50)
	var wg sync.WaitGroup
	for range 1000 {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			status, a, err := h.post(client, headers, body)
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprint(status, a, err)]++
		})
	}
	wg.Wait()
	want := map[string]int{
		"200 {accepted e-0-1 1 } <nil>": 1, "200 {duplicate e-0-1 1 } <nil>": 999,
	}
	if fmt.Sprint(answers) != fmt.Sprint(want) {
		t.Errorf("answers %v", answers)
	}
	st := h.open()
	h.settle(st)
	if err := h.terminate(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	journaled := h.journaled(st)
	if len(journaled["acme"]) != 1 {
		t.Errorf("the journal has %v", journaled)
	}
	h.checkState(st, journaled)
}
