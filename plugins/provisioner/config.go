package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

type config struct {
	Owner        string                    `json:"owner" doc:"Part of the mark on every resource. Two hubs that make resources in the same place need different ones." default:"avhub" pattern:"^[a-z0-9][a-z0-9.-]{0,62}$"`
	Plans        map[string][]string       `json:"plans" doc:"Names of the resources that a tenant of each plan gets; the plan \"*\" stands for all others. A tenant whose plan is not here is given up with an error, and keeps what it has." required:"true"`
	Resources    map[string]resourceConfig `json:"resources" doc:"What can be made, by a name: a letter, then letters and digits, twelve at most." required:"true"`
	Secrets      secretsConfig             `json:"secrets" doc:"Where generated passwords go. Without it, roles of Postgres have none, and log in by other means."`
	AllowDestroy bool                      `json:"allow_destroy" doc:"Without it, nothing is ever deleted, whatever deprovision says."`
	Sweep        time.Duration             `json:"sweep" doc:"How often it is looked whose time has come. 0s: only when asked, by avhub-provisioner purge." default:"10m" min:"0s" max:"24h"`
	Creates      int                       `json:"creates_per_minute" doc:"Resources that are made within a minute, at most. More wait; nothing is lost." default:"120" min:"1"`
	Destroys     int                       `json:"destroys_per_hour" doc:"Resources that are deleted within an hour, at most, by one process. More wait." default:"20" min:"1"`
	Timeout      time.Duration             `json:"timeout" doc:"For one resource of one tenant." default:"20s" min:"100ms" max:"10m"`
}

type resourceConfig struct {
	Driver      string         `json:"driver" doc:"What makes it." required:"true" enum:"sqlite|postgres-schema|postgres-database|exec"`
	Prefix      string         `json:"prefix" doc:"Begins the names: a letter, then letters and digits, twelve at most. Without it, the resource's own name." pattern:"^[a-z][a-z0-9]{0,11}$"`
	Deprovision string         `json:"deprovision" doc:"What becomes of it when the tenant is deleted or its plan has it no more. Nobody can use it in either case; delete also deletes it, after grace, with allow_destroy." enum:"retain|delete" default:"retain"`
	Grace       time.Duration  `json:"grace" doc:"How long it is kept with deprovision: delete." default:"72h" min:"0s"`
	Adopt       bool           `json:"adopt" doc:"Take over what has the name and carries no mark."`
	Recreate    bool           `json:"recreate" doc:"Make it anew, empty, when it was made and is not there any more. Otherwise that is an error, so that somebody sees the loss."`
	Max         int            `json:"max" doc:"How many there may be. 0: any number." min:"0"`
	SQLite      sqliteConfig   `json:"sqlite" doc:"For the driver sqlite."`
	Postgres    postgresConfig `json:"postgres" doc:"For the drivers postgres-schema and postgres-database."`
	Exec        execConfig     `json:"exec" doc:"For the driver exec."`
}

type sqliteConfig struct {
	Dir  string `json:"dir" doc:"Absolute path of the folder of databases; it is made if it is not there."`
	Init string `json:"init" doc:"SQL that a new database begins with; ${file:PATH} reads it from a file."`
}

type postgresConfig struct {
	URL  string `json:"url" doc:"postgres:// URL of an administrator; docs/provisioner.md lists the rights that it needs. Schemas are made in the database that it names." secret:"true"`
	Init string `json:"init" doc:"SQL that runs as the new role in what was made for it, in the same transaction; ${file:PATH} reads it from a file."`
}

type execConfig struct {
	Command []string      `json:"command" doc:"The program, by its absolute path, and its arguments."`
	Env     []string      `json:"env" doc:"Names of the variables that it gets of the connector's own."`
	Timeout time.Duration `json:"timeout" doc:"It is killed after that." default:"20s" min:"10ms" max:"10m"`
}

type secretsConfig struct {
	Dir     string        `json:"dir" doc:"Absolute path of a folder: each secret is a file of its own, which its owner alone can read."`
	Command []string      `json:"command" doc:"Instead of it, a program by its absolute path, and its arguments: it is given each secret as JSON on standard input."`
	Env     []string      `json:"env" doc:"Names of the variables that the program gets of the connector's own."`
	Timeout time.Duration `json:"timeout" doc:"It is killed after that." default:"20s" min:"10ms" max:"10m"`
}

