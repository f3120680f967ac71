package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
)

// apiRig is a simulator with an integration API, and a token for it.
type apiRig struct {
	*Simulator
	url, token string
}

func newAPIRig(t *testing.T) apiRig {
	t.Helper()
	sim, err := New(Options{Seed: 1, Past: 2, APIClient: "machine", APISecret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	r := apiRig{Simulator: sim, url: server.URL}
	status, body := r.post(t, url.Values{"grant_type": {"client_credentials"}, "client_id": {"machine"}, "client_secret": {"secret"}})
	var is struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &is); err != nil || status != 200 || is.Token == "" || is.Expires != 600 {
		t.Fatalf("%d: %s", status, body)
	}
	r.token = is.Token
	return r
}

func (r apiRig) post(t *testing.T, form url.Values) (int, []byte) {
	t.Helper()
	resp, err := http.PostForm(r.url+"/oauth/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

type apiAnswer struct {
	Message     string
	StatusCode  int
	TenantID    string
	ClientID    string
	Memberships []struct {
		ID, Status string
		User       struct{ ID, Email string }
		Tenant     struct{ ID string }
		Roles      []struct{ Slug, ApplicationID string }
	}
	TotalCount int
}

func (r apiRig) get(t *testing.T, token, path string) (int, apiAnswer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/integration/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var is apiAnswer
	if err := json.NewDecoder(resp.Body).Decode(&is); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, is
}

func TestTheAPIAnswersWhoIsAMember(t *testing.T) {
	t.Parallel()
	r := newAPIRig(t)
	client := r.ClientIDs()[0]
	status, app := r.get(t, r.token, "application-memberships?clientId="+client)
	if status != 200 || app.ClientID != client || app.TotalCount != len(app.Memberships) || app.TotalCount != 2*pastSize*3/4 {
		t.Fatalf("%d: %+v", status, app)
	}
	tenant := app.Memberships[0].Tenant.ID
	path := "tenant-memberships?tenantId=" + tenant
	_, all := r.get(t, r.token, path+"&includeRoles=true")
	states := map[string]int{}
	withRole := 0
	for _, m := range all.Memberships {
		states[m.Status]++
		for _, role := range m.Roles {
			if role.ApplicationID != "" {
				withRole++
			}
		}
	}
	if all.TenantID != tenant || fmt.Sprint(states) != "map[ACTIVE:11 INVITED:1 SUSPENDED:1]" || withRole != pastSize*3/4 {
		t.Errorf("%v, %d with a role: %+v", states, withRole, all)
	}
	if _, some := r.get(t, r.token, path+"&status=SUSPENDED"); some.TotalCount != 1 || some.Memberships[0].Status != "SUSPENDED" || some.Memberships[0].Roles != nil {
		t.Errorf("%+v", some)
	}
}

func TestTheAPIRefusesWhoMayNotAsk(t *testing.T) {
	t.Parallel()
	r := newAPIRig(t)
	for name, form := range map[string]url.Values{
		"no grant":     {"client_id": {"machine"}, "client_secret": {"secret"}},
		"wrong secret": {"grant_type": {"client_credentials"}, "client_id": {"machine"}, "client_secret": {"Secret"}},
		"wrong client": {"grant_type": {"client_credentials"}, "client_id": {"other"}, "client_secret": {"secret"}},
	} {
		if status, body := r.post(t, form); status < 400 || !strings.Contains(string(body), `"message"`) || strings.Contains(string(body), "access_token") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for path, want := range map[string]int{
		"tenant-memberships?tenantId=nobody":            404,
		"tenant-memberships":                            404,
		"application-memberships?clientId=nobody":       404,
		"tenant-memberships?tenantId=x&status=SLEEPING": 400,
	} {
		if status, is := r.get(t, r.token, path); status != want || is.StatusCode != want || is.Message == "" {
			t.Errorf("%s: %d %+v", path, status, is)
		}
		if status, is := r.get(t, "guessed", path); status != 401 || is.StatusCode != 401 {
			t.Errorf("%s without a token: %d %+v", path, status, is)
		}
	}
	plain, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	plain.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/oauth/token", nil))
	if w.Code != 404 {
		t.Errorf("without credentials there is an API all the same: %d", w.Code)
	}
}

// What events tell, the API answers.
func TestTheAPIFollowsTheEvents(t *testing.T) {
	t.Parallel()
	r := newAPIRig(t)
	send := func(typ string) Message {
		t.Helper()
		m, _, err := r.compose(order{typ: typ})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	tenant := send(event.TypeTenantCreated).TenantID
	find := func(id any) (status, role string) {
		_, is := r.get(t, r.token, "tenant-memberships?includeRoles=true&tenantId="+tenant)
		for _, m := range is.Memberships {
			if m.ID != id {
				continue
			}
			for _, given := range m.Roles {
				if given.ApplicationID != "" {
					role = given.Slug
				}
			}
			return m.Status, role
		}
		return "", ""
	}
	send(event.TypeMemberJoined) // the owner
	id := send(event.TypeMemberJoined).Data["membership_id"]
	for _, step := range []struct{ typ, status, role string }{
		{event.TypeAppAccessGranted, stateActive, "viewer"},
		{event.TypeAppAccessRoleChanged, stateActive, "editor"},
		{event.TypeMemberSuspended, stateSuspended, "editor"},
		{event.TypeAppAccessRevoked, stateSuspended, ""},
		{event.TypeTenantAppGranted, stateSuspended, "editor"},
		{event.TypeMemberActivated, stateActive, "editor"},
		{event.TypeTenantAppRevoked, stateActive, ""},
		{event.TypeMemberLeft, "", ""},
	} {
		m := send(step.typ)
		if status, role := find(id); status != step.status || role != step.role {
			t.Errorf("after %s %v: %q as %q, want %q as %q", step.typ, m.Data, status, role, step.status, step.role)
		}
	}
	send(event.TypeTenantDeleted)
	if status, _ := r.get(t, r.token, "tenant-memberships?tenantId="+tenant); status != 404 {
		t.Errorf("a deleted tenant: %d", status)
	}
}
