package plugin

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestOnceIsTheSameOnEveryRedeliveryAndDiffersOtherwise(t *testing.T) {
	t.Parallel()
	ev := Event{Source: "authvital", ID: "ann@example.com", Key: "tenant:t1", Position: 4}
	again := ev
	again.Attempt, again.Replay, again.Position, again.Key = 9, true, 0, "other"
	if ev.Once("mail") != again.Once("mail") {
		t.Error("a redelivery has another key")
	}
	// Fixed for ever: another value would repeat every effect that is known to
	// the other side under the old one.
	if got := ev.Once("mail"); got != "av_4pgny7htato5rvthsk4a75a5bdmid6c4" {
		t.Errorf("%q", got)
	}
	seen := map[string]string{}
	for name, key := range map[string]string{
		"it":             ev.Once("mail"),
		"another effect": ev.Once("ticket"),
		"another event":  Event{Source: "authvital", ID: "e2"}.Once("mail"),
		"another source": Event{Source: "other", ID: "ann@example.com"}.Once("mail"),
		"a shifted cut":  Event{Source: "authvitala", ID: "nn@example.com"}.Once("mail"),
	} {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share a key", name, other)
		}
		seen[key] = name
		if strings.Contains(key, "ann") {
			t.Error("a key shows the event's id")
		}
	}
}

func TestChangedPrefersTheSubjectsOwnRow(t *testing.T) {
	t.Parallel()
	ev := Event{Subject: "organization:t1", Changes: []Change{
		{Entity: "identity", ID: "u1", Field: "name", After: []byte(`"u"`)},
		{Entity: "organization", ID: "t1", Field: "name", After: []byte(`"o"`)},
		{Entity: "identity", ID: "u1", Field: "app_role", After: []byte(`"r"`)},
	}}
	if c, ok := ev.Changed("name"); !ok || string(c.After) != `"o"` {
		t.Errorf("%v %v", c, ok)
	}
	if c, ok := ev.Changed("app_role"); !ok || c.ID != "u1" {
		t.Errorf("%v %v", c, ok)
	}
	if _, ok := ev.Changed("plan"); ok {
		t.Error("found a change that is not there")
	}
}

