package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/simulator"
	"github.com/avhub/avhub/core/source"
)

// memory is a journal that remembers.
type memory struct {
	mu     sync.Mutex
	events []*event.Event
}

func (m *memory) Append(_ context.Context, ev *event.Event) (journal.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, old := range m.events {
		if old.ID == ev.ID {
			outcome := journal.Duplicate
			if !bytes.Equal(old.Evidence.Body, ev.Evidence.Body) {
				outcome = journal.Conflict
			}
			return journal.Receipt{Outcome: outcome, Position: int64(i + 1)}, nil
		}
	}
	m.events = append(m.events, ev)
	return journal.Receipt{Outcome: journal.Accepted, Position: int64(len(m.events))}, nil
}

func (m *memory) all() []*event.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// bundle is a simulator in front of the hub's real front door.
type bundle struct {
	*simulator.Simulator
	journal *memory
	url     string // of the simulator
}

const token = "a token for tests"

func setup(t testing.TB) *bundle {
	t.Helper()
	sim, err := simulator.New(simulator.Options{Log: zerolog.Nop(), Token: token, Retry: []time.Duration{}})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(sim.Handler())
	t.Cleanup(provider.Close)
	b := &bundle{Simulator: sim, journal: &memory{}, url: provider.URL}
	src, err := source.New(
		source.Config{Name: "authvital", Host: provider.URL, MaxAge: 300 * time.Second, MaxAhead: 60 * time.Second, MaxBody: 1 << 20},
		source.Deps{Journal: b.journal, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	hub := httptest.NewServer(src)
	t.Cleanup(hub.Close)
	if err := sim.SetTarget(hub.URL + "/webhooks/authvital"); err != nil {
		t.Fatal(err)
	}
	return b
}

// command posts to the control endpoint and returns the status and the answer.
func (b *bundle) command(t testing.TB, body string) (int, simulator.Result, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, b.url+simulator.ControlPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var r simulator.Result
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return resp.StatusCode, r, string(raw)
}

// send commands an event that must be accepted and returns it as journaled.
func (b *bundle) send(t testing.TB, command string) *event.Event {
	t.Helper()
	status, r, raw := b.command(t, command)
	if status != 200 || r.Status != 200 || !strings.Contains(string(r.Response), `"accepted"`) {
		t.Fatalf("%s: %d %s", command, status, raw)
	}
	all := b.journal.all()
	if last := all[len(all)-1]; last.ID == r.ID {
		return last
	}
	t.Fatalf("%s: answered with id %s, which is not the last in the journal", command, r.ID)
	return nil
}

// decode reads an event's data as its family's type.
func decode(ev *event.Event, family event.Family) error {
	var err error
	switch family {
	case event.FamilySubject:
		_, err = event.Decode[event.SubjectData](ev.Data)
	case event.FamilyMember:
		_, err = event.Decode[event.MemberData](ev.Data)
	case event.FamilyAppAccess:
		_, err = event.Decode[event.AppAccessData](ev.Data)
	case event.FamilyInvite:
		_, err = event.Decode[event.InviteData](ev.Data)
	case event.FamilyLicense:
		_, err = event.Decode[event.LicenseData](ev.Data)
	case event.FamilyTenant:
		_, err = event.Decode[event.TenantData](ev.Data)
	case event.FamilyTenantApp:
		_, err = event.Decode[event.TenantAppData](ev.Data)
	case event.FamilyApplication:
		_, err = event.Decode[event.ApplicationData](ev.Data)
	case event.FamilySSO:
		_, err = event.Decode[event.SSOProviderData](ev.Data)
	}
	return err
}

func TestEveryTypeOfTheCatalogIsAcceptedInEveryForm(t *testing.T) {
	t.Parallel()
	// Each type on a world of its own, where everything it needs must be made
	// up, and all of them twice in one world.
	shared := setup(t)
	for _, info := range event.Catalog() {
		for _, form := range info.Forms {
			channel := form.Channels[0]
			command := `{"type":"` + info.Type + `","channel":"` + string(channel) + `"}`
			if form.Name == "subscription" {
				command = command[:len(command)-1] + `,"set":{"quantity_purchased":7}}`
			}
			check := func(b *bundle) {
				t.Helper()
				ev := b.send(t, command)
				if ev.Type != info.Type || ev.Channel != channel {
					t.Errorf("%s became %s on %s", command, ev.Type, ev.Channel)
				}
				if err := decode(ev, info.Family); err != nil {
					t.Errorf("%s: %v in %s", command, err, ev.Data)
				}
				if !strings.HasPrefix(ev.Subject(), form.Kind+":") {
					t.Errorf("%s is about %s, want a %s: %s", command, ev.Subject(), form.Kind, ev.Data)
				}
			}
			check(shared)
			check(shared)
		}
	}
	for _, command := range []string{"tenant.updated", "member.left", "license.revoked", "invite.accepted", "subject.deleted", "sso.provider_removed", "application.deleted", "tenant.app.revoked"} {
		b := setup(t)
		b.send(t, `{"type":"`+command+`"}`)
	}
}

func TestAPersonsWayIsCoherent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.send(t, `{"type":"tenant.created","set":{"slug":"acme","name":"Acme","plan":"pro"}}`)
	if tenant.Channel != event.ChannelWebhook || !strings.Contains(string(tenant.Data), `"plan":"pro"`) {
		t.Errorf("a plan needs form 2: %s on %s", tenant.Data, tenant.Channel)
	}
	var sub string
	for _, typ := range []string{"subject.created", "member.joined", "app_access.granted", "license.assigned", "subject.updated", "license.revoked"} {
		ev := b.send(t, `{"type":"`+typ+`","tenant":"acme"}`)
		var data struct{ Sub string }
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		if sub == "" {
			sub = data.Sub
		}
		if data.Sub != sub || ev.TenantID != tenant.TenantID || ev.ApplicationID == "" {
			t.Errorf("%s is about %s in %s, want %s in %s", typ, data.Sub, ev.TenantID, sub, tenant.TenantID)
		}
	}
	// Whoever is invited joins under the membership that he was promised.
	invited := b.send(t, `{"type":"invite.created","tenant":"acme"}`)
	b.send(t, `{"type":"invite.accepted","tenant":"acme"}`)
	b.send(t, `{"type":"subject.created","tenant":"acme"}`)
	joined := b.send(t, `{"type":"member.joined","tenant":"acme"}`)
	var promise, membership struct {
		MembershipID string `json:"membership_id"`
		Email        string
	}
	if err := json.Unmarshal(invited.Data, &promise); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(joined.Data, &membership); err != nil {
		t.Fatal(err)
	}
	if promise != membership {
		t.Errorf("invited %+v, joined %+v", promise, membership)
	}
}

func TestUpdatesTellWhatChangedFromWhatToWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.send(t, `{"type":"tenant.created","set":{"slug":"acme"}}`)
	type told struct {
		Plan     string
		Settings struct {
			RequireMFA bool `json:"require_mfa"`
		}
		ChangedFields  []string       `json:"changed_fields"`
		PreviousValues map[string]any `json:"previous_values"`
	}
	update := func(command string) (got told) {
		t.Helper()
		if err := json.Unmarshal(b.send(t, command).Data, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := update(`{"type":"tenant.updated","tenant":"acme","set":{"plan":"pro","settings.require_mfa":true}}`)
	if got.Plan != "pro" || !got.Settings.RequireMFA || !slices.Equal(got.ChangedFields, []string{"plan", "settings.require_mfa"}) ||
		got.PreviousValues["plan"] != "free" || got.PreviousValues["settings.require_mfa"] != false {
		t.Errorf("first: %+v", got)
	}
	got = update(`{"type":"tenant.updated","tenant":"acme","set":{"plan":"enterprise"}}`)
	if got.Plan != "enterprise" || got.PreviousValues["plan"] != "pro" || !got.Settings.RequireMFA || len(got.ChangedFields) != 1 {
		t.Errorf("second: %+v", got)
	}
	got = update(`{"type":"tenant.updated","tenant":"acme","set":{"changed_fields":["members"]},"channel":"system"}`)
	if !slices.Equal(got.ChangedFields, []string{"members"}) {
		t.Errorf("what is set must win: %+v", got)
	}
}

func TestCommandsThatMakeNoSenseAreExplained(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 2 {
		b.send(t, `{"type":"tenant.created","set":{"slug":"acme-`+string(rune('a'+i))+`"}}`)
	}
	before := len(b.journal.all())
	for body, want := range map[string]string{
		`{"type":"tenant.updated","tenant":"acne"}`:   `known ones are acme-a, acme-b`,
		`{"type":"tenant.created","tenant":"acme-a"}`: `set name or slug`,
		`{"type":""}`: `no type`,
		`{}`:          `no type`,
		`{"type":"member.left","channel":"system"}`:                                  `use [webhook]`,
		`{"type":"tenant.app.granted","channel":"webhook"}`:                          `use [system]`,
		`{"type":"tenant.created","channel":"pubsub"}`:                               `use [webhook system]`,
		`{"type":"tenant.updated","set":{"name.first":"x"}}`:                         `no object`,
		`{"type":"tenant.updated","set":{"a..b":"x"}}`:                               `dotted path`,
		`{"type":"x.y","set":{"a":1,"a.b":2}}`:                                       `no object`,
		`{"type":"tenant.created","channel":"system","forge":"stale"}`:               `signs no timestamp`,
		`{"type":"tenant.updated","forge":"magic"}`:                                  `bad_signature, wrong_key`,
		`{"type":"tenant.updated","tennant":"acme-a"}`:                               `tennant`,
		`{"type":"tenant.updated"} {"type":"tenant.updated"}`:                        `something follows`,
		`["tenant.updated"]`:                                                         `reading the command`,
		`{"type":"tenant.updated","set":"plan=pro"}`:                                 `reading the command`,
		`{"type":"tenant.updated","set":{"x":"` + strings.Repeat("x", 1<<20) + `"}}`: `too large`,
	} {
		status, _, raw := b.command(t, body)
		if status != http.StatusBadRequest || !strings.Contains(raw, want) {
			t.Errorf("%.80s: %d %s, want %q", body, status, raw, want)
		}
	}
	if n := len(b.journal.all()); n != before {
		t.Errorf("%d of them were sent", n-before)
	}
}

func TestAnUnknownTypeIsSentAsItIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.send(t, `{"type":"tenant.created","set":{"slug":"acme"}}`)
	ev := b.send(t, `{"type":"galaxy.formed","tenant":"acme","set":{"stars.count":100000000000000001,"name":"M31"}}`)
	if ev.Type != "galaxy.formed" || string(ev.Data) != `{"name":"M31","stars":{"count":100000000000000001}}` || ev.TenantID == "" {
		t.Errorf("got %+v with %s", ev, ev.Data)
	}
}

func TestEveryForgeryIsRefusedAndADuplicateIsNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.send(t, `{"type":"tenant.created"}`)
	before := len(b.journal.all())
	for forge, want := range map[string]string{
		"bad_signature": "bad_signature", "wrong_key": "bad_signature", "tampered": "bad_signature",
		"unknown_key": "unknown_key", "stale": "stale_timestamp", "future": "future_timestamp",
	} {
		status, r, raw := b.command(t, `{"type":"subject.updated","forge":"`+forge+`"}`)
		if status != 200 || r.Status != 401 || !strings.Contains(string(r.Response), want) {
			t.Errorf("%s: %d %s", forge, status, raw)
		}
	}
	if n := len(b.journal.all()); n != before {
		t.Errorf("%d forgeries were journaled", n-before)
	}
	for _, channel := range []string{"webhook", "system"} {
		_, r, raw := b.command(t, `{"type":"tenant.updated","duplicate":true,"channel":"`+channel+`"}`)
		if r.Status != 200 || r.Duplicate == nil || r.Duplicate.Status != 200 || r.Duplicate.ID != r.ID || !strings.Contains(string(r.Duplicate.Response), `"duplicate"`) {
			t.Errorf("%s: %s", channel, raw)
		}
	}
}

func TestTheControlEndpointNeedsItsToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	post := func(url, authorization string) int {
		req, err := http.NewRequest(http.MethodPost, url+simulator.ControlPath, strings.NewReader(`{"type":"tenant.created"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", authorization)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for authorization, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer wrong": 401, token: 401, "Basic " + token: 401, "Bearer " + token + "x": 401,
		"Bearer " + token: 200, "bearer " + token: 200,
	} {
		if got := post(b.url, authorization); got != want {
			t.Errorf("%q: %d, want %d", authorization, got, want)
		}
	}
	if n := len(b.journal.all()); n != 2 {
		t.Errorf("%d events were sent, want 2", n)
	}
	open, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(open.Handler())
	t.Cleanup(srv.Close)
	if got := post(srv.URL, "Bearer "); got != 404 {
		t.Errorf("without a token there must be no control endpoint, got %d", got)
	}
}

func TestARotationIsSeenAtOnceAndKeysDoNotPileUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen := map[string]bool{}
	for range 6 {
		kid, err := b.Rotate()
		if err != nil {
			t.Fatal(err)
		}
		if ev := b.send(t, `{"type":"tenant.created"}`); ev.Evidence.KeyID != kid || seen[kid] {
			t.Errorf("signed by %s after a rotation to %s", ev.Evidence.KeyID, kid)
		}
		seen[kid] = true
	}
	resp, err := http.Get(b.url + simulator.KeySetPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct {
		Keys []struct{ Kid, Kty, Alg, Use, N, E, D string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	if n := len(set.Keys); n != 6 { // the login key, the current one, four old ones
		t.Errorf("%d keys in the set", n)
	}
	for _, k := range set.Keys {
		if k.Kty != "RSA" || k.Alg != "RS256" || k.Use != "sig" || k.D != "" {
			t.Errorf("published %+v", k)
		}
	}
}
