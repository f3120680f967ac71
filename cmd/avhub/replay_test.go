package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/simulator"
)

func TestAPluginIsPausedMovedAndGivenEventsAgainWhileAHubRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	s.answer.Store(http.StatusOK)
	s.send(t, simulator.Command{Type: "tenant.created"})
	s.send(t, simulator.Command{Type: "subject.created"})
	type progress struct {
		State    string
		Position int64
		Lag      int64
	}
	is := func() progress { return read[[]progress](t, s.dir, "plugin", "list")[0] }
	eventually(t, "both are delivered", func() bool { p := is(); return p.Position == 2 && p.Lag == 0 })

	if got := done(t, s.dir, "replay", "notify", "--dry-run"); !strings.Contains(got.out, "would deliver 2 events to notify again") {
		t.Errorf("got %s", got.out)
	}
	if got := done(t, s.dir, "replay", "notify", "--type", "tenant.*"); !strings.Contains(got.out, "1 applied, 0 skipped, 0 failed") {
		t.Errorf("got %s", got.out)
	}

	done(t, s.dir, "plugin", "pause", "notify", "--reason", "for a test")
	eventually(t, "it says so", func() bool { return is().State == "paused" })
	s.send(t, simulator.Command{Type: "tenant.updated"})
	type pending struct{ Waiting int64 }
	eventually(t, "an event waits", func() bool { return read[[]pending](t, s.dir, "delivery", "pending")[0].Waiting == 1 })
	if got := run(t, s.dir, "plugin", "resume", "notify", "--from", "now"); got.code != 2 || !strings.Contains(got.err, "pass over 1 event") {
		t.Errorf("without --yes: exit code %d, %s", got.code, got.err)
	}
	done(t, s.dir, "plugin", "resume", "notify", "--from", "now", "--yes")
	eventually(t, "it goes on beyond it", func() bool { p := is(); return p.State == "running" && p.Position == 3 })

	if got := done(t, s.dir, "plugin", "reset", "notify", "--to", "snapshot", "--dry-run"); !strings.Contains(got.out, "tell it the mirror as it stands") {
		t.Errorf("got %s", got.out)
	}
	done(t, s.dir, "plugin", "reset", "notify", "--to", "snapshot", "--yes")
	type replay struct{ Kind, State string }
	eventually(t, "the snapshot is through", func() bool {
		l := read[[]replay](t, s.dir, "replay", "list")
		return len(l) == 2 && l[0] == replay{"snapshot", "done"}
	})
	done(t, s.dir, "plugin", "restart", "notify")
	for _, args := range []string{
		"plugin reset notify", "plugin reset notify --to yesterday", "plugin resume notify --from snapshot", "replay notify --rate -1",
		"replay notify --type a..b", "replay cancel x", "plugin state notify key --prefix k", "delivery retry --all --rate -1",
	} {
		if got := run(t, s.dir, strings.Fields(args)...); got.code != 2 {
			t.Errorf("avhub %s: exit code %d, %s", args, got.code, got.err)
		}
	}
	if got := run(t, s.dir, "plugin", "pause", "nobody"); got.code != 1 || !strings.Contains(got.err, "nobody") {
		t.Errorf("a plugin that there is not: exit code %d, %s", got.code, got.err)
	}
}
