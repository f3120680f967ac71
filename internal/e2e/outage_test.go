package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/internal/pgtest"
)

// While the database is away senders are asked to come back; afterwards the hub
// goes on by itself, with nothing lost.
func TestLaw6_ADatabaseOutageAnswers503AndPasses(t *testing.T) {
	server := pgtest.NewServer(t)
	h := newHub(t, server.URL())
	h.start()
	client := &http.Client{Timeout: patience}
	send := func(n int) (int, answer) {
		body := updated(fmt.Sprintf("e-0-%d", n), "acme", n)
		status, a, err := h.post(client, h.provider.Webhook(body), body)
		if err != nil {
			t.Fatal(err)
		}
		return status, a
	}
	if status, a := send(1); status != http.StatusOK {
		t.Fatalf("before the outage: %d %+v", status, a)
	}
	server.Kill9()
	if status, a := send(2); status != http.StatusServiceUnavailable {
		t.Errorf("during the outage: %d %+v", status, a)
	}
	server.Start()
	h.until("events are taken again", func() bool { status, _ := send(2); return status == http.StatusOK })
	st := h.open()
	h.settle(st)
	if got := h.journaled(st)["acme"]; fmt.Sprint(got) != "[e-0-1 e-0-2]" {
		t.Errorf("the journal has %v", got)
	}
	h.checkState(st, h.journaled(st))
	if err := h.terminate(); err != nil {
		t.Error(err)
	}
}

// A plugin that is killed comes back and misses nothing; SIGTERM ends hub and
// plugin in time, and leaves no process behind.
func TestAKilledPluginComesBackAndShutdownIsClean(t *testing.T) {
	h := newHub(t, "sqlite://"+filepath.Join(t.TempDir(), "hub.db"))
	h.start()
	client := &http.Client{Timeout: patience}
	for n := 1; n <= 60; n++ {
		body := updated(fmt.Sprintf("e-0-%d", n), "acme", n)
		if status, a, err := h.post(client, h.provider.Webhook(body), body); err != nil || status != http.StatusOK {
			t.Fatal(status, a, err)
		}
		if n%20 == 10 {
			for _, pid := range h.children() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
			}
		}
	}
	st := h.open()
	h.settle(st)
	h.checkState(st, h.journaled(st))
	children := h.children()
	if len(children) == 0 {
		t.Error("there is no plugin process")
	}
	begin := time.Now()
	if err := h.terminate(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("shutdown took %v", took)
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d outlived the hub", pid)
		}
	}
}

// children are the ids of the hub's processes.
func (h *hub) children() []int {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	if err != nil || len(lists) == 0 {
		h.t.Skip("this system does not tell a process's children in /proc")
	}
	var pids []int
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
