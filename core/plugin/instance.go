package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// instance is one process of a connector, from its start to its end, or one that
// somebody else has started, for as long as it is there.
type instance struct {
	proc   *process      // nil: it was attached to
	gone   chan struct{} // then: closed when it is not there any more
	client *goplugin.Client
	conn   *grpc.ClientConn
	rpc    pluginpb.ConnectorClient
	dir    *socketDir
	pin    *Pin // nil: anything may run
	log    zerolog.Logger
	timing timing

	mu       sync.Mutex
	calls    int // Delivers in flight
	draining bool
	idle     chan struct{} // closed when draining and no call is in flight
	wished   *wish
	told     chan struct{} // closed when wished is set

	counted bool // among the crashes; under the supervisor's lock
}

// launch starts a process and connects to it. When it fails, nothing is left.
func launch(ctx context.Context, spec Spec, opts Options) (*instance, error) {
	if spec.Limits != (Limits{}) && !canLimit {
		return nil, errors.New("starting the plugin: it has limits, and this system has no way to enforce them: take them out")
	}
	dir, err := newSocketDir(opts.RunDir, spec.Name)
	if err != nil {
		return nil, err
	}
	inst := &instance{dir: dir, log: opts.Log, timing: opts.timing, idle: make(chan struct{}), told: make(chan struct{})}
	prog, err := inst.program(spec, opts)
	if err != nil {
		dir.remove()
		return nil, err
	}

	keys, err := newKeys()
	if err != nil {
		dir.remove()
		return nil, err
	}

	out := newGate(opts)

	// The library makes the process in the middle of its start, which may have
	// been given up by then.
	var mu sync.Mutex
	var proc *process
	givenUp := false

	// A client and its configuration can be used for one start only.
	inst.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey:   plugin.MagicCookieKey,
			MagicCookieValue: plugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			plugin.ProtocolVersion: {plugin.ServiceName: wireClient{}},
		},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: runnerFunc(spec, prog, out, keys.env, opts.timing.noDeathSignal, func(p *process) {
			mu.Lock()
			defer mu.Unlock()
			proc = p
			if givenUp {
				_ = p.Kill(ctx)
			}
		}),
		TLSConfig:        keys.tls,
		SkipHostEnv:      true,
		StartTimeout:     opts.timing.start + time.Minute, // the deadline below comes first
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir.path},
		SyncStdout:       stdoutLog{out, "stdout"},
		SyncStderr:       stdoutLog{out, "stderr"},
		Logger:           hclog.NewNullLogger(),
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(plugin.MaxMessageBytes),
			grpc.MaxCallSendMsgSize(plugin.MaxMessageBytes),
		)},
	})

	connected := make(chan error, 1)
	go func() {
		proto, err := inst.client.Client()
		if err == nil {
			if g, ok := proto.(*goplugin.GRPCClient); ok {
				inst.conn = g.Conn
			} else {
				err = errors.New("the plugin does not speak gRPC")
			}
		}
		if err != nil {
			err = fmt.Errorf("starting the plugin: %w", err)
		}
		connected <- err
	}()
	giveUp := func() {
		mu.Lock()
		defer mu.Unlock()
		givenUp = true
		if proc != nil {
			_ = proc.Kill(ctx)
		}
	}

	timeout := time.NewTimer(opts.timing.start)
	defer timeout.Stop()
	select {
	case err = <-connected:
	case <-ctx.Done():
		giveUp()
		<-connected
		err = fmt.Errorf("starting the plugin: %w", context.Cause(ctx))
	case <-timeout.C:
		giveUp()
		<-connected
		err = fmt.Errorf("starting the plugin: no handshake within %s: is this program an avhub connector?", opts.timing.start)
	}
	inst.proc = proc
	if err != nil {
		if proc != nil && proc.pid() != 0 {
			_ = proc.Kill(ctx)
			<-proc.exited
			// The process's own words say more than that the library heard nothing.
			if proc.atFault() {
				crash := proc.crash()
				crash.text = "it ended before the handshake: " + crash.end()
				err = fmt.Errorf("starting the plugin: %w", crash)
			} else if strings.Contains(err.Error(), "Unrecognized remote plugin message") {
				err = errors.New("starting the plugin: it closed its output before the handshake: is this program an avhub connector?")
			}
		}
		inst.kill()
		return nil, err
	}
	inst.rpc = pluginpb.NewConnectorClient(inst.conn)
	return inst, nil
}

// program finds what is to be started, and holds it against what is pinned.
func (inst *instance) program(spec Spec, opts Options) (program, error) {
	path, err := FindProgram(spec.Command)
	if err != nil {
		return program{}, err
	}
	prog := program{name: path, file: path}
	if opts.Pin == nil {
		return prog, nil
	}
	if inst.pin, err = opts.Pin(); err != nil || inst.pin == nil {
		return prog, err
	}
	prog.file, err = pinned(path, inst.dir.path, *inst.pin)
	if opts.timing.beforeExec != nil {
		opts.timing.beforeExec()
	}
	return prog, err
}

