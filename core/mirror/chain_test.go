package mirror_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"pgregory.net/rapid"
)

// chain is a connector that knows nothing but the changes that it is told: rows
// by entity and id, fields by name, values as they were told. Every value before
// must be the value after that was told last.
type chain map[string]map[string]string

// copies are events of their own: an event is applied once.
func copies(events []*event.Event) []*event.Event {
	own := make([]*event.Event, len(events))
	for i, ev := range events {
		ev := *ev
		own[i] = &ev
	}
	return own
}

func (c chain) follow(t *rapid.T, events []*event.Event) {
	for _, ev := range events {
		if ev.ChangesOmitted > 0 {
			t.Fatalf("%d changes of %s are omitted", ev.ChangesOmitted, tell([]*event.Event{ev}))
		}
		gone := chain{}
		for _, ch := range ev.Changes {
			ref := ch.Entity + " " + ch.ID
			row, before, after := c[ref], string(ch.Before), string(ch.After)
			known := "null"
			switch {
			case ch.Field == "exists":
				known = fmt.Sprint(row != nil)
				if after == "true" {
					c[ref] = map[string]string{}
				} else {
					gone[ref] = row
					delete(c, ref)
				}
			case row != nil:
				known = row[ch.Field]
				row[ch.Field] = after
			default:
				known = gone[ref][ch.Field] // the last words of a row that went
			}
			if known == "" {
				known = "null"
			}
			if known != before || before == after {
				t.Fatalf("%s %s was told as %s, and changes from %s to %s in\n%s", ref, ch.Field, known, before, after, tell([]*event.Event{ev}))
			}
		}
	}
}

// differs compares the rows that the chain adds up to with those of a dump.
func (c chain) differs(dump map[string]map[string]any) string {
	want, got := map[string]map[string]any{}, map[string]map[string]any{}
	for key, row := range dump {
		table, id, _ := strings.Cut(key, " ")
		if kind := kinds[table]; kind != "" {
			want[kind+" "+id] = plainRow(row, tables[table])
		}
	}
	for ref, row := range c {
		got[ref] = map[string]any{}
		settings := map[string]json.RawMessage{}
		for field, value := range row {
			name, isSetting := strings.CutPrefix(field, "settings.")
			switch {
			case value == "null":
				continue
			case isSetting:
				settings[name] = json.RawMessage(value)
				if slices.Contains(settingColumns, name) {
					got[ref][name] = plainValue(value)
				}
			default:
				got[ref][field] = plainValue(value)
			}
		}
		if len(settings) > 0 {
			encoded, err := json.Marshal(settings)
			if err != nil {
				return err.Error()
			}
			got[ref]["settings"] = plainValue(string(encoded))
		}
	}
	var b strings.Builder
	for _, ref := range slices.Sorted(maps.Keys(merged(want, got))) {
		if !maps.Equal(want[ref], got[ref]) || (want[ref] == nil) != (got[ref] == nil) {
			fmt.Fprintf(&b, "%s\n  rows    %v\n  changes %v\n", ref, want[ref], got[ref])
		}
	}
	return b.String()
}

var kinds = map[string]string{
	"av_identities": event.KindIdentity, "av_organizations": event.KindOrganization, "av_applications": event.KindApplication,
	"av_sso_providers": event.KindSSOProvider, "av_memberships": event.KindMembership, "av_app_access": event.KindAppAccess,
	"av_licenses": event.KindLicense, "av_subscriptions": event.KindSubscription, "av_invitations": event.KindInvitation,
}

var settingColumns = []string{"allow_signups", "require_mfa", "allowed_email_domains", "session_lifetime_minutes", "password_policy"}

func merged[K comparable, V any](a, b map[K]V) map[K]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// plainRow is a row of a dump without what no change tells.
func plainRow(row map[string]any, key string) map[string]any {
	plain := map[string]any{}
	for column, v := range row {
		switch column {
		case key, "created_at", "updated_at", "synced_at", "sync_state":
			continue
		case "settings":
			// A key that is null and one that is not there are told alike.
			var settings map[string]any
			if s, ok := v.(string); ok && json.Unmarshal([]byte(s), &settings) == nil {
				maps.DeleteFunc(settings, func(_ string, v any) bool { return v == nil })
			}
			if v = nil; len(settings) > 0 {
				encoded, _ := json.Marshal(settings)
				v = string(encoded)
			}
		}
		if s, ok := v.(string); ok && s != "null" {
			plain[column] = plainText(s)
		} else if v != nil && s != "null" {
			plain[column] = fmt.Sprint(v)
		}
	}
	return plain
}

// plainValue is a value of a change as the dump has it.
func plainValue(raw string) string {
	var v any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		return err.Error()
	}
	switch v := v.(type) {
	case string:
		return plainText(v)
	case bool:
		return fmt.Sprint(v)
	}
	encoded, _ := json.Marshal(v)
	return string(encoded)
}

// plainText writes times in one way, and JSON that is text like text.
func plainText(s string) string {
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return at.UTC().Format(time.RFC3339Nano)
	}
	if len(s) > 1 && s[0] == '"' {
		var inner string
		if json.Unmarshal([]byte(s), &inner) == nil {
			return inner
		}
	}
	return s
}

// The chain notices what a connector would: a wrong value before, and a change
// that was not told.
func TestTheChainOfChangesCanBreak(t *testing.T) {
	t.Parallel()
	dump := map[string]map[string]any{"av_licenses l": {"assignment_id": "l", "status": "active", "sync_state": "x"}}
	whole := chain{"license l": {"status": `"active"`, "application_id": "null"}}
	if diff := whole.differs(dump); diff != "" {
		t.Error(diff)
	}
	for name, broken := range map[string]chain{
		"no row": {}, "another value": {"license l": {"status": `"revoked"`}}, "a row too many": {"license l": {"status": `"active"`}, "license m": {}},
	} {
		if broken.differs(dump) == "" {
			t.Errorf("%s is not noticed", name)
		}
	}
}
