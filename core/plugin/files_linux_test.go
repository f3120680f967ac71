package plugin

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A hub that was started with files open, by a careless shell or service
// manager, does not hand them on.
func TestLaw11_TheProcessGetsNoFilesOfTheHub(t *testing.T) {
	t.Parallel()
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil { // unlike os.Pipe, not closed for others
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = syscall.Close(pipe[0]), syscall.Close(pipe[1]) })
	secret, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", pipe[0]))
	if err != nil {
		t.Fatal(err)
	}
	spec, traces := testSpec(t, "connector")
	r := run(t, spec, traces, quick())
	if open := r.reason(t, "files"); strings.Contains(open, secret) || !strings.Contains(open, "pipe:") {
		t.Errorf("the connector has the hub's %s among\n%s", secret, open)
	}
}