// describe asks who the connector is, and refuses one that is not the one that
// is pinned.
func (inst *instance) describe(ctx context.Context) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, inst.timing.start)
	defer cancel()
	resp, err := inst.rpc.Describe(ctx, &pluginpb.DescribeRequest{})
	if err != nil {
		return Info{}, fmt.Errorf("describing the plugin: %w", inst.explain(ctx, err))
	}
	info, err := infoFromWire(resp)
	if err != nil {
		return Info{}, err
	}
	return info, inst.pin.accepts(info)
}

// configure returns what the connector has to say about a configuration. The
// error is about the call, not about the configuration.
func (inst *instance) configure(ctx context.Context, config []byte, dryRun bool) ([]Diagnostic, error) {
	ctx, cancel := context.WithTimeout(ctx, inst.timing.configure)
	defer cancel()
	resp, err := inst.rpc.Configure(ctx, &pluginpb.ConfigureRequest{Config: config, DryRun: dryRun})
	if err != nil {
		return nil, fmt.Errorf("configuring the plugin: %w", inst.explain(ctx, err))
	}
	return diagnosticsFromWire(resp.GetDiagnostics()), nil
}

// deliver hands over a batch. It fails with ErrNotRunning once a drain has begun.
func (inst *instance) deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	inst.mu.Lock()
	if inst.draining {
		inst.mu.Unlock()
		return nil, ErrNotRunning
	}
	inst.calls++
	inst.mu.Unlock()
	defer func() {
		inst.mu.Lock()
		defer inst.mu.Unlock()
		inst.calls--
		if inst.draining && inst.calls == 0 {
			close(inst.idle)
		}
	}()
	resp, err := inst.rpc.Deliver(ctx, req)
	if err == nil {
		return resp, nil
	}
	if status.Code(err) == codes.FailedPrecondition && inst.isDraining() {
		return nil, ErrNotRunning // the drain overtook it, so nothing was attempted
	}
	if inst.lost(ctx, err) {
		return nil, fmt.Errorf("delivering to the plugin: %w", inst.ended())
	}
	return nil, fmt.Errorf("delivering to the plugin: %w", err)
}

func (inst *instance) isDraining() bool {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	return inst.draining
}

// drain lets the calls in flight end, and the connector close what it holds.
// No new call begins.
func (inst *instance) drain() {
	inst.mu.Lock()
	if !inst.draining {
		inst.draining = true
		if inst.calls == 0 {
			close(inst.idle)
		}
	}
	inst.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), inst.timing.drain)
	defer cancel()
	// A tenth is left for what has to be cut short to come back, and for Close.
	asked := inst.timing.drain - inst.timing.drain/10
	_, err := inst.rpc.Drain(ctx, &pluginpb.DrainRequest{TimeoutMs: asked.Milliseconds()})
	if err != nil {
		inst.log.Warn().Err(inst.explain(ctx, err)).Msg("the plugin did not drain")
	}
	select {
	case <-inst.idle:
	case <-ctx.Done():
		inst.log.Warn().Msg("calls to the plugin are cut off: they took longer than the drain")
	}
}

// kill ends the process, first in the library's way and then in the system's,
// and removes everything that the start made. It returns when the process and
// its output have ended.
func (inst *instance) kill() {
	if inst.proc == nil && inst.gone != nil {
		_ = inst.conn.Close() // it is not ours to end
		return
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		inst.client.Kill()
	}()
	select {
	case <-asked:
	case <-time.After(inst.timing.kill):
	}
	if inst.proc != nil {
		_ = inst.proc.Kill(context.Background())
	}
	<-asked // with the process gone, nothing holds it up
	if inst.proc != nil && inst.proc.pid() != 0 {
		<-inst.proc.exited
	}
	inst.dir.remove()
}

// killNow is kill for a process that will not answer.
func (inst *instance) killNow() {
	if inst.proc != nil {
		_ = inst.proc.Kill(context.Background())
	}
	inst.kill()
}

// explain adds how the process ended to an error that comes of it.
func (inst *instance) explain(ctx context.Context, err error) error {
	if inst.lost(ctx, err) {
		return inst.crash()
	}
	return err
}

// pid is 0 for a process that somebody else has started.
func (inst *instance) pid() int {
	if inst.proc == nil {
		return 0
	}
	return inst.proc.pid()
}

// hasExited tells whether the process has ended, waiting for at most d.
func (inst *instance) hasExited(d time.Duration) bool {
	if inst.proc != nil {
		return inst.proc.hasExited(d)
	}
	select {
	case <-inst.gone:
		return true
	case <-time.After(d):
		return false
	}
}

// lost tells whether a call failed because the process ended. The connection
// breaks a moment before the end of the process is seen; its own end of it is
// closed when the process is being ended from here.
func (inst *instance) lost(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
		return inst.hasExited(2 * outputGrace)
	default:
		return false
	}
}

// wireClient tells the library's client which service to expect.
type wireClient struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (wireClient) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the hub does not serve connectors")
}

func (wireClient) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginpb.NewConnectorClient(conn), nil
}
