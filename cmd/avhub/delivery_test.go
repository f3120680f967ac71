package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/simulator"
)

type troubleJSON struct {
	Kind   string
	ID     int64
	Plugin string
	Key    string
	Type   string
	Reason string
}

func TestDeadLettersAreListedRetriedAndDiscarded(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	list := func() []troubleJSON { return read[[]troubleJSON](t, s.dir, "delivery", "list") }

	s.answer.Store(http.StatusBadRequest) // which no repetition makes better
	s.send(t, simulator.Command{Type: "tenant.created"})
	s.send(t, simulator.Command{Type: "subject.created"})
	eventually(t, "two events are dead letters", func() bool { return len(list()) == 2 })
	letter := list()[0]
	if letter.Kind != "dead_letter" || letter.Plugin != "notify" || letter.Type != "tenant.created" || letter.ID == 0 || letter.Reason == "" {
		t.Errorf("got %+v", letter)
	}
	if got := done(t, s.dir, "delivery", "list"); !strings.Contains(got.out, "2 dead letters") || !strings.Contains(got.out, "tenant.created") {
		t.Errorf("got\n%s", got.out)
	}

	// Nobody is there to be asked, so it only says what it would do.
	for _, args := range []string{"delivery retry --all", "delivery discard --all", "delivery discard --plugin notify"} {
		got := run(t, s.dir, strings.Fields(args)...)
		if got.code != 2 || !strings.Contains(got.err, "2 dead letters") || !strings.Contains(got.err, "--yes") {
			t.Errorf("avhub %s: exit code %d\n%s", args, got.code, got.err)
		}
	}
	if n := len(list()); n != 2 {
		t.Fatalf("without --yes something was changed: %d are left", n)
	}
	if got := done(t, s.dir, "delivery", "discard", "--plugin", "nobody", "--yes"); !strings.Contains(got.err, "nothing to discard") {
		t.Errorf("got %s", got.err)
	}

	s.answer.Store(http.StatusOK)
	if got := done(t, s.dir, "delivery", "retry", "--type", "tenant.created", "--yes"); !strings.Contains(got.err, "retried 0 blocked lanes and 1 dead letter") {
		t.Errorf("got %s", got.err)
	}
	eventually(t, "the dead letter is delivered", func() bool { l := list(); return len(l) == 1 && l[0].Type == "subject.created" })
	if got := done(t, s.dir, "delivery", "discard", "--all", "--yes"); !strings.Contains(got.err, "discarded 0 blocked lanes and 1 dead letter") {
		t.Errorf("got %s", got.err)
	}
	if n := len(list()); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestABlockedLaneIsShownAndGivenUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, sqlite)
	s.serve(t)
	s.answer.Store(http.StatusInternalServerError) // which is tried again
	s.send(t, simulator.Command{Type: "tenant.created"})
	list := func() []troubleJSON { return read[[]troubleJSON](t, s.dir, "delivery", "list") }
	eventually(t, "a lane is blocked", func() bool { return len(list()) == 1 })
	if lane := list()[0]; lane.Kind != "lane" || !strings.HasPrefix(lane.Key, "organization:") {
		t.Errorf("got %+v", lane)
	}
	if got := done(t, s.dir, "delivery", "list"); !strings.Contains(got.out, "1 blocked lane\n") {
		t.Errorf("got\n%s", got.out)
	}
	done(t, s.dir, "delivery", "discard", "--key", list()[0].Key, "--yes")
	eventually(t, "the lane is gone", func() bool { return len(list()) == 0 })
}
