package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

// poisoned is a sample of the catalog with one field of another JSON type.
type poisoned struct {
	name  string // sample, field, value
	field string
	event *event.Event
}

// poison replaces every field of every sample's data, also of the objects in it,
// by a value of each other JSON type.
func poison(t *testing.T) (all []poisoned, types map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "event", "testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	types = map[string]bool{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		channel := event.Channel(strings.TrimPrefix(filepath.Ext(name), "."))
		var envelope map[string]any
		if err := json.Unmarshal(body, &envelope); err != nil {
			t.Fatal(err)
		}
		replace(envelope["data"].(map[string]any), "", func(field string, value any) {
			if _, has := envelope["id"]; has {
				envelope["id"] = fmt.Sprintf("poison-%d", len(all))
			}
			body, err := json.Marshal(envelope)
			if err != nil {
				t.Fatal(err)
			}
			ev, err := event.DecodeBody(channel, body)
			if err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			ev.Source, ev.Channel, ev.ReceivedAt, ev.Evidence.Body = "s", channel, store.Now(), body
			types[ev.Type] = true
			all = append(all, poisoned{fmt.Sprintf("%s: %s = %v", name, field, value), field, ev})
		})
	}
	return all, types
}

// replace calls fn while each field in turn holds another value.
func replace(object map[string]any, prefix string, fn func(field string, value any)) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		is := object[name]
		for _, value := range []any{7, "text", true, []any{1}, map[string]any{"x": 1}} {
			if fmt.Sprintf("%T", value) == fmt.Sprintf("%T", is) || value == 7 && fmt.Sprintf("%T", is) == "float64" {
				continue
			}
			object[name] = value
			fn(prefix+name, value)
		}
		object[name] = is
		if inner, ok := is.(map[string]any); ok {
			replace(inner, prefix+name+".", fn)
		}
	}
}

// Every type, every field, every wrong JSON type: the event is journaled and
// either marked with a reason that names the field, or applied as a whole, where
// the mirror has no use for the field. What comes with it is applied.
func TestLaw6_AFieldOfAnotherTypeCostsItsEventAlone(t *testing.T) {
	t.Parallel()
	all, types := poison(t)
	if len(types) != len(event.Catalog()) || len(all) < 2000 {
		t.Fatalf("%d events of %d types", len(all), len(types))
	}
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		b, m := mirrored(t, url, func(m *mirror.Mirror) journal.Projector { return m })
		const group = 200
		for i, some := range slices.Collect(slices.Chunk(all, group)) {
			events := []*event.Event{subject(t, fmt.Sprint("fine", i), event.TypeSubjectCreated, fmt.Sprint("fine", i), "")}
			for _, p := range some {
				ev := *p.event // both databases' runs set what became of it
				events = append(events, &ev)
			}
			b.appendAll(events...)
		}
		journaled := map[string]*event.Event{}
		for _, ev := range b.all() {
			journaled[ev.ID] = ev
		}
		failed := 0
		for _, p := range all {
			ev := journaled[p.event.ID]
			switch {
			case ev == nil:
				t.Errorf("%s is not in the journal", p.name)
			case ev.Failed == "":
			default:
				failed++
				top, _, _ := strings.Cut(p.field, ".")
				last := p.field[strings.LastIndex(p.field, ".")+1:]
				if !strings.Contains(ev.Failed, last) && !strings.Contains(ev.Failed, top) {
					t.Errorf("%s: the reason does not name the field: %s", p.name, ev.Failed)
				}
				if len(ev.Changes) > 0 || ev.Superseded {
					t.Errorf("%s failed and still changed something: %+v", p.name, ev.Changes)
				}
			}
		}
		for i := range (len(all) + group - 1) / group {
			if ev := journaled[fmt.Sprint("fine", i)]; ev == nil || ev.Failed != "" || len(ev.Changes) == 0 {
				t.Errorf("a good event of group %d: %+v", i, ev)
			}
		}
		if listed := len(b.failed()); listed != failed || failed < len(all)/3 {
			t.Errorf("%d of %d failed, %d are listed", failed, len(all), listed)
		}
		// No row is half changed: the rest of the events explains all of them.
		if r := b.wantMirror(m); r.Failed != int64(failed) || r.Appliable != 0 || r.Refused != 0 {
			t.Errorf("verify counts %+v", r.Tally)
		}
		if got, err := b.journal.Reapply(ctx, journal.Reapplication{}); err != nil || got.Applied != 0 || got.Failed != int64(failed) {
			t.Errorf("applied again: %d applied, %d failed, %v", got.Applied, got.Failed, err)
		}
		b.wantMirror(m)
	})
}
