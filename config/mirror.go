package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

// Mirror says what the copy of the provider's data shows.
type Mirror struct {
	ApplicationID   string   `json:"application_id" doc:"Your application: its app_access events alone set has_app_access and app_role of identities. Without it, those of any application do. After a change run: avhub mirror rebuild." example:"app_ledger"`
	OnDelete        string   `json:"on_delete" doc:"What becomes of the row of a tenant that is deleted: remove it, or mark it with the status deleted. Its applications, memberships and so on go either way. After a change run: avhub mirror rebuild." enum:"remove|mark" default:"remove"`
	PlanFrom        []string `json:"plan_from" doc:"Where an organization's plan is read: the first of these that is there. data.plan and data.settings.plan are what tenant events say; subscription is the license type of the tenant's active subscription to plan_application. After a change run: avhub mirror rebuild." enum:"data.plan|data.settings.plan|subscription" default:"[\"data.plan\", \"data.settings.plan\", \"subscription\"]"`
	PlanApplication string   `json:"plan_application" doc:"The application whose subscriptions tell the plan; without it, application_id. Without either, no subscription tells a plan. After a change run: avhub mirror rebuild."`

	Tenants  TenantDatabases `json:"tenants" doc:"Whether each tenant's rows are also kept in a database of its own."`
	Sessions Sessions        `json:"sessions" doc:"When sessions of people that are over are removed from av_identity_sessions."`
}

// PlanApplicationID is the application whose subscriptions tell the plan, empty
// for none.
func (m Mirror) PlanApplicationID() string {
	if m.PlanApplication != "" {
		return m.PlanApplication
	}
	return m.ApplicationID
}

// TenantDatabases says where tenants' own databases are.
type TenantDatabases struct {
	Mode     string `json:"mode" doc:"shared: all tenants in the hub's database alone. isolated: each tenant's rows also in a database of its own, made when the tenant is first heard of." enum:"shared|isolated" default:"shared"`
	URL      string `json:"url" doc:"sqlite://… or postgres://… with {tenant_id} or {slug} in the file's or database's name. A password in it is redacted wherever it is shown." example:"sqlite://data/tenants/{tenant_id}.db"`
	MaxOpen  int    `json:"max_open" doc:"Databases that are open at a time." default:"32" min:"1" max:"1000"`
	OnDelete string `json:"on_delete" doc:"What becomes of the database of a tenant that is deleted: keep it, empty of the tenant's rows, or drop it with everything in it." enum:"keep|drop" default:"keep"`
}

// RedactedURL is the URL fit for logs and screens.
func (t TenantDatabases) RedactedURL() string { return RedactURL(t.URL) }

// Sessions says when sessions are removed.
type Sessions struct {
	CleanupEvery time.Duration `json:"cleanup_every" doc:"How often the hub looks for sessions that are over; 0s: never by itself." default:"1h" min:"0s" max:"720h"`
	Keep         time.Duration `json:"keep" doc:"How long a session stays after it has expired or was revoked." default:"24h" min:"0s" max:"87600h"`
	MaxPerRun    int           `json:"max_per_run" doc:"Sessions that one run removes at most; the next one goes on." default:"10000" min:"1" max:"10000000"`
}

// API is how the provider's integration API is reached, for a first fill.
type API struct {
	URL          string   `json:"url" doc:"Base URL of the API; without it, the source's host." example:"https://auth.example.com"`
	ClientID     string   `json:"client_id" doc:"Client id of a machine that may read members." example:"${AUTHVITAL_CLIENT_ID}"`
	ClientSecret string   `json:"client_secret" doc:"Its secret." secret:"true" example:"${AUTHVITAL_CLIENT_SECRET}"`
	Clients      []string `json:"clients" doc:"Client ids of the applications whose members are read, over all tenants." example:"[\"ledger-web\"]"`
	Tenants      []string `json:"tenants" doc:"Ids of tenants whose members are read beside those that the mirror knows already."`
}

// BaseURL is where the integration API is.
func (s Source) BaseURL() string {
	if s.API.URL != "" {
		return strings.TrimRight(s.API.URL, "/")
	}
	return strings.TrimRight(s.Host, "/")
}

func (c *Config) validateMirror(found *collector) {
	at := schema.Path{"mirror"}
	for i, from := range c.Mirror.PlanFrom {
		if slices.Index(c.Mirror.PlanFrom, from) < i {
			found.add(at.Child("plan_from").Child(i), "is there already", "name each place once")
		}
	}
	for _, plan := range slices.Sorted(maps.Keys(c.Features)) {
		for i, feature := range c.Features[plan] {
			if strings.TrimSpace(feature) == "" {
				found.add(schema.Path{"features", plan, i}, "is empty", "name a feature, or take the entry out")
			}
		}
	}
	t := c.Mirror.Tenants
	if t.Mode != "isolated" && t.URL == "" {
		return
	}
	url := at.Child("tenants").Child("url")
	if t.URL == "" {
		found.add(url, "is missing, and each tenant is to have a database of its own", "set it, for example to sqlite://data/tenants/{tenant_id}.db")
		return
	}
	t.validateURL(found, url)
}

func (t TenantDatabases) validateURL(found *collector, at schema.Path) {
	validateDatabase(found, at, t.URL, "sqlite://data/tenants/{tenant_id}.db or postgres://USER:PASSWORD@HOST/tenant_{slug}")
	_, rest, _ := strings.Cut(t.URL, "://")
	rest, query, _ := strings.Cut(rest, "?")
	last := rest[strings.LastIndex(rest, "/")+1:]
	switch holders := strings.Count(t.URL, "{"); {
	case holders == 0:
		found.add(at, "is the same for every tenant", "put {tenant_id} or {slug} into the file's or database's name")
	case !strings.Contains(last, "{tenant_id}") && !strings.Contains(last, "{slug}"), strings.Contains(query, "{"):
		found.add(at, "has no {tenant_id} or {slug} in the file's or database's name", "put one of them there: sqlite://data/tenants/{tenant_id}.db")
	case strings.Count(last, "{tenant_id}")+strings.Count(last, "{slug}") != holders:
		found.add(at, "has a { } that avhub does not know, or one outside of the file's or database's name", "only {tenant_id} and {slug} are known")
	}
}

func (a API) validate(found *collector, at schema.Path) {
	if a.URL != "" {
		webURL(found, at.Child("url"), a.URL, false)
	}
	switch {
	case a.ClientID != "" && a.ClientSecret == "":
		found.add(at.Child("client_secret"), "is missing beside client_id", `set it, for example to "${AUTHVITAL_CLIENT_SECRET}"`)
	case a.ClientID == "" && a.ClientSecret != "":
		found.add(at.Child("client_id"), "is missing beside client_secret", "set it to the machine's client id")
	}
	for name, list := range map[string][]string{"clients": a.Clients, "tenants": a.Tenants} {
		for i, id := range list {
			if strings.TrimSpace(id) == "" {
				found.add(at.Child(name).Child(i), "is empty", fmt.Sprintf("name one, or take the entry out of %s", name))
			}
		}
	}
}

// escapedBraces lets a placeholder pass as part of a URL.
func escapedBraces(text string) string {
	return strings.NewReplacer("{", url.PathEscape("{"), "}", url.PathEscape("}")).Replace(text)
}
