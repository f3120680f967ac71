package mirror_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"pgregory.net/rapid"
)

// start is when all histories begin.
var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// said is one event as its sender writes it.
type said struct {
	typ     string
	id      string // webhooks only
	at      time.Duration
	system  bool
	tenant  string
	app     string
	data    map[string]any
	asTyped string // data as JSON, when a test needs it to the byte
}

// event decodes what the sender would post.
func (s said) event(tb interface {
	Helper()
	Fatalf(string, ...any)
}) *event.Event {
	tb.Helper()
	when := start.Add(s.at).Format("2006-01-02T15:04:05.000000Z")
	data := json.RawMessage(s.asTyped)
	if s.asTyped == "" {
		var err error
		if data, err = json.Marshal(s.data); err != nil {
			tb.Fatalf("encode data: %v", err)
		}
	}
	decode := event.DecodeWebhook
	envelope := map[string]any{"timestamp": when, "data": data}
	if s.system {
		decode = event.DecodeSystem
		envelope["event"] = s.typ
	} else {
		envelope["id"], envelope["type"] = s.id, s.typ
		envelope["tenant_id"], envelope["application_id"] = orNull(s.tenant), orNull(s.app)
	}
	body, err := json.Marshal(envelope)
	if err != nil {
		tb.Fatalf("encode envelope: %v", err)
	}
	ev, err := decode(body)
	if err != nil {
		tb.Fatalf("decode %s: %v", body, err)
	}
	ev.Source, ev.Evidence.Body = "authvital", body
	return ev
}

// in makes the event about an application.
func (s said) in(app string) said {
	s.app = app
	return s
}

