package event

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSubjectAndTenantKeyOfEachKindOfEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ typ, tenant, data, subject, tenantKey string }{
		{TypeSubjectCreated, "", `{"sub":"usr_1"}`, "identity:usr_1", "identity:usr_1"},
		{TypeSubjectCreated, "t", `{"x":{"sub":"no"},"\u0073ub":"usr:\u00e91"}`, "identity:usr:é1", "tenant:t"},
		{TypeMemberJoined, "t1", `{"membership_id":"m1","sub":"usr_1"}`, "identity:usr_1", "tenant:t1"},
		{TypeMemberJoined, "t2", `{"membership_id":"m2","sub":"usr_1"}`, "identity:usr_1", "tenant:t2"},
		{TypeAppAccessGranted, "t", `{"sub":"usr_1"}`, "identity:usr_1", "tenant:t"},
		{TypeLicenseChanged, "t", `{"assignment_id":"l","sub":"usr_1"}`, "identity:usr_1", "tenant:t"},
		{TypeInviteCreated, "t", `{"invite_id":"i","sub":""}`, "invitation:i", "tenant:t"},
		{TypeInviteAccepted, "t", `{"invite_id":"i","sub":"usr_1"}`, "invitation:i", "tenant:t"},
		{TypeTenantCreated, "t", `{"tenant_id":"t"}`, "organization:t", "tenant:t"},
		{TypeTenantUpdated, "t", `{"tenant_id":null}`, "organization:t", "tenant:t"},
		{TypeTenantSuspended, "t", `{}`, "organization:t", "tenant:t"},
		{TypeTenantDeleted, "", `{}`, "type:tenant.deleted", "type:tenant.deleted"},
		{TypeTenantAppGranted, "t", `{"tenant_id":"t","user_id":"usr_1"}`, "identity:usr_1", "tenant:t"},
		{TypeTenantAppGranted, "t", `{"tenant_id":"t","subscription_id":"s"}`, "organization:t", "tenant:t"},
		{TypeTenantAppGranted, "t", `{"tenant_id":"t","user_id":null}`, "organization:t", "tenant:t"},
		{TypeTenantAppGranted, "t", `{"tenant_id":"t","user_id":7}`, "type:tenant.app.granted", "tenant:t"},
		{TypeTenantAppRevoked, "t", `{"tenant_id":"t","user_id":"usr_1"}`, "identity:usr_1", "tenant:t"},
		{TypeTenantAppRevoked, "t", `{"tenant_id":"t"}`, "type:tenant.app.revoked", "tenant:t"},
		{TypeApplicationCreated, "", `{"application_id":"a"}`, "application:a", "application:a"},
		{TypeSSOProviderAdded, "", `{"provider_id":"GOOGLE"}`, "sso_provider:/GOOGLE", "sso_provider:/GOOGLE"},
		{TypeSSOProviderUpdated, "t", `{"provider_id":"a/b","tenant_id":"t/%"}`, "sso_provider:t%2F%25/a%2Fb", "tenant:t"},
		{TypeSSOProviderRemoved, "t", `{"provider_id":"p"}`, "sso_provider:t/p", "tenant:t"},
		{TypeSSOProviderRemoved, "t", `{"provider_id":"p","tenant_id":7}`, "type:sso.provider_removed", "tenant:t"},
		{"tenant.renamed", "t", `{"tenant_id":"t"}`, "type:tenant.renamed", "tenant:t"},
		{"made.up", "", `{"sub":"usr_1"}`, "type:made.up", "type:made.up"},
	} {
		ev := Event{Type: c.typ, TenantID: c.tenant, Data: json.RawMessage(c.data)}
		if got := ev.Subject(); got != c.subject {
			t.Errorf("%s %s: Subject() = %q, want %q", c.typ, c.data, got, c.subject)
		}
		if got := ev.TenantKey(); got != c.tenantKey {
			t.Errorf("%s %s: TenantKey() = %q, want %q", c.typ, c.data, got, c.tenantKey)
		}
	}
}

func TestLaw6_APoisonousEventStillHasAKey(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		``, `null`, `[]`, `"sub"`, `{`, `{"sub"`, `{"sub":`, `{"a":tru,"sub":"u"}`, `{}`, `{"sub":null}`, `{"sub":""}`, `{"sub":7}`, `{"sub":["u"]}`,
		`{"sub":"a\u0000b"}`, `{"sub":"a\nb"}`, `{"sub":"\ud800"}`, "{\"sub\":\"\xff\"}", `{"sub":"` + strings.Repeat("x", 513) + `"}`, `{"sub":7,"sub":"u"}`,
		`{"x":` + strings.Repeat("[", 1_000_000),
	} {
		ev := Event{Type: TypeSubjectCreated, Data: json.RawMessage(data)}
		if got := ev.Subject(); got != "type:subject.created" {
			t.Errorf("%.40s: Subject() = %q", data, got)
		}
		if _, err := ev.SubjectData(); err == nil {
			t.Errorf("%.40s: this is not poisonous", data)
		}
	}
}

func TestTheRevisionIsTheTimeInMicroseconds(t *testing.T) {
	t.Parallel()
	ev, err := DecodeWebhook([]byte(webhookBody))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 3, 1, 10, 0, 0, 123e6, time.UTC).UnixNano() / 1000; ev.Revision() != want {
		t.Errorf("Revision() = %d, want %d", ev.Revision(), want)
	}
}
