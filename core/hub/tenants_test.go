package hub_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/internal/provider"
)

func TestATenantsOwnMirrorFollowsTheHubs(t *testing.T) {
	t.Parallel()
	p := provider.New(t)
	dir := t.TempDir()
	h := setup(t, func(c *config.Config) {
		c.Sources = []config.Source{{Name: "authvital", Host: p.URL, Path: "/hook", MaxAge: time.Minute, MaxAhead: time.Minute}}
		c.Mirror.Tenants = config.TenantDatabases{Mode: "isolated", URL: "sqlite://" + dir + "/{slug}.db", MaxOpen: 2, OnDelete: "keep"}
	})
	if err := h.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	serve(t, h)
	for tenant, name := range map[string]string{"t1": "Fjord", "t2": "Dal"} {
		body := `{"id":"e` + tenant + `","type":"tenant.created","timestamp":"2026-01-02T03:04:05Z","tenant_id":"` + tenant +
			`","data":{"tenant_id":"` + tenant + `","name":"` + name + `","slug":"` + strings.ToLower(name) + `"}}`
		until(t, "the event is accepted", func() bool { return post(t, h, p, body) == http.StatusOK })
	}
	for tenant, name := range map[string]string{"t1": "Fjord", "t2": "Dal"} {
		until(t, "the tenant's own mirror has its organization, and no other", func() bool { return organization(t, h, tenant) == name })
	}
	if _, _, err := h.TenantMirror(context.Background(), "t3"); !errors.Is(err, isolated.ErrNoDatabase) {
		t.Errorf("a tenant that nobody knows: %v", err)
	}
}

// organization returns the name of the only organization in a tenant's mirror.
func organization(t *testing.T, h *hub.Hub, tenant string) string {
	t.Helper()
	db, release, err := h.TenantMirror(context.Background(), tenant)
	if errors.Is(err, isolated.ErrNoDatabase) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	org, err := db.Organization.Query().Only(context.Background())
	if err != nil {
		return ""
	}
	return org.Name
}

func post(t *testing.T, h *hub.Hub, p *provider.Provider, body string) int {
	t.Helper()
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

func TestInASharedMirrorNoTenantHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	h := setup(t, func(*config.Config) {})
	if _, _, err := h.TenantMirror(context.Background(), "t1"); !errors.Is(err, isolated.ErrNoDatabase) {
		t.Error(err)
	}
}
