package plugintest

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// Bench measures how many events a second a connector brings to its World, in
// calls of 256 events of 64 tenants, from the first call to the answer of the
// last. It does so twice with nothing changed between: "events/s" is the first
// figure, "events/s-again" the second, and a difference between two versions of
// a connector that is no larger than the one between these two is noise.
// "requests/event" counts what came by NewServer's servers.
func Bench[C, S any](b *testing.B, p plugin.Plugin[C, S], world World[C]) {
	b.Helper()
	b.ReportAllocs()
	serve := func(ctx context.Context, lis net.Listener, stderr io.Writer) error {
		return p.ServeListener(ctx, lis, stderr)
	}
	s := laws.Subject{
		Start: func(context.Context) (laws.Life, error) { return startInProcess(serve) },
		World: func(context.Context) (laws.World, error) { return world.open(b) },
	}
	b.StopTimer()
	b.ResetTimer()
	for i, unit := range []string{"events/s", "events/s-again"} {
		if i == 0 {
			b.StartTimer()
		}
		m, err := laws.Measure(b.Context(), s, b.N)
		b.StopTimer()
		if err != nil {
			b.Fatal(fmt.Errorf("measuring: %w", err))
		}
		b.ReportMetric(float64(m.Events)/m.Took.Seconds(), unit)
		if i == 0 && m.Requests > 0 {
			b.ReportMetric(float64(m.Requests)/float64(m.Events), "requests/event")
		}
	}
}
