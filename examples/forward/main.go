// Command forward is a connector that passes events on to another hub, or to
// an application, as AuthVital itself would have sent them: the same bytes on
// the same channel, signed with a key of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/schema"
)

type config struct {
	URL         string        `json:"url" doc:"Where to send: at another hub, the path of its source for this one." required:"true" pattern:"^https?://[^/]" example:"https://hub.eu.example.com/webhooks/hub-us"`
	Sources     []string      `json:"sources" doc:"Sources of this hub whose events are sent on; * stands for all that skip_sources does not name." required:"true" example:"[\"authvital\"]"`
	SkipSources []string      `json:"skip_sources" doc:"Sources whose events are not sent on. An event of a source that stands in neither list stops the connector until it does."`
	Key         string        `json:"key" doc:"The private key that signs: RSA of 2048 to 8192 bits, PEM." required:"true" secret:"true" example:"${file:/etc/avhub/forward.pem}"`
	OldKeys     []string      `json:"old_keys" doc:"Keys that signed before, PEM, public or private. They stay in the key set." secret:"true"`
	Listen      string        `json:"listen" doc:"Address, as host:port, at which the key set is served under /.well-known/jwks.json." example:"127.0.0.1:8090"`
	KeySetFile  string        `json:"key_set_file" doc:"File that the key set is written to, for a web server that is there already."`
	Timeout     time.Duration `json:"timeout" doc:"For one request." default:"15s" min:"100ms" max:"50s"`
}

// everySource in sources stands for all that skip_sources does not name.
const everySource = "*"

// Validate finds what tags cannot say.
func (c *config) Validate() []schema.Problem {
	var problems []schema.Problem
	add := func(path schema.Path, summary, detail string) {
		problems = append(problems, schema.Problem{Path: path, Kind: schema.NotAllowed, Summary: summary, Detail: detail})
	}
	if u, err := url.Parse(c.URL); err != nil || u.Hostname() == "" {
		add(schema.Path{"url"}, "is no address", "write it like https://hub.eu.example.com/webhooks/hub-us")
	} else if u.User != nil || u.Fragment != "" {
		add(schema.Path{"url"}, "has a name, a password or a # in it", "leave it out: what proves who sends is the signature")
	}
	for i, name := range c.SkipSources {
		if slices.Contains(c.Sources, name) || name == everySource {
			add(schema.Path{"skip_sources", i}, "says the opposite of sources", "a source stands in one of the two lists, and * in sources alone")
		}
	}
	if _, err := parsePrivate(c.Key); err != nil {
		add(schema.Path{"key"}, "cannot be used: "+err.Error(), "make one with: openssl genrsa -out forward.pem 3072")
	}
	for i, text := range c.OldKeys {
		if _, err := parsePublic(text); err != nil {
			add(schema.Path{"old_keys", i}, "cannot be used: "+err.Error(), "a public key is had with: openssl rsa -in old.pem -pubout")
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); c.Listen != "" && err != nil {
		add(schema.Path{"listen"}, "is no address", "write it like 127.0.0.1:8090")
	}
	return problems
}

// forwarder sends to one peer.
type forwarder struct {
	cfg    config
	key    signingKey
	client *http.Client
	now    func() time.Time
	served *publication // nil: the key set is served elsewhere
	refusals
}

func open(ctx context.Context, cfg config, log *slog.Logger) (plugin.Connector[struct{}], error) {
	key, set, err := readKeys(cfg)
	if err != nil {
		return nil, err
	}
	f := &forwarder{cfg: cfg, key: key, now: time.Now, client: &http.Client{
		Timeout: cfg.Timeout,
		// A signature must not travel on to where a redirect points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     transport(),
	}}
	if cfg.KeySetFile != "" {
		if err := writeKeySet(cfg.KeySetFile, set); err != nil {
			return nil, err
		}
	}
	if cfg.Listen != "" {
		if f.served, err = publish(ctx, cfg.Listen, set, log); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// transport keeps as many connections to the one peer as there are deliveries
// at a time.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	return t
}

// Deliver sends one event on.
func (f *forwarder) Deliver(ctx context.Context, ev plugin.Event, _ *struct{}) error {
	if err := f.selects(ev); err != nil {
		return err
	}
	req, err := f.request(ctx, ev)
	if err != nil {
		return err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("sending to the peer: %w", err)
	}
	defer resp.Body.Close()
	return f.judge(resp)
}

// selects tells what is not sent on, as a verdict. A source that nobody has
// decided about is no reason to lose its events, nor to send them round in a
// ring.
func (f *forwarder) selects(ev plugin.Event) error {
	switch {
	case slices.Contains(f.cfg.SkipSources, ev.Source):
		return plugin.Skip("events of source " + ev.Source + " are not sent on")
	case !slices.Contains(f.cfg.Sources, ev.Source) && !slices.Contains(f.cfg.Sources, everySource):
		return plugin.Halt(fmt.Errorf("an event came from source %q, which stands neither in sources nor in skip_sources: put it into one of them", ev.Source))
	case ev.Channel != channelWebhook && ev.Channel != channelSystem:
		if len(ev.Body) == 0 {
			return plugin.Skip("nobody sent this event: the hub made it itself, and the peer makes its own")
		}
		return plugin.Reject(fmt.Errorf("the event came by %q, and there is no webhook of that form to send it on with", ev.Channel))
	case len(ev.Body) == 0:
		return plugin.Halt(errors.New("the hub does not hand over the bytes that were sent: it is older than this connector, so update it"))
	}
	return nil
}

// Check asks the peer whether it knows the key, with a signed body that is no
// event: a hub answers 400 to that, after it has found the signature good.
func (f *forwarder) Check(ctx context.Context) error {
	req, err := f.request(ctx, plugin.Event{Channel: channelWebhook, Body: []byte("{}")})
	if err != nil {
		return err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the peer: %w", err)
	}
	defer resp.Body.Close()
	if said := readAnswer(resp); resp.StatusCode >= 300 && said.Reason != "invalid_envelope" {
		return fmt.Errorf("the peer would refuse events: %s", f.told(resp, said))
	}
	return nil
}

// Close ends what open began.
func (f *forwarder) Close() error {
	f.client.CloseIdleConnections()
	return f.served.close()
}

var connector = plugin.Plugin[config, struct{}]{Info: plugin.Info{
	Name: "forward", Version: "1.0.0", Summary: "sends events on to another hub, signed anew",
	Events: []string{"*"}, Order: plugin.PerTenant, Body: true, Notifies: true,
}, Open: open}

func main() { connector.Main() }
