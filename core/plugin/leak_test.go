package plugin

import (
	"os"
	"runtime"
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
