package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// Variables of the environment.
const (
	// seedVar repeats the histories of an earlier run.
	seedVar = "PLUGINTEST_SEED"
	// worldVar is an address at which Run serves the World instead of judging.
	worldVar = "PLUGINTEST_WORLD"
)

// Run judges a connector by the fourteen laws, each in a subtest of its own.
//
// To kill the connector it runs the test binary a second time, with this test
// alone, and serves the connector when that gets here. So Run comes first in
// its test, before anything that must not happen twice.
//
// Each run makes other histories. A failure names its seed; PLUGINTEST_SEED
// repeats it. With -short there are fewer of them. With PLUGINTEST_WORLD set to
// an address ("127.0.0.1:9000") it serves the World there, for `avhub plugin
// verify --world`, until it is interrupted.
func Run[C, S any](t *testing.T, p plugin.Plugin[C, S], world World[C]) {
	t.Helper()
	if asConnector(t.Name()) {
		p.Main() // does not return
	}
	if addr := os.Getenv(worldVar); addr != "" {
		serveUntilInterrupted(t, addr, world)
		return
	}
	seed, err := seedOf(os.Getenv(seedVar))
	if err != nil {
		t.Fatal(err)
	}
	opts := laws.Options{Seed: seed}
	if testing.Short() {
		opts.Histories = 2
	}
	judge, err := laws.New(t.Context(), subject(t, p, world), opts)
	if err != nil {
		t.Fatalf("%v\nrepeat it with %s=%d", err, seedVar, seed)
	}
	for _, law := range laws.All() {
		t.Run(fmt.Sprintf("law %d %s", law.Number, law.Name), func(t *testing.T) {
			r, err := judge.Law(t.Context(), law.Number)
			if err != nil {
				t.Fatalf("%v\nrepeat it with %s=%d", err, seedVar, seed)
			}
			show(t, r, seed)
		})
	}
}

func seedOf(text string) (uint64, error) {
	if text == "" {
		return uint64(rand.Uint32()), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %q is not a number", seedVar, text)
	}
	return seed, nil
}

// subject is what the laws need of a plugin in Go.
func subject[C, S any](t testing.TB, p plugin.Plugin[C, S], world World[C]) laws.Subject {
	return laws.Subject{
		Start: func(context.Context) (laws.Life, error) {
			return startInProcess(func(ctx context.Context, lis net.Listener, stderr io.Writer) error {
				return p.ServeListener(ctx, lis, stderr)
			})
		},
		Process: func(ctx context.Context) (laws.Life, error) { return startProcess(ctx, t.Name()) },
		World:   func(context.Context) (laws.World, error) { return world.open(t) },
		RoundTrip: func(state []byte) ([]byte, error) {
			var st S
			if err := json.Unmarshal(state, &st); err != nil {
				return nil, err
			}
			return json.Marshal(st)
		},
	}
}

// show says how it went with one law.
func show(t *testing.T, r laws.Result, seed uint64) {
	t.Helper()
	switch r.Outcome {
	case laws.Undecided:
		t.Skipf("not decided: %s", r.Why)
	case laws.Broken:
		text := fmt.Sprintf("law %d: %s\n\n%s\n", r.Number, r.Sentence, r.Why)
		if len(r.History) > 0 {
			text += "\nthe shortest history found:\n  " + strings.Join(r.History, "\n  ") + "\n"
		}
		if len(r.Log) > 0 {
			text += "\nthe connector logged at last:\n  " + strings.Join(r.Log, "\n  ") + "\n"
		}
		t.Errorf("%s\nrepeat it with %s=%d", text, seedVar, seed)
	default:
		t.Logf("%s (%v)", r.Sentence, time.Duration(r.Took)*time.Millisecond)
	}
}
