package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// A connector that a person has started, under a debugger for instance, is not
// started, not hurried, not asked for signs of life, and never ended: it may
// stand still at a breakpoint for as long as somebody looks at it.

// errNotThere says that nobody waits to be attached to.
var errNotThere = errors.New("no connector waits there")

// Patience is how long calls to a connector may take that is attached to.
const Patience = 24 * time.Hour

// attachEvery is the pause between two looks whether a connector waits.
const attachEvery = 300 * time.Millisecond

const maxKeysBytes = 64 << 10

// attach connects to the connector that waits in the folder spec.Attach.
func attach(ctx context.Context, spec Spec, opts Options) (*instance, error) {
	notThere := fmt.Errorf("%w: start it with its verb debug, so that it waits in %s", errNotThere, spec.Attach)
	dir, err := filepath.Abs(spec.Attach)
	if err != nil {
		return nil, fmt.Errorf("attaching to the connector: %w", err)
	}
	if err := checkPrivate(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, notThere
	} else if err != nil {
		return nil, fmt.Errorf("attaching to the connector: %w", err)
	}
	text, err := readSmall(filepath.Join(dir, plugin.DebugKeys))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notThere
	}
	var keys plugin.DebugTLS
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	if err != nil {
		return nil, fmt.Errorf("attaching to the connector: reading its keys: %w", err)
	}
	tlsConfig, err := keys.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("attaching to the connector: reading its keys: %w", err)
	}
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, plugin.DebugSocket),
		grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)),
		grpc.WithIdleTimeout(0), // a connection that is idle is not one that is gone
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(plugin.MaxMessageBytes), grpc.MaxCallSendMsgSize(plugin.MaxMessageBytes)))
	if err != nil {
		return nil, fmt.Errorf("attaching to the connector: %w", err)
	}
	inst := &instance{
		conn: conn, rpc: pluginpb.NewConnectorClient(conn), log: opts.Log, timing: opts.timing,
		idle: make(chan struct{}), told: make(chan struct{}), gone: make(chan struct{}),
	}
	inst.timing.start, inst.timing.configure = Patience, Patience
	if err := inst.connect(ctx); err != nil {
		_ = conn.Close()
		if ctx.Err() == nil {
			err = notThere // its files are those of one that was killed
		}
		return nil, err
	}
	go inst.notice()
	return inst, nil
}

// connect waits for the first connection, or the first failure of one.
func (inst *instance) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	inst.conn.Connect()
	for {
		state := inst.conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return errNotThere
		}
		if !inst.conn.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
	}
}

// notice closes gone when the connection ends. The library would connect again,
// to another process that has not been configured.
func (inst *instance) notice() {
	inst.conn.WaitForStateChange(context.Background(), connectivity.Ready)
	close(inst.gone)
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeysBytes {
		return nil, fmt.Errorf("%s is no file of keys", path)
	}
	return os.ReadFile(path)
}
