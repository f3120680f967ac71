package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Stripe's own mock is built and started by the first test that needs it, and
// ends with the tests. The release that go.mod names knows the API of an older
// version than the library speaks; what the connector sends is the same in both.

// mockVar names the program of another release of the mock.
const mockVar = "AVHUB_STRIPE_MOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(serveVar); path != "" {
		serveForATest(path)
		return
	}
	code := m.Run()
	stopMock()
	os.Exit(code)
}

var mock struct {
	once    sync.Once
	err     error
	url     string
	process *exec.Cmd
	leash   io.Closer
	dir     string

	mu       sync.Mutex
	accepted map[string]bool // shapes of requests
}

func startMock() (string, error) {
	mock.once.Do(func() {
		mock.accepted = map[string]bool{}
		mock.dir, mock.err = os.MkdirTemp("", "stripe-mock-")
		if mock.err != nil {
			return
		}
		bin := filepath.Join(mock.dir, "stripe-mock")
		if other := os.Getenv(mockVar); other != "" {
			bin = other
		} else if out, err := exec.Command("go", "build", "-o", bin, "github.com/stripe/stripe-mock").CombinedOutput(); err != nil {
			mock.err = fmt.Errorf("building Stripe's mock: %w\n%s", err, out)
			return
		}
		// It ends when its input does, so also when the tests are killed.
		mock.process = exec.Command("sh", "-c", `"$0" -http-addr 127.0.0.1:0 -https-addr 127.0.0.1:0 </dev/null & cat >/dev/null; kill $!; wait`, bin)
		out, err := mock.process.StdoutPipe()
		if err == nil {
			mock.leash, err = mock.process.StdinPipe()
		}
		if err == nil {
			err = mock.process.Start()
		}
		if err != nil {
			mock.err = fmt.Errorf("starting Stripe's mock: %w", err)
			return
		}
		lines := bufio.NewScanner(out)
		for mock.url == "" && lines.Scan() {
			if addr, ok := strings.CutPrefix(lines.Text(), "Listening for HTTP at address: "); ok {
				mock.url = "http://" + addr
			}
		}
		if mock.url == "" {
			mock.err = errors.New("the mock does not say where it listens")
			return
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
	})
	return mock.url, mock.err
}

func stopMock() {
	if mock.process != nil && mock.process.Process != nil {
		_ = mock.leash.Close()
		_ = mock.process.Wait()
	}
	if mock.dir != "" {
		_ = os.RemoveAll(mock.dir)
	}
}

var ids = regexp.MustCompile(`\b(cus|sub|si|price|sub_sched|evt)_[A-Za-z0-9_]+|\d+`)

// shape is a request with ids and numbers left out: the mock has no memory, so
// requests of one shape are one to it.
func shape(req *http.Request, form url.Values) string {
	var parts []string
	for name, values := range form {
		v := ids.ReplaceAllString(strings.Join(values, ","), "#")
		if strings.HasPrefix(name, "metadata[") || name == "name" || name == "email" || name == "query" {
			v = fmt.Sprint(v != "")
		}
		parts = append(parts, ids.ReplaceAllString(name, "#")+"="+v)
	}
	slices.Sort(parts)
	return req.Method + " " + ids.ReplaceAllString(req.URL.Path, "#") + "?" + strings.Join(parts, "&")
}

// showMock fails the test unless Stripe's mock accepts a request.
func showMock(t testing.TB, req *http.Request, body []byte) {
	base, err := startMock()
	if err != nil {
		t.Error(err)
		return
	}
	form, _ := url.ParseQuery(req.URL.RawQuery + "&" + string(body))
	key := shape(req, form)
	mock.mu.Lock()
	known := mock.accepted[key]
	mock.mu.Unlock()
	if known {
		return
	}
	again, err := http.NewRequest(req.Method, base+req.URL.RequestURI(), strings.NewReader(string(body)))
	if err != nil {
		t.Error(err)
		return
	}
	again.Header = req.Header.Clone()
	resp, err := http.DefaultClient.Do(again)
	if err != nil {
		t.Errorf("showing a request to Stripe's mock: %v", err)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("Stripe's mock refuses %s %s %s: %d %s %v", req.Method, req.URL.RequestURI(), body, resp.StatusCode, answer, err)
		return
	}
	mock.mu.Lock()
	defer mock.mu.Unlock()
	mock.accepted[key] = true
}
