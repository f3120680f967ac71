package export

import (
	"encoding/json"
	"strings"

	"github.com/avhub/avhub/plugins/auditlog/entry"
)

// Classes of OCSF's category Identity & Access Management.
const (
	category    = 3
	account     = 3001 // Account Change
	entity      = 3004 // Entity Management
	userAccess  = 3005 // User Access Management
	group       = 3006 // Group Management
	otherDoing  = 99
	ocsfVersion = "1.3.0"
)

// classOf is the class and the activity that a type is told as.
func classOf(typ string) (class, activity int) {
	family, verb, _ := strings.Cut(typ, ".")
	switch {
	case family == "subject":
		return account, pick(verb, map[string]int{"created": 1, "deactivated": 5, "deleted": 6})
	case family == "member":
		return group, pick(verb, map[string]int{"joined": 3, "left": 4})
	case family == "app_access", family == "license", strings.HasPrefix(typ, "tenant.app."):
		last := verb[strings.LastIndexByte(verb, '.')+1:]
		return userAccess, pick(last, map[string]int{"granted": 1, "assigned": 1, "revoked": 2})
	default:
		return entity, pick(verb, map[string]int{
			"created": 1, "provider_added": 1, "updated": 3, "provider_updated": 3, "deleted": 4, "provider_removed": 4,
		})
	}
}

func pick(verb string, of map[string]int) int {
	if id, ok := of[verb]; ok {
		return id
	}
	return otherDoing
}

// ocsf is one JSON object of the Open Cybersecurity Schema Framework. What it
// has no place for stands under unmapped.
func ocsf(r Record) ([]byte, error) {
	if r.Entry == nil {
		return encode(map[string]any{"unmapped": map[string]any{"origin": r.Origin, "size": r.Index, "checkpoint": r.Checkpoint}})
	}
	e := r.Entry
	class, activity := classOf(e.Type)
	if e.Kind != entry.Event {
		class, activity = entity, otherDoing
	}
	unmapped := map[string]any{"origin": r.Origin, "index": r.Index, "leaf": r.leaf(), "kind": e.Kind, "stream": e.Stream, "seq": e.Seq}
	if r.Checkpoint != "" {
		unmapped["checkpoint"] = r.Checkpoint
	}
	if len(e.Note) > 0 {
		unmapped["note"] = e.Note
	}
	out := map[string]any{
		"category_uid": category, "class_uid": class, "activity_id": activity, "activity_name": r.name(),
		"type_uid": class*100 + activity, "severity_id": r.severity(), "time": r.time().UnixMilli(),
		"metadata": map[string]any{
			"version": ocsfVersion, "uid": e.EventID, "event_code": e.Type, "log_name": r.Origin, "sequence": r.Index,
			"product": map[string]any{"name": "avhub-auditlog", "vendor_name": "avhub"},
		},
		"unmapped": unmapped,
	}
	if e.Tenant != "" {
		out["metadata"].(map[string]any)["tenant_uid"] = e.Tenant
	}
	if e.Actor != nil {
		out["actor"] = map[string]any{"user": map[string]any{"uid": e.Actor.ID, "type": e.Actor.Kind}}
	}
	if e.Target != nil {
		target := map[string]any{"uid": e.Target.ID, "type": e.Target.Kind}
		if len(e.Target.Name) > 0 {
			target["name"] = name(e.Target.Name)
		}
		switch class {
		case account, userAccess:
			out["user"] = target
		case group:
			out["user"] = target
			out["group"] = map[string]any{"uid": e.Tenant, "type": "organization"}
		default:
			before, after := sides(e.Changes)
			target["data"] = before
			out["entity"] = target
			updated := map[string]any{"uid": e.Target.ID, "type": e.Target.Kind, "data": after}
			out["entity_result"] = updated
		}
	}
	unmapped["changes"] = e.Changes
	return encode(out)
}

// name is a text; a sealed one is said to be.
func name(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "(sealed)"
	}
	return text
}

// sides are the values before and after.
func sides(changes []entry.Change) (before, after map[string]any) {
	before, after = map[string]any{}, map[string]any{}
	for _, c := range changes {
		before[c.Path], after[c.Path] = c.Old, c.New
	}
	return before, after
}
