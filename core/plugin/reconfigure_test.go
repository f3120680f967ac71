package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func (r *rig) config(greeting, dir string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"greeting":%q,"dir":%q}`, greeting, dir))
}

func TestAConfigurationIsPutInForceInPlace(t *testing.T) {
	t.Parallel()
	r := running(t)
	pid := r.pid(t)
	other := t.TempDir()
	// A call that is under way finishes with the configuration it began with.
	answered := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		resp, err := r.Deliver(ctx, batchOf("a:slow"))
		if err == nil && resp.GetVerdicts()[0].GetKind().String() != "KIND_APPLIED" {
			err = fmt.Errorf("%v", resp.GetVerdicts())
		}
		answered <- err
	}()
	eventually(t, "the call is inside", func() bool { return exists(filepath.Join(r.traces, "inside")) })
	diags, err := r.Reconfigure(t.Context(), r.config("hello", other))
	if err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	if exists(filepath.Join(r.traces, "closed")) {
		t.Error("the old connector was closed while it had a call")
	}
	if err := os.WriteFile(filepath.Join(r.traces, "release"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	eventually(t, "the old connector is closed", func() bool { return exists(filepath.Join(r.traces, "closed")) })
	if again := r.pid(t); again != pid {
		t.Errorf("process %d became %d", pid, again)
	}
	r.stop()
	if !exists(filepath.Join(other, "closed")) {
		t.Error("the new configuration was not in force")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestARejectedConfigurationLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	r := running(t)
	pid := r.pid(t)
	other := t.TempDir()
	for _, greeting := range []string{"die", "shout"} {
		diags, err := r.Reconfigure(t.Context(), r.config(greeting, other))
		if err != nil || len(diags) != 1 {
			t.Errorf("%s: %v %v", greeting, diags, err)
		}
	}
	if again := r.pid(t); again != pid {
		t.Errorf("process %d became %d", pid, again)
	}
	r.stop()
	if !exists(filepath.Join(r.traces, "closed")) || exists(filepath.Join(other, "closed")) {
		t.Error("the rejected configuration was in force")
	}
}

func TestAMisconfiguredConnectorIsTriedAtOnceWhenItsConfigurationChanges(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	spec.Config = json.RawMessage(`{"greeting":"die"}`)
	tm := quick()
	tm.reject = backoff{base: time.Hour, max: time.Hour}
	r := run(t, spec, traces, tm)
	r.await(t, "the rejection", func(s Status) bool { return s.State == Misconfigured })
	if diags, err := r.Reconfigure(t.Context(), r.config("hello", traces)); err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	r.ready(t)
}
