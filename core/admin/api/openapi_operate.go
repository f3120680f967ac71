package api

import (
	"net/http"
	"slices"
	"strings"
)

func text() object    { return object{"type": "string"} }
func instant() object { return object{"type": "string", "format": "date-time"} }
func whole() object   { return object{"type": "integer", "format": "int64"} }
func flag() object    { return object{"type": "boolean"} }

func told(schema object, about string) object { schema["description"] = about; return schema }

func listOf(items object) object { return object{"type": "array", "items": items} }

// shape is an object's schema; a name with ? behind it may be missing.
func shape(about string, members map[string]object) object {
	properties, required := object{}, []string{}
	for name, schema := range members {
		name, optional := strings.CutSuffix(name, "?")
		properties[name] = schema
		if !optional {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "description": about, "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		slices.Sort(required)
		s["required"] = required
	}
	return s
}

// listShape is a list that comes whole.
func listShape(of string) object {
	return object{"type": "object", "properties": object{"data": listOf(ref("schemas", of))}, "required": []string{"data"}, "additionalProperties": false}
}

// selection are the members that select lanes and dead letters.
func selection() map[string]object {
	return map[string]object{
		"plugin?": text(), "key?": text(), "tenant?": text(),
		"type?":   told(text(), "Of dead letters: a type, or tenant.* for all below."),
		"reason?": told(text(), "Part of the last error, in any case."),
		"id?":     told(whole(), "One dead letter."),
		"since?":  told(instant(), "First failed since then."), "until?": told(instant(), "First failed before then."),
		"all?":     told(flag(), "Everything; needed when nothing else is given."),
		"dry_run?": told(flag(), "Only count."),
	}
}

// operationSchemas are what operations take and give.
func operationSchemas() object {
	progress := func(more map[string]object) map[string]object {
		all := map[string]object{
			"state":       told(text(), "What it is doing, such as running, paused or halted; stale when its hub has not been seen for a while."),
			"last_state?": told(text(), "Of a stale one: its state before."), "reason?": told(text(), "Why it does nothing."),
			"version?": text(), "restarts": whole(), "owner?": told(text(), "Who delivers."),
			"position": told(whole(), "Everything up to here is settled, but for lanes."), "lag": told(whole(), "Events beyond position."),
			"updated_at": instant(),
		}
		for name, schema := range more {
			all[name] = schema
		}
		return all
	}
	failures := listOf(shape("A failed attempt.", map[string]object{"at": instant(), "error": text()}))
	affected := map[string]object{"lanes": whole(), "dead_letters": whole()}
	return object{
		"Plugin": shape("A plugin that has run: of its partitions, the one in most trouble and the one furthest behind.", progress(map[string]object{
			"plugin": text(), "blocked_lanes": whole(), "dead_letters": whole(), "partitions": listOf(ref("schemas", "Partition")),
		})),
		"Partition": shape("A part of a plugin's keys.", progress(map[string]object{
			"partition": whole(), "epoch": told(whole(), "Grows with every owner."),
			"lease_until?": told(instant(), "The owner's lease, by the database's clock."),
		})),
		"Plugins": listShape("Plugin"),
		"State": shape("What a plugin remembers for a key.", map[string]object{
			"key": text(), "position": told(whole(), "Of the last event with which it was stored."), "bytes": whole(),
			"state":      {"description": "Any JSON. What the plugin's schema calls secret is hidden, and all text that it does not tell of."},
			"updated_at": instant(),
		}),
		"StatePage": pageSchema("State"),
		"Replay": shape("Events that a plugin gets again, or a snapshot.", map[string]object{
			"id": whole(), "plugin": text(), "kind": told(text(), "events or snapshot."), "state": told(text(), "running, done, cancelled or failed."),
			"reason?": text(), "after": told(whole(), "Positions beyond this …"), "until": told(whole(), "… up to this."),
			"since?": instant(), "before?": instant(), "types?": listOf(text()), "tenant?": text(), "key?": text(),
			"rate": told(whole(), "Events in a second; 0: no limit."), "partitions": whole(),
			"position": told(whole(), "Everything up to here is settled."), "created_at": instant(), "finished_at?": instant(),
			"counts": shape("What became of the events.", map[string]object{
				"applied": whole(), "skipped": whole(), "failed": told(whole(), "Became dead letters."), "deferred": told(whole(), "Left to blocked lanes."),
			}),
		}),
		"Replays": listShape("Replay"),
		"ReplayPlan": shape("What a replay would deliver.", map[string]object{
			"plugin": text(), "after": whole(), "until": whole(), "events": whole(),
			"types": {"type": "object", "additionalProperties": whole(), "description": "Events by type."},
		}),
		"ReplayWish": shape("Which events a plugin is to get again. It ends at the latest where the plugin stands.", map[string]object{
			"plugin": text(), "since?": told(instant(), "Received since then."), "until?": told(instant(), "Received before then."),
			"from_position?": whole(), "to_position?": whole(), "types?": told(listOf(text()), "Types, or patterns such as tenant.*."),
			"tenant?": text(), "key?": text(), "rate?": told(whole(), "Events in a second, 200 if it is not given; 0: no limit."),
			"dry_run?": told(flag(), "Only count."),
		}),
		"Lane": shape("A key that goes its own way.", map[string]object{
			"plugin": text(), "key": text(), "state": told(text(), "blocked, parked or catching up."), "head": told(whole(), "Position of its first event."),
			"attempts": whole(), "since?": instant(), "next_at?": instant(), "last_error": text(), "history?": failures,
			"parked?": told(whole(), "Position of the dead letter that keeps it."),
		}),
		"DeadLetter": shape("An event that was given up.", map[string]object{
			"id": whole(), "plugin": text(), "key": text(), "position": whole(), "event_id": text(), "type": text(), "tenant_id?": text(),
			"reason": text(), "attempts": whole(), "history?": failures, "retry": told(flag(), "It is about to be delivered again."),
			"replay?": told(whole(), "In which it failed."), "created_at": instant(), "updated_at": instant(),
		}),
		"Deliveries": shape("What waits for another attempt or for an operator.", map[string]object{
			"lanes": listOf(ref("schemas", "Lane")), "dead_letters": listOf(ref("schemas", "DeadLetter")),
			"total": shape("How many are selected.", affected),
		}),
		"Operation": shape("Lanes and dead letters, and what to do about them.", selection()),
		"Operated": shape("How many were changed; with dry_run, how many would be.", map[string]object{
			"lanes": whole(), "dead_letters": whole(), "dry_run": flag(),
			"complete": told(flag(), "Nothing is left. false after ten seconds, too: the same request does the rest."),
		}),
		"Pause":   shape("Why it is paused, for whoever looks.", map[string]object{"reason?": text()}),
		"Nothing": shape("An empty object.", nil),
	}
}

// addOperations adds what operators can do to the paths of a document.
func addOperations(paths object) {
	about := map[string]string{"name": "The plugin's name.", "key": "The key, path-escaped: a / in it is %2F.", "id": "The number of a replay."}
	for i := range operations {
		o := &operations[i]
		var params []any
		for part := range strings.SplitSeq(o.path, "/") {
			if name, is := strings.CutPrefix(part, "{"); is {
				name = strings.TrimSuffix(name, "}")
				params = append(params, object{"name": name, "in": "path", "required": true, "description": about[name], "schema": text()})
			}
		}
		for _, p := range o.params {
			params = append(params, parameter(p.name, p.about, p.schema))
		}
		room, _, _ := strings.Cut(o.path, "/")
		doc := object{"operationId": o.id, "tags": []string{room}, "summary": o.about, "responses": answersOf(o)}
		if params != nil {
			doc["parameters"] = params
		}
		if o.method != http.MethodGet {
			doc["security"] = []any{object{"token": []any{}}} // never without
		}
		if o.takes != "" {
			doc["requestBody"] = object{"content": object{"application/json": object{"schema": ref("schemas", o.takes)}}}
		}
		at := Root + o.path
		if paths[at] == nil {
			paths[at] = object{}
		}
		paths[at].(object)[strings.ToLower(o.method)] = doc
	}
}

func answersOf(o *operation) object {
	if o.method == http.MethodGet {
		return responses("What was asked for.", ref("schemas", o.gives), false, o.more...)
	}
	success := func(schema string) object {
		return object{"description": "What was done.", "content": object{"application/json": object{"schema": ref("schemas", schema)}}}
	}
	all := object{"200": success(o.gives)}
	if o.id == "startReplay" {
		all = object{"201": success(o.gives), "200": success("ReplayPlan")}
	}
	for _, status := range o.more {
		all[status] = ref("responses", status)
	}
	return all
}
