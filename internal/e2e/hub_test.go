package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/provider"
	"github.com/avhub/avhub/sdk/plugin"
)

const (
	roleName = "AVHUB_E2E_ROLE"
	patience = 60 * time.Second
)

var binary string // the hub's

// TestMain builds the hub's binary once, or is a plugin.
func TestMain(m *testing.M) {
	switch os.Getenv(roleName) {
	case "recorder":
		recorder.Main()
		return
	case "worker":
		worker.Main()
		return
	}
	dir, err := os.MkdirTemp("", "avhub-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "avhub")
	build := exec.Command("go", "build", "-o", binary, "github.com/avhub/avhub/cmd/avhub")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// recorder is a connector whose state is what it applied: if an event were
// handed out again after its verdict was committed, it would stand there twice.
var recorder = plugin.Plugin[struct{}, []string]{
	Info: plugin.Info{Name: "recorder", Version: "1", Summary: "remembers what it applied", Events: []string{"*"}},
	Open: func(context.Context, struct{}, *slog.Logger) (plugin.Connector[[]string], error) {
		return record{}, nil
	},
}

type record struct{}

func (record) Deliver(_ context.Context, ev plugin.Event, applied *[]string) error {
	*applied = append(*applied, ev.ID)
	return nil
}

// hub is the real binary with a configuration of its own, started and killed at
// will.
type hub struct {
	t        *testing.T
	provider *provider.Provider
	dir      string
	storage  string
	address  string
	admin    string

	mu     sync.Mutex
	cmd    *exec.Cmd
	output bytes.Buffer // of all its lives, under mu
	looker *store.Store // under mu; see look
}

func newHub(t *testing.T, storage string) *hub {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, provider: provider.New(t), dir: t.TempDir(), storage: storage, address: freeAddress(t), admin: freeAddress(t)}
	config := fmt.Sprintf(`
server: { listen: %q }
admin: { listen: %q }
storage: { url: %q }
log: { level: info, format: json }
sources:
  - { name: authvital, host: %q, path: /hook }
plugins:
  - { name: recorder, command: [%q], env: { %s: recorder } }
`, h.address, h.admin, storage, h.provider.URL, self, roleName)
	if err := os.WriteFile(filepath.Join(h.dir, "avhub.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("the hub printed:\n%s", h.printed())
		}
	})
	return h
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// start runs the hub and waits until it answers.
func (h *hub) start() {
	h.t.Helper()
	h.launch()
	h.ready()
}

func (h *hub) launch() {
	h.t.Helper()
	cmd := exec.Command(binary, "serve")
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	cmd.Stdout, cmd.Stderr = &lockedWriter{h}, &lockedWriter{h}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	h.cmd = cmd
	h.mu.Unlock()
}

func (h *hub) ready() {
	h.t.Helper()
	h.until("the hub answers", func() bool {
		resp, err := http.Get("http://" + h.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

type lockedWriter struct{ h *hub }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.h.output.Write(p)
}

func (h *hub) printed() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.output.String()
}

// kill ends the hub with SIGKILL, as a power cut of the process would.
func (h *hub) kill() { _ = h.signal(syscall.SIGKILL) }

// terminate ends it with SIGTERM and returns how it ended.
func (h *hub) terminate() error { return h.signal(syscall.SIGTERM) }

func (h *hub) signal(s syscall.Signal) error {
	h.mu.Lock()
	cmd := h.cmd
	h.cmd = nil
	h.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(s) // one that has ended already is found by Wait
	return cmd.Wait()
}

func (h *hub) until(what string, condition func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			h.t.Fatalf("never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// post sends a body with headers over client and returns the status and the
// answer; an error is one of the connection.
func (h *hub) post(client *http.Client, headers map[string]string, body []byte) (int, answer, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+h.address+"/hook", bytes.NewReader(body))
	if err != nil {
		return 0, answer{}, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, answer{}, err
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return 0, answer{}, fmt.Errorf("answer %q: %w", text, err)
	}
	return resp.StatusCode, a, nil
}

type answer struct {
	Status   string `json:"status"`
	ID       string `json:"id"`
	Position int64  `json:"position"`
	Reason   string `json:"reason"`
}

// look is one connection to the hub's database for those who look often.
func (h *hub) look() *store.Store {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.looker == nil {
		st, err := store.Open(context.Background(), h.storage, store.Options{MustExist: true})
		if err != nil {
			panic(err) // the tests' own database is gone
		}
		h.t.Cleanup(func() { _ = st.Close() })
		h.looker = st
	}
	return h.looker
}

// open looks at the hub's database while it runs or after its end.
func (h *hub) open() *store.Store {
	h.t.Helper()
	url := h.storage
	st, err := store.Open(context.Background(), url, store.Options{MustExist: true})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = st.Close() })
	return st
}

// settle waits until the plugin has got everything.
func (h *hub) settle(st *store.Store) {
	h.t.Helper()
	h.until("everything is delivered", func() bool {
		list, err := fanout.Plugins(context.Background(), st)
		return err == nil && len(list) == 1 && list[0].Lag == 0 && list[0].Lanes == 0
	})
}

// journaled returns the ids in the journal, by tenant, in order.
func (h *hub) journaled(st *store.Store) map[string][]string {
	h.t.Helper()
	j := journal.New(st, nil, journal.Options{})
	ids := map[string][]string{}
	for after := int64(0); ; {
		events, err := j.Read(context.Background(), journal.Query{After: after, Limit: 1000})
		if err != nil {
			h.t.Fatal(err)
		}
		if len(events) == 0 {
			return ids
		}
		for _, ev := range events {
			if ev.Position != after+1 {
				h.t.Errorf("position %d follows %d", ev.Position, after)
			}
			after = ev.Position
			ids[ev.TenantID] = append(ids[ev.TenantID], ev.ID)
		}
	}
}

// checkState proves that the plugin's committed state shows each journaled
// event exactly once, in order.
func (h *hub) checkState(st *store.Store, journaled map[string][]string) {
	h.t.Helper()
	for tenant, want := range journaled {
		row, err := st.Read().PluginState.Get(context.Background(), "recorder/tenant:"+tenant)
		if err != nil {
			h.t.Fatal(err)
		}
		var got []string
		if err := json.Unmarshal(row.State, &got); err != nil {
			h.t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			h.t.Errorf("tenant %s: the plugin applied\n%v\nthe journal has\n%v", tenant, got, want)
		}
	}
}
