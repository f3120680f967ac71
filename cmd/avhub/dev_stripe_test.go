package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
)

var buildBilling = sync.OnceValue(func() error {
	// In a folder of its own, as dev bills wherever it finds this one.
	out, err := exec.Command("go", "build", "-o", filepath.Join(programDir, "billing", "avhub-stripe"), "../../plugins/stripe").CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
})

// billed makes a folder with the connector that bills where dev looks for it.
func billed(t *testing.T) string {
	t.Helper()
	program(t, "avhub") // makes programDir
	if err := buildBilling(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(programDir, "billing", "avhub-stripe"), filepath.Join(dir, "bin", "avhub-stripe")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDevBillsInTestModeWithATestKey(t *testing.T) {
	t.Parallel()
	const key = "rk_test_canaryOfTheTests"
	dir := billed(t)
	paid := make(chan struct{})
	var once sync.Once
	fake := stripefake.New(stripefake.Options{Key: key, Prices: []stripefake.Price{{LookupKey: "pro", Amount: 9900}},
		OnChange: func(c stripefake.Change) {
			if strings.HasPrefix(c.What, "created ") {
				once.Do(func() { close(paid) })
			}
		}})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	dev := startWith(t, environ(stripeKeyVar+"="+key, stripeURLVar+"="+server.URL), program(t, lasting), dir, anywhere()...)
	for _, want := range []string{"Stripe: made the price starter", "Stripe: made the price seat", "stands in for Stripe's test mode"} {
		dev.err.wait(t, want)
	}
	select {
	case <-paid:
	case <-dev.waited:
	case <-time.After(deadline):
	}
	if code := dev.end(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d: %s", code, dev.err.text())
	}
	if len(fake.Subscriptions()) == 0 {
		t.Errorf("nobody pays:\n%s", dev.out.text())
	}
	made := map[string]int{}
	for _, req := range fake.Requests() {
		if req.Operation() == "POST /v1/prices" {
			made[req.Form.Get("lookup_key")]++
		}
	}
	if len(made) != 3 || made["pro"] != 0 || made["starter"] != 1 {
		t.Errorf("prices made: %v", made)
	}
	// The key is nowhere.
	all := dev.out.text() + dev.err.text()
	_ = filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			text, _ := os.ReadFile(path)
			all += string(text)
		}
		return nil
	})
	if strings.Contains(all, "canary") {
		t.Error("the key is in what dev printed or wrote")
	}
	if _, err := os.Stat(filepath.Join(dir, devDir, "stripe.json")); err == nil {
		t.Error("the configuration of setup is still there")
	}
}

func TestDevBillsAtASimulatedStripeWithoutAKey(t *testing.T) {
	t.Parallel()
	dev := start(t, billed(t), anywhere()...)
	dev.err.wait(t, "simulated; its page shows who pays for what")
	dev.out.wait(t, "Stripe: ", "created ")
	if code := dev.end(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d: %s", code, dev.err.text())
	}
}

func TestDevRefusesWhatIsNoTestKey(t *testing.T) {
	t.Parallel()
	dir := billed(t)
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was asked of Stripe") }))
	t.Cleanup(silent.Close)
	own, err := json.Marshal(map[string]any{"plugins": []any{map[string]any{"name": "stripe", "command": []any{"./bin/avhub-stripe"},
		"config": map[string]any{"api_key": "${STRIPE_API_KEY}", "allow_live": true, "plans": map[string]any{"pro": map[string]any{"lookup_key": "pro"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "own.yaml"), string(own))
	for _, c := range []struct {
		key, says string
		more      []string
	}{
		{"sk_live_canaryOfTheTests", "is a live key, and the companies of dev are made up", nil},
		{"rk_live_canaryOfTheTests", "unset STRIPE_API_KEY for a simulated Stripe", nil},
		{"pk_test_canaryOfTheTests", "is no test key of Stripe's", nil},
		{"sk_live_canaryOfTheTests", "plugin stripe has a live key of Stripe's", []string{"--config", "own.yaml"}},
	} {
		p := startWith(t, environ(stripeKeyVar+"="+c.key, stripeURLVar+"="+silent.URL), program(t, "avhub"), dir, anywhere(c.more...)...)
		if code := p.wait(t); code != 1 || !strings.Contains(p.err.text(), c.says) || strings.Contains(p.err.text(), "canary") {
			t.Errorf("%s: exit code %d, %s", c.key[:8], code, p.err.text())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, devDir)); err == nil {
		t.Error("a refused dev made its folder")
	}
}

func TestDevSaysWhyTestModeCannotBeHad(t *testing.T) {
	t.Parallel()
	dir := billed(t)
	server := httptest.NewServer(stripefake.New(stripefake.Options{Key: "sk_test_another"}))
	t.Cleanup(server.Close)
	p := startWith(t, environ(stripeKeyVar+"=sk_test_revoked", stripeURLVar+"="+server.URL), program(t, "avhub"), dir, anywhere()...)
	if code := p.wait(t); code != 1 || !strings.Contains(p.err.text(), "making the story's prices in Stripe's test mode") || !strings.Contains(p.err.text(), "401") {
		t.Errorf("exit code %d, %s", code, p.err.text())
	}
}
