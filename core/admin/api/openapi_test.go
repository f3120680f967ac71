package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/admin/api"
	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/internal/storetest"
)

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

const golden = "../../../docs/openapi.json"

func TestTheDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	if *update {
		if err := os.WriteFile(golden, api.Document(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != string(api.Document()) {
		t.Error("docs/openapi.json is not what the API says of itself; run `make golden`")
	}
}

type node = map[string]any

// document is the OpenAPI document as a client reads it.
type document struct{ root node }

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(api.Document(), &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve follows a reference.
func (d document) resolve(t *testing.T, n node) node {
	t.Helper()
	for n["$ref"] != nil {
		to := n["$ref"].(string)
		at := any(d.root)
		for part := range strings.SplitSeq(strings.TrimPrefix(to, "#/"), "/") {
			object, ok := at.(node)
			if !ok || object[part] == nil {
				t.Fatalf("%s leads nowhere", to)
			}
			at = object[part]
		}
		n = at.(node)
	}
	return n
}

func (d document) get(t *testing.T, path string) node {
	t.Helper()
	item, ok := d.root["paths"].(node)[path].(node)
	if !ok {
		t.Fatalf("the document has no path %s", path)
	}
	return item["get"].(node)
}

// eachOperation goes through all paths and methods.
func (d document) eachOperation(do func(path, method string, op node)) {
	for path, item := range d.root["paths"].(node) {
		for method, op := range item.(node) {
			do(path, method, op.(node))
		}
	}
}

func TestTheDocumentIsWellFormed(t *testing.T) {
	t.Parallel()
	d := readDocument(t)
	if v := d.root["openapi"]; v != "3.1.0" {
		t.Errorf("openapi is %v", v)
	}
	info := d.root["info"].(node)
	if info["title"] == "" || info["version"] == "" {
		t.Errorf("info is %v", info)
	}
	used := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case node:
			if to, ok := v["$ref"].(string); ok {
				d.resolve(t, v)
				used[to] = true
			}
			for name, child := range v {
				walk(at+"/"+name, child)
			}
		case []any:
			for i, child := range v {
				walk(fmt.Sprintf("%s/%d", at, i), child)
			}
		}
	}
	walk("#", d.root)
	for kind, all := range d.root["components"].(node) {
		for name := range all.(node) {
			if kind == "securitySchemes" {
				continue
			}
			if !regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(name) || !used["#/components/"+kind+"/"+name] {
				t.Errorf("component %s %q has a wrong name, or nothing uses it", kind, name)
			}
		}
	}
	operations := map[string]bool{}
	d.eachOperation(func(path, method string, op node) {
		id, _ := op["operationId"].(string)
		if id == "" || operations[id] || op["summary"] == "" {
			t.Errorf("%s: operationId %q is missing or there twice, or there is no summary", path, id)
		}
		operations[id] = true
		in := map[string]bool{}
		params, _ := op["parameters"].([]any)
		for _, p := range params {
			p := p.(node)
			name := p["name"].(string)
			if p["schema"] == nil || p["description"] == "" || in[name] {
				t.Errorf("%s: parameter %s has no schema or no description, or is there twice", path, name)
			}
			in[name] = true
			if p["in"] == "path" && (p["required"] != true || !strings.Contains(path, "{"+name+"}")) {
				t.Errorf("%s: %s is a parameter of another path, or not required", path, name)
			}
		}
		for _, name := range regexp.MustCompile(`{(\w+)}`).FindAllStringSubmatch(path, -1) {
			if !in[name[1]] {
				t.Errorf("%s does not say what %s is", path, name[1])
			}
		}
		for status, response := range op["responses"].(node) {
			if d.resolve(t, response.(node))["description"] == "" {
				t.Errorf("%s: %s has no description", path, status)
			}
		}
	})
}

// What is in the document is served, and what is served is in the document.
func TestTheDocumentHasEveryPathAndParameter(t *testing.T) {
	t.Parallel()
	d := readDocument(t)
	s := open(t, storetest.SQLite(t), "")
	want := []string{api.Root + "openapi.json"}
	for _, r := range ask.Resources() {
		want = append(want, api.Root+r.Path, api.Root+r.Path+"/{id}")
	}
	for _, of := range []string{
		"plugins", "plugins/{name}", "plugins/{name}/state", "plugins/{name}/state/{key}", "plugins/{name}/pause", "plugins/{name}/resume",
		"plugins/{name}/restart", "replays", "replays/{id}", "deliveries", "deliveries/retry", "deliveries/discard",
	} {
		want = append(want, api.Root+of)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(d.root["paths"].(node))); !slices.Equal(got, want) {
		t.Errorf("the document has the paths\n%v\nand the API\n%v", got, want)
	}
	known := regexp.MustCompile(`known are (.*)`)
	d.eachOperation(func(path, method string, op node) {
		var names []string
		params, _ := op["parameters"].([]any)
		for _, p := range params {
			if p := p.(node); p["in"] == "query" {
				names = append(names, p["name"].(string))
			}
		}
		got := s.do(t, strings.ToUpper(method), strings.NewReplacer("{id}", "1", "{name}", "p", "{key}", "k").Replace(path)+"?no-such-parameter=1")
		got.refused(t, 400, "unknown_parameter", "")
		var told struct{ Error string }
		if err := json.Unmarshal([]byte(got.body), &told); err != nil {
			t.Fatal(err)
		}
		served := ""
		if m := known.FindStringSubmatch(told.Error); m != nil {
			served = m[1]
		}
		if strings.Join(names, ", ") != served {
			t.Errorf("%s: the document has the parameters %v, the API %q", path, names, served)
		}
	})
}

// Real answers, of rows with everything that belongs to them and of errors, are
// what their schemas say.
func TestAnswersAreWhatTheDocumentSays(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, database string) {
		d := readDocument(t)
		s := open(t, database, "")
		conforms := func(path, template, status string) {
			t.Helper()
			got := s.get(t, path)
			if fmt.Sprint(got.status) != status {
				t.Errorf("%s: got %d, want %s: %s", path, got.status, status, got.body)
				return
			}
			response := d.resolve(t, d.get(t, template)["responses"].(node)[status].(node))
			content := response["content"].(node)[got.header.Get("Content-Type")].(node)
			var value any
			if err := json.Unmarshal([]byte(got.body), &value); err != nil {
				t.Fatal(err)
			}
			for _, problem := range d.check(t, content["schema"].(node), value, "$") {
				t.Errorf("%s: %s", path, problem)
			}
			headers, _ := response["headers"].(node)
			for name := range headers {
				if got.header.Get(name) == "" && name != "Link" {
					t.Errorf("%s: the header %s is missing", path, name)
				}
			}
		}
		for _, r := range ask.Resources() {
			list, one := api.Root+r.Path, api.Root+r.Path+"/{id}"
			conforms(list, list, "200")
			conforms(list+"?limit=1", list, "200")
			conforms(list+"?nope=1", list, "400")
			conforms(list+"/nope", one, "404")
			var page listed
			s.get(t, list).into(t, &page)
			if len(page.Data) == 0 {
				t.Errorf("there is none of %s to look at", r.Plural)
			}
			for _, row := range page.Data {
				id := url.PathEscape(fmt.Sprint(row[r.Key]))
				conforms(list+"/"+id, one, "200")
				conforms(list+"/"+id+"?with=all", one, "200")
			}
		}
		conforms(api.Root+"openapi.json", api.Root+"openapi.json", "200")
		free := []func(){s.api.Occupy(), s.api.Occupy()}
		s.api.Hurry(time.Millisecond, time.Minute)
		conforms(api.Root+"organizations", api.Root+"organizations", "503")
		free[0]()
		free[1]()
	})
}

