package entry

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/plugin"
)

var yes, no = json.RawMessage("true"), json.RawMessage("false")

func object(raw json.RawMessage) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	_ = json.Unmarshal(raw, &out) // whoever asks has read it already
	return out
}

func readTenant(ev plugin.Event, d plugin.TenantData) said {
	s := said{name: d.Name, nameField: "name"}
	switch ev.Type {
	case "tenant.created":
		s.actor = person(d.CreatedBySub)
		s.claims = append(fieldsOf(ev.Raw, "name", "slug", "plan", "owner_email"), claim{field: "exists", new: yes})
		for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
			s.claims = append(s.claims, claim{field: "settings." + name, new: d.Settings[name]})
		}
	case "tenant.updated":
		s.actor = person(d.UpdatedBySub)
		s.claims = changed(ev.Raw, d.ChangedFields, d.PreviousValues, "")
	case "tenant.suspended":
		s.actor = person(d.SuspendedBySub)
		s.claims = []claim{{field: "status", new: text("suspended")}}
		if d.Reason != "" {
			s.claims = append(s.claims, claim{field: "suspended_reason", new: text(d.Reason)})
		}
	default:
		s.actor = person(d.DeletedBySub)
		s.claims = []claim{{field: "exists", new: no}}
	}
	return s
}

func readApplication(ev plugin.Event, d plugin.ApplicationData) said {
	s := said{name: d.Name, nameField: "name"}
	switch ev.Type {
	case "application.created":
		s.actor = person(d.CreatedBySub)
		s.claims = append(fieldsOf(ev.Raw, "name", "slug", "client_id", "application_type", "is_active", "licensing"),
			claim{field: "exists", new: yes})
		config := object(object(ev.Raw)["config"])
		for _, name := range slices.Sorted(maps.Keys(config)) {
			s.claims = append(s.claims, claim{field: name, new: config[name]})
		}
	case "application.updated":
		s.actor = person(d.UpdatedBySub)
		s.claims = changed(ev.Raw, d.ChangedFields, d.PreviousValues, "config.")
	default:
		s.actor = person(d.DeletedBySub)
		s.claims = []claim{{field: "exists", new: no}}
	}
	return s
}

func readSSO(ev plugin.Event, d plugin.SSOProviderData) said {
	s := said{name: cmp.Or(d.DisplayName, d.ProviderType), nameField: "display_name"}
	switch ev.Type {
	case "sso.provider_added":
		s.actor = person(d.CreatedBySub)
		s.claims = append(fieldsOf(ev.Raw, "provider_type", "display_name", "is_enabled"), claim{field: "exists", new: yes})
		config := object(object(ev.Raw)["config"])
		for _, name := range slices.Sorted(maps.Keys(config)) {
			s.claims = append(s.claims, claim{field: name, new: config[name]})
		}
	case "sso.provider_updated":
		s.actor = person(d.UpdatedBySub)
		s.claims = changed(ev.Raw, d.ChangedFields, d.PreviousValues, "config.")
	default:
		s.actor = person(d.RemovedBySub)
		s.claims = []claim{{field: "exists", new: no}}
	}
	return s
}

func fieldsOf(raw json.RawMessage, names ...string) (claims []claim) {
	values := object(raw)
	for _, name := range names {
		if v := values[name]; len(v) > 0 {
			claims = append(claims, claim{field: name, new: v})
		}
	}
	return claims
}

// changed is what changed_fields and previous_values say. Names may be dotted;
// inside is what the mirror leaves out of such a name. A value that was not sent
// is not known, which null tells.
func changed(raw json.RawMessage, names []string, previous map[string]json.RawMessage, inside string) (claims []claim) {
	all := slices.Clone(names)
	for name := range previous {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for _, name := range all {
		c := claim{field: strings.TrimPrefix(name, inside), old: previous[name], new: at(raw, name)}
		if len(c.old) == 0 { // keyed by objects instead of dots
			if encoded, err := encode(previous); err == nil {
				c.old = at(encoded, name)
			}
		}
		claims = append(claims, c)
	}
	return claims
}

// at follows a dotted name into an object; empty: nothing is there.
func at(raw json.RawMessage, name string) json.RawMessage {
	values := object(raw)
	if v, ok := values[name]; ok {
		return v
	}
	head, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		return nil
	}
	return at(values[head], rest)
}
