package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	coreplugin "github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	backlog  = 50_000
	idle     = 300 // events one at a time
	roleName = "AVHUB_BENCH_ROLE"
)

// TestMain lets the test binary be the plugin, or the bare gRPC server, too.
func TestMain(m *testing.M) {
	switch os.Getenv(roleName) {
	case "plugin":
		plugin.Plugin[struct{}, struct{}]{
			Info: plugin.Info{Name: "noop", Version: "1", Summary: "does nothing", Events: []string{"*"}},
			Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) { return noop{}, nil },
		}.Main()
	case "hangs":
		plugin.Plugin[struct{}, struct{}]{
			Info: plugin.Info{Name: "hangs", Version: "1", Summary: "hangs", Events: []string{"*"}},
			Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[struct{}], error) { return hangs{}, nil },
		}.Main()
	case "grpc":
		serveRaw(os.Args[len(os.Args)-1])
	default:
		os.Exit(m.Run())
	}
}

type noop struct{}

func (noop) Deliver(_ context.Context, ev plugin.Event, _ *struct{}) error {
	if ev.TenantID == tenantBad {
		return errors.New("this tenant's account is closed")
	}
	return nil
}

type hangs struct{}

func (hangs) Deliver(context.Context, plugin.Event, *struct{}) error { select {} }

// raw answers Deliver and does nothing else: what gRPC itself costs.
type raw struct {
	pluginpb.UnimplementedConnectorServer
}

func (raw) Deliver(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	resp := &pluginpb.DeliverResponse{Verdicts: make([]*pluginpb.Verdict, len(req.GetEvents()))}
	for i, ev := range req.GetEvents() {
		resp.Verdicts[i] = &pluginpb.Verdict{Position: ev.GetPosition(), Kind: pluginpb.Verdict_KIND_APPLIED}
	}
	return resp, nil
}

func serveRaw(socket string) {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	s := grpc.NewServer()
	pluginpb.RegisterConnectorServer(s, raw{})
	if err := s.Serve(ln); err != nil {
		panic(err)
	}
}

// benchDeliver measures how fast a backlog reaches a plugin process that does
// nothing, against bare gRPC calls of 256 events over a unix socket.
func benchDeliver(b *testing.B, t *table) {
	st := storetest.Open(b, storetest.SQLite(b))
	m := mirror.New(st, mirror.Options{Log: zerolog.Nop()})
	j := journal.New(st, m, journal.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	fill(b, j)

	supervisor := startPlugin(ctx, b, &running)
	var rates []float64
	for round := range 3 {
		done := make(chan struct{})
		c := fanout.New(fanout.Config{Name: fmt.Sprintf("p%d", round), Events: []string{"*"}, RetryFor: time.Hour}, fanout.Deps{
			Store: st, Journal: j, Mirror: m, Plugin: supervisor, Log: zerolog.Nop(),
			Observe: func(d fanout.Delivery) {
				if d.Event.Position == backlog {
					close(done)
				}
			},
		})
		one, stop := context.WithCancel(ctx)
		ended := make(chan error)
		start := time.Now()
		go func() { ended <- c.Run(one) }()
		<-done
		rates = append(rates, backlog/time.Since(start).Seconds())
		stop()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
	t.ratio("fan-out of a backlog to a no-op plugin", median(rates), rawRate(b), "events/s", "0.50")
	cancel()
	running.Wait()
}

func fill(b *testing.B, j *journal.Journal) {
	b.Helper()
	parallel(backlog, 256, func(i int) {
		if err := appendEvent(j, i); err != nil {
			b.Error(err)
		}
	})
}

func appendEvent(j *journal.Journal, i int) error {
	payload := body(i)
	ev, err := event.DecodeWebhook(payload)
	if err != nil {
		return err
	}
	ev.Source, ev.ReceivedAt = "bench", store.Now()
	ev.Evidence = event.Evidence{KeyID: "k1", Signature: make([]byte, 256), SignedTimestamp: "1700000000", Body: payload}
	_, err = j.Append(context.Background(), ev)
	return err
}

func startPlugin(ctx context.Context, b *testing.B, running *sync.WaitGroup) *coreplugin.Supervisor {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	s := coreplugin.New(coreplugin.Spec{
		Name: "noop", Command: []string{self}, Env: map[string]string{roleName: "plugin"}, Config: json.RawMessage("{}"),
	}, coreplugin.Options{Log: zerolog.Nop()})
	running.Go(func() { _ = s.Run(ctx) })
	if err := s.WaitReady(ctx); err != nil {
		b.Fatal(err)
	}
	return s
}

// rawRate is the baseline: calls one after the other, as fast as they go.
func rawRate(b *testing.B) float64 {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "s")
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, socket)
	cmd.Env = []string{roleName + "=grpc"}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	client := pluginpb.NewConnectorClient(conn)
	req := &pluginpb.DeliverRequest{}
	for i := range 256 {
		payload := body(i)
		ev, err := event.DecodeWebhook(payload)
		if err != nil {
			b.Fatal(err)
		}
		req.Events = append(req.Events, &pluginpb.Event{
			Id: ev.ID, Type: ev.Type, Key: ev.TenantKey(), Position: int64(i + 1), Data: ev.Data, Subject: ev.Subject(),
		})
	}
	var start time.Time
	const calls = 400
	for i := range calls + 20 {
		if i == 20 { // warm
			start = time.Now()
		}
		if _, err := client.Deliver(context.Background(), req, grpc.WaitForReady(true)); err != nil {
			b.Fatal(err)
		}
	}
	return calls * 256 / time.Since(start).Seconds()
}

// benchLatency measures how long a lonely event takes from its acceptance to
// the committed verdict of a plugin, beside the call to the plugin alone.
func benchLatency(b *testing.B, t *table) {
	st := storetest.Open(b, storetest.SQLite(b))
	m := mirror.New(st, mirror.Options{Log: zerolog.Nop()})
	j := journal.New(st, m, journal.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	supervisor := startPlugin(ctx, b, &running)
	applied := make(chan time.Duration, 1)
	c := fanout.New(fanout.Config{Name: "p", Events: []string{"*"}, RetryFor: time.Hour}, fanout.Deps{
		Store: st, Journal: j, Mirror: m, Plugin: supervisor, Log: zerolog.Nop(),
		Observe: func(d fanout.Delivery) { applied <- d.Took },
	})
	running.Go(func() { _ = c.Run(ctx) })
	var whole, call []time.Duration
	for i := range idle {
		if err := appendEvent(j, i); err != nil {
			b.Fatal(err)
		}
		accepted := time.Now()
		took := <-applied
		whole, call = append(whole, time.Since(accepted)), append(call, took)
	}
	for _, p := range []struct {
		name string
		at   float64
		goal string
	}{{"p50", 0.50, "< 5 ms"}, {"p99", 0.99, "< 25 ms"}} {
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
		t.plain("accepted → applied, idle hub, "+p.name, ms(percentile(whole, p.at)), ms(percentile(call, p.at)), p.goal)
	}
	cancel()
	running.Wait()
}
