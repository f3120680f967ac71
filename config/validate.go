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

// Validate checks a configuration that was put together or changed in Go the
// way Load checks a file. The error is an [*Error].
func (c *Config) Validate() error {
	found := &collector{origin: c.origin}
	for _, p := range schema.Check(*c) {
		found.add(p.Path, p.Summary, p.Detail)
	}
	c.validate(found)
	return found.error()
}

// validate looks at what the tags cannot say.
func (c *Config) validate(found *collector) {
	c.validateListeners(found)
	c.validateStorage(found)
	c.validateJournal(found)
	c.validateMirror(found)
	sources, paths := map[string]int{}, map[string]int{}
	for i, s := range c.Sources {
		at := schema.Path{"sources", i}
		unique(found, sources, s.Name, i, at.Child("name"), "sources")
		unique(found, paths, s.Path, i, at.Child("path"), "sources")
		s.validate(found, at)
	}
	plugins := map[string]int{}
	for i, p := range c.Plugins {
		at := schema.Path{"plugins", i}
		unique(found, plugins, p.Name, i, at.Child("name"), "plugins")
		p.validate(found, at)
	}
}

// unique reports a value that an earlier entry of the list has.
func unique(found *collector, seen map[string]int, value string, i int, at schema.Path, list string) {
	if value == "" {
		return
	}
	if first, ok := seen[value]; ok {
		found.add(at, fmt.Sprintf("%s[%d] has the same", list, first), "give each entry its own")
		return
	}
	seen[value] = i
}

func (c *Config) validateListeners(found *collector) {
	const form = "write host:port with a port from 0 to 65535, such as 127.0.0.1:8080 or [::1]:8080"
	server, ok := parseListen(c.Server.Listen)
	if !ok {
		found.add(schema.Path{"server", "listen"}, "is no address to listen at", form)
	}
	admin, adminOK := parseListen(c.Admin.Listen)
	switch {
	case !adminOK:
		found.add(schema.Path{"admin", "listen"}, "is no address to listen at", form)
	case ok && server.clashes(admin):
		found.add(schema.Path{"admin", "listen"}, "is the address of server.listen, too", "give one of them another port")
	}
	token := schema.Path{"admin", "token"}
	switch {
	case c.Admin.Token == "" && c.origin.isExpanded(token):
		// Somebody wanted a token and would get none.
		found.add(token, "comes out empty", "set the variable or fill the file that it names, or take the key out")
	case c.Admin.Token == "" && adminOK && !isLoopback(admin.host):
		found.add(schema.Path{"admin", "listen"}, "can be reached from other machines, and there is no token",
			`set admin.token, for example to "${AVHUB_ADMIN_TOKEN}", or listen at 127.0.0.1`)
	case strings.ContainsFunc(c.Admin.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		found.add(token, "holds characters that no HTTP header can carry", "use visible ASCII characters without spaces, such as the output of: openssl rand -hex 32")
	}
}

func (c *Config) validateStorage(found *collector) {
	validateDatabase(found, schema.Path{"storage", "url"}, c.Storage.URL, "sqlite://data/avhub.db or postgres://USER:PASSWORD@HOST/DATABASE")
}

// validateDatabase checks the URL of a database; examples are what to use
// instead.
func validateDatabase(found *collector, at schema.Path, text, examples string) {
	forms := "use " + examples
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		found.add(at, "is no URL", forms)
		return
	}
	switch strings.ToLower(scheme) {
	case "sqlite":
		path, _, _ := strings.Cut(rest, "?")
		switch {
		case path == "" || strings.HasSuffix(path, "/"):
			found.add(at, "names no file", "use sqlite://data/avhub.db, or sqlite:///var/lib/avhub/avhub.db for an absolute path")
		case strings.Contains(rest, ":memory:") || strings.Contains(rest, "mode=memory"):
			found.add(at, "is a database in memory, which loses accepted events", "use a file: sqlite://data/avhub.db")
		}
	case "postgres", "postgresql":
		if _, err := url.Parse(escapedBraces(text)); err != nil {
			found.add(at, "is no valid Postgres URL", "escape special characters in the password, as in %40 for @: postgres://USER:PASSWORD@HOST/DATABASE")
		}
	case "mysql", "mariadb", "mssql", "sqlserver", "oracle", "mongodb":
		found.add(at, "names a database that avhub does not speak to", forms)
	case "file", "sqlite3":
		found.add(at, "has a scheme that avhub does not know", "write sqlite:// before the path: sqlite://data/avhub.db")
	case "cockroach", "cockroachdb", "crdb", "yugabyte", "alloydb", "pgx", "psql":
		found.add(at, "has a scheme that avhub does not know", "for what speaks the Postgres protocol write postgres://")
	default:
		found.add(at, "has a scheme that avhub does not know", forms)
	}
}

