// Command slack is a connector that tells a team in Slack what happens.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/schema"
)

type config struct {
	Token       string        `json:"token" doc:"Token of a Slack app, xoxb-…, with the scope chat:write. Token or webhook_url must be given." secret:"true"`
	WebhookURL  string        `json:"webhook_url" doc:"An incoming webhook instead of a token. Its channel is fixed." secret:"true" pattern:"^https?://[^/]" example:"https://hooks.slack.com/services/T000/B000/XXXX"`
	APIURL      string        `json:"api_url" doc:"Where Slack's Web API is." default:"https://slack.com/api" pattern:"^https?://[^/]"`
	Routes      []route       `json:"routes" doc:"Which events go where, and in what words. The first route that fits an event takes it; an event that none fits is not told." required:"true"`
	ExactlyOnce bool          `json:"exactly_once" doc:"Look in the channel's history when it is not known whether a message was posted. Needs a token with the scope channels:history or groups:history, and channels by their ids."`
	MaxAge      time.Duration `json:"max_age" doc:"Older events are not told: a connector that is new is given all that the hub ever heard. 0s tells all." default:"24h" min:"0s"`
	Timeout     time.Duration `json:"timeout" doc:"For one request." default:"10s" min:"100ms" max:"50s"`
}

type route struct {
	Events   []string `json:"events" doc:"Types: exact ones, tenant.* for all below, * for all." required:"true" pattern:"^(\\*|[a-z0-9_]+(\\.[a-z0-9_]+)*(\\.\\*)?)$" example:"[\"tenant.*\"]"`
	Tenants  []string `json:"tenants" doc:"Tenants, by id or slug, whose events it takes. Without this key, those of all, and those of none."`
	Channel  string   `json:"channel" doc:"Channel, by name or id. With webhook_url there is none to choose." pattern:"^#?[^#\\s]+$" example:"#sales"`
	Template string   `json:"template" doc:"Text of the message, a Go text/template. Without it there is a text for each type."`
	Mute     bool     `json:"mute" doc:"Say nothing about what this route takes."`
}

var channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{5,}$`)

// Validate finds what tags cannot say, and tries every template.
func (c *config) Validate() []schema.Problem {
	var problems []schema.Problem
	add := func(path schema.Path, summary, detail string) {
		problems = append(problems, schema.Problem{Path: path, Kind: schema.NotAllowed, Summary: summary, Detail: detail})
	}
	switch {
	case c.Token == "" && c.WebhookURL == "":
		add(schema.Path{"token"}, "is missing", "set token to that of a Slack app, or webhook_url to an incoming webhook")
	case c.Token != "" && c.WebhookURL != "":
		add(schema.Path{"webhook_url"}, "is one way too many", "messages go by token or by webhook_url; take one of the two out")
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		add(schema.Path{"token"}, "holds characters that no token has", "it is one word, such as xoxb- and what follows")
	case c.WebhookURL != "" && c.ExactlyOnce:
		add(schema.Path{"exactly_once"}, "cannot be had with webhook_url", "an incoming webhook cannot read a channel's history; use a token, or take exactly_once out")
	}
	for _, set := range []struct{ key, address, like string }{
		{"api_url", c.APIURL, "https://slack.com/api"}, {"webhook_url", c.WebhookURL, "https://hooks.slack.com/services/…"},
	} {
		if u, err := url.Parse(set.address); set.address != "" && (err != nil || u.Host == "") {
			add(schema.Path{set.key}, "is no address", "write it like "+set.like)
		}
	}
	for i, r := range c.Routes {
		at := schema.Path{"routes", i}
		switch {
		case r.Mute:
			if r.Channel != "" || r.Template != "" {
				add(at.Child("mute"), "goes with neither channel nor template", "a muted route says nothing; take them out")
			}
		case c.Token == "" && c.WebhookURL != "" && r.Channel != "":
			add(at.Child("channel"), "cannot be chosen with webhook_url", "an incoming webhook posts to its own channel; use a token, or take channel out")
		case c.Token != "" && r.Channel == "":
			add(at.Child("channel"), "is missing", "set channel to a channel's name or id, for example \"#sales\"")
		case c.ExactlyOnce && !channelID.MatchString(r.Channel):
			add(at.Child("channel"), "is a name", "with exactly_once a channel is named by its id, such as C024BE91L; Slack shows it at the end of the channel's details")
		}
		if _, err := parseTemplate(r); err != nil {
			add(at.Child("template"), err.Error(), "there are "+viewWords)
		}
	}
	return problems
}

// fits tells whether the route is for a type.
func (r route) fits(typ string) bool {
	return slices.ContainsFunc(r.Events, func(pattern string) bool {
		family, all := strings.CutSuffix(pattern, "*")
		return pattern == typ || all && strings.HasPrefix(typ, family)
	})
}

// takes tells whether the route is for an event.
func (r route) takes(v view) bool {
	if !r.fits(v.Event.Type) || len(r.Tenants) == 0 {
		return r.fits(v.Event.Type)
	}
	for _, tenant := range r.Tenants {
		if tenant != "" && (tenant == v.Event.TenantID || tenant == v.Organization.Slug || tenant == v.ifType("tenant.", "slug")) {
			return true
		}
	}
	return false
}

func open(_ context.Context, cfg config, _ *slog.Logger) (plugin.Connector[state], error) {
	n := &notifier{cfg: cfg, now: time.Now, fresh: map[string]string{}, slack: &slack{cfg: cfg, now: time.Now, pauses: map[string]time.Time{}}}
	n.slack.client = &http.Client{
		Timeout: cfg.Timeout,
		// A token must not travel on to where a redirect points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for i, r := range cfg.Routes {
		t, err := parseTemplate(r)
		if err != nil {
			return nil, fmt.Errorf("routes[%d].template: %w", i, err)
		}
		n.templates = append(n.templates, t)
	}
	return n, nil
}

var connector = plugin.Plugin[config, state]{Info: plugin.Info{
	Name: "slack", Version: "1.0.0", Summary: "tells a team in Slack what happens",
	Events: []string{"*"}, Order: plugin.PerTenant, Notifies: true,
}, Open: open}

func main() { connector.Main() }
