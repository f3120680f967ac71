package main

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

	"github.com/avhub/avhub/sdk/schema"
)

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// load reads this connector's configuration: of a hub's file, or of one of its own.
func (c *cli) load() (config, error) {
	var cfg config
	raw, err := readBounded(c.file)
	if err != nil {
		return cfg, fmt.Errorf("reading the configuration: %w", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil { // JSON is YAML, too
		return cfg, fmt.Errorf("reading the configuration %s: it is no YAML", c.file)
	}
	if _, hub := tree["plugins"]; hub {
		if tree, err = c.entry(tree["plugins"]); err != nil {
			return cfg, fmt.Errorf("%s: %w", c.file, err)
		}
	}
	expanded, err := expand(tree)
	if err != nil {
		return cfg, fmt.Errorf("%s: %w", c.file, err)
	}
	raw, err = json.Marshal(expanded)
	if err != nil {
		return cfg, fmt.Errorf("%s: the configuration has a key that is no text", c.file)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return cfg, fmt.Errorf("reading the configuration %s: %w", c.file, err)
	}
	problems := schema.Decode(plain, &cfg)
	if len(problems) == 0 {
		problems = cfg.Validate()
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s: %s", c.file, p))
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
func (c *cli) entry(plugins any) (map[string]any, error) {
	list, _ := plugins.([]any)
	var found []map[string]any
	var names []string
	for _, p := range list {
		one, _ := p.(map[string]any)
		name, _ := one["name"].(string)
		command, _ := one["command"].([]any)
		program := ""
		if len(command) > 0 {
			program, _ = command[0].(string)
		}
		if c.plugin == name && name != "" || c.plugin == "" && strings.HasPrefix(filepath.Base(program), "avhub-provisioner") {
			cfg, _ := one["config"].(map[string]any)
			found, names = append(found, cfg), append(names, name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("the plugins %s are this connector; choose one with --plugin", strings.Join(names, ", "))
	case c.plugin != "":
		return nil, fmt.Errorf("there is no plugin %s", c.plugin)
	default:
		return nil, errors.New("no plugin's command is avhub-provisioner; name its entry with --plugin")
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
