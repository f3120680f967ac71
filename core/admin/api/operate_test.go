package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/admin/api"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

const (
	key    = "tok-canary"
	secret = "hunter2-canary"
)

// steered is a site with a plugin that has run, of two partitions, and is in
// trouble.
func steered(t *testing.T, url string) *site {
	t.Helper()
	s := open(t, url, key)
	schema := `{"type":"object","properties":{"plan":{"type":"string"},"token":{"type":"string","writeOnly":true}}}`
	s.exec(t, `INSERT INTO avhub_plugins (id, partitions, events, ordering, state_schema) VALUES ('bill', 2, ?, 'tenant', ?)`, []byte(`["*"]`), []byte(schema))
	for p := range 2 {
		s.exec(t, `INSERT INTO avhub_cursors (id, plugin, partition, position, epoch, owner, expires_at, state, version, updated_at) VALUES (?, 'bill', ?, ?, 1, 'hub', ?, 'stopped', '1', ?)`,
			fmt.Sprintf("bill/%d", p), p, 10*p, store.Now().UnixMicro(), store.Now().UnixMicro())
	}
	for _, k := range []string{"tenant:a/b", "tenant:ä", "tenant:z", "user:u"} {
		s.exec(t, `INSERT INTO avhub_plugin_states (id, position, state, updated_at) VALUES (?, 7, ?, 1)`, "bill/"+k, []byte(`{"plan":"pro","token":"`+secret+`"}`))
	}
	for i := range 3 {
		s.exec(t, `INSERT INTO avhub_lanes (id, plugin, key, head, attempts, since, next_at, last_error, history) VALUES (?, 'bill', ?, 5, 1, 1000000, 2000000, 'No such plan', ?)`,
			fmt.Sprintf("bill/tenant:t%d", i), fmt.Sprintf("tenant:t%d", i), []byte(`[{"at":"2026-01-02T03:04:05Z","error":"no"}]`))
		s.exec(t, `INSERT INTO avhub_dead_letters (plugin, key, position, event_id, type, tenant_id, event, reason, created_at, updated_at) VALUES ('bill', ?, ?, 'e', 'tenant.created', ?, ?, 'refused', 1000000, 1000000)`,
			fmt.Sprintf("tenant:t%d", i), i, fmt.Sprintf("t%d", i), []byte(`{}`))
	}
	return s
}

func (s *site) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := s.store.SQL(context.Background()).Exec(context.Background(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request with the token; a body is sent as JSON.
func (s *site) ask(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+api.Root+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func TestWhatOperatorsDoIsAnsweredAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		d, s := readDocument(t), steered(t, url)
		for _, c := range []struct {
			method, path, template, body string
			status                       int
			holds                        string
		}{
			{"GET", "plugins", "plugins", "", 200, `"dead_letters":3`},
			{"GET", "plugins/bill", "plugins/{name}", "", 200, `"partitions":[{`},
			{"GET", "plugins/none", "plugins/{name}", "", 404, "no such plugin"},
			{"GET", "plugins/bill/state?limit=2", "plugins/{name}/state", "", 200, `"plan":"pro","token":"(secret)"`},
			{"GET", "plugins/none/state", "plugins/{name}/state", "", 404, "no such plugin"},
			{"GET", "plugins/bill/state/tenant:a%2Fb", "plugins/{name}/state/{key}", "", 200, `"position":7`},
			{"GET", "plugins/bill/state/tenant:nobody", "plugins/{name}/state/{key}", "", 404, "remembers nothing"},
			{"POST", "plugins/bill/pause", "plugins/{name}/pause", `{"reason":"for a test"}`, 200, `"plugin":"bill"`},
			{"POST", "plugins/bill/resume", "plugins/{name}/resume", ``, 200, `"plugin":"bill"`},
			{"POST", "plugins/bill/restart", "plugins/{name}/restart", `{}`, 200, `"plugin":"bill"`},
			{"POST", "plugins/none/pause", "plugins/{name}/pause", `{}`, 404, "no such plugin"},
			{"POST", "replays", "replays", `{"plugin":"bill","types":["tenant.*"],"tenant":"t1","since":"2026-01-01T00:00:00Z","dry_run":true}`, 200, `"events":0`},
			{"POST", "replays", "replays", `{"plugin":"none"}`, 404, "no such plugin"},
			{"POST", "replays", "replays", `{"plugin":"bill","types":["tenant.*"],"rate":0}`, 201, `"id":1`},
			{"GET", "replays", "replays", "", 200, `"state":"running"`},
			{"GET", "replays?running=true&plugin=none", "replays", "", 200, `"data":[]`},
			{"GET", "replays/1", "replays/{id}", "", 200, `"rate":0`},
			{"DELETE", "replays/1", "replays/{id}", "", 200, `"state":"cancelled"`},
			{"DELETE", "replays/1", "replays/{id}", "", 409, "cancelled already"},
			{"DELETE", "replays/2", "replays/{id}", "", 404, "no such replay"},
			{"GET", "replays/x", "replays/{id}", "", 404, "numbers"},
			{"GET", "deliveries?plugin=bill&limit=1", "deliveries", "", 200, `"total":{"lanes":3,"dead_letters":3}`},
			{"GET", "deliveries?reason=PLAN&tenant=t1", "deliveries", "", 200, `"total":{"lanes":1,"dead_letters":0}`},
			{"GET", "deliveries?type=tenant.*&since=1970-01-01T00:00:00Z", "deliveries", "", 200, `"total":{"lanes":0,"dead_letters":3}`},
			{"POST", "deliveries/retry", "deliveries/retry", `{"plugin":"bill","dry_run":true}`, 200, `{"lanes":3,"dead_letters":3,"dry_run":true,"complete":false}`},
			{"POST", "deliveries/retry", "deliveries/retry", `{"tenant":"t1"}`, 200, `{"lanes":1,"dead_letters":1,"dry_run":false,"complete":true}`},
			{"POST", "deliveries/discard", "deliveries/discard", `{"id":1}`, 200, `{"lanes":0,"dead_letters":1,"dry_run":false,"complete":true}`},
			{"POST", "deliveries/discard", "deliveries/discard", `{"all":true}`, 200, `{"lanes":3,"dead_letters":2,"dry_run":false,"complete":true}`},
			{"GET", "deliveries", "deliveries", "", 200, `"dead_letters":[]`},
			{"POST", "deliveries/discard", "deliveries/discard", `{}`, 400, `"reason":"bad_value"`},
		} {
			got := s.ask(t, c.method, c.path, c.body)
			if got.status != c.status || !strings.Contains(got.body, c.holds) || strings.Contains(got.body, secret) {
				t.Errorf("%s %s %s: got %d %s, want %d with %q", c.method, c.path, c.body, got.status, got.body, c.status, c.holds)
				continue
			}
			op := d.root["paths"].(node)[api.Root+c.template].(node)[strings.ToLower(c.method)].(node)
			response := d.resolve(t, op["responses"].(node)[fmt.Sprint(c.status)].(node))
			var value any
			if err := json.Unmarshal([]byte(got.body), &value); err != nil {
				t.Fatal(err)
			}
			for _, problem := range d.check(t, response["content"].(node)["application/json"].(node)["schema"].(node), value, "$") {
				t.Errorf("%s %s: %s", c.method, c.path, problem)
			}
		}
		if strings.Contains(s.log.String(), key) || strings.Contains(s.log.String(), secret) || !strings.Contains(s.log.String(), "deliveries/discard") {
			t.Errorf("the log is %s", s.log)
		}
	})
}

