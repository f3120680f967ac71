package mirror

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// maxChanges are kept per event; a deleted tenant may have thousands of
// applications, and each plugin gets the list with the event.
const maxChanges = 500

// existsField is the pseudo field of event.Change that stands for the row.
const existsField = "exists"

// report adds what happened to one row to the event: whether it is there now,
// and its fields. Times and the hub's own columns are no changes. The keys of
// settings are reported one by one, and then not once more under the names of
// the columns that show them.
func report(ev *event.Event, m *model, id string, before, after *row) {
	reportExists(ev, m, id, before, after)
	if !before.exists && !after.exists {
		return
	}
	for i := range m.columns {
		if c := &m.columns[i]; c.keyed || c.keyOf != "" {
			continue
		}
		var was, is []byte
		if before.exists {
			was = before.values[i]
		}
		if after.exists {
			is = after.values[i]
		}
		reportField(ev, m, id, m.columns[i].name, was, is)
	}
	reportKeys(ev, m, id, before.keys, after.keys)
}

// reportExists adds the coming or going of a row alone: all that is said about
// the children of a deleted organization.
func reportExists(ev *event.Event, m *model, id string, before, after *row) {
	if before.exists != after.exists {
		word := map[bool]string{true: "true", false: "false"}
		addChange(ev, event.Change{
			Entity: m.kind, ID: id, Field: existsField,
			Before: json.RawMessage(word[before.exists]), After: json.RawMessage(word[after.exists]),
		})
	}
}

// reportKeys walks over two ascending lists.
func reportKeys(ev *event.Event, m *model, id string, before, after []register) {
	for len(before) > 0 || len(after) > 0 {
		order := 0
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = strings.Compare(before[0].field, after[0].field)
		}
		var field string
		var was, is []byte
		if order <= 0 {
			field, was, before = before[0].field, before[0].value, before[1:]
		}
		if order >= 0 {
			field, is, after = after[0].field, after[0].value, after[1:]
		}
		reportField(ev, m, id, field, was, is)
	}
}

func reportField(ev *event.Event, m *model, id, field string, before, after []byte) {
	if before == nil {
		before = null
	}
	if after == nil {
		after = null
	}
	if bytes.Equal(before, after) {
		return
	}
	addChange(ev, event.Change{
		Entity: m.kind, ID: id, Field: field,
		Before: bytes.Clone(before), After: bytes.Clone(after),
	})
}

func addChange(ev *event.Event, c event.Change) {
	if len(ev.Changes) >= maxChanges {
		ev.ChangesOmitted++
		return
	}
	ev.Changes = append(ev.Changes, c)
}
