package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
	"github.com/avhub/avhub/sdk/schema"
)

// A connector that keeps all its laws, through the front door.
func TestAGoodConnectorPasses(t *testing.T) {
	t.Parallel()
	Run(t, deskPlugin(good), deskWorld)
}

// The files connector keeps a file for each subject, with no HTTP about it.
type filesConfig struct {
	Dir string `json:"dir" doc:"Where files go." required:"true"`
}

type filesState struct {
	Revisions map[string]int64 `json:"revisions"`
}

type files struct{ dir string }

func (f files) Deliver(_ context.Context, ev plugin.Event, st *filesState) error {
	if !json.Valid(ev.Raw) || ev.Revision <= st.Revisions[ev.Subject] {
		return plugin.Skip("known")
	}
	if st.Revisions == nil {
		st.Revisions = map[string]int64{}
	}
	st.Revisions[ev.Subject] = ev.Revision
	name := filepath.Join(f.dir, strings.ReplaceAll(ev.Subject, "/", "_"))
	for _, e := range ev.Entities {
		if e.Kind+":"+e.ID != ev.Subject {
			continue
		}
		if len(e.JSON) == 0 {
			_ = os.Remove(name) // it may never have been there
			return nil
		}
		return os.WriteFile(name, e.JSON, 0o600)
	}
	return plugin.Skip("not about a row")
}

func filesPlugin() plugin.Plugin[filesConfig, filesState] {
	return plugin.Plugin[filesConfig, filesState]{
		Info: plugin.Info{Name: "files", Version: "1", Summary: "keeps files", Events: []string{"tenant.*", "subject.*"}, Order: plugin.Total},
		Open: func(_ context.Context, cfg filesConfig, _ *slog.Logger) (plugin.Connector[filesState], error) {
			return files{cfg.Dir}, nil
		},
	}
}

func filesWorld(t testing.TB) (filesConfig, func() any) {
	dir := t.TempDir()
	return filesConfig{Dir: dir}, func() any {
		out := map[string]string{}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			out[e.Name()] = string(raw)
		}
		return out
	}
}

func TestAWorldOfFilesIsJudgedButForWhatNeedsHTTP(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var folders []string
	world := func(t testing.TB) (filesConfig, func() any) {
		cfg, look := filesWorld(t)
		mu.Lock()
		defer mu.Unlock()
		folders = append(folders, cfg.Dir)
		return cfg, look
	}
	r := judged(t, filesPlugin(), world, laws.Options{Seed: 1})
	var undecided []string
	for _, law := range r.Results {
		switch law.Outcome {
		case laws.Broken:
			t.Errorf("law %d: %s\n%s", law.Number, law.Why, strings.Join(law.History, "\n"))
		case laws.Undecided:
			if law.Why == "" {
				t.Errorf("law %d is not decided, and does not say why", law.Number)
			}
			undecided = append(undecided, fmt.Sprint(law.Number))
		}
	}
	if got := strings.Join(undecided, " "); got != "5 7 9 14" {
		t.Errorf("not decided: %s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, folder := range folders {
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a world left its folder %s (%v)", folder, err)
		}
	}
}

func TestASeedRepeatsAFailureAndItsHistoryIsShort(t *testing.T) {
	t.Parallel()
	opts := laws.Options{Seed: 99, Laws: []int{2}}
	first := judged(t, deskPlugin(repeatsTheLast), deskWorld, opts).Results[0]
	second := judged(t, deskPlugin(repeatsTheLast), deskWorld, opts).Results[0]
	if first.Outcome != laws.Broken || len(first.History) != 1 || !strings.Contains(first.Why, `+     "tnt_`) {
		t.Errorf("%+v", first)
	}
	if first.Why != second.Why || strings.Join(first.History, "\n") != strings.Join(second.History, "\n") {
		t.Errorf("the same seed told two stories:\n%+v\n%+v", first, second)
	}
}

func TestASeedHasToBeANumber(t *testing.T) {
	t.Parallel()
	if _, err := seedOf("x"); err == nil || !strings.Contains(err.Error(), seedVar) {
		t.Errorf("%v", err)
	}
	if seed, err := seedOf("17"); err != nil || seed != 17 {
		t.Errorf("%d %v", seed, err)
	}
}