func TestDataReadsTheRowTheEventIsAbout(t *testing.T) {
	t.Parallel()
	ev := Event{Type: "application.updated", Subject: "application:a2", TenantID: "t1", Entities: []Entity{
		{Kind: "application", ID: "a1", JSON: []byte(`{"application_id":"a1"}`)},
		{Kind: "application", ID: "a2", JSON: []byte(`{"application_id":"a2","organization_id":null,"is_active":true,"created_at":"2026-01-02T03:04:05.678Z"}`)},
		{Kind: "organization", ID: "t0", JSON: []byte(`{"tenant_id":"t0"}`)},
		{Kind: "organization", ID: "t1", JSON: []byte(`{"tenant_id":"t1","plan":"pro","require_mfa":true}`)},
		{Kind: "identity", ID: "u1"},
	}}
	app, err := Data[Application](ev)
	if err != nil || app.ApplicationID != "a2" || app.IsActive == nil || app.CreatedAt.Year() != 2026 || app.OrganizationID != "" {
		t.Errorf("%+v %v", app, err)
	}
	org, err := Data[Organization](ev)
	if err != nil || org.TenantID != "t1" || org.Plan != "pro" || org.RequireMFA == nil {
		t.Errorf("%+v %v", org, err)
	}
	for name, err := range map[string]error{"gone": second(Data[Identity](ev)), "not delivered": second(Data[SSOProvider](ev))} {
		if kind, _ := outcome(err); !errors.Is(err, ErrNoEntity) || kind != verdictReject {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDataReadsTheRowThatAnEventTellsOf(t *testing.T) {
	t.Parallel()
	ev := Event{Type: "license.assigned", Subject: "identity:u1", TenantID: "t1", Entities: []Entity{
		{Kind: "identity", ID: "u1", JSON: []byte(`{"sub":"u1"}`)},
		{Kind: "membership", ID: "m", JSON: []byte(`{"membership_id":"m","roles":["owner"]}`)},
		{Kind: "app_access", ID: "u1/a/t1", JSON: []byte(`{"id":"u1/a/t1","has_access":true}`)},
		{Kind: "license", ID: "l", JSON: []byte(`{"assignment_id":"l","license_type_id":null}`)},
		{Kind: "subscription", ID: "s", JSON: []byte(`{"subscription_id":"s","quantity":5}`)},
		{Kind: "invitation", ID: "i", JSON: []byte(`{"invite_id":"i","expires_at":null}`)},
	}}
	m, err1 := Data[Membership](ev)
	a, err2 := Data[AppAccess](ev)
	l, err3 := Data[License](ev)
	s, err4 := Data[Subscription](ev)
	i, err5 := Data[Invitation](ev)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	if m.MembershipID != "m" || len(m.Roles) != 1 || !a.HasAccess || l.AssignmentID != "l" || l.LicenseTypeID != "" || s.Quantity != 5 || i.InviteID != "i" || i.ExpiresAt != nil {
		t.Errorf("%+v %+v %+v %+v %+v", m, a, l, s, i)
	}
	if _, err := Data[License](Event{Type: "license.revoked"}); !errors.Is(err, ErrNoEntity) {
		t.Errorf("a license that did not come: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestDataThatCannotBeReadIsRejectedWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	type mine struct {
		Sub string `json:"sub"`
	}
	good := Event{Type: "subject.created", Raw: []byte(`{"sub":"u1","email_verified":true,"x":1}`)}
	if d, err := Data[mine](good); err != nil || d.Sub != "u1" {
		t.Errorf("%v %v", d, err)
	}
	if d, err := Data[SubjectData](good); err != nil || d.EmailVerified == nil || !*d.EmailVerified || d.PhoneNumberVerified != nil {
		t.Errorf("%v %v", d, err)
	}
	for _, raw := range []string{``, `{`, `[]`, `{"expires_at":"ann@example.com"}`, `{"invite_id":{"ann@example.com":1}}`} {
		d, err := Data[InviteData](Event{Type: "invite.created", Raw: []byte(raw)})
		if kind, _ := outcome(err); err == nil || kind != verdictReject || strings.Contains(err.Error(), "ann") || d.InviteID != "" {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestEveryFieldOfTheWireArrives(t *testing.T) {
	t.Parallel()
	got := eventFromWire(&pluginpb.Event{
		Id: "id", Type: "ty", Key: "k", Position: 1, Revision: 2, OccurredAtUs: 1_700_000_000_123_456, Source: "s", Channel: "webhook",
		Subject: "su", TenantId: "t", ApplicationId: "a", Attempt: 3, Replay: true, Superseded: true, ChangesOmitted: 4,
		Changes:  []*pluginpb.Change{{Entity: "e", Id: "i", Field: "f", Before: []byte("1"), After: []byte("2")}},
		Data:     []byte(`{"x":1}`),
		Evidence: &pluginpb.Evidence{KeyId: "kid", Signature: []byte{1}, SignedSha256: []byte{2}},
		Entities: []*pluginpb.Entity{{Kind: "identity", Id: "u", Json: []byte(`{}`)}},
	}, 7)
	if !got.OccurredAt.Equal(time.UnixMicro(1_700_000_000_123_456)) || got.OccurredAt.Location() != time.UTC ||
		got.Attempt != 3 || !got.Replay || got.Fence != 7 || len(got.Entities) != 1 {
		t.Errorf("%+v", got)
	}
	js, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"id","type":"ty","key":"k","subject":"su","tenant_id":"t","application_id":"a","source":"s","channel":"webhook","position":1,"revision":2,` +
		`"occurred_at":"2023-11-14T22:13:20.123456Z","superseded":true,"changes":[{"entity":"e","id":"i","field":"f","before":1,"after":2}],"changes_omitted":4,` +
		`"data":{"x":1},"evidence":{"key_id":"kid","signature":"AQ==","signed_sha256":"Ag=="}}`
	if string(js) != want {
		t.Errorf("got  %s\nwant %s", js, want)
	}
}
