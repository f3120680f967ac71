// Package hubfile reads a connector's own configuration where its operator has
// it: in the hub's configuration file. It is for verbs of a connector's binary
// that work beside the hub, and want what the hub gives the connector.
package hubfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/schema"
)

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// Read returns the configuration of a connector whose program is called program.
// file is a hub's configuration, of which the entry of that program is taken, or
// that of the plugin called name if there is one; or it is the connector's own
// configuration alone. ${NAME} and ${file:PATH} are replaced, as a hub does.
// Errors name what is wrong by its path, and never show a value.
func Read[C any](file, program, name string) (C, error) {
	var cfg C
	raw, err := readBounded(file)
	if err != nil {
		return cfg, fmt.Errorf("reading the configuration: %w", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil { // JSON is YAML, too
		return cfg, fmt.Errorf("reading the configuration %s: it is no YAML", file)
	}
	if _, hub := tree["plugins"]; hub {
		if tree, err = entry(tree["plugins"], program, name); err != nil {
			return cfg, fmt.Errorf("%s: %w", file, err)
		}
	}
	expanded, err := expand(tree)
	if err != nil {
		return cfg, fmt.Errorf("%s: %w", file, err)
	}
	raw, err = json.Marshal(expanded)
	if err != nil {
		return cfg, fmt.Errorf("%s: the configuration has a key that is no text", file)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return cfg, fmt.Errorf("reading the configuration %s: %w", file, err)
	}
	problems := schema.Decode(plain, &cfg)
	if v, ok := any(&cfg).(plugin.Validator); ok && len(problems) == 0 {
		problems = v.Validate()
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s: %s", file, p))
	}
	return cfg, errors.Join(errs...)
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(raw) > maxConfig {
		err = errors.New("it is larger than 1 MiB")
	}
	return raw, err
}

// entry finds this connector among a hub's plugins.
func entry(plugins any, program, wanted string) (map[string]any, error) {
	list, _ := plugins.([]any)
	var found []map[string]any
	var names []string
	for _, p := range list {
		one, _ := p.(map[string]any)
		name, _ := one["name"].(string)
		command, _ := one["command"].([]any)
		path := ""
		if len(command) > 0 {
			path, _ = command[0].(string)
		}
		if wanted == name && name != "" || wanted == "" && strings.HasPrefix(filepath.Base(path), program) {
			cfg, _ := one["config"].(map[string]any)
			found, names = append(found, cfg), append(names, name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("the plugins %s are this connector; choose one with --plugin", strings.Join(names, ", "))
	case wanted != "":
		return nil, fmt.Errorf("there is no plugin %s", wanted)
	default:
		return nil, fmt.Errorf("no plugin's command is %s; name its entry with --plugin", program)
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*|file:[^}]+)\}`)

// expand replaces ${NAME} and ${file:PATH} in texts, as a hub does.
func expand(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			out, err := expand(member)
			if err != nil {
				return nil, err
			}
			v[k] = out
		}
	case []any:
		for i, member := range v {
			out, err := expand(member)
			if err != nil {
				return nil, err
			}
			v[i] = out
		}
	case string:
		var failed error
		out := variable.ReplaceAllStringFunc(v, func(m string) string {
			name := m[2 : len(m)-1]
			if path, ok := strings.CutPrefix(name, "file:"); ok {
				raw, err := readBounded(path)
				if err != nil {
					failed = fmt.Errorf("reading ${file:…}: %w", err)
				}
				return strings.TrimRight(string(raw), "\r\n")
			}
			value, set := os.LookupEnv(name)
			if !set {
				failed = fmt.Errorf("the variable %s is not set", name)
			}
			return value
		})
		return out, failed
	}
	return v, nil
}
