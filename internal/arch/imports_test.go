package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// unit is a package as `go list` tells it. Paths of our own packages are relative
// to the module ("core/journal"); imports of others are left out.
type unit struct {
	path        string
	imports     []string
	testImports []string // of its tests, inside and outside of the package
}

// floors gives each room under core/ its floor. An import leads from a room to a
// lower floor, or stays in the room. Two rooms on one floor do not know each
// other: a small interface at the caller's side joins them, and the room above
// plugs the one into the other.
func floors() map[string]int {
	return map[string]int{
		"core/hub":    3,
		"core/verify": 3,

		"core/source":    2,
		"core/fanout":    2,
		"core/admin":     2,
		"core/simulator": 2,

		"core/mirror":  1,
		"core/journal": 1,
		"core/plugin":  1,

		"core/store":  0,
		"core/event":  0,
		"core/listen": 0,
	}
}

// room is the part of the house that a package belongs to: two folders deep
// where rooms stand side by side in a folder, one deep elsewhere.
func room(path string) string {
	parts := strings.Split(path, "/")
	switch parts[0] {
	case "core", "plugins", "examples", "internal":
		return strings.Join(parts[:min(2, len(parts))], "/")
	default: // cmd, config, ent, sdk
		return parts[0]
	}
}

// rule is one sentence about imports.
type rule struct {
	why     string
	from    func(path string) bool // whom it binds
	allowed func(from, to string) bool
}

func within(folders ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(folders, func(folder string) bool {
			return path == folder || strings.HasPrefix(path, folder+"/")
		})
	}
}

// connectors are the folders in which there are connectors.
func connectors() []string {
	return []string{"plugins", "examples/notify", "examples/slack", "examples/forward"}
}

func sameRoom(from, to string) bool { return room(from) == room(to) }

// rules of imports. A package is bound by all that apply to it.
func rules() []rule {
	floor := floors()
	return []rule{
		{
			why:  "rooms of core import only lower floors, so that an event goes one way and no room knows its neighbour; join the two with a small interface at the caller's side",
			from: within("core"),
			allowed: func(from, to string) bool {
				return !within("core")(to) || sameRoom(from, to) || floor[room(to)] < floor[room(from)]
			},
		},
		{
			why:     "core/event is the language that every room speaks, so it depends on none of them",
			from:    within("core/event"),
			allowed: sameRoom,
		},
		{
			why:     "core/listen is ground floor: it knows HTTP and nothing of avhub",
			from:    within("core/listen"),
			allowed: sameRoom,
		},
		{
			why:     "a connector is built against sdk alone, so sdk must not pull in the hub, its models or its configuration",
			from:    within("sdk"),
			allowed: func(_, to string) bool { return within("sdk")(to) },
		},
		{
			why:     "sdk/schema serves connectors and the hub's configuration alike, so it stands on the standard library alone",
			from:    within("sdk/schema"),
			allowed: func(_, to string) bool { return within("sdk/schema")(to) },
		},
		{
			why:     "config describes what can be configured, and knows nothing of the rooms that it is for",
			from:    within("config"),
			allowed: func(_, to string) bool { return within("config", "sdk/schema")(to) },
		},
		{
			why:     "ent is made from ent/schema by a generator, which must run when nothing else compiles",
			from:    within("ent"),
			allowed: sameRoom,
		},
		{
			why:  "bundled connectors and the examples of such use what every author has: sdk, and nothing else",
			from: within(connectors()...),
			allowed: func(from, to string) bool {
				return sameRoom(from, to) || within("sdk")(to)
			},
		},
		{
			why:  "other examples are a team's own programs, which can import what the module offers, not its internals or another command",
			from: func(path string) bool { return within("examples")(path) && !within(connectors()...)(path) },
			allowed: func(from, to string) bool {
				return sameRoom(from, to) || within("core", "config", "ent", "sdk")(to)
			},
		},
		{
			why:     "commands, connectors and examples are ends: nothing imports them",
			from:    func(string) bool { return true },
			allowed: func(from, to string) bool { return sameRoom(from, to) || !within("cmd", "plugins", "examples")(to) },
		},
		{
			why:     "internal holds tools and help for tests; the product is built without it",
			from:    func(path string) bool { return !within("internal")(path) },
			allowed: func(_, to string) bool { return !within("internal")(to) },
		},
	}
}

// check returns a sentence for each import that breaks a rule, and for each room
// that has no place yet.
func check(units []unit) []string {
	var broken []string
	floor := floors()
	known := within("cmd", "config", "core", "ent", "examples", "internal", "plugins", "sdk")
	for _, u := range units {
		if !known(u.path) {
			broken = append(broken, fmt.Sprintf("%s: no rule knows this folder; give it a place in internal/arch and docs/architecture.md", u.path))
		}
		if _, has := floor[room(u.path)]; within("core")(u.path) && !has {
			broken = append(broken, fmt.Sprintf("%s: this room has no floor; give it one in internal/arch and docs/architecture.md", u.path))
		}
		for _, to := range u.imports {
			for _, r := range rules() {
				if r.from(u.path) && !r.allowed(u.path, to) {
					broken = append(broken, fmt.Sprintf("%s imports %s: %s", u.path, to, r.why))
				}
			}
		}
		// Tests may reach across the house, with one exception.
		for _, to := range u.testImports {
			if within("sdk")(u.path) && !within("sdk", "internal")(to) {
				broken = append(broken, fmt.Sprintf("the tests of %s import %s: authors run these tests without the hub", u.path, to))
			}
		}
	}
	return broken
}