// as gives the event another id.
func (s said) as(id string) said {
	s.id = id
	return s
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// tell prints a history so that a failing one can be read.
func tell(events []*event.Event) string {
	var b strings.Builder
	for _, ev := range events {
		id := ev.ID
		if len(id) > 12 {
			id = id[:12]
		}
		fmt.Fprintf(&b, "%s %-12s %-24s tenant=%s app=%s %s\n", ev.Time.Format("15:04:05.000000"), id, ev.Type, ev.TenantID, ev.ApplicationID, ev.Data)
	}
	return b.String()
}

// histories draws what may happen in a small world: few entities, few moments
// and few ids, so that everything collides: times, ids, tenants, people.
func histories(least, most int) *rapid.Generator[[]*event.Event] {
	return rapid.Custom(func(t *rapid.T) []*event.Event {
		said := rapid.SliceOfN(happening(), least, most).Draw(t, "history")
		events := make([]*event.Event, 0, len(said))
		for _, s := range said {
			events = append(events, s.event(t))
		}
		return events
	})
}

func happening() *rapid.Generator[said] {
	return rapid.Custom(func(t *rapid.T) said {
		d := draw{t}
		s := said{
			id: fmt.Sprintf("e%d", rapid.IntRange(0, 50).Draw(t, "id")),
			// Half of the ties are within a microsecond, half need its fraction.
			at: time.Duration(rapid.IntRange(0, 30).Draw(t, "time")) * 500 * time.Microsecond,
		}
		switch rapid.IntRange(0, 6).Draw(t, "family") {
		case 0, 4:
			d.person(&s)
		case 1:
			d.tenant(&s)
		case 2:
			d.application(&s)
		case 3:
			d.provider(&s)
		case 5:
			d.given(&s)
		case 6:
			d.invited(&s)
		}
		return s
	})
}

// draw fills in events.
type draw struct{ t *rapid.T }

func (d draw) one(name string, of ...string) string {
	return rapid.SampledFrom(of).Draw(d.t, name)
}

// maybe sends a field in one of three ways: not at all, as null, with a value.
func (d draw) maybe(data map[string]any, field string, values ...any) {
	switch i := rapid.IntRange(-2, len(values)-1).Draw(d.t, field); i {
	case -2:
	case -1:
		data[field] = nil
	default:
		data[field] = values[i]
	}
}

// some sends a field or not.
func (d draw) some(data map[string]any, field string, values ...any) {
	if i := rapid.IntRange(-1, len(values)-1).Draw(d.t, field); i >= 0 {
		data[field] = values[i]
	}
}

func (d draw) changed(data map[string]any, names ...string) {
	switch rapid.IntRange(0, 4).Draw(d.t, "changed_fields") {
	case 0:
	case 1:
		data["changed_fields"] = []string{}
	default:
		data["changed_fields"] = rapid.SliceOfN(rapid.SampledFrom(names), 1, 3).Draw(d.t, "changed")
	}
}

func (d draw) person(s *said) {
	s.tenant = d.one("tenant", "", "t1", "t1", "t2")
	s.app = d.one("app", "a1", "a2")
	sub := d.one("sub", "p1", "p2")
	s.data = map[string]any{"sub": sub, "membership_id": "m_" + sub + s.tenant}
	s.typ = d.one("type",
		event.TypeSubjectCreated, event.TypeSubjectUpdated, event.TypeSubjectUpdated, event.TypeSubjectDeactivated,
		event.TypeSubjectDeleted, event.TypeMemberJoined, event.TypeMemberLeft, event.TypeMemberLeft, event.TypeMemberRoleChanged,
		event.TypeMemberSuspended, event.TypeMemberActivated, event.TypeAppAccessGranted, event.TypeAppAccessRevoked, event.TypeAppAccessRoleChanged)
	d.maybe(s.data, "email", sub+"@a.example", sub+"@b.example", 7)
	d.maybe(s.data, "given_name", "Ines", "I\u00f1\"es\\")
	switch {
	case s.typ == event.TypeSubjectCreated || s.typ == event.TypeSubjectUpdated:
		d.maybe(s.data, "name", "Ines H", "I. H.")
		d.maybe(s.data, "phone_number_verified", true, false)
		d.maybe(s.data, "groups", []string{"crew"}, []string{"crew", "lead"}, []string{})
		d.maybe(s.data, "app_role", "owner", "viewer")
		d.maybe(s.data, "tenant_id", "t1", "t2")
		if s.typ == event.TypeSubjectUpdated {
			d.changed(s.data, "email", "name", "display_name", "phone_verified", "groups", "app_role", "tenant_id", "other")
		}
	case strings.HasPrefix(s.typ, "member."):
		d.maybe(s.data, "tenant_roles", []string{"owner", "x"}, []string{"viewer"}, []string{})
		d.maybe(s.data, "groups", []string{"crew"})
	default:
		d.maybe(s.data, "role_slug", "editor", "viewer")
	}
}

func (d draw) tenant(s *said) {
	s.tenant = d.one("tenant", "t1", "t2", "t3")
	s.system = rapid.Bool().Draw(d.t, "system")
	s.data = map[string]any{"tenant_id": s.tenant}
	s.typ = d.one("type", event.TypeTenantCreated, event.TypeTenantUpdated, event.TypeTenantUpdated, event.TypeTenantUpdated,
		event.TypeTenantSuspended, event.TypeTenantDeleted)
	d.maybe(s.data, "name", "Fjord", "Dal")
	d.some(s.data, "created_at", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z")
	d.maybe(s.data, "plan", "pro", "starter")
	d.maybe(s.data, "reason", "unpaid", "abuse")
	d.some(s.data, "is_active", true, false)
	d.some(s.data, "previous_values", map[string]any{"status": "SUSPENDED"}, map[string]any{"is_active": true})
	if i := rapid.IntRange(0, 3).Draw(d.t, "settings"); i > 0 {
		settings := map[string]any{}
		d.maybe(settings, "require_mfa", true, false, "no boolean")
		d.maybe(settings, "session_lifetime_minutes", 30, 720)
		d.maybe(settings, "allowed_email_domains", []string{"a.example"}, []string{})
		d.maybe(settings, "password_policy", "strict", map[string]any{"min": 12, "a": nil})
		d.maybe(settings, "plan", "enterprise")
		d.maybe(settings, "theme", map[string]any{"b": 1, "a": "<&>"}, "dark")
		s.data["settings"] = settings
		if i == 3 {
			s.data["settings"] = nil
		}
	}
	d.changed(s.data, "name", "plan", "settings", "settings.require_mfa", "settings.theme.a", "settings.plan",
		"settings.password_policy", "status", "is_active", "members")
}

func (d draw) application(s *said) {
	s.system = rapid.Bool().Draw(d.t, "system")
	s.tenant = d.one("tenant", "", "t1", "t2")
	s.data = map[string]any{"application_id": d.one("application", "a1", "a2", "a3")}
	if s.system {
		s.data["tenant_id"] = nil
	} else {
		d.maybe(s.data, "tenant_id", "t1", "t2")
	}
	s.typ = d.one("type", event.TypeApplicationCreated, event.TypeApplicationUpdated, event.TypeApplicationUpdated, event.TypeApplicationDeleted)
	d.maybe(s.data, "name", "Ledger", "Books")
	d.maybe(s.data, "client_id", "c1", "c2")
	d.maybe(s.data, "is_active", true, false)
	d.maybe(s.data, "licensing", map[string]any{"mode": "SEAT"}, map[string]any{"mode": "FREE", "x": 1.5})
	if rapid.Bool().Draw(d.t, "config") {
		config := map[string]any{}
		d.maybe(config, "redirect_uris", []string{"https://a.example/cb"}, []string{})
		d.maybe(config, "access_token_ttl_seconds", 60, 3600)
		s.data["config"] = config
	}
	d.changed(s.data, "name", "client_id", "is_active", "config", "config.redirect_uris", "access_token_ttl_seconds", "licensing.mode")
}

func (d draw) provider(s *said) {
	s.system = rapid.Bool().Draw(d.t, "system")
	s.data = map[string]any{"provider_id": d.one("provider", "OKTA", "a/b")}
	if !s.system {
		s.tenant = d.one("tenant", "t1", "t2")
		s.data["tenant_id"] = s.tenant
	}
	s.typ = d.one("type", event.TypeSSOProviderAdded, event.TypeSSOProviderUpdated, event.TypeSSOProviderUpdated, event.TypeSSOProviderRemoved)
	d.some(s.data, "provider_type", "okta", "oidc")
	d.maybe(s.data, "display_name", "Okta", "Single")
	d.some(s.data, "is_enabled", true, false)
	if rapid.Bool().Draw(d.t, "config") {
		config := map[string]any{}
		d.maybe(config, "issuer", "https://i.example")
		d.maybe(config, "domains", []string{"a.example"})
		d.maybe(config, "attribute_mapping", map[string]any{"mail": "email"})
		s.data["config"] = config
	}
	d.changed(s.data, "display_name", "is_enabled", "config.issuer", "domains")
}

// given draws licenses, and what tenants were given of applications.
func (d draw) given(s *said) {
	sub := d.one("sub", "p1", "p2")
	s.tenant, s.app = d.one("tenant", "t1", "t2"), d.one("app", "a1", "a2")
	s.typ = d.one("type", event.TypeLicenseAssigned, event.TypeLicenseChanged, event.TypeLicenseRevoked,
		event.TypeTenantAppGranted, event.TypeTenantAppGranted, event.TypeTenantAppRevoked)
	if strings.HasPrefix(s.typ, "license.") {
		s.data = map[string]any{"assignment_id": "l_" + sub, "sub": sub}
		d.maybe(s.data, "license_type_id", "lt1", "lt2")
		d.maybe(s.data, "license_type_name", "Crew", "Lead", 7)
		return
	}
	s.system = rapid.Bool().Draw(d.t, "system")
	s.data = map[string]any{"tenant_id": s.tenant, "application_id": s.app}
	if s.typ == event.TypeTenantAppGranted && rapid.Bool().Draw(d.t, "subscription") {
		s.data["subscription_id"] = d.one("subscription", "s1", "s.2")
		d.maybe(s.data, "license_type_id", "lt1", "lt2")
		d.maybe(s.data, "license_type_name", "Crew", "Lead")
		d.some(s.data, "quantity_purchased", 5, 25)
		d.maybe(s.data, "status", "ACTIVE", "CANCELED")
		return
	}
	s.data["user_id"] = sub
	d.maybe(s.data, "access_type", "GRANTED", "AUTO_FREE")
	d.maybe(s.data, "role_slug", "editor", "viewer")
}

func (d draw) invited(s *said) {
	s.tenant = d.one("tenant", "", "t1", "t2")
	s.typ = d.one("type", event.TypeInviteCreated, event.TypeInviteAccepted, event.TypeInviteDeleted, event.TypeInviteExpired)
	s.data = map[string]any{"invite_id": d.one("invite", "i1", "i2")}
	d.maybe(s.data, "membership_id", "m1")
	d.maybe(s.data, "email", "new@a.example")
	d.maybe(s.data, "tenant_roles", []string{"viewer"}, []string{})
	d.maybe(s.data, "expires_at", "2026-03-08T00:00:00Z")
}

// someOptions draws a configuration of what events mean.
func someOptions() *rapid.Generator[mirror.Options] {
	return rapid.Custom(func(t *rapid.T) mirror.Options {
		return mirror.Options{
			ApplicationID:   rapid.SampledFrom([]string{"", "a1"}).Draw(t, "application"),
			MarkDeleted:     rapid.Bool().Draw(t, "mark"),
			PlanApplication: rapid.SampledFrom([]string{"", "a1"}).Draw(t, "plan application"),
			PlanFrom: rapid.SampledFrom([][]string{
				nil, {mirror.PlanFromSubscription, mirror.PlanFromSettings, mirror.PlanFromData}, {mirror.PlanFromSettings}, {},
			}).Draw(t, "plan from"),
		}
	})
}

// shuffled returns events in another order, some of them twice.
func shuffled(t *rapid.T, events []*event.Event) []*event.Event {
	again := rapid.Permutation(events).Draw(t, "again")
	twice := append(append([]*event.Event{}, events...), again[:rapid.IntRange(0, len(again)).Draw(t, "duplicates")]...)
	return rapid.Permutation(twice).Draw(t, "order")
}

func TestGeneratedHistoriesReachEveryKindOfRow(t *testing.T) {
	t.Parallel()
	types := map[string]bool{}
	for seed := range 20 {
		for _, ev := range histories(40, 40).Example(seed) {
			types[ev.Type] = true
		}
	}
	if len(types) < 31 {
		t.Fatalf("20 histories hold only %d types: %v", len(types), types)
	}
}
