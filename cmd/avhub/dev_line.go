package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/simulator"
)

// outcome is the hub's answer in one word.
func (l *viewLine) outcome() string {
	switch {
	case l.receipt.Outcome != "":
		return string(l.receipt.Outcome)
	case l.step.Kind == simulator.StepRotation:
		return "rotated"
	case l.step.Err != nil || l.step.Delivery.Status == 0:
		return "unanswered"
	case l.step.Delivery.Status >= http.StatusInternalServerError:
		return "unavailable"
	case l.step.Delivery.Status == http.StatusOK:
		// The hub told the sender more than it told us: the view was overrun.
		return "answered"
	}
	return "refused"
}

// reason is the hub's word for why it refused.
func (l *viewLine) reason() string {
	if l.step == nil {
		return ""
	}
	if l.step.Err != nil {
		return l.step.Err.Error()
	}
	var answer struct{ Reason string }
	_ = json.Unmarshal(l.step.Delivery.Response, &answer) // what is no JSON has no reason
	return answer.Reason
}

func (l *viewLine) words() string {
	if l.step != nil {
		return l.step.Text
	}
	return "somebody sends an event"
}

func (l *viewLine) eventType() string {
	if l.ev != nil {
		return l.ev.Type
	}
	return l.step.Delivery.Type
}

// text is the line for a terminal:
//
//	12:00:03  River Bakery upgrades to the pro plan   tenant.updated   → accepted #12 → plan starter → pro → notify applied (4 ms)
func (v *view) text(l *viewLine) string {
	c := v.c
	at := c.paint(c.out, dim, l.at.Format(time.TimeOnly))
	if l.aside != nil {
		return at + "  " + c.paint(c.out, green, clean(l.aside.by+": "+l.aside.text))
	}
	what := clean(fmt.Sprintf("%-48s", l.words()))
	if l.outcome() == "rotated" {
		return at + "  " + strings.TrimRight(what, " ")
	}
	parts := []string{v.answer(l)}
	if l.outcome() == "accepted" {
		about := clean(summarize(l.ev))
		if len(l.ev.Changes) == 0 {
			about = c.paint(c.out, dim, about)
		}
		parts = append(parts, about)
		parts = append(parts, v.pluginPart(l))
	}
	arrow := c.paint(c.out, dim, " → ")
	return at + "  " + what + "  " + c.paint(c.out, dim, clean(fmt.Sprintf("%-22s", l.eventType()))) + arrow + strings.Join(parts, arrow)
}

func (v *view) answer(l *viewLine) string {
	c := v.c
	switch outcome := l.outcome(); outcome {
	case "accepted":
		return c.paint(c.out, green, fmt.Sprintf("accepted #%d", l.receipt.Position))
	case "duplicate", "conflict":
		return c.paint(c.out, yellow, fmt.Sprintf("%s of #%d", outcome, l.receipt.Position))
	case "refused", "unavailable":
		return c.paint(c.out, red, clean(strings.TrimSpace(fmt.Sprintf("%s %d %s", outcome, l.step.Delivery.Status, l.reason()))))
	case "unanswered":
		return c.paint(c.out, red, clean("no answer: "+l.reason()))
	default:
		return outcome
	}
}

func (v *view) pluginPart(l *viewLine) string {
	c := v.c
	if l.delivery == nil {
		if v.flags.config != "" {
			return c.paint(c.out, dim, "no plugin wants it, or none has answered yet")
		}
		return c.paint(c.out, yellow, devPlugin+" has not answered yet")
	}
	text := fmt.Sprintf("%s %s (%s)", l.delivery.Plugin, l.delivery.Verdict, took(l.delivery.Took))
	if l.delivery.Reason != "" {
		text += ": " + short(l.delivery.Reason, 80)
	}
	if l.delivery.Verdict == "applied" {
		return c.paint(c.out, green, clean(text))
	}
	return c.paint(c.out, yellow, clean(text))
}

// summarize says what an event changed in the mirror.
func summarize(ev *event.Event) string {
	switch {
	case ev.Failed != "" || ev.Superseded:
		return outcome(ev)
	case len(ev.Changes) == 0:
		return "nothing for the mirror"
	}
	made := map[string]bool{}
	var parts []string
	rest := ev.ChangesOmitted
	for _, change := range ev.Changes {
		row := change.Entity + "/" + change.ID
		switch {
		case change.Field == "exists":
			made[row] = true
			word := "created"
			if string(change.After) == "false" {
				word = "deleted"
			}
			parts = append(parts, change.Entity+" "+word)
		case made[row]: // the fields of a row that came or went go without saying
		case len(parts) < 2:
			parts = append(parts, fmt.Sprintf("%s %s → %s", change.Field, short(plain(change.Before), 24), short(plain(change.After), 24)))
		default:
			rest++
		}
	}
	text := strings.Join(parts, ", ")
	if rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

// viewJSON is a line as --json prints it. Members are only ever added.
type viewJSON struct {
	Time     time.Time      `json:"time"`
	Story    string         `json:"story"`
	Kind     string         `json:"kind"`
	Type     string         `json:"type,omitempty"`
	ID       string         `json:"id,omitempty"`
	Channel  event.Channel  `json:"channel,omitempty"`
	Outcome  string         `json:"outcome"`
	Status   int            `json:"status,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Position int64          `json:"position,omitempty"`
	Changes  []event.Change `json:"changes,omitempty"`
	Plugin   *viewPlugin    `json:"plugin,omitempty"`
}

type viewPlugin struct {
	Name    string  `json:"name"`
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
	TookMS  float64 `json:"took_ms"`
}

func (v *view) json(l *viewLine) viewJSON {
	if l.aside != nil {
		return viewJSON{Time: l.at.UTC(), Story: l.aside.text, Kind: l.aside.kind, Outcome: l.aside.outcome}
	}
	j := viewJSON{
		Time: l.at.UTC(), Story: l.words(), Kind: string(simulator.StepEvent), Type: l.eventType(), ID: l.id,
		Outcome: l.outcome(), Reason: l.reason(), Position: l.receipt.Position,
	}
	if l.step != nil {
		j.Kind, j.Status, j.Channel = string(l.step.Kind), l.step.Delivery.Status, l.step.Delivery.Channel
	}
	if l.ev != nil {
		j.Channel = l.ev.Channel
		if l.outcome() == "accepted" {
			j.Changes = l.ev.Changes
		}
	}
	if d := l.delivery; d != nil {
		j.Plugin = &viewPlugin{d.Plugin, d.Verdict, d.Reason, float64(d.Took.Microseconds()) / 1000}
	}
	return j
}
