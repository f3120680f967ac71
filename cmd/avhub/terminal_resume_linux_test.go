package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/simulator"
)

func TestOnATerminalResumeAsksWhatToDoWithWhatHasPiledUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	s.answer.Store(http.StatusOK)
	s.send(t, simulator.Command{Type: "tenant.created"})
	type progress struct {
		State    string
		Position int64
		Lag      int64
	}
	is := func() progress { return read[[]progress](t, s.dir, "plugin", "list")[0] }
	eventually(t, "it is delivered", func() bool { return is().Position == 1 })
	got := s.got.Load()

	done(t, s.dir, "plugin", "pause", "notify")
	if code, shown := onTerminal(t, s.dir, "", environ(), "plugin", "resume", "notify"); code != 0 || strings.Contains(shown, "Piled up") {
		t.Errorf("with nothing to ask about: exit code %d\n%s", code, shown)
	}
	done(t, s.dir, "plugin", "pause", "notify")
	s.send(t, simulator.Command{Type: "tenant.updated"})
	eventually(t, "it waits", func() bool { return is().Lag == 1 })
	for _, no := range []string{"\x04", "yesterday\n", "n\nn\n"} {
		code, shown := onTerminal(t, s.dir, no, environ(), "plugin", "resume", "notify")
		if code == 0 || !strings.Contains(shown, "Piled up for notify: 1 event.") || is().State != "paused" {
			t.Errorf("after %q: exit code %d\n%s", no, code, shown)
		}
	}
	if code, shown := onTerminal(t, s.dir, "\n", environ(), "plugin", "resume", "notify"); code != 0 || !strings.Contains(shown, "goes on where it stopped") {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	eventually(t, "what has piled up is delivered", func() bool { return s.got.Load() == got+1 && is().Lag == 0 })

	done(t, s.dir, "plugin", "pause", "notify")
	s.send(t, simulator.Command{Type: "tenant.updated"})
	eventually(t, "it waits", func() bool { return is().Lag == 1 })
	if code, shown := onTerminal(t, s.dir, "n\ny\n", environ(), "plugin", "resume", "notify"); code != 0 {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	eventually(t, "what has piled up is passed over", func() bool { return is() == progress{"running", 3, 0} })
	if n := s.got.Load(); n != got+1 {
		t.Errorf("%d were delivered, want %d", n, got+1)
	}
}
