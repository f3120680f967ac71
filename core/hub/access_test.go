package hub_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/internal/provider"
)

// Once the sender has its answer, so has who asks about access: no clock passes
// in between.
func TestAccessFollowsTheEventThatTheHubJustAccepted(t *testing.T) {
	t.Parallel()
	p := provider.New(t)
	h := setup(t, func(c *config.Config) {
		c.Sources = []config.Source{{Name: "authvital", Host: p.URL, Path: "/hook", MaxAge: time.Minute, MaxAhead: time.Minute}}
		c.Features = map[string][]string{"pro": {"sso"}}
	})
	if err := h.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	serve(t, h)
	n := 0
	send := func(typ, data string) int {
		n++
		body := fmt.Sprintf(`{"id":"e%d","type":%q,"timestamp":%q,"tenant_id":"t","application_id":"a","data":%s}`,
			n, typ, time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC).Format(time.RFC3339), data)
		req, err := http.NewRequest(http.MethodPost, "http://"+h.PublicAddr().String()+"/hook", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range p.Webhook([]byte(body)) {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	until(t, "the first event is accepted", func() bool { return send("subject.created", `{"sub":"ann"}`) == http.StatusOK })
	for _, step := range []struct {
		typ, data string
		want      access.Reason
		sso       bool
	}{
		{"tenant.created", `{"tenant_id":"t","name":"T","slug":"t","plan":"pro","created_at":"2026-01-01T00:00:00Z","settings":{}}`, access.NoAccess, true},
		{"app_access.granted", `{"membership_id":"m","sub":"ann","role_id":"r","role_name":"R","role_slug":"r"}`, access.Allowed, true},
		{"member.joined", `{"membership_id":"m","sub":"ann","tenant_roles":[]}`, access.Allowed, true},
		{"member.suspended", `{"membership_id":"m","sub":"ann"}`, access.MembershipSuspended, true},
		{"member.activated", `{"membership_id":"m","sub":"ann"}`, access.Allowed, true},
		{"tenant.suspended", `{"tenant_id":"t","name":"T","slug":"t","suspended_at":"2026-01-01T00:00:00Z"}`, access.TenantSuspended, false},
		{"subject.deactivated", `{"sub":"ann"}`, access.IdentityDeactivated, false},
		{"subject.deleted", `{"sub":"ann"}`, access.UnknownIdentity, false},
	} {
		if status := send(step.typ, step.data); status != http.StatusOK {
			t.Fatalf("%s: %d", step.typ, status)
		}
		d, err := h.Access().CheckIn(t.Context(), "ann", "a", "t")
		if err != nil || d.Reason != step.want {
			t.Errorf("after %s: %+v %v, want %s", step.typ, d, err, step.want)
		}
		if has, err := h.Access().HasFeature(t.Context(), "t", "sso"); err != nil || has != step.sso {
			t.Errorf("after %s: the feature: %v %v", step.typ, has, err)
		}
	}
}

func TestTheHubRemovesSessionsThatAreOver(t *testing.T) {
	t.Parallel()
	h := setup(t, func(c *config.Config) {
		c.Mirror.Sessions = config.Sessions{CleanupEvery: 20 * time.Millisecond, Keep: time.Hour, MaxPerRun: 10}
	})
	create := h.Store().Ent(t.Context()).IdentitySession.Create
	for _, ends := range []time.Duration{-2 * time.Hour, time.Hour} {
		if err := create().SetIdentityID("ann").SetExpiresAt(time.Now().Add(ends)).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, h)
	until(t, "the session that is over is removed", func() bool {
		n, err := h.Mirror().IdentitySession.Query().Count(t.Context())
		return err == nil && n == 1
	})
}
