package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/simulator"
)

type viewBundle struct {
	view *view
	out  *bytes.Buffer
	now  time.Time
}

func viewSetup(t *testing.T, f devFlags) *viewBundle {
	t.Helper()
	out := &bytes.Buffer{}
	return &viewBundle{newView(&cli{out: out, err: out}, f), out, time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
}

func (b *viewBundle) append(id string, outcome journal.Outcome, changes ...event.Change) *event.Event {
	ev := &event.Event{ID: id, Type: "tenant.updated", Changes: changes}
	b.view.take(observation{at: b.now, ev: ev, receipt: journal.Receipt{Outcome: outcome, Position: 7}})
	return ev
}

func (b *viewBundle) step(id, text string, status int, response string) {
	b.view.take(observation{at: b.now, step: &simulator.Step{
		Kind: simulator.StepEvent, Text: text,
		Delivery: simulator.Delivery{ID: id, Type: "tenant.updated", Status: status, Response: []byte(response)},
	}})
}

func (b *viewBundle) verdict(ev *event.Event, verdict string) {
	b.view.take(observation{at: b.now, delivery: &fanout.Delivery{Plugin: "notify", Event: ev, Verdict: verdict, Took: 4 * time.Millisecond}})
}

func TestALineIsPrintedWhenAllSidesHaveTold(t *testing.T) {
	t.Parallel()
	plan := event.Change{Entity: "organization", ID: "t", Field: "plan", Before: json.RawMessage(`"free"`), After: json.RawMessage(`"pro"`)}
	want := "12:00:00  Acme upgrades                                     tenant.updated         → accepted #7 → plan free → pro → notify applied (4 ms)\n"
	for name, order := range map[string][]string{
		"connector last":  {"append", "step", "verdict"},
		"connector first": {"append", "verdict", "step"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := viewSetup(t, devFlags{})
			var ev *event.Event
			for i, what := range order {
				switch what {
				case "append":
					ev = b.append("e1", journal.Accepted, plan)
				case "step":
					b.step("e1", "Acme upgrades", 200, `{"status":"accepted"}`)
				case "verdict":
					b.verdict(ev, "applied")
				}
				if i < len(order)-1 && b.out.Len() > 0 {
					t.Fatalf("printed before all was known: %s", b.out)
				}
			}
			if b.out.String() != want {
				t.Errorf("got\n%swant\n%s", b.out, want)
			}
			if !b.view.whole() {
				t.Error("an event came all the way and was not counted so")
			}
		})
	}
}

func TestALineDoesNotWaitForeverForTheConnector(t *testing.T) {
	t.Parallel()
	b := viewSetup(t, devFlags{})
	b.append("e1", journal.Accepted)
	b.step("e1", "Acme upgrades", 200, `{}`)
	b.view.print(b.now.Add(viewPatience-time.Millisecond), false)
	if b.out.Len() > 0 {
		t.Fatalf("printed too early: %s", b.out)
	}
	b.view.print(b.now.Add(viewPatience), false)
	if !strings.Contains(b.out.String(), "notify has not answered yet") {
		t.Errorf("got %s", b.out)
	}
	if b.view.whole() {
		t.Error("counted as come all the way")
	}
}

func TestADuplicateAndItsOriginalAreTwoLines(t *testing.T) {
	t.Parallel()
	b := viewSetup(t, devFlags{})
	first := b.append("e1", journal.Accepted)
	b.step("e1", "the first", 200, `{}`)
	b.append("e1", journal.Duplicate)
	b.step("e1", "the second", 200, `{}`)
	b.verdict(first, "applied")
	lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "the first") || !strings.Contains(lines[0], "notify applied") ||
		!strings.Contains(lines[1], "the second") || !strings.Contains(lines[1], "duplicate of #7") {
		t.Errorf("got\n%s", b.out)
	}
}

func TestRefusalsSilenceAndStrangersAreShown(t *testing.T) {
	t.Parallel()
	b := viewSetup(t, devFlags{})
	b.step("e1", "somebody forges", 401, `{"error":"no","reason":"bad_signature"}`)
	b.view.take(observation{at: b.now, step: &simulator.Step{Kind: simulator.StepEvent, Text: "nobody answers", Err: errors.New("connection refused\x1b[31m")}})
	b.view.take(observation{at: b.now, step: &simulator.Step{Kind: simulator.StepRotation, Text: "a new key"}})
	ev := b.append("e2", journal.Accepted)
	b.verdict(ev, "dead")
	b.view.print(b.now.Add(viewUntold), false)
	for _, want := range []string{"refused 401 bad_signature", `no answer: connection refused\u001b[31m`, "a new key", "somebody sends an event", "notify dead"} {
		if !strings.Contains(b.out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, b.out)
		}
	}
	if got := b.view.summary(time.Second); !strings.Contains(got, "1 accepted") || !strings.Contains(got, "1 refused") || !strings.Contains(got, "1 got no answer") {
		t.Errorf("got %s", got)
	}
}

func TestLaw10_AStuckTerminalHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b := viewSetup(t, devFlags{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 * viewQueue {
			b.view.appended(&event.Event{ID: "e"}, journal.Receipt{Outcome: journal.Accepted})
			b.view.delivered(fanout.Delivery{Event: &event.Event{ID: "e"}})
		}
	}()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("the hub waits for the terminal")
	}
	if n := len(b.view.in); n > viewQueue {
		t.Errorf("%d observations wait", n)
	}
	if got := b.view.summary(time.Second); !strings.Contains(got, "too small") {
		t.Errorf("nobody is told that something is missing: %s", got)
	}
}

func TestASummaryOfChangesIsShort(t *testing.T) {
	t.Parallel()
	change := func(field, before, after string) event.Change {
		return event.Change{Entity: "organization", ID: "t", Field: field, Before: json.RawMessage(before), After: json.RawMessage(after)}
	}
	for name, c := range map[string]struct {
		ev   event.Event
		want string
	}{
		"created":    {event.Event{Changes: []event.Change{change("exists", "false", "true"), change("name", "null", `"x"`)}}, "organization created"},
		"deleted":    {event.Event{Changes: []event.Change{change("exists", "true", "false"), change("name", `"x"`, "null")}}, "organization deleted"},
		"many":       {event.Event{Changes: []event.Change{change("a", "1", "2"), change("b", "1", "2"), change("c", "1", "2")}, ChangesOmitted: 4}, "a 1 → 2, b 1 → 2 and 5 more"},
		"cleared":    {event.Event{Changes: []event.Change{change("a", `"x"`, "null")}}, "a x → nothing"},
		"none":       {event.Event{}, "nothing for the mirror"},
		"superseded": {event.Event{Superseded: true}, "superseded by newer events"},
		"failed":     {event.Event{Failed: "plan is no text"}, "failed: plan is no text"},
	} {
		if got := summarize(&c.ev); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestWhatIsBilledIsALineOfItsOwnInOrder(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		b := viewSetup(t, devFlags{json: asJSON})
		ev := b.append("e1", journal.Accepted)
		b.view.take(observation{at: b.now, aside: &viewAside{"Stripe", "billing", "billed", "Acme: starter×1 → pro×1\x1b[31m"}})
		b.step("e1", "Acme upgrades", 200, "{}")
		if b.out.Len() > 0 {
			t.Errorf("printed before the event's line: %s", b.out)
		}
		b.verdict(ev, "applied")
		lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "Acme upgrades") || !strings.Contains(lines[1], "starter×1 → pro×1") || strings.Contains(lines[1], "\x1b") {
			t.Errorf("printed:\n%s", b.out)
		}
	}
}
