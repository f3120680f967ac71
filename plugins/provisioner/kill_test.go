package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/sdk/plugin"
)

// lifeVar makes the test binary one life of the connector: it delivers until
// the tenant stands as it should, and kills itself at a step.
const lifeVar = "PROVISIONER_TEST_LIFE"

// life is what such a process is told.
type life struct {
	Config map[string]any
	Org    plugin.Organization
	State  string // file
	DieAt  int    // step, from 1; 0: it lives
	Sweep  bool
	Ahead  time.Duration // of its clock
}

func TestMain(m *testing.M) {
	if raw := os.Getenv(lifeVar); raw != "" {
		if err := live([]byte(raw)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func live(raw []byte) error {
	var l life
	if err := json.Unmarshal(raw, &l); err != nil {
		return err
	}
	steps := 0
	step := func(string) {
		if steps++; steps == l.DieAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	cfg, problems := decode(l.Config)
	if len(problems) > 0 {
		return fmt.Errorf("%v", problems)
	}
	c, err := newConnector(cfg, slog.New(slog.DiscardHandler), func() time.Time { return time.Now().Add(l.Ahead) }, step)
	if err != nil {
		return err
	}
	for {
		var st state
		if raw, err := os.ReadFile(l.State); err == nil {
			if err := json.Unmarshal(raw, &st); err != nil {
				return err
			}
		}
		verdict := c.Deliver(context.Background(), eventOf(l.Org), &st)
		step("before the state is saved")
		raw, err := json.Marshal(st)
		if err == nil {
			err = os.WriteFile(l.State+".new", raw, 0o600)
		}
		if err == nil {
			err = os.Rename(l.State+".new", l.State)
		}
		if err != nil {
			return err
		}
		step("after the state is saved")
		if verdict == nil {
			break
		}
		if verdict.Error() != plugin.Again().Error() {
			return verdict
		}
	}
	if l.Sweep {
		_, err = c.sweep(context.Background())
	}
	return err
}

// through runs lives, each of which dies one step later, until one does not die.
func through(t *testing.T, l life) (deaths int) {
	t.Helper()
	for l.DieAt = 1; ; l.DieAt++ {
		raw, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), lifeVar+"="+string(raw))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return deaths
		case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
			deaths++
		default:
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func TestKill9BetweenAnyTwoStepsLeavesOneOfEachResource(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	prog, _ := program(t)
	pg := map[string]any{"url": server.URL(), "init": "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('first')"}
	for driver, entry := range map[string]map[string]any{
		"sqlite":            {"sqlite": map[string]any{"dir": t.TempDir(), "init": "CREATE TABLE notes (text TEXT)"}},
		"postgres-schema":   {"postgres": pg},
		"postgres-database": {"postgres": pg},
		"exec":              {"exec": map[string]any{"command": []string{prog}}},
	} {
		t.Run(driver, func(t *testing.T) {
			entry["driver"], entry["deprovision"], entry["grace"] = driver, "delete", "1h"
			secrets := t.TempDir()
			cfg := map[string]any{
				"plans":     map[string]any{"pro": []string{"one"}},
				"resources": map[string]any{"one": entry}, "allow_destroy": true, "sweep": "0s", "secrets": map[string]any{"dir": secrets},
			}
			tenant := "kill-" + driver
			l := life{Config: cfg, State: filepath.Join(t.TempDir(), "state")}
			d := newRig(t, cfg).c.drivers["one"]
			deaths := 0
			for _, stage := range []struct {
				status string
				phase  resource.Phase
			}{{"active", resource.Active}, {"suspended", resource.Suspended}, {"active", resource.Active}, {"deleted", resource.Deleted}} {
				l.Org = org(tenant, "pro", stage.status)
				deaths += through(t, l)
				all, err := d.List(t.Context(), "avhub", "")
				if err != nil || len(all) != 1 || all[0].Mark.Phase != stage.phase || all[0].Mark.Tenant != tenant {
					t.Fatalf("%s: %+v %v", stage.status, all, err)
				}
				have, err := d.Observe(t.Context(), all[0].Name)
				if err != nil || !have.Whole || have.Open != (stage.phase == resource.Active) {
					t.Fatalf("%s: %+v %v", stage.status, have, err)
				}
				var st state
				raw, _ := os.ReadFile(l.State)
				if err := json.Unmarshal(raw, &st); err != nil || len(st.Resources["one"].References) == 0 || st.Resources["one"].Name != all[0].Name {
					t.Fatalf("%s: references are not complete: %s", stage.status, raw)
				}
				if ref := st.Resources["one"].References["secret_ref"]; strings.HasPrefix(driver, "postgres") && !exists(t, ref) {
					t.Fatalf("%s: there is no secret at %q", stage.status, ref)
				}
			}
			l.Sweep, l.Ahead = true, 2*time.Hour
			deaths += through(t, l)
			if all, err := d.List(t.Context(), "avhub", ""); err != nil || len(all) != 0 {
				t.Errorf("its time has come, and there is %v %v", all, err)
			}
			if deaths < 12 {
				t.Errorf("it died only %d times", deaths)
			}
			t.Logf("%d deaths", deaths)
		})
	}
}
