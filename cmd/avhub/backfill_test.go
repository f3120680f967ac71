package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/avhub/avhub/core/mirror/backfill"
	"github.com/avhub/avhub/core/simulator"
	"github.com/avhub/avhub/core/store"
)

const apiSecret = "s3cr3t-of-the-machine"

// backfillSite is a folder with a configuration and an empty database.
func backfillSite(t *testing.T, host, api string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text := fmt.Sprintf("storage: { url: \"sqlite://hub.db\" }\nsources:\n  - name: authvital\n    host: %s\n    path: /webhooks/authvital\n    api: %s\n", host, api)
	if err := os.WriteFile(filepath.Join(dir, "avhub.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	done(t, dir, "migrate")
	return dir
}

func TestBackfillReadsWhoWasThereBefore(t *testing.T) {
	t.Parallel()
	sim, err := simulator.New(simulator.Options{Token: "sim-token", Past: 2, APIClient: "machine", APISecret: apiSecret, Retry: nil})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(sim.Handler())
	t.Cleanup(provider.Close)
	dir := backfillSite(t, provider.URL, fmt.Sprintf("{ client_id: machine, client_secret: %s, clients: [%s] }", apiSecret, sim.ClientIDs()[0]))

	before := run(t, dir, "backfill", "--verify")
	if before.code != 1 || !strings.Contains(before.out, "differences") || !strings.Contains(before.out, "identity") {
		t.Errorf("verify of an empty mirror: exit code %d\n%s%s", before.code, before.out, before.err)
	}
	dry := done(t, dir, "backfill", "--dry-run")
	if !strings.Contains(dry.out, "nothing was written") || !strings.Contains(dry.out, "exists") {
		t.Errorf("%s%s", dry.out, dry.err)
	}
	first := read[[]backfill.Summary](t, dir, "backfill")
	if len(first) != 1 || first[0].Rows["identity"].Created != 24 || first[0].Units != 3 || first[0].Skipped["invited"] != 2 {
		t.Errorf("%+v", first)
	}
	if people := read[[]map[string]any](t, dir, "identity", "list"); len(people) != 24 {
		t.Errorf("%d people", len(people))
	}
	if second := read[[]backfill.Summary](t, dir, "backfill"); second[0].Facts != 0 || second[0].Rows["identity"].Unchanged != 24 {
		t.Errorf("%+v", second)
	}
	if same := done(t, dir, "backfill", "--verify"); !strings.Contains(same.out, "no difference") {
		t.Errorf("%s", same.out)
	}
	// Something happens of which the hub hears nothing.
	gone := httptest.NewServer(nil)
	gone.Close()
	if err := sim.SetTarget(gone.URL); err != nil {
		t.Fatal(err)
	}
	if _, err := sendCommand(t.Context(), control{URL: provider.URL, Token: "sim-token"}, simulator.Command{Type: "member.suspended", Channel: "webhook"}); err == nil {
		t.Fatal("an event was delivered to nobody")
	}
	differ := run(t, dir, "backfill", "--verify", "--json")
	var found []backfill.Comparison
	if err := json.Unmarshal([]byte(differ.out), &found); err != nil || differ.code != 1 || found[0].Drifts != 1 ||
		found[0].Drift[0].Field != "status" || found[0].Drift[0].Provider != "suspended" {
		t.Errorf("exit code %d: %s, %v", differ.code, differ.out, err)
	}
	done(t, dir, "backfill")
	done(t, dir, "backfill", "--verify")
}

func TestBackfillSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_ = r.ParseForm()
		_ = json.NewEncoder(w).Encode(map[string]any{"message": "no machine has the secret " + r.PostForm.Get("client_secret") + "\x1b[2J"})
	}))
	t.Cleanup(provider.Close)
	for name, c := range map[string]struct {
		api, args string
		code      int
		says      string
	}{
		"no credentials":     {"{}", "", 1, "sources[0].api.client_id is not set"},
		"half of them":       {"{ client_id: x }", "", 1, "client_secret"},
		"wrong ones":         {"{ client_id: x, client_secret: " + apiSecret + ", clients: [web] }", "", 1, "answered 401: no machine has the secret [redacted] [2J"},
		"nothing to read":    {"{ client_id: x, client_secret: " + apiSecret + " }", "", 1, "api.clients"},
		"another source":     {"{ client_id: x, client_secret: " + apiSecret + " }", "--source other", 2, "there is authvital"},
		"verify, wrong ones": {"{ client_id: x, client_secret: " + apiSecret + ", clients: [web] }", "--verify", 1, "client_secret right?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := backfillSite(t, provider.URL, c.api)
			got := run(t, dir, append([]string{"backfill"}, strings.Fields(c.args)...)...)
			if got.code != c.code || !strings.Contains(got.err, c.says) || strings.Contains(got.err+got.out, apiSecret) {
				t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
			}
		})
	}
}

// slowProvider sends half of a large tenant and then waits until it may go on.
func slowProvider(t *testing.T, members int, goOn *atomic.Bool) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/oauth/token" {
			fmt.Fprint(w, `{"access_token":"token","expires_in":600}`)
			return
		}
		fmt.Fprintf(w, `{"tenantId":%q,"tenantName":"Fjord","memberships":[`, r.URL.Query().Get("tenantId"))
		for i := range members {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, `{"id":"m%d","status":"ACTIVE","user":{"id":"p%d","email":"p%d@a.example"},"roles":[{"slug":"member"}]}`, i, i, i)
			if i == members/2 && !goOn.Load() {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
		}
		fmt.Fprintf(w, `],"totalCount":%d}`, members)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestLaw7_ABackfillThatIsKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	const members = 3000
	var goOn atomic.Bool
	provider := slowProvider(t, members, &goOn)
	dir := backfillSite(t, provider.URL, "{ client_id: x, client_secret: y, tenants: [t1] }")
	st, err := store.Open(t.Context(), "sqlite://"+filepath.Join(dir, "hub.db"), store.Options{MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	count := func() int {
		n, err := st.Read().Membership.Query().Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p := start(t, dir, "backfill")
	eventually(t, "some members are there", func() bool { return count() >= 600 })
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.waited
	if n := count(); n >= members || n%200 != 0 {
		t.Errorf("%d members were written before the kill", n)
	}
	goOn.Store(true)
	if got := done(t, dir, "backfill"); !strings.Contains(got.err, "went on with the run") {
		t.Errorf("%s%s", got.out, got.err)
	}
	if n := count(); n != members {
		t.Errorf("%d members", n)
	}
	if n, err := st.Read().BackfillFact.Query().Count(t.Context()); err != nil || n != members {
		t.Errorf("%d facts for %d members, %v", n, members, err)
	}
	done(t, dir, "backfill", "--verify")
}

func TestBackfillCanBeTriedOnDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dev := start(t, dir, anywhere()...)
	dev.err.wait(t, "In another terminal")
	config := filepath.Join(devDir, devConfig)
	if info, err := os.Stat(filepath.Join(dir, config)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", config, err, info)
	}
	sum := read[[]backfill.Summary](t, dir, "backfill", "-c", config)
	if sum[0].Rows["identity"].Created < 24 || len(sum[0].Failed) > 0 {
		t.Errorf("%+v", sum[0])
	}
}
