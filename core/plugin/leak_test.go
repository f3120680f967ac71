package plugin

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Not parallel: it counts what belongs to the whole process.
func TestLaw10_StartsAndStopsLeaveNothingBehind(t *testing.T) {
	spec, _ := testSpec(t, "connector")
	opts := Options{RunDir: shortDir(t)}
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("there is no /proc to count open files in")
		}
		return len(entries)
	}
	cycle := func(n int) {
		for range n {
			if _, _, err := Check(t.Context(), spec, opts); err != nil {
				t.Fatal(err)
			}
			spec.Env[modeVar] = "exits"
			if _, _, err := Check(t.Context(), spec, opts); err == nil {
				t.Fatal("a program that exits passed")
			}
			spec.Env[modeVar] = "connector"
		}
	}
	cycle(1)
	wantFiles, wantRoutines := files(), runtime.NumGoroutine()
	cycle(4)
	eventually(t, "the last start's goroutines and files to go", func() bool {
		return files() <= wantFiles && runtime.NumGoroutine() <= wantRoutines
	})
}

// Two hubs that start at the same moment sweep the folder that both use.
func TestSocketFoldersOfHubsThatStartAtOnceDoNotTakeEachOthers(t *testing.T) {
	t.Parallel()
	runDir := shortDir(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				d, err := newSocketDir(runDir, "same")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(d.path, "lock")); err != nil {
					t.Errorf("its folder was taken away: %v", err)
				}
				d.remove()
			}
		})
	}
	wg.Wait()
}