// mostInit bounds SQL that a resource begins with, in bytes.
const mostInit = 1 << 20

var resourceName = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)

// Validate finds what tags cannot say.
func (c *config) Validate() []schema.Problem {
	var problems []schema.Problem
	add := func(path schema.Path, summary, detail string) {
		problems = append(problems, schema.Problem{Path: path, Kind: schema.NotAllowed, Summary: summary, Detail: detail})
	}
	if len(c.Plans) == 0 {
		add(schema.Path{"plans"}, "is empty", "say which resources the tenants of each plan get")
	}
	for _, plan := range slices.Sorted(maps.Keys(c.Plans)) {
		for i, name := range c.Plans[plan] {
			if _, ok := c.Resources[name]; !ok {
				add(schema.Path{"plans", plan, i}, "is no resource", "describe it under resources")
			}
			if slices.Index(c.Plans[plan], name) < i {
				add(schema.Path{"plans", plan, i}, "is there already", "name each resource once")
			}
		}
	}
	prefixes := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Resources)) {
		r, at := c.Resources[name], schema.Path{"resources", name}
		if !resourceName.MatchString(name) {
			add(at, "is no name of a resource", "use a letter, then letters and digits, twelve at most, all lower-case")
			continue
		}
		if other, taken := prefixes[r.prefix(name)]; taken {
			add(at, "has the prefix of "+other+", too", "give each resource its own, or their names would be the same")
		}
		prefixes[r.prefix(name)] = name
		r.validate(at, add)
		if r.Deprovision == "delete" && !c.AllowDestroy {
			add(at, "has deprovision: delete, and nothing may be deleted", "set allow_destroy: true, or deprovision: retain")
		}
	}
	if c.Secrets.Dir != "" && len(c.Secrets.Command) > 0 {
		add(schema.Path{"secrets"}, "has two places for secrets", "set dir or command")
	}
	if c.Secrets.Dir != "" && !filepath.IsAbs(c.Secrets.Dir) {
		add(schema.Path{"secrets", "dir"}, "is no absolute path", "begin it with /")
	}
	absolute(schema.Path{"secrets", "command"}, c.Secrets.Command, add)
	return problems
}

func (r resourceConfig) validate(at schema.Path, add func(schema.Path, string, string)) {
	under := func(names ...any) schema.Path { return append(slices.Clone(at), names...) }
	needs := func(ok bool, key string) {
		if !ok {
			add(at, "lacks "+key, fmt.Sprintf("the driver %s needs it", r.Driver))
		}
	}
	switch r.Driver {
	case "sqlite":
		needs(r.SQLite.Dir != "", "sqlite.dir")
		if r.SQLite.Dir != "" && !filepath.IsAbs(r.SQLite.Dir) {
			add(under("sqlite", "dir"), "is no absolute path", "begin it with /")
		}
	case "postgres-schema", "postgres-database":
		needs(r.Postgres.URL != "", "postgres.url")
	case "exec":
		needs(len(r.Exec.Command) > 0, "exec.command")
		absolute(under("exec", "command"), r.Exec.Command, add)
	}
	if len(r.SQLite.Init) > mostInit || len(r.Postgres.Init) > mostInit {
		add(at, "begins with more than 1 MiB of SQL", "make the tables alone, and fill them elsewhere")
	}
}

func absolute(at schema.Path, argv []string, add func(schema.Path, string, string)) {
	if len(argv) > 0 && !filepath.IsAbs(argv[0]) {
		add(at, "does not begin with an absolute path", "name the program by its whole path")
	}
}

func (r resourceConfig) prefix(name string) string {
	if r.Prefix != "" {
		return r.Prefix
	}
	return name
}

// promised are the resources of a plan; false: there is no such plan.
func (c *config) promised(plan string) ([]string, bool) {
	if names, ok := c.Plans[plan]; ok {
		return names, true
	}
	names, ok := c.Plans["*"]
	return names, ok
}
