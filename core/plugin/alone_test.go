package plugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Whoever kills a connector in one goroutine may start the next one in another
// at once, below the same folder.
func TestAConnectorThatRunsAloneIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	spec, _ := testSpec(t, "connector")
	opts := Options{Log: zerolog.New(&logBuffer{}), RunDir: shortDir(t)}
	for i := range 5 {
		alone, err := StartAlone(t.Context(), spec, opts)
		if err != nil {
			t.Fatal(err)
		}
		d, err := alone.Client().Describe(t.Context(), &pluginpb.DescribeRequest{})
		if err != nil || d.GetName() != "traces" {
			t.Fatalf("%v %v", d, err)
		}
		pid := alone.inst.proc.pid()
		var both sync.WaitGroup
		both.Go(alone.Kill)
		if i%2 == 0 {
			both.Go(alone.Stop)
		}
		alone.Kill()
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
		both.Wait()
	}
	if left, _ := os.ReadDir(opts.RunDir); len(left) != 0 {
		t.Errorf("left in the socket folder: %v", left)
	}
}

func TestAStartAloneThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	spec, _ := testSpec(t, "exits")
	opts := Options{Log: zerolog.New(&logBuffer{}), RunDir: shortDir(t)}
	if _, err := StartAlone(context.Background(), spec, opts); err == nil {
		t.Fatal("a program that exits was started")
	}
	if left, _ := os.ReadDir(opts.RunDir); len(left) != 0 {
		t.Errorf("left in the socket folder: %v", left)
	}
}

// Hubs on one machine that run the same plugin share its folder, and each one
// sweeps it at every start.
func TestManyStartsOfOnePluginDoNotSweepEachOtherAway(t *testing.T) {
	t.Parallel()
	run := shortDir(t)
	var starts sync.WaitGroup
	for range 8 {
		starts.Go(func() {
			for range 50 {
				dir, err := newSocketDir(run, "same")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(dir.path, "socket"), nil, 0o600); err != nil {
					t.Error(err)
				}
				dir.remove()
			}
		})
	}
	starts.Wait()
	if left, _ := os.ReadDir(run); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