// check tells where a value is not what a schema says, for the words of JSON
// Schema that the document uses; any other word is a problem.
func (d document) check(t *testing.T, schema node, value any, at string) (problems []string) {
	t.Helper()
	schema = d.resolve(t, schema)
	problem := func(format string, args ...any) {
		problems = append(problems, at+" "+fmt.Sprintf(format, args...))
	}
	for word, rule := range schema {
		switch word {
		case "description":
		case "type":
			types, several := rule.([]any)
			if !several {
				types = []any{rule}
			}
			if !slices.Contains(types, any(typeOf(value))) && !(typeOf(value) == "integer" && slices.Contains(types, any("number"))) {
				problem("is %s, want %v", typeOf(value), types)
			}
		case "format":
			if text, ok := value.(string); ok && rule == "date-time" {
				if at, err := time.Parse(time.RFC3339Nano, text); err != nil || at.Location() != time.UTC {
					problem("is no time in UTC: %s", text)
				}
			}
		case "properties", "additionalProperties":
			object, _ := value.(node)
			properties, _ := schema["properties"].(node)
			for name, child := range object {
				if of, ok := properties[name].(node); ok {
					if word == "properties" {
						problems = append(problems, d.check(t, of, child, at+"."+name)...)
					}
				} else if word == "additionalProperties" && rule == false {
					problem("has %s, which nobody knows", name)
				}
			}
		case "required":
			for _, name := range rule.([]any) {
				if object, ok := value.(node); ok {
					if _, has := object[name.(string)]; !has {
						problem("lacks %s", name)
					}
				}
			}
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				problems = append(problems, d.check(t, rule.(node), item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "maxItems":
			if list, ok := value.([]any); ok && len(list) > int(rule.(float64)) {
				problem("has %d items", len(list))
			}
		case "oneOf":
			fits := 0
			for _, one := range rule.([]any) {
				if len(d.check(t, one.(node), value, at)) == 0 {
					fits++
				}
			}
			if fits != 1 {
				problem("fits %d of the schemas", fits)
			}
		default:
			problem("has a schema with %q, which this test cannot check", word)
		}
	}
	return problems
}

func typeOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// The test above is worth what check finds.
func TestAWrongAnswerWouldBeNoticed(t *testing.T) {
	t.Parallel()
	d := readDocument(t)
	var row node
	open(t, storetest.SQLite(t), "").get(t, api.Root+"memberships/m1?with=all").into(t, &row)
	schema := node{"$ref": "#/components/schemas/MembershipDetail"}
	if problems := d.check(t, schema, any(row), "$"); len(problems) > 0 {
		t.Fatal(problems)
	}
	for name, spoil := range map[string]func(node){
		"a column is missing":      func(r node) { delete(r, "status") },
		"a column is null":         func(r node) { r["status"] = nil },
		"a column is a number":     func(r node) { r["identity_id"] = 1.0 },
		"there is one more":        func(r node) { r["sync_state"] = "x" },
		"a list has numbers":       func(r node) { r["roles"] = []any{1.0} },
		"a time is not UTC":        func(r node) { r["created_at"] = "2026-03-01T08:00:00+01:00" },
		"a relation is a list":     func(r node) { r["with"].(node)["org"] = []any{} },
		"a related row is broken":  func(r node) { r["with"].(node)["person"].(node)["is_active"] = "yes" },
		"a relation is not known":  func(r node) { r["with"].(node)["nope"] = nil },
		"the total is not counted": func(r node) { delete(r["with"].(node)["invitations"].(node), "total") },
	} {
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		var copied node
		if err := json.Unmarshal(text, &copied); err != nil {
			t.Fatal(err)
		}
		spoil(copied)
		if len(d.check(t, schema, any(copied), "$")) == 0 {
			t.Errorf("%s: nothing notices", name)
		}
	}
}
