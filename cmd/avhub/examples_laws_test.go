package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// worldOf serves the fake world of an example's own test.
func worldOf(t *testing.T, example, test string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "world")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", bin, "../../examples/"+example).CombinedOutput(); err != nil {
		t.Fatalf("building the test of %s: %v\n%s", example, err, out)
	}
	return served(t, bin, test)
}

// served runs a connector's test so that it serves its world, as an author does
// who wants a binary judged, and returns the address.
func served(t *testing.T, bin, test string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, "-test.run", "^"+test+"$")
	cmd.Env = environ("PLUGINTEST_WORLD=127.0.0.1:0")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(2*deadline, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have been killed
		_ = cmd.Wait()                       // what it showed has been judged
		killer.Stop()
	})
	all := ""
	for lines := bufio.NewScanner(said); lines.Scan(); {
		all += lines.Text() + "\n"
		if at := regexp.MustCompile(`--world (http://\S+)`).FindStringSubmatch(lines.Text()); at != nil {
			return at[1]
		}
	}
	t.Fatalf("%s of %s said no address: %s", test, bin, all)
	return ""
}

// The laws judge the very binaries that ship, from outside.
func TestTheBundledConnectorsKeepTheLawsAsBinaries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		example, test string
		undecided     map[int]bool
	}{
		{"notify", "TestLaws", map[int]bool{6: true, 10: true, 14: true}},
		{"slack", "TestLaws", map[int]bool{6: true, 10: true}},
		{"slack", "TestLawsWithoutExactlyOnce", map[int]bool{6: true, 10: true, 14: true}},
		{"forward", "TestLaws", map[int]bool{6: true, 10: true, 14: true}},
	} {
		t.Run(tc.example+" "+tc.test, func(t *testing.T) {
			t.Parallel()
			code, out, said := runVerify(t, "--json", "--seed", "5", "--histories", "2", "--world", worldOf(t, tc.example, tc.test), program(t, "avhub-"+tc.example))
			var r laws.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v: %s%s", err, out, said)
			}
			if code != exitDone || !r.OK || r.Connector != tc.example || len(r.Results) != 14 {
				t.Errorf("exit %d, seed %d: %s", code, r.Seed, said)
			}
			for _, law := range r.Results {
				want := laws.Held
				if tc.undecided[law.Number] { // it notifies, or never answers again
					want = laws.Undecided
				}
				if law.Outcome != want {
					t.Errorf("law %d: %s, want %s: %s %v", law.Number, law.Outcome, want, law.Why, law.History)
				}
			}
		})
	}
}
