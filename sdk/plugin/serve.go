package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// orphanDrain is how long calls in flight may go on after the hub has gone.
const orphanDrain = 2 * time.Second

// Main is the whole main function of a connector. Started by a hub, it serves
// until the hub ends it; started by a person, it is a small command that
// explains, describes and checks the connector. It does not return.
func (p Plugin[C, S]) Main() {
	if os.Getenv(MagicCookieKey) == MagicCookieValue {
		os.Exit(p.serve())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := p.command(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// serve talks to the hub that started this process.
func (p Plugin[C, S]) serve() int {
	// The library below redirects os.Stdout and os.Stderr through the
	// connection, which keeps stray prints away from the handshake but loses
	// what is written just before the process ends.
	stderr := os.Stderr
	srv, err := newServer(p, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s\n", err)
		return 1
	}
	// Whoever writes to slog's or log's default logger keeps levels, too.
	slog.SetDefault(srv.log)

	// The hub decides when the connector ends. Service managers and terminals
	// signal whole groups of processes, and would cut off what is in flight
	// while the hub still drains it.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	leash := os.Stdin
	if null, err := os.Open(os.DevNull); err == nil {
		os.Stdin = null
	}
	go func() {
		// The hub holds the other end and writes nothing. Its end is the hub's.
		_, _ = io.Copy(io.Discard, leash)
		_ = srv.drain(context.Background(), orphanDrain)
		os.Exit(0)
	}()

	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey:   MagicCookieKey,
			MagicCookieValue: MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			ProtocolVersion: {ServiceName: wirePlugin{srv: srv}},
		},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return newGRPCServer(append(opts, grpc.UnaryInterceptor(keepStderr(stderr))))
		},
		Logger: hclog.New(&hclog.LoggerOptions{
			Level: hclog.Warn, Output: stderr, JSONFormat: true,
		}),
	})
	return 0
}

// ServeListener serves the connector on a listener, in this process, without a
// handshake and without TLS: for tests and for debuggers. stderr takes what a
// real process would write to its standard error, one JSON line for each
// record; nil discards it. It returns when ctx ends, after a drain of at most two seconds; the
// listener is closed then.
func (p Plugin[C, S]) ServeListener(ctx context.Context, lis net.Listener, stderr io.Writer) error {
	if stderr == nil {
		stderr = io.Discard
	}
	srv, err := newServer(p, stderr)
	if err != nil {
		_ = lis.Close()
		return err
	}
	return serveOn(ctx, newGRPCServer(nil), srv, lis)
}

func newGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
	)...)
}

// keepStderr gives os.Stderr back before the first call is served, which is
// after the library has replaced it.
func keepStderr(stderr *os.File) grpc.UnaryServerInterceptor {
	var once sync.Once
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		once.Do(func() { os.Stderr = stderr })
		return handler(ctx, req)
	}
}

// wirePlugin registers the service with the handshake's library. A connector
// never uses its client side.
type wirePlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	srv pluginpb.ConnectorServer
}

func (w wirePlugin) GRPCServer(_ *goplugin.GRPCBroker, g *grpc.Server) error {
	pluginpb.RegisterConnectorServer(g, w.srv)
	return nil
}

func (w wirePlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginpb.NewConnectorClient(conn), nil
}