func TestStatesAreListedPageByPage(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		s := steered(t, url)
		var keys []string
		path := "plugins/bill/state?prefix=tenant:&limit=1"
		for cursor := ""; len(keys) < 10; {
			var page struct {
				Data []api.State
				Next *string
			}
			s.ask(t, "GET", path+cursor, "").into(t, &page)
			for _, one := range page.Data {
				keys = append(keys, one.Key)
			}
			if page.Next == nil {
				break
			}
			cursor = "&cursor=" + *page.Next
			s.ask(t, "GET", "plugins/bill/state?prefix=user:"+cursor, "").refused(t, 400, "bad_cursor", "this list")
		}
		if got := strings.Join(keys, " "); got != "tenant:a/b tenant:z tenant:ä" {
			t.Errorf("the pages had %s", got)
		}
	})
}

func TestAnOperatorsMistakesChangeNothingAndSayWhy(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		s := steered(t, url)
		for _, c := range []struct {
			method, path, body string
			status             int
			reason, says       string
		}{
			{"POST", "plugins", `{}`, 405, "method_not_allowed", "GET and HEAD"},
			{"PUT", "plugins/bill/pause", `{}`, 405, "method_not_allowed", "POST"},
			{"GET", "plugins/bill/pause", ``, 405, "method_not_allowed", "POST"},
			{"OPTIONS", "replays", ``, 405, "method_not_allowed", "POST"},
			{"POST", "plugins/bill/pause?reason=x", `{}`, 400, "unknown_parameter", "reason"},
			{"POST", "plugins/bill/pause", `{"why":"x"}`, 400, "bad_value", "why"},
			{"POST", "plugins/bill/pause", `{"reason":7}`, 400, "bad_value", "number"},
			{"POST", "plugins/bill/pause", `{"reason":"a\u0000b"}`, 400, "bad_value", "character"},
			{"POST", "plugins/bill/pause", "{\"reason\":\"\xff\"}", 400, "bad_value", "character"},
			{"POST", "plugins/bill/pause", `{} {}`, 400, "bad_value", "more behind"},
			{"POST", "plugins/bill/pause", `[`, 400, "bad_value", "body"},
			{"POST", "plugins/bill/pause", `{"reason":"` + strings.Repeat("x", 70<<10) + `"}`, 413, "too_large", "65536"},
			{"POST", "plugins/bill%00/pause", `{}`, 404, "not_found", ""},
			{"POST", "plugins/%FF/pause", `{}`, 404, "not_found", ""},
			{"GET", "plugins/bill/state/%00", ``, 404, "not_found", ""},
			{"GET", "plugins/bill/state?limit=501", ``, 400, "bad_value", "500"},
			{"GET", "plugins/bill/state?prefix=%00", ``, 400, "bad_value", "prefix"},
			{"POST", "replays", `{}`, 400, "bad_value", "plugin"},
			{"POST", "replays", `{"plugin":"bill","types":["a..b"]}`, 400, "bad_value", "types"},
			{"POST", "replays", `{"plugin":"bill","since":"yesterday"}`, 400, "bad_value", ""},
			{"POST", "replays", `{"plugin":"bill","since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}`, 400, "bad_value", "until"},
			{"POST", "replays", `{"plugin":"bill","from_position":9,"to_position":3}`, 400, "bad_value", "to_position"},
			{"POST", "replays", `{"plugin":"bill","from_position":99999999999999999999}`, 400, "bad_value", "from_position"},
			{"POST", "replays", `{"plugin":"bill","rate":-1}`, 400, "bad_value", "rate"},
			{"DELETE", "replays/1", `{}`, 400, "bad_value", "no body"},
			{"GET", "replays?running=yes", ``, 400, "bad_value", "true or false"},
			{"GET", "deliveries?since=yesterday", ``, 400, "bad_value", "2026"},
			{"GET", "deliveries?id=0", ``, 400, "bad_value", "id"},
			{"GET", "deliveries?type=a..b", ``, 400, "bad_value", "type"},
			{"POST", "deliveries/discard", ``, 400, "bad_value", "all"},
			{"POST", "deliveries/discard", `{"all":true,"plugin":"bill"}`, 400, "bad_value", "all"},
			{"POST", "deliveries/discard", `{"id":-1}`, 400, "bad_value", "id"},
			{"POST", "deliveries/retry", `{"type":"a..b"}`, 400, "bad_value", "type"},
		} {
			got := s.ask(t, c.method, c.path, c.body)
			got.refused(t, c.status, c.reason, c.says)
			if len(got.body) > 600 {
				t.Errorf("%s %s: the answer repeats what was sent: %s", c.method, c.path, got.body)
			}
		}
		s.ask(t, "POST", "plugins/bill/pause", `reason=x`, "Content-Type", "application/x-www-form-urlencoded").refused(t, 415, "unsupported_media_type", "application/json")
		s.ask(t, "POST", "plugins/bill/pause", `{}`, "Content-Type", "text/plain").refused(t, 415, "unsupported_media_type", "application/json")
		s.unchanged(t)
		s.exec(t, `UPDATE avhub_plugins SET paused = ?, pause_reason = 'being moved to now'`, true)
		s.ask(t, "POST", "plugins/bill/resume", ``).refused(t, 409, "conflict", "moved")
		s.exec(t, `UPDATE avhub_plugins SET events = NULL`)
		s.ask(t, "POST", "replays", `{"plugin":"bill","dry_run":true}`).refused(t, 409, "conflict", "start it once")
	})
}

