package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

const (
	envPrefix     = "AVHUB_"
	envTestPrefix = "AVHUB_TEST_" // settings of the project's own tests
)

// settable maps the variables of the environment to the keys they set:
// AVHUB_SERVER_MAX_BODY to server.max_body.
type settable map[string]string

// settableKeys are all that hold one word and stand in no list or map.
func settableKeys() (settable, error) {
	s, err := schema.Of[Config]()
	if err != nil {
		return nil, err
	}
	keys := settable{}
	for _, field := range s.Fields() {
		if field.Scalar && !strings.ContainsAny(field.Path, "[*") {
			keys[variable(field.Path)] = field.Path
		}
	}
	return keys, nil
}

// variable is the name of the environment variable that sets a key.
func variable(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// environ reads NAME=value pairs; of several for one name the last counts, as
// for a process that is started with them.
func environ(pairs []string) map[string]string {
	env := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

// fromEnviron picks what the environment sets. An empty variable sets nothing:
// that is how compose files and units pass on what nobody has set. A variable
// with our prefix that means nothing is reported, unless the file refers to it.
func (s settable) fromEnviron(env map[string]string, named map[string]bool, c *collector) map[string]string {
	values := map[string]string{}
	known := slices.Sorted(maps.Keys(s))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envTestPrefix) {
			continue
		}
		key, ok := s[name]
		switch {
		case ok && env[name] != "":
			values[key] = env[name]
			c.origin.overrides[key] = "environment " + name
		case !ok && !named[name]:
			detail := "no ${…} in the file refers to it either; unset it"
			if near := schema.Nearest(name, known); near != "" {
				detail = fmt.Sprintf("did you mean %s?", near)
			}
			c.note(Problem{Source: "environment " + printable(name), Summary: "unknown variable", Detail: detail})
		}
	}
	return values
}

// printable is a variable's name, quoted when it is no ordinary one.
func printable(name string) string {
	if isVariableName(name) && len(name) <= 100 {
		return name
	}
	return fmt.Sprintf("%.100q", name)
}

func (s settable) fromFlags(flags map[string]string, c *collector) map[string]string {
	values := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		if s[variable(key)] != key {
			c.note(Problem{Source: "flags", Summary: fmt.Sprintf("%.100q is no key that a flag can set", key), Detail: "set it in the file"})
			continue
		}
		values[key] = flags[key]
		c.origin.overrides[key] = "flags"
	}
	return values
}

// sectionIsMapping says whether the section of key can take a value: when the
// file has something else in its place, that is the mistake to report, and must
// not vanish under the override.
func sectionIsMapping(doc map[string]any, key string) bool {
	section, _, _ := strings.Cut(key, ".")
	_, ok := doc[section].(map[string]any)
	return ok || doc[section] == nil
}
