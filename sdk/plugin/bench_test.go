package plugin

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// rawServer answers a batch without looking at it: what gRPC alone costs.
type rawServer struct {
	pluginpb.UnimplementedConnectorServer
}

func (rawServer) Deliver(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	resp := &pluginpb.DeliverResponse{}
	for _, ev := range req.GetEvents() {
		resp.Verdicts = append(resp.Verdicts, &pluginpb.Verdict{Position: ev.GetPosition(), Kind: pluginpb.Verdict_KIND_APPLIED})
	}
	return resp, nil
}

// BenchmarkDeliver compares a no-op connector with bare gRPC, 256 events a call
// over a unix socket, one call at a time.
func BenchmarkDeliver(b *testing.B) {
	noop := func(ctx context.Context, lis net.Listener) {
		p := always(connector[testState]{deliver: func(context.Context, Event, *testState) error { return nil }})
		_ = p.ServeListener(ctx, lis, nil)
	}
	counting := func(ctx context.Context, lis net.Listener) {
		p := always(connector[testState]{deliver: func(_ context.Context, _ Event, st *testState) error { st.Seen++; return nil }})
		_ = p.ServeListener(ctx, lis, nil)
	}
	raw := func(ctx context.Context, lis net.Listener) {
		g := newGRPCServer(nil)
		pluginpb.RegisterConnectorServer(g, rawServer{})
		context.AfterFunc(ctx, g.Stop)
		_ = g.Serve(lis)
	}
	for _, bc := range []struct {
		name  string
		serve func(context.Context, net.Listener)
	}{{"raw", raw}, {"noop", noop}, {"state", counting}} {
		b.Run(bc.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "s")
			lis, err := net.Listen("unix", path)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() { defer close(done); bc.serve(ctx, lis) }()
			conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			client := pluginpb.NewConnectorClient(conn)
			// The bare server does not know Configure, and does not need to.
			_, _ = client.Configure(ctx, &pluginpb.ConfigureRequest{Config: []byte(`{"url":"x"}`)})
			req := batchOf()
			for i := range 256 {
				req.Events = append(req.Events, &pluginpb.Event{
					Id: fmt.Sprint(i), Type: "tenant.updated", Key: fmt.Sprintf("tenant:%d", i%64), Position: int64(i + 1),
					Data: []byte(`{"tenant_id":"tnt_1","name":"Acme","slug":"acme","plan":"pro","changed_fields":["plan"],"settings":{}}`),
				})
			}
			for b.Loop() {
				if _, err := client.Deliver(ctx, req); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			_ = conn.Close()
			cancel()
			<-done
		})
	}
}