func (s Source) validate(found *collector, at schema.Path) {
	if s.Host == "" && s.JWKSURL == "" {
		found.add(at.Child("host"), "the provider's keys cannot be found", "set host to its base URL, or jwks_url to that of its key set")
	}
	if s.Host != "" {
		webURL(found, at.Child("host"), s.Host, false)
	}
	if s.JWKSURL != "" {
		webURL(found, at.Child("jwks_url"), s.JWKSURL, true)
	}
	s.API.validate(found, at.Child("api"))
}

// webURL checks the URL of a provider. Who can change what comes from there
// can sign events, hence https.
func webURL(found *collector, at schema.Path, text string, query bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || !isHost(u.Hostname()) ||
		u.Scheme != "http" && u.Scheme != "https":
		found.add(at, "is no absolute http or https URL", "write it in full, such as https://auth.example.com")
	case u.User != nil:
		found.add(at, "holds credentials", "key sets are public; take the part before the @ out")
	case u.Fragment != "" || !query && (u.RawQuery != "" || u.ForceQuery):
		found.add(at, "has parts after a ? or #", "take them out; when the key set needs them, set jwks_url")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		found.add(at, "is http, so that anybody on the way can forge events", "use https; http is for 127.0.0.1, ::1 and localhost only")
	}
}

func (p Plugin) validate(found *collector, at schema.Path) {
	p.Limits.validate(found, at.Child("limits"), system)
	for i, word := range p.Command {
		switch {
		case i == 0 && strings.TrimSpace(word) == "":
			found.add(at.Child("command").Child(0), "is empty", "name the program first, then its arguments")
		case strings.Contains(word, "\x00"):
			found.add(at.Child("command").Child(i), "holds a NUL character", "no program can be given one; take it out")
		}
	}
	switch p.Start {
	case "", "beginning", "now", "snapshot":
	default:
		if _, err := time.Parse(time.RFC3339, p.Start); err != nil {
			found.add(at.Child("start"), "is no time", "write beginning, now, snapshot, or a time with its zone: 2026-01-31T08:00:00Z")
		}
	}
	if p.Events != nil && len(p.Events) == 0 {
		found.add(at.Child("events"), "is an empty list, so that the plugin would get nothing", "name types, or take the key out to get what the plugin asks for")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		switch {
		case !isVariableName(name):
			found.add(at.Child("env").Child(name), "is no name of an environment variable", "use letters, digits and _, with no digit first")
		case strings.HasPrefix(name, "PLUGIN_") || name == "AVHUB_PLUGIN":
			found.add(at.Child("env").Child(name), "is a variable that the hub and its plugins greet each other with", "choose another name")
		case strings.Contains(p.Env[name], "\x00"):
			found.add(at.Child("env").Child(name), "holds a NUL character", "no process can be given one; take it out")
		}
	}
}

// compareEvents warns of patterns that match no type there is.
func (c *Config) compareEvents(types []string) {
	if len(types) == 0 {
		return
	}
	for i, p := range c.Plugins {
		for j, pattern := range p.Events {
			if slices.ContainsFunc(types, func(t string) bool { return MatchEvent(pattern, t) }) {
				continue
			}
			detail := "the list of types is in the documentation; one that a later version brings is delivered all the same"
			if near := schema.Nearest(pattern, append(families(types), types...)); near != "" {
				detail = fmt.Sprintf("did you mean %q?", near)
			}
			at := schema.Path{"plugins", i, "events", j}
			c.warnings = append(c.warnings, c.origin.problem(at, false, "matches no type of event that is known", detail))
		}
	}
	inOrder(c.warnings)
}

// families are the patterns that take a whole group of types: "tenant.*".
func families(types []string) []string {
	var out []string
	for _, t := range types {
		if dot := strings.IndexByte(t, '.'); dot > 0 && !slices.Contains(out, t[:dot]+".*") {
			out = append(out, t[:dot]+".*")
		}
	}
	return out
}

// MatchEvent says whether a pattern of plugins[].events takes a type: "*" takes
// all, "tenant.*" all that begin with "tenant.", anything else just itself.
func MatchEvent(pattern, eventType string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(eventType, prefix)
	}
	return pattern == eventType
}
