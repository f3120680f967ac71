package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

const (
	// serveVar makes the test binary a connector that listens on this socket.
	serveVar = "STRIPE_TEST_SERVE"
	// clockVar is how far the fake's clock is ahead, as a duration.
	clockVar = "STRIPE_TEST_CLOCK"
)

// serveForATest is the connector as a process of its own.
func serveForATest(path string) {
	lis, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("listening\n")
	ahead, err := time.ParseDuration(os.Getenv(clockVar))
	if err != nil {
		panic(err)
	}
	p := connectorPlugin()
	p.Open = func(_ context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
		return newConnector(cfg, log, func() time.Time { return time.Now().Add(ahead) }), nil
	}
	if err := p.ServeListener(context.Background(), lis, os.Stderr); err != nil {
		panic(err)
	}
}

// killer runs the connector as a process, and kills it before or after the n-th
// request of a delivery.
type killer struct {
	r       *rig
	dir     string
	process *exec.Cmd
	conn    *grpc.ClientConn
	lives   int

	mu    sync.Mutex
	seen  int // requests of this delivery
	at    int // the request at which it dies, from 1
	after bool
	fired atomic.Bool
}

// ServeHTTP stands between the process and the fake.
func (k *killer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	k.mu.Lock()
	k.seen++
	dies := k.seen == k.at
	k.mu.Unlock()
	if !dies {
		k.r.fake.ServeHTTP(w, req)
		return
	}
	k.fired.Store(true)
	if k.after {
		k.r.fake.ServeHTTP(httptest.NewRecorder(), req)
	}
	_ = k.process.Process.Kill()
	panic(http.ErrAbortHandler)
}

func (k *killer) start() {
	k.r.t.Helper()
	k.lives++
	path := filepath.Join(k.dir, "s")
	_ = os.Remove(path)
	exe, err := os.Executable()
	if err != nil {
		k.r.t.Fatal(err)
	}
	k.process = exec.Command(exe)
	k.process.Env = append(os.Environ(), serveVar+"="+path, clockVar+"="+time.Until(k.r.fake.Now()).String())
	out, err := k.process.StdoutPipe()
	if err == nil {
		err = k.process.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 16)) // until it listens
	}
	if err != nil {
		k.r.t.Fatal(err)
	}
	if k.conn, err = grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		k.r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(k.r.t.Context(), 20*time.Second)
	defer cancel()
	resp, err := pluginpb.NewConnectorClient(k.conn).Configure(ctx, &pluginpb.ConfigureRequest{Config: asJSON(k.r.t, k.r.cfg)}, grpc.WaitForReady(true))
	if err != nil || len(resp.GetDiagnostics()) > 0 {
		k.r.t.Fatalf("configuring: %v %v", resp, err)
	}
}

func (k *killer) end() {
	_ = k.process.Process.Kill()
	_ = k.process.Wait()
	_ = k.conn.Close()
}

// deliver delivers an event again and again, and kills the process once before
// and once after each request that this makes.
func (k *killer) deliver(ev *pluginpb.Event) {
	k.r.t.Helper()
	for cut := 0; ; cut++ {
		k.mu.Lock()
		k.seen, k.at, k.after = 0, cut/2+1, cut%2 == 1
		k.fired.Store(false)
		k.mu.Unlock()
		v, err := k.untilSettled(ev)
		if k.fired.Load() {
			k.end()
			k.start()
			continue
		}
		if err != nil {
			k.r.t.Fatal(err)
		}
		k.r.settled(v)
		return
	}
}

func (k *killer) untilSettled(ev *pluginpb.Event) (*pluginpb.Verdict, error) {
	for {
		v, err := k.r.once(pluginpb.NewConnectorClient(k.conn), ev)
		if err != nil || k.fired.Load() || v.GetKind() != pluginpb.Verdict_KIND_AGAIN {
			return v, err
		}
	}
}

func TestRow1_AYearWithAKillAroundEveryRequestEndsTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	k := &killer{r: r, dir: shortDir(t)}
	server := httptest.NewServer(witnessed(t, k))
	t.Cleanup(server.Close)
	r.cfg["api_url"] = server.URL
	k.start()
	t.Cleanup(func() { k.end() })
	steps := 0
	live(r, rand.New(rand.NewPCG(7, 7)), func(ev *pluginpb.Event) {
		if steps++; steps%6 == 0 { // its clock is the fake's
			k.end()
			k.start()
		}
		k.deliver(ev)
	})
	equal(t, "history", r.fake.History("t1"), written())
	if n, c := len(r.fake.Subscriptions()), len(r.fake.Customers()); n != 1 || c != 1 {
		t.Errorf("%d subscriptions, %d customers", n, c)
	}
	if k.lives < 60 {
		t.Errorf("it died only %d times", k.lives)
	}
	t.Logf("%d processes, %d requests", k.lives, r.mark())
}

// shortDir is a folder whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