// What cannot be judged is said at once, and is not a law that holds.
func TestWhatCannotBeJudgedIsAnError(t *testing.T) {
	t.Parallel()
	idle := func(info plugin.Info, deliver error) plugin.Plugin[filesConfig, struct{}] {
		return plugin.Plugin[filesConfig, struct{}]{Info: info, Open: func(_ context.Context, cfg filesConfig, _ *slog.Logger) (plugin.Connector[struct{}], error) {
			if cfg.Dir == "refused" {
				return nil, fmt.Errorf("not there")
			}
			return does{deliver}, nil
		}}
	}
	info := plugin.Info{Name: "idle", Version: "1", Summary: "does nothing", Events: []string{"*"}}
	at := func(dir string) World[filesConfig] {
		return func(testing.TB) (filesConfig, func() any) { return filesConfig{Dir: dir}, func() any { return 0 } }
	}
	for name, c := range map[string]struct {
		p     plugin.Plugin[filesConfig, struct{}]
		world World[filesConfig]
		want  string
	}{
		"it does nothing":        {idle(info, nil), at("x"), "changed nothing that look shows"},
		"it always fails":        {idle(info, fmt.Errorf("no way")), at("x"), "answered retry (no way)"},
		"its Info is wrong":      {idle(plugin.Info{Name: "idle"}, nil), at("x"), "Info.Version"},
		"it refuses the world":   {idle(info, nil), at("refused"), "rejects the configuration of the world: "},
		"its server is not ours": {idle(info, nil), at("http://127.0.0.1:1"), "plugintest.NewServer"},
		"look shows no JSON": {idle(info, nil), func(testing.TB) (filesConfig, func() any) {
			return filesConfig{Dir: "x"}, func() any { return make(chan int) }
		}, "something that JSON can say"},
	} {
		_, err := laws.Run(t.Context(), subject(t, c.p, c.world), laws.Options{Laws: []int{2}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

type does struct{ err error }

func (d does) Deliver(context.Context, plugin.Event, *struct{}) error { return d.err }

func TestAConfigurationIsWrittenAsAnOperatorWould(t *testing.T) {
	t.Parallel()
	type inner struct {
		Size schema.ByteSize `json:"size"`
	}
	type embedded struct {
		Region string `json:"region"`
	}
	type cfg struct {
		embedded
		URL     string          `json:"url"`
		Empty   string          `json:"empty"`
		Timeout time.Duration   `json:"timeout"`
		Limits  map[string]int  `json:"limits"`
		Waits   []time.Duration `json:"waits"`
		Inner   inner           `json:"inner"`
		None    inner           `json:"none"`
		On      *bool           `json:"on"`
		Hidden  string          `json:"-"`
	}
	off := false
	raw, err := configJSON(cfg{embedded{"eu"}, "http://x", "", 90 * time.Second, map[string]int{"a": 0}, []time.Duration{time.Second, 0}, inner{1 << 20}, inner{}, &off, "h"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"inner":{"size":"1MiB"},"limits":{"a":0},"on":false,"region":"eu","timeout":"1m30s","url":"http://x","waits":["1s","0s"]}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	if raw, err := configJSON(struct{}{}); err != nil || string(raw) != "{}" {
		t.Errorf("%s %v", raw, err)
	}
}

func TestAServedWorldJudgesLikeOneInThisProcess(t *testing.T) {
	t.Parallel()
	for w, want := range map[twist]string{good: "", repeatsTheLast: "2", newKeyOnRetry: "5", retriesBadRequest: "9"} {
		world, err := laws.RemoteWorld(ServeWorld(t, deskWorld).URL)
		if err != nil {
			t.Fatal(err)
		}
		s := subject(t, deskPlugin(w), deskWorld)
		s.World = world
		r, err := laws.Run(t.Context(), s, laws.Options{Seed: 4, Laws: []int{2, 5, 9}, Shrink: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if got := broken(r); got != want {
			t.Errorf("a connector that %s: broken are the laws %q, want %q", w, got, want)
		}
	}
}

func TestAWorldThatAnswersNonsenseEndsTheRunWithItsWords(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`200 {"config": {}}`:     "GET /look",
		`200 {"config": 5}`:      `no object "config"`,
		`200 {}`:                 `no object "config"`,
		`200 <html>`:             "not JSON",
		`500 the fake is broken`: "500 Internal Server Error: the fake is broken",
		`404 page not found`:     "404 Not Found",
	} {
		code, text, _ := strings.Cut(answer, " ")
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var status int
			_, _ = fmt.Sscan(code, &status)
			if r.URL.Path == "/look" {
				status = http.StatusTeapot
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}))
		defer server.Close()
		world, err := laws.RemoteWorld(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := world(t.Context())
		if err == nil {
			_, err = got.Look(t.Context())
			got.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:9000", "ftp://x", "http://", "\x00"} {
		if _, err := laws.RemoteWorld(bad); err == nil {
			t.Errorf("the address %q was taken", bad)
		}
	}
}

func TestAServedWorldRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	server := ServeWorld(t, deskWorld)
	status := func(method, path, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/look", "", http.StatusConflict},
		{"GET", "/0/tickets", "", http.StatusNotFound},
		{"POST", "/reset", "", http.StatusBadRequest},
		{"POST", "/reset", "{}", http.StatusBadRequest},
		{"POST", "/reset", `{"base": "http://x"}`, http.StatusOK},
		{"GET", "/look", "", http.StatusOK},
		{"GET", "/0/tickets", "", http.StatusUnauthorized},
		{"GET", "/1/tickets", "", http.StatusNotFound},
		{"GET", "/-1/tickets", "", http.StatusNotFound},
		{"GET", "/reset", "", http.StatusNotFound},
	} {
		if got := status(c.method, c.path, c.body); got != c.want {
			t.Errorf("%s %s %s: %d, want %d", c.method, c.path, c.body, got, c.want)
		}
	}
}

func BenchmarkDesk(b *testing.B) { Bench(b, deskPlugin(good), deskWorld) }
