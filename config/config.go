package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

// DefaultFile is the file that [Load] looks for when none is named.
const DefaultFile = "avhub.yaml"

// Config is the whole configuration. Make one with [Load], [Parse] or [Default].
type Config struct {
	Server  Server   `json:"server" doc:"Where events arrive."`
	Admin   Admin    `json:"admin" doc:"Health, metrics, API and UI for operators."`
	Storage Storage  `json:"storage" doc:"The database that holds the journal and the mirror."`
	Journal Journal  `json:"journal" doc:"How long events are kept."`
	Log     Log      `json:"log" doc:"What the hub writes to standard error."`
	Sources []Source `json:"sources" doc:"The identity providers that events are taken from."`
	Mirror  Mirror   `json:"mirror" doc:"What the copy of the provider's data shows, and for how long."`
	Plugins []Plugin `json:"plugins" doc:"The connectors that get the events, each a process of its own."`

	Features map[string][]string `json:"features" doc:"Which features each plan has, for your own application to ask: the plan's name, then a list of features. * stands for every plan."`

	origin   *origin
	warnings []Problem
}

// Server is the listener for webhooks.
type Server struct {
	Listen         string          `json:"listen" doc:"Address as host:port; without a host, every interface." default:"127.0.0.1:8080"`
	MaxBody        schema.ByteSize `json:"max_body" doc:"Largest body of a webhook." default:"1MiB" min:"1KiB" max:"64MiB"`
	MaxBodies      schema.ByteSize `json:"max_bodies" doc:"Memory for bodies that are being read, all together; beyond it, senders are asked to come back. The first 16 KiB of each do not count, and there is always room for one." default:"64MiB" min:"64KiB" max:"64GiB"`
	MaxConnections int             `json:"max_connections" doc:"Connections served at a time; more wait." default:"1024" min:"1" max:"100000"`
}

// Admin is the listener for operators.
type Admin struct {
	Listen string `json:"listen" doc:"Address as host:port. Anything but a loopback address needs a token." default:"127.0.0.1:8081"`
	Token  string `json:"token" doc:"What operators show as their bearer token. Once set, it is needed on loopback, too." secret:"true" example:"${AVHUB_ADMIN_TOKEN}"`
}

// Storage names the database.
type Storage struct {
	// URL may hold a password; print RedactedURL instead.
	URL     string `json:"url" doc:"sqlite://PATH (relative to the working directory, or sqlite:///absolute) or postgres://USER:PASSWORD@HOST/DATABASE. A password in it is redacted wherever it is shown." default:"sqlite://data/avhub.db"`
	Migrate string `json:"migrate" doc:"Whether the hub brings the database up to date when it starts, or leaves that to avhub migrate." enum:"auto|manual" default:"auto"`
}

// RedactedURL is the URL fit for logs and screens.
func (s Storage) RedactedURL() string { return RedactURL(s.URL) }

// Log says how the hub logs.
type Log struct {
	Level  string `json:"level" doc:"The least severe entries that are written." enum:"debug|info|warn|error" default:"info"`
	Format string `json:"format" doc:"For people or for machines." enum:"console|json" default:"console"`
}

// Source is one identity provider.
type Source struct {
	Name     string        `json:"name" doc:"Name of the source, unique; it stands beside each of its events for good." required:"true" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"authvital"`
	Host     string        `json:"host" doc:"Base URL of the provider; its key set is at /.well-known/jwks.json below it. Host or jwks_url must be given." example:"https://auth.example.com"`
	JWKSURL  string        `json:"jwks_url" doc:"Where the key set is, when it is elsewhere."`
	Path     string        `json:"path" doc:"Path of the webhook on the hub's server, unique." required:"true" pattern:"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$" example:"/webhooks/authvital"`
	MaxAge   time.Duration `json:"max_age" doc:"How old a signed timestamp may be." default:"300s" min:"1s" max:"48h"`
	MaxAhead time.Duration `json:"max_ahead" doc:"How far a signed timestamp may lie in the future." default:"60s" min:"1s" max:"48h"`
	API      API           `json:"api" doc:"The provider's integration API, from which avhub backfill reads who was there before the first event."`
}

// KeySetURL is where the source's key set is fetched.
func (s Source) KeySetURL() string {
	if s.JWKSURL != "" {
		return s.JWKSURL
	}
	return strings.TrimRight(s.Host, "/") + "/.well-known/jwks.json"
}