func TestImportsKeepToTheFloors(t *testing.T) {
	t.Parallel()
	for _, sentence := range check(listUnits(t)) {
		t.Error(sentence)
	}
}

func TestTheRulesOfImportsBite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		test     bool
		broken   string // part of the sentence; empty: allowed
	}{
		{from: "cmd/avhub", to: "core/hub"},
		{from: "cmd/avhub", to: "config"},
		{from: "cmd/avhub", to: "core/journal"},
		{from: "core/hub", to: "core/source"},
		{from: "core/hub", to: "core/store"},
		{from: "core/source", to: "core/journal"},
		{from: "core/source", to: "core/listen"},
		{from: "core/mirror", to: "ent"},
		{from: "core/mirror/check", to: "core/mirror"},
		{from: "core/plugin", to: "sdk/plugin/pluginpb"},
		{from: "core/fanout", to: "sdk/plugin/pluginpb"},
		{from: "core/store", to: "config"},
		{from: "config", to: "sdk/schema"},
		{from: "ent", to: "ent/schema"},
		{from: "sdk/plugin", to: "sdk/schema"},
		{from: "plugins/stripe", to: "sdk/plugin"},
		{from: "plugins/stripe", to: "plugins/stripe/api"},
		{from: "examples/notify", to: "sdk/plugin"},
		{from: "examples/mounted", to: "core/hub"},
		{from: "internal/bench", to: "core/hub"},
		{from: "core/journal", to: "internal/pgtest", test: true},
		{from: "core/source", to: "core/simulator", test: true},
		{from: "sdk/plugin", to: "internal/pgtest", test: true},

		{from: "core/journal", to: "core/source", broken: "lower floors"},
		{from: "core/journal", to: "core/mirror", broken: "lower floors"},
		{from: "core/source", to: "core/fanout", broken: "lower floors"},
		{from: "core/source", to: "core/hub", broken: "lower floors"},
		{from: "core/store", to: "core/event", broken: "lower floors"},
		{from: "core/event", to: "sdk/schema", broken: "every room speaks"},
		{from: "core/event", to: "ent", broken: "every room speaks"},
		{from: "core/listen", to: "config", broken: "ground floor"},
		{from: "core/cellar", to: "core/event", broken: "no floor"},
		{from: "attic", to: "core/event", broken: "no rule knows"},
		{from: "sdk/plugin", to: "core/event", broken: "built against sdk alone"},
		{from: "sdk/plugin", to: "ent", broken: "built against sdk alone"},
		{from: "sdk/plugin", to: "config", broken: "built against sdk alone"},
		{from: "sdk/schema", to: "sdk/plugin", broken: "standard library alone"},
		{from: "sdk/plugin", to: "core/event", test: true, broken: "without the hub"},
		{from: "config", to: "core/event", broken: "knows nothing of the rooms"},
		{from: "config", to: "sdk/plugin", broken: "knows nothing of the rooms"},
		{from: "ent/schema", to: "core/event", broken: "generator"},
		{from: "plugins/stripe", to: "core/event", broken: "what every author has"},
		{from: "plugins/stripe", to: "plugins/auditlog", broken: "what every author has"},
		{from: "examples/notify", to: "config", broken: "what every author has"},
		{from: "examples/forward", to: "core/event", broken: "what every author has"},
		{from: "examples/mounted", to: "internal/pgtest", broken: "not its internals"},
		{from: "core/hub", to: "plugins/stripe", broken: "are ends"},
		{from: "core/hub", to: "cmd/avhub", broken: "are ends"},
		{from: "core/hub", to: "internal/pgtest", broken: "built without it"},
	} {
		u := unit{path: c.from, imports: []string{c.to}}
		if c.test {
			u = unit{path: c.from, testImports: []string{c.to}}
		}
		got := strings.Join(check([]unit{u}), "\n")
		switch {
		case c.broken == "" && got != "":
			t.Errorf("%s may import %s, but: %s", c.from, c.to, got)
		case !strings.Contains(got, c.broken):
			t.Errorf("%s must not import %s because of %q, got: %q", c.from, c.to, c.broken, got)
		}
	}
}

// listed is what we ask `go list` for.
type listed struct {
	ImportPath   string
	Name         string
	Dir          string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Module       struct{ Path, Dir string }
}

// listPackages returns all packages of the module. The test cache does not see
// what go list reads; it sees that the walk in tree_test.go reads every Go file
// of the module, so a cached result is never older than the sources.
func listPackages(t *testing.T) []listed {
	t.Helper()
	// -e: a package that does not compile is the compiler's to report.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e",
		"-json=ImportPath,Name,Dir,Doc,GoFiles,Imports,TestImports,XTestImports,Module", "./...")
	cmd.Dir = root(t)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, problems.String())
	}
	var packages []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read the output of go list: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list found no package: the rules would hold for nothing")
	}
	return packages
}

func listUnits(t *testing.T) []unit {
	t.Helper()
	var units []unit
	for _, p := range listPackages(t) {
		prefix := p.Module.Path + "/"
		ours := func(imports ...[]string) (paths []string) {
			for _, path := range slices.Concat(imports...) {
				if rest, ok := strings.CutPrefix(path, prefix); ok {
					paths = append(paths, rest)
				}
			}
			return paths
		}
		units = append(units, unit{
			path:        strings.TrimPrefix(p.ImportPath, prefix),
			imports:     ours(p.Imports),
			testImports: ours(p.TestImports, p.XTestImports),
		})
	}
	return units
}
