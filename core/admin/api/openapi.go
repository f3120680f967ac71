package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/avhub/avhub/core/mirror/ask"
)

const documentPath = "openapi.json"

// object is a JSON object of the document.
type object = map[string]any

// Document is the OpenAPI document of everything below Root.
func Document() []byte {
	paths, schemas := object{}, object{
		"Error": object{
			"type": "object", "required": []string{"error", "reason"}, "additionalProperties": false,
			"properties": object{
				"error":  object{"type": "string", "description": "What is wrong, for people."},
				"reason": object{"type": "string", "description": "What is wrong, for machines: a stable word."},
			},
		},
	}
	for _, r := range ask.Resources() {
		name := schemaName(r)
		schemas[name] = rowSchema(r, nil)
		schemas[name+"Page"] = pageSchema(name)
		detail := ref("schemas", name)
		if len(r.Relations) > 0 {
			schemas[name+"Detail"] = rowSchema(r, withSchema(r, schemas))
			detail = ref("schemas", name+"Detail")
		}
		paths[Root+r.Path] = object{"get": listOperation(r, name)}
		paths[Root+r.Path+"/{id}"] = object{"get": showOperation(r, name, detail)}
	}
	addOperations(paths)
	maps.Copy(schemas, operationSchemas())
	paths[Root+documentPath] = object{"get": object{
		"operationId": "getDocument", "summary": "This document", "tags": []string{"document"},
		"responses": responses("This document.", object{"type": "object"}, false, "304", "400", "401", "403"),
	}}
	text, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "The mirror and the plugins of avhub", "version": "1",
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "What avhub knows of AuthVital's organizations, people, applications and all that ties them together. " +
				"The mirror can be read, not written. Plugins and their deliveries can be steered, too, by those who show the token. " +
				"HEAD is answered wherever GET is.",
		},
		"servers":  []any{object{"url": "/", "description": "The admin listener of a hub."}},
		"security": []any{object{"token": []any{}}, object{}},
		"paths":    paths,
		"components": object{
			"schemas":   schemas,
			"responses": errorResponses(),
			"headers": object{
				"ETag": object{"description": "Of the answer's content. Send it as If-None-Match to get 304 while it holds.", "schema": object{"type": "string"}},
				"Link": object{"description": "Where the next page is, rel=\"next\"; missing on the last page.", "schema": object{"type": "string"}},
			},
			"securitySchemes": object{"token": object{
				"type": "http", "scheme": "bearer",
				"description": "admin.token of the configuration. Without one, requests to a loopback host are served.",
			}},
		},
	}, "", "  ")
	if err != nil {
		panic(err) // maps, lists and words: cannot happen
	}
	return append(text, '\n')
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

// schemaName is "SsoProvider" for "sso provider".
func schemaName(r *ask.Resource) string {
	var b strings.Builder
	for word := range strings.SplitSeq(r.Name, " ") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func rowSchema(r *ask.Resource, with object) object {
	properties, required := object{}, []string{}
	for _, c := range r.Columns {
		properties[c.Name] = columnSchema(c)
		required = append(required, c.Name)
	}
	if with != nil {
		properties["with"] = with
	}
	return object{
		"type": "object", "description": r.About + ".", "properties": properties, "required": required, "additionalProperties": false,
	}
}

func columnSchema(c ask.Column) object {
	var s object
	switch c.Form {
	case ask.Boolean:
		s = object{"type": "boolean"}
	case ask.Integer:
		s = object{"type": "integer", "format": "int64"}
	case ask.Time:
		s = object{"type": "string", "format": "date-time"}
	case ask.List:
		s = object{"type": "array", "items": object{"type": "string"}}
	case ask.Object:
		return object{"description": "Any JSON, as it was sent."}
	default:
		s = object{"type": "string"}
	}
	if c.Null {
		s["type"] = []any{s["type"], "null"}
	}
	if c.Beside != "" {
		s["description"] = "Taken from the " + c.Beside + "; null while the mirror does not have it."
	}
	return s
}

func pageSchema(name string) object {
	return object{
		"type": "object", "required": []string{"data", "next"}, "additionalProperties": false,
		"properties": object{
			"data": object{"type": "array", "items": ref("schemas", name)},
			"next": object{"type": []string{"string", "null"}, "description": "The cursor of the next page; null on the last one."},
		},
	}
}

func relatedSchema(r *ask.Resource, name string) object {
	return object{
		"type": "object", "required": []string{"data", "total", "more"}, "additionalProperties": false,
		"properties": object{
			"data":  object{"type": "array", "items": ref("schemas", name), "maxItems": ask.MostRelated},
			"total": object{"type": "integer", "description": "How many there are."},
			"more":  object{"type": "boolean", "description": fmt.Sprintf("There are more than these; %s%s has them all.", Root, r.Path)},
		},
	}
}

// withSchema adds the schemas that it refers to.
func withSchema(r *ask.Resource, schemas object) object {
	properties := object{}
	for _, rel := range r.Relations {
		of, err := ask.Find(rel.Of)
		if err != nil {
			panic(err) // a test looks up every name in the table
		}
		if rel.Many {
			name := schemaName(of)
			schemas[name+"Related"] = relatedSchema(of, name)
			properties[rel.Name] = ref("schemas", name+"Related")
		} else {
			properties[rel.Name] = object{"oneOf": []any{ref("schemas", schemaName(of)), object{"type": "null"}}}
		}
	}
	return object{
		"type": "object", "properties": properties, "additionalProperties": false,
		"description": "What was asked for with the parameter of this name.",
	}
}

func listOperation(r *ask.Resource, name string) object {
	params := []any{
		parameter("limit", "Rows of a page.", object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}),
		parameter("cursor", "The page after the one that gave this as next, with the same filters.", object{"type": "string"}),
	}
	for _, f := range r.Filters {
		schema := object{"type": "string", "minLength": 1}
		switch f.Kind {
		case ask.Flag, ask.Missing:
			schema = object{"type": "boolean"}
		case ask.OneOf:
			schema = object{"type": "string", "enum": f.Values}
		}
		params = append(params, parameter(f.Name, "Only those "+f.About+".", schema))
	}
	return object{
		"operationId": "list" + plural(name), "tags": []string{r.Path},
		"summary":    "List " + r.Plural + " in the order of their ids",
		"parameters": params,
		"responses":  responses("A page.", ref("schemas", name+"Page"), true, "304", "400", "401", "403", "503"),
	}
}

