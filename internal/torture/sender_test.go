package torture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tenants = 40
	people  = 300
	senders = 6
	// tries of one event, after which its sender gives up, as the provider does.
	tries = 25
)

// load is what sends events, and what it was told.
type load struct {
	r      *rig
	url    string
	client *http.Client
	note   *os.File // the ids that were acknowledged, one a line

	mu       sync.Mutex
	acked    map[string]bool
	sent     atomic.Int64
	gaveUp   atomic.Int64
	refused  atomic.Int64 // attempts that got no success
	finished sync.WaitGroup
}

// startLoad sends until ctx ends; each sender then finishes its event.
func (r *rig) startLoad(ctx context.Context, url string) *load {
	r.t.Helper()
	note, err := os.Create(r.dir + "/acknowledged")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = note.Close() })
	l := &load{
		r: r, url: url + "/hook", note: note, acked: map[string]bool{},
		client: &http.Client{Timeout: 10 * time.Second, Transport: r.transport},
	}
	gap := time.Second * senders / time.Duration(r.rate)
	for s := range senders {
		random := rand.New(rand.NewPCG(uint64(r.seed), uint64(s)))
		l.finished.Go(func() {
			tick := time.NewTicker(gap)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				l.send(random, fmt.Sprintf("e-%d-%d", s, n), n)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return l
}

// send tries one event until it is acknowledged, or for so long.
func (l *load) send(random *rand.Rand, id string, n int) {
	l.sent.Add(1)
	tenant := fmt.Sprintf("t%d", random.IntN(tenants))
	at := time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).Format("2006-01-02T15:04:05.000Z")
	what := fmt.Sprintf(`"type":"tenant.updated","data":{"tenant_id":%q,"name":"named by %s","slug":%q,"plan":"pro","settings":{},"changed_fields":["name"],"previous_values":{}}`, tenant, id, tenant)
	if random.IntN(3) == 0 {
		sub := fmt.Sprintf("u%d", random.IntN(people))
		what = fmt.Sprintf(`"type":"subject.updated","data":{"sub":%q,"name":"named by %s","changed_fields":["name"]}`, sub, id)
	}
	body := fmt.Appendf(nil, `{"id":%q,"timestamp":%q,"tenant_id":%q,"application_id":null,%s}`, id, at, tenant, what)
	headers := l.r.provider.Webhook(body)
	for try := range tries {
		status, err := l.post(headers, body)
		switch {
		case err == nil && status == http.StatusOK:
			l.acknowledge(id)
			return
		case err == nil && status != http.StatusServiceUnavailable && status != http.StatusBadGateway:
			l.r.t.Errorf("%s was answered with %d", id, status)
			return
		}
		l.refused.Add(1)
		time.Sleep(min(20*time.Millisecond<<try, time.Second))
	}
	l.gaveUp.Add(1)
}

func (l *load) post(headers map[string]string, body []byte) (int, error) {
	req, err := http.NewRequest(http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	// An answer that was cut is none.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

func (l *load) acknowledge(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.note.WriteString(id + "\n"); err != nil {
		l.r.t.Error(err)
	}
	l.acked[id] = true
}

// end waits for the senders, and makes sure that what they noted is on disk.
func (l *load) end() {
	l.finished.Wait()
	if err := l.note.Sync(); err != nil {
		l.r.t.Error(err)
	}
}
