package plugintest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// text collects output of several goroutines.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func dialOptions() grpc.DialOption {
	return grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(plugin.MaxMessageBytes), grpc.MaxCallSendMsgSize(plugin.MaxMessageBytes))
}

// inProcess is a life of a connector in this process, behind a real gRPC
// connection.
type inProcess struct {
	conn   *grpc.ClientConn
	cancel context.CancelFunc
	log    text
	served chan error
	once   sync.Once
	err    error
	label  string
}

// lives numbers the lives, so that each one's goroutines can be told apart.
var lives atomic.Int64

// labelName marks the goroutines of a connector, and all that they start.
const labelName = "plugintest"

func startInProcess(serve func(context.Context, net.Listener, io.Writer) error) (laws.Life, error) {
	lis := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	l := &inProcess{cancel: cancel, served: make(chan error, 1), label: strconv.FormatInt(lives.Add(1), 10)}
	go pprof.Do(ctx, pprof.Labels(labelName, l.label), func(ctx context.Context) { l.served <- serve(ctx, lis, &l.log) })
	var err error
	l.conn, err = grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()), dialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		l.Kill()
		return nil, fmt.Errorf("connecting to the connector: %w", err)
	}
	// A plugin that does not get as far as serving says why.
	ask, done := context.WithTimeout(ctx, stopWithin)
	defer done()
	if _, err := l.Client().Describe(ask, &pluginpb.DescribeRequest{}); err != nil {
		if why := l.Stop(); why != nil {
			err = why
		}
		return nil, err
	}
	return l, nil
}

func (l *inProcess) Client() pluginpb.ConnectorClient { return pluginpb.NewConnectorClient(l.conn) }
func (l *inProcess) Log() string                      { return l.log.String() }
func (l *inProcess) Kill()                            { _ = l.Stop() }

// stopWithin is how long a connector may take to end: a drain of two seconds,
// and what has to be cut short.
const stopWithin = 8 * time.Second

func (l *inProcess) Stop() error {
	l.once.Do(func() {
		l.cancel()
		select {
		case l.err = <-l.served:
		case <-time.After(stopWithin):
			l.err = fmt.Errorf("it was still serving %v later", stopWithin)
		}
		if l.conn != nil {
			_ = l.conn.Close()
		}
	})
	return l.err
}

// Leaks waits a second for the goroutines to end. Those of HTTP connections
// that are kept open do no harm: nothing uses them.
func (l *inProcess) Leaks() []string {
	deadline := time.Now().Add(time.Second)
	for {
		http.DefaultClient.CloseIdleConnections()
		left := labelled(l.label)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// labelled describes the goroutines of a life that are running.
func labelled(label string) []string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return nil
	}
	var out []string
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(block, fmt.Sprintf("%q:%q", labelName, label)) {
			continue
		}
		if strings.Contains(block, "net/http.(*persistConn)") || strings.Contains(block, "net/http.(*Transport)") {
			continue
		}
		var frames []string
		for line := range strings.Lines(block) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[0] == "#" {
				frames = append(frames, "  "+fields[2]+" "+fields[3])
			}
		}
		out = append(out, strings.Join(frames[:min(len(frames), 6)], "\n"))
	}
	return out
}