func showOperation(r *ask.Resource, name string, detail object) object {
	params := []any{object{
		"name": "id", "in": "path", "required": true, "description": "The " + r.Key + ", path-escaped: a / in it is %2F.",
		"schema": object{"type": "string"},
	}}
	if len(r.Relations) > 0 {
		about := "What belongs to it, to come along, between commas: "
		known := []string{ask.All}
		for _, rel := range r.Relations {
			about += rel.Name + " (" + rel.About + "), "
			known = append(known, rel.Name)
		}
		with := parameter("with", about+"or "+ask.All+".", object{"type": "array", "items": object{"type": "string", "enum": known}})
		with["style"], with["explode"] = "form", false
		params = append(params, with)
	}
	return object{
		"operationId": "get" + name, "tags": []string{r.Path},
		"summary":    "One of " + r.Plural,
		"parameters": params,
		"responses":  responses("The row.", detail, false, "304", "400", "401", "403", "404", "503"),
	}
}

func plural(name string) string {
	switch {
	case strings.HasSuffix(name, "y"):
		return strings.TrimSuffix(name, "y") + "ies"
	case strings.HasSuffix(name, "s"):
		return name
	}
	return name + "s"
}

func parameter(name, about string, schema object) object {
	return object{"name": name, "in": "query", "description": about, "schema": schema}
}

func responses(about string, schema object, paged bool, others ...string) object {
	headers := object{"ETag": ref("headers", "ETag")}
	if paged {
		headers["Link"] = ref("headers", "Link")
	}
	all := object{"200": object{
		"description": about, "headers": headers,
		"content": object{"application/json": object{"schema": schema}},
	}}
	for _, status := range others {
		all[status] = ref("responses", status)
	}
	return all
}

// errorResponses are named by their status.
func errorResponses() object {
	failed := func(about string) object {
		return object{"description": about, "content": object{"application/json": object{"schema": ref("schemas", "Error")}}}
	}
	unavailable := failed("Too many ask at once (too_busy), it took too long (too_slow), or the database does not answer (storage_unavailable).")
	unavailable["headers"] = object{"Retry-After": object{"description": "Seconds.", "schema": object{"type": "integer"}}}
	unauthorized := failed("The token is missing or wrong (unauthorized).")
	unauthorized["headers"] = object{"WWW-Authenticate": object{"schema": object{"type": "string"}}}
	return object{
		"304": object{"description": "What If-None-Match names still holds.", "headers": object{"ETag": ref("headers", "ETag")}},
		"400": failed("A parameter that there is not (unknown_parameter), a value that it does not take (bad_value), a relation that there is not (unknown_relation), a cursor that is broken or of another list (bad_cursor)."),
		"401": unauthorized,
		"403": failed("Without a token configured, the Host is not this machine (unknown_host), or something would be changed (token_required)."),
		"404": failed("There is no such row, plugin, state or replay (not_found)."),
		"409": failed("As things stand this cannot be done; the text says why (conflict)."),
		"413": failed("The body is too large (too_large)."),
		"415": failed("The body is not said to be application/json (unsupported_media_type)."),
		"503": unavailable,
	}
}