// Plugin is one connector.
type Plugin struct {
	Name       string            `json:"name" doc:"Name of the plugin, unique; its progress and its state are kept under it." required:"true" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"billing"`
	Command    []string          `json:"command" doc:"The program and its arguments. A name without a slash is looked up in PATH, a relative path in the working directory." required:"true" example:"[\"./bin/avhub-notify\"]"`
	Events     []string          `json:"events" doc:"Types it gets: exact ones, tenant.* for all below, * for all. Without this key, those it asks for itself." pattern:"^(\\*|[a-z0-9_]+(\\.[a-z0-9_]+)*(\\.\\*)?)$"`
	Env        map[string]string `json:"env" doc:"Its process environment, all of it: nothing of the hub's own is passed on."`
	Config     map[string]any    `json:"config" doc:"Its own configuration; which keys there are, avhub plugin describe tells."`
	Attach     string            `json:"attach" doc:"For development: the folder in which the connector waits that you have started with its verb debug, such as under a debugger. The command is not started then."`
	Limits     *Limits           `json:"limits" doc:"What its process may take; without this key, whatever it wants. On Linux only."`
	Start      string            `json:"start" doc:"Where a plugin begins that is new to the database; later it is not looked at, avhub plugin reset is. beginning: with all that the journal holds; now: with what comes; snapshot: with the mirror as it stands, then what comes; or a time, as RFC 3339: with what was received since then." default:"beginning"`
	RetryFor   time.Duration     `json:"retry_for" doc:"How long a failing event is retried before it becomes a dead letter." default:"72h" min:"1ms"`
	OnDead     string            `json:"on_dead" doc:"What happens to the later events of a key when one becomes a dead letter: continue delivers them, park keeps them waiting until an operator retries or discards the dead letter." default:"continue" enum:"continue|park"`
	Partitions int               `json:"partitions" doc:"Into how many parts its keys are divided. Several hubs on one Postgres share the parts of all plugins, and one hub works on several at once." default:"1" min:"1" max:"64"`
}

// ConfigJSON is the plugin's own configuration as it goes to its process.
func (p Plugin) ConfigJSON() (json.RawMessage, error) {
	if p.Config == nil {
		return json.RawMessage("{}"), nil
	}
	text, err := json.Marshal(p.Config)
	if err != nil {
		return nil, fmt.Errorf("writing the config of plugin %s as JSON: %w", p.Name, err)
	}
	return text, nil
}

// LockName is the name of the file that pins the plugins' programs.
const LockName = "avhub.lock"

// LockFile is where that file is: beside the configuration's own. It is empty
// for a configuration that was put together in Go, whose plugins nothing pins.
func (c *Config) LockFile() string {
	if c.origin == nil {
		return ""
	}
	return filepath.Join(filepath.Dir(c.origin.file), LockName)
}

// Default is what an empty file gives.
func Default() Config {
	var c Config
	schema.Decode(nil, &c) // no key of the outermost level is required
	return c
}

// Warnings are findings that do not keep the hub from running.
func (c *Config) Warnings() []Problem { return c.warnings }

// String is the redacted configuration, so that printing one by accident
// gives nothing away.
func (c *Config) String() string {
	text, err := c.Show()
	if err != nil {
		return "(configuration)"
	}
	return string(text)
}

// Schema is the JSON Schema of the file, for editors. Beyond what the fields
// take it allows ${…} wherever a word may stand.
func Schema() ([]byte, error) {
	s, err := schema.Of[Config]()
	if err != nil {
		return nil, err
	}
	text, err := s.JSONSchema()
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("reading the configuration's JSON Schema back: %w", err)
	}
	tree["title"] = "avhub configuration"
	allowExpansion(tree)
	out, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the configuration's JSON Schema: %w", err)
	}
	return append(out, '\n'), nil
}

// allowExpansion puts "or text with ${…}" beside every constrained word below node.
func allowExpansion(node map[string]any) {
	for key, value := range node {
		child, ok := value.(map[string]any)
		switch {
		case !ok:
		case key == "properties":
			for _, property := range child {
				if property, ok := property.(map[string]any); ok {
					allowExpansion(property)
				}
			}
		case key == "items" || key == "additionalProperties":
			allowExpansion(child)
		}
	}
	kind, _ := node["type"].(string)
	if kind == "object" || kind == "array" || node["type"] == nil {
		return
	}
	constraints := map[string]any{}
	for _, key := range []string{"type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"} {
		if value, ok := node[key]; ok {
			constraints[key] = value
			delete(node, key)
		}
	}
	if kind == "string" && len(constraints) == 1 {
		node["type"] = "string" // any text already
		return
	}
	node["anyOf"] = []any{constraints, map[string]any{"type": "string", "pattern": `\$\{`}}
}