// unchanged fails the test if something was done to what steered makes.
func (s *site) unchanged(t *testing.T) {
	t.Helper()
	s.ask(t, "GET", "deliveries", "").holds(t, `"total":{"lanes":3,"dead_letters":3}`)
	s.ask(t, "GET", "replays", "").holds(t, `{"data":[]}`)
	w, err := s.store.Ent(context.Background()).Plugin.Get(context.Background(), "bill")
	if err != nil || w.Paused || w.Restart != 0 {
		t.Errorf("%v %v", w, err)
	}
}

func (a answer) holds(t *testing.T, part string) {
	t.Helper()
	if a.status != 200 || !strings.Contains(a.body, part) {
		t.Errorf("got %d %s, want %s in it", a.status, a.body, part)
	}
}

func TestLaw11_NothingIsChangedWithoutTheToken(t *testing.T) {
	t.Parallel()
	s, without := steered(t, storetest.SQLite(t)), open(t, storetest.SQLite(t), "")
	changes := 0
	readDocument(t).eachOperation(func(path, method string, _ node) {
		path = strings.NewReplacer("{id}", "1", "{name}", "bill", "{key}", "k").Replace(path)
		method = strings.ToUpper(method)
		for name, header := range map[string][]string{"none": nil, "a wrong one": {"Authorization", "Bearer x"}} {
			if got := s.do(t, method, path, append(header, "Content-Type", "application/json")...); got.status != 401 {
				t.Errorf("%s %s with a token that is %s: %d", method, path, name, got.status)
			}
		}
		if method == "GET" {
			return
		}
		changes++
		without.do(t, method, path, "Content-Type", "application/json").refused(t, 403, "token_required", "admin.token")
	})
	if changes != 7 {
		t.Errorf("%d ways to change something", changes)
	}
	s.unchanged(t)
}
