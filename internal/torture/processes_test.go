package torture

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hub is the real binary with a configuration of its own, started and killed at
// will.
type hub struct {
	name           string
	dir            string
	address, admin string

	cmd     *exec.Cmd
	exited  chan struct{}
	stopped bool // by SIGSTOP
	away    bool // it is not to run now
}

// output is the file of everything that the hub printed in all its lives.
func (h *hub) output() string { return filepath.Join(h.dir, "output") }

// tail is the end of that.
func (h *hub) tail() []byte {
	text, err := os.ReadFile(h.output())
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-tailShown):]
}

const tailShown = 16 << 10

// receivers are the plugins of every hub: name and behaviour are the same.
func receivers() []string { return []string{"counter", "plain", "slow", "flaky"} }

func (r *rig) newHub(name, storage string) *hub {
	r.t.Helper()
	h := &hub{name: name, dir: filepath.Join(r.dir, name), address: freeAddress(r.t), admin: freeAddress(r.t)}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	var config bytes.Buffer
	fmt.Fprintf(&config, `
server: { listen: %q }
admin: { listen: %q }
storage: { url: %q }
log: { level: info, format: json }
sources:
  - { name: authvital, host: %q, path: /hook, max_age: 1h }
plugins:
`, h.address, h.admin, storage, r.provider.URL)
	for _, p := range receivers() {
		fmt.Fprintf(&config, "  - { name: %s, command: [%q], env: { TORTURE_RECEIVER: %s }, config: { plugin: %s, dir: %q, seed: %d }, partitions: %d }\n",
			p, receiver, p, p, r.logs, r.seed%1_000_000, r.partitions)
	}
	if err := os.WriteFile(h.config(), config.Bytes(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return h
}

func (h *hub) config() string { return filepath.Join(h.dir, "avhub.yaml") }

func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (h *hub) running() bool {
	if h.cmd == nil {
		return false
	}
	select {
	case <-h.exited:
		return false
	default:
		return true
	}
}

// start launches the hub; it need not be ready when start returns.
func (h *hub) start() error {
	output, err := os.OpenFile(h.output(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close() // the hub has its own handle
	cmd := exec.Command(binary, "serve")
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is not asked for
		close(exited)
	}()
	h.cmd, h.exited, h.stopped, h.away = cmd, exited, false, false
	return nil
}

// end sends a signal that ends the hub, and waits for that.
func (h *hub) end(signal syscall.Signal) {
	if !h.running() {
		return
	}
	_ = h.cmd.Process.Signal(signal) // it may have ended
	<-h.exited
	h.stopped = false
}

func (h *hub) ready() bool {
	resp, err := quick.Get("http://" + h.admin + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// quick asks what answers at once or not at all.
var quick = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// plugins are the process ids of the hub's receivers.
func (h *hub) plugins() []int {
	if !h.running() {
		return nil
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid)) // the pattern is good
	var pids []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil || pid < 2 {
				continue
			}
			program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			if program == receiver {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// level is what a process holds.
type level struct{ goroutines, descriptors int }

func (h *hub) level() (l level, err error) {
	resp, err := quick.Get("http://" + h.admin + "/metrics")
	if err != nil {
		return l, err
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		return l, err
	}
	for line := range strings.Lines(text.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.ParseFloat(value, 64) // comments have none
		switch name {
		case "go_goroutines":
			l.goroutines = int(n)
		case "process_open_fds":
			l.descriptors = int(n)
		}
	}
	if l.goroutines == 0 || l.descriptors == 0 {
		return l, fmt.Errorf("the hub's metrics tell neither goroutines nor descriptors")
	}
	return l, nil
}
