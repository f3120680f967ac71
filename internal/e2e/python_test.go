package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
)

const pythonExample = "../../examples/python"

// python finds an interpreter that has what examples/python needs.
func python(t *testing.T) string {
	t.Helper()
	var said []string
	for _, name := range []string{os.Getenv("AVHUB_TEST_PYTHON"), "/usr/bin/python3", "python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), path, "-c", "import grpc, cryptography, google.protobuf.internal.builder").CombinedOutput()
		if err == nil {
			return path
		}
		said = append(said, fmt.Sprintf("%s: %s", path, out))
	}
	what := "no python3 that has grpcio, protobuf and cryptography; `make test` installs them on Debian and Ubuntu, " +
		"and AVHUB_TEST_PYTHON names another interpreter\n" + strings.Join(said, "")
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
	return ""
}

// pythonWorld starts the fake world of the example, as a user would.
func pythonWorld(t *testing.T, python string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(pythonExample, "world.py"), "0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var address string
	if _, err := fmt.Fscanln(out, &address); err != nil {
		t.Fatalf("the world does not say where it is: %v", err)
	}
	return address
}

func TestAConnectorInPythonKeepsTheLaws(t *testing.T) {
	t.Parallel()
	python := python(t)
	cmd := exec.CommandContext(t.Context(), binary, "plugin", "verify", "--json", "--histories", "2",
		"--world", pythonWorld(t, python), "--", python, filepath.Join(pythonExample, "connector.py"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var report struct {
		OK        bool   `json:"ok"`
		Connector string `json:"connector"`
		Results   []struct {
			Number  int    `json:"law"`
			Outcome string `json:"outcome"`
			Why     string `json:"why"`
		} `json:"results"`
	}
	if jsonErr := json.Unmarshal(out, &report); err != nil || jsonErr != nil || !report.OK || report.Connector != "crm" {
		t.Fatalf("%v %v\n%s", err, jsonErr, out)
	}
	for _, law := range report.Results {
		// It has nothing to ask again for, and says so.
		if want := map[bool]string{true: "undecided", false: "held"}[law.Number == 14]; law.Outcome != want {
			t.Errorf("law %d: %s %s", law.Number, law.Outcome, law.Why)
		}
	}
}

// crm is what the example keeps in step.
type crm struct {
	mu        sync.Mutex
	companies map[string]map[string]any
	told      map[string][]string // the names that each company had, in order
	down      bool
}

func (c *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	tenant := strings.TrimPrefix(r.URL.Path, "/companies/")
	switch {
	case r.Header.Get("Authorization") != "Bearer e2e-canary":
		w.WriteHeader(http.StatusUnauthorized)
	case c.down:
		w.WriteHeader(http.StatusInternalServerError)
	case r.Method == http.MethodPut:
		company := map[string]any{}
		if err := json.Unmarshal(body, &company); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.companies[tenant] = company
		c.told[tenant] = append(c.told[tenant], fmt.Sprint(company["name"]))
	case r.Method == http.MethodDelete:
		delete(c.companies, tenant)
	}
}

func (c *crm) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

var running = regexp.MustCompile(`"pid":(\d+)[^\n]*"the plugin is running"|"the plugin is running"[^\n]*"pid":(\d+)`)

// pythonPID is the process that the hub started last; 0 if there was none yet.
func pythonPID(printed string) int {
	all := running.FindAllStringSubmatch(printed, -1)
	if len(all) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(all[len(all)-1][1] + all[len(all)-1][2])
	return pid
}

// The connector is killed again and again, and its server fails now and then,
// while events come in. In the end the outside is as the mirror is, no company
// ever went back to an older name, and the state tells what was done.
func TestLaw7_AConnectorInPythonIsKilledAndNothingIsLostOrUndone(t *testing.T) {
	t.Parallel()
	python := python(t)
	outside := &crm{companies: map[string]map[string]any{}, told: map[string][]string{}}
	server := httptest.NewServer(outside)
	t.Cleanup(server.Close)
	program, err := filepath.Abs(filepath.Join(pythonExample, "connector.py"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, "sqlite://"+filepath.Join(t.TempDir(), "hub.db"))
	config := fmt.Sprintf(`
server: { listen: %q }
admin: { listen: %q }
storage: { url: %q }
log: { level: info, format: json }
sources:
  - { name: authvital, host: %q, path: /hook }
plugins:
  - { name: crm, command: [%q, %q], config: { url: %q, token: e2e-canary } }
`, h.address, h.admin, h.storage, h.provider.URL, python, program, server.URL)
	if err := os.WriteFile(filepath.Join(h.dir, "avhub.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	client := &http.Client{Timeout: patience}
	const tenants, kills = 12, 4
	last, killed := 0, 0
	say := func(body []byte) {
		t.Helper()
		if status, a, err := h.post(client, h.provider.Webhook(body), body); err != nil || status != http.StatusOK {
			t.Fatalf("%d %+v %v", status, a, err)
		}
	}
	for n := 1; killed < kills || n <= 40; n++ {
		for i := range tenants {
			say(updated(fmt.Sprintf("e-%d-%d", i, n), fmt.Sprintf("t%d", i), n))
		}
		outside.set(n%7 == 3)
		if pid := pythonPID(h.printed()); pid != 0 && pid != last && n > 10*killed {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			last, killed = pid, killed+1
		}
		if killed < kills && n > 10*(killed+1) {
			h.until("the connector is started again", func() bool { return pythonPID(h.printed()) != last })
		}
	}
	outside.set(false)
	gone := []byte(`{"id":"gone","type":"tenant.deleted","timestamp":"2027-01-01T00:00:00.000Z","tenant_id":"t0","application_id":null,` +
		`"data":{"tenant_id":"t0","name":"x","slug":"t0"}}`)
	say(gone)
	st := h.open()
	h.until("everything is delivered", func() bool {
		list, err := fanout.Plugins(context.Background(), st)
		return err == nil && len(list) == 1 && list[0].Lag == 0 && list[0].Lanes == 0
	})
	if err := h.terminate(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if strings.Contains(h.printed(), "canary") {
		t.Error("the token is in the hub's log")
	}

	outside.mu.Lock()
	defer outside.mu.Unlock()
	if len(outside.companies) != tenants-1 || outside.companies["t0"] != nil {
		t.Errorf("outside are %v", outside.companies)
	}
	for i := range tenants {
		tenant := fmt.Sprintf("t%d", i)
		if told := outside.told[tenant]; !slices.IsSortedFunc(told, func(a, b string) int {
			return compareEvents(strings.TrimPrefix(a, "named by "), strings.TrimPrefix(b, "named by "))
		}) {
			t.Errorf("%s went back to an older name: %v", tenant, told)
		}
		row, err := st.Read().PluginState.Get(context.Background(), "crm/tenant:"+tenant)
		if i == 0 {
			if err == nil && len(row.State) > 0 {
				t.Errorf("the deleted tenant has the state %s", row.State)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		org, err := st.Read().Organization.Get(context.Background(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		var state struct {
			Company map[string]any `json:"company"`
		}
		if err := json.Unmarshal(row.State, &state); err != nil {
			t.Fatal(err)
		}
		for where, company := range map[string]map[string]any{"outside": outside.companies[tenant], "in the state": state.Company} {
			if company["name"] != org.Name || company["plan"] != org.Plan || company["active"] != true {
				t.Errorf("%s is %v %s, and %q in the mirror", tenant, company, where, org.Name)
			}
		}
	}
}

// A hub that is gone, however it went, takes the connector along: the end of
// its standard input is all that tells.
func TestAConnectorInPythonEndsWithItsStandardInput(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), python(t), filepath.Join(pythonExample, "connector.py"))
	cmd.Env = []string{"AVHUB_PLUGIN=2f0d4b7c-connector", "PLUGIN_PROTOCOL_VERSIONS=1",
		"PLUGIN_UNIX_SOCKET_DIR=" + shortDir(t), "PLUGIN_CLIENT_CERT=" + certificate(t)}
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || !strings.HasPrefix(line, "1|1|unix|") {
		t.Fatalf("%q %v", line, err)
	}
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGHUP} { // the hub decides
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := leash.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Error("it goes on")
	}
}

// Whoever begins with a copy of the example begins with one that works.
func TestACopyOfTheConnectorInPythonPassesCheck(t *testing.T) {
	t.Parallel()
	python := python(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(pythonExample)); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\nexec "+python+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	check := func(token string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, "check", "-c", "avhub.yaml")
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "CRM_TOKEN=" + token}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check("e2e-canary"); err != nil || !strings.Contains(out, "crm 1.0.0") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := check("a canary with spaces")
	if err == nil || !strings.Contains(out, "plugins[0].config.token (crm): does not match") || strings.Contains(out, "canary") {
		t.Errorf("%v\n%s", err, out)
	}
}
