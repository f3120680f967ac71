package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/source"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/rs/zerolog"
)

const (
	connections = 64
	rounds      = 5
	perRound    = 4000
	people      = 2000
)

// benchAccept measures events per second through real HTTP, each verified,
// journaled, mirrored and durable, against the same server that only verifies.
// The sides take turns, so that a slow moment of the machine meets all of them.
func benchAccept(b *testing.B, t *table) {
	signer := provider.New(b)
	requests := make([][]byte, rounds*perRound)
	parallel(len(requests), runtime.NumCPU(), func(i int) { requests[i] = request(signer, body(i)) })

	sides := []*side{
		newSide(b, signer, "verify only", verifyOnly{}),
		newSide(b, signer, "SQLite", newJournal(b, storetest.SQLite(b))),
		newSide(b, signer, "Postgres", newJournal(b, pgtest.URL(b))),
	}
	for round := range rounds {
		for _, s := range sides {
			s.run(b, requests[round*perRound:(round+1)*perRound])
		}
	}
	baseline := median(sides[0].rates)
	t.ratio("accepted, durable, SQLite, 64 connections", median(sides[1].rates), baseline, "events/s", "0.80")
	t.ratio("accepted, durable, Postgres, 64 connections", median(sides[2].rates), baseline, "events/s", "0.60")
}

// side is one server under load.
type side struct {
	name  string
	addr  string
	rates []float64
}

type verifyOnly struct{}

func (verifyOnly) Append(context.Context, *event.Event) (journal.Receipt, error) {
	return journal.Receipt{Outcome: journal.Accepted, Position: 1}, nil
}

func newJournal(b *testing.B, url string) *journal.Journal {
	st := storetest.Open(b, url)
	j := journal.New(st, mirror.New(st, mirror.Options{Log: zerolog.Nop()}), journal.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); j.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	return j
}

func newSide(b *testing.B, p *provider.Provider, name string, j source.Journal) *side {
	src, err := source.New(source.Config{
		Name: "bench", Host: p.URL, MaxAge: time.Hour, MaxAhead: time.Minute, MaxBody: 1 << 20,
	}, source.Deps{Journal: j, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	go func() { _ = src.Run(ctx) }() // ends with ctx
	server := httptest.NewServer(src)
	b.Cleanup(server.Close)
	return &side{name: name, addr: server.Listener.Addr().String()}
}

// run sends requests over all connections and notes the rate.
func (s *side) run(b *testing.B, requests [][]byte) {
	next := make(chan []byte, len(requests))
	for _, r := range requests {
		next <- r
	}
	close(next)
	var conns []net.Conn
	for range connections {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	runtime.GC() // each side pays for its own garbage
	start := time.Now()
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			answers := bufio.NewReader(conn)
			for r := range next {
				if _, err := conn.Write(r); err != nil {
					b.Error(err)
					return
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					b.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != http.StatusOK {
					b.Errorf("%s: %s %s", s.name, resp.Status, body)
					return
				}
			}
		})
	}
	wg.Wait()
	s.rates = append(s.rates, float64(len(requests))/time.Since(start).Seconds())
}

// body is a change to one of many people, which is the commonest event.
func body(i int) []byte {
	at := time.UnixMilli(1_700_000_000_000 + int64(i)).UTC().Format("2006-01-02T15:04:05.000Z")
	return fmt.Appendf(nil, `{"id":"evt_%08d","type":"subject.updated","timestamp":%q,"tenant_id":"tnt_%d","application_id":"app_1",`+
		`"data":{"sub":"usr_%d","email":"person-%d@example.com","given_name":"Ada","family_name":"Number %d","changed_fields":["email","given_name","family_name"]}}`,
		i, at, i%100, i%people, i, i)
}

// request is the bytes of a whole signed HTTP request.
func request(p *provider.Provider, payload []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: %d\r\n", len(payload))
	for name, value := range p.Webhook(payload) {
		fmt.Fprintf(&out, "%s: %s\r\n", name, value)
	}
	out.WriteString("\r\n")
	out.Write(payload)
	return out.Bytes()
}

func parallel(n, workers int, fn func(i int)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				fn(i)
			}
		})
	}
	wg.Wait()
}
