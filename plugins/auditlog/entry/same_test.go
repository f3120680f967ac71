package entry

import (
	"encoding/json"
	"testing"

	"github.com/avhub/avhub/sdk/plugin"
)

func TestTheSameEventIsKnownAgainAndAnotherIsNot(t *testing.T) {
	event := func(f func(*plugin.Event)) plugin.Event {
		ev := plugin.Event{
			ID: "e", Type: "subject.updated", Subject: "identity:u", Key: "k", Source: "s",
			Raw:     json.RawMessage(`{"sub":"u","email":"a@x.example","is_active":true,"changed_fields":["email","is_active"]}`),
			Changes: []plugin.Change{{Entity: "identity", ID: "u", Field: "email", Before: text("b@x.example"), After: text("a@x.example")}},
		}
		f(&ev)
		return ev
	}
	signed := func(with byte) func(*plugin.Event) {
		return func(ev *plugin.Event) { ev.Evidence = plugin.Evidence{KeyID: "k", SignedSHA256: []byte{with}} }
	}
	plainly := event(func(*plugin.Event) {})
	for name, c := range map[string]struct {
		a, b plugin.Event
		same bool
	}{
		"itself":     {plainly, plainly, true},
		"superseded": {plainly, event(func(ev *plugin.Event) { ev.Superseded = true }), true},
		"another e-mail address, which an erased person's cannot be told from": {
			plainly, event(func(ev *plugin.Event) { ev.Changes[0].After = text("c@x.example") }), true,
		},
		"another value": {plainly, event(func(ev *plugin.Event) {
			ev.Raw = json.RawMessage(`{"sub":"u","email":"a@x.example","is_active":false,"changed_fields":["email","is_active"]}`)
		}), false},
		"another type":                            {plainly, event(func(ev *plugin.Event) { ev.Type = "subject.created" }), false},
		"another tenant":                          {plainly, event(func(ev *plugin.Event) { ev.TenantID = "t" }), false},
		"the same signed bytes, seen otherwise":   {event(signed(1)), event(func(ev *plugin.Event) { signed(1)(ev); ev.Changes = nil }), true},
		"other signed bytes, which look the same": {event(signed(1)), event(signed(2)), false},
	} {
		one, other := build(t, c.a), build(t, c.b)
		other.Seq = 99
		same, err := Same(one, other)
		if err != nil || same != c.same {
			t.Errorf("%s: same is %v, %v", name, same, err)
		}
	}
}
