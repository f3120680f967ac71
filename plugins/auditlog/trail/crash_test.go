package trail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/tiles"
)

// child names the environment variable that makes this test's program a writer.
const child = "AVHUB_AUDITLOG_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		if err := writer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writer adds what it reads, 16 at a time, and says what was acknowledged.
func writer(dir string) error {
	tr, err := Open(context.Background(), dir, testOptions())
	if err != nil {
		return err
	}
	fmt.Println("open")
	var mu sync.Mutex
	var adds sync.WaitGroup
	slots := make(chan struct{}, 16)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		slots <- struct{}{}
		adds.Go(func() {
			defer func() { <-slots }()
			r, err := tr.Add(context.Background(), ID("s", eventID(n)), entryOf(n))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(n, r.Index)
		})
	}
	adds.Wait()
	return tr.Close(context.Background())
}

func eventID(n int) string { return fmt.Sprintf("evt_%d", n) }

func entryOf(n int) []byte {
	return fmt.Appendf(nil, `{"v":1,"kind":"event","source":"s","event_id":"evt_%d","filler":"%s"}`, n, strings.Repeat("x", n%300))
}

// TestKilledAtAnyMomentItLosesNothingAndAddsNothingTwice kills the writer, and
// gives the next one all that was not acknowledged, and some of what was.
func TestKilledAtAnyMomentItLosesNothingAndAddsNothingTwice(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 25
	}
	dir := t.TempDir()
	acknowledged := map[int]int64{}
	sent := 0
	for range kills {
		killOnce(t, dir, &sent, acknowledged)
	}
	tr, err := Open(t.Context(), dir, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	head := headOf(t, dir)
	seen := map[string]int64{}
	err = tr.Files().Scan(t.Context(), head.Head, func(i int64, entry []byte) error {
		id, err := idOf(entry)
		if first, ok := seen[id]; ok {
			t.Errorf("%q is entry %d and entry %d", id, first, i)
		}
		seen[id] = i
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, index := range acknowledged {
		if got, ok := seen[ID("s", eventID(n))]; !ok || got != index {
			t.Errorf("event %d was acknowledged as entry %d; in the trail it is %d (%v)", n, index, got, ok)
		}
	}
	t.Logf("%d kills, %d events sent, %d acknowledged, %d entries", kills, sent, len(acknowledged), head.Size)
	if len(acknowledged) < kills {
		t.Errorf("only %d were acknowledged: the kills came too early to prove anything", len(acknowledged))
	}
}

// killOnce lets a writer work until it is killed after a random number of
// acknowledgements, or a little later.
func killOnce(t *testing.T, dir string, sent *int, acknowledged map[int]int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the writer did not open the trail: %s %v", complaints.String(), cmd.Wait())
	}
	from := *sent
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for n := max(0, from-40); ; n++ { // some again
			if _, err := io.WriteString(in, strconv.Itoa(n)+"\n"); err != nil {
				return
			}
			*sent = max(*sent, n+1)
		}
	})
	for range rand.IntN(40) {
		if !lines.Scan() {
			break
		}
		noteAck(t, lines.Text(), acknowledged)
	}
	if rand.IntN(8) == 0 { // let a checkpoint come
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what was said before the end counts
		noteAck(t, lines.Text(), acknowledged)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the writer was not killed: %v %s", err, complaints.String())
	}
	_ = in.Close()
	feeding.Wait()
	if n := len(acknowledged); n > 0 && *sent > n+2000 {
		*sent = n // the pipe took more than the writer read
	}
}

func noteAck(t *testing.T, line string, acknowledged map[int]int64) {
	t.Helper()
	var n int
	var index int64
	if _, err := fmt.Sscan(line, &n, &index); err != nil {
		return // cut by the kill
	}
	if before, ok := acknowledged[n]; ok && before != index {
		t.Errorf("event %d was entry %d, and is entry %d now", n, before, index)
	}
	acknowledged[n] = index
}

func headOf(t *testing.T, dir string) tiles.Checkpoint {
	t.Helper()
	raw, err := os.ReadFile(dir + "/log/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	head, err := tiles.OpenCheckpoint(raw, testOptions().Verifier)
	if err != nil {
		t.Fatal(err)
	}
	return head
}
