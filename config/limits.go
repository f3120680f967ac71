package config

import (
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/schema"
)

// Limits are what a plugin's process may take. 0: no limit.
type Limits struct {
	Memory    schema.ByteSize `json:"memory" doc:"Memory that the process and its children may hold together, at least 16MiB; beyond it they are killed, and the plugin is started again."`
	CPU       float64         `json:"cpu" doc:"Processors that they may use together, at least 0.05, averaged over five seconds; beyond it they stand still for moments." example:"0.5"`
	OpenFiles int             `json:"open_files" doc:"Files and connections that each of them may have open, at least 32."`
}

const (
	leastMemory    = 16 * schema.MiB
	leastCPU       = 0.05
	leastOpenFiles = 32
)

func (l *Limits) validate(found *collector, at schema.Path, system string) {
	if l == nil || *l == (Limits{}) {
		return
	}
	if system != "linux" {
		found.add(at, "can be enforced on Linux only, and this is another system", "take the key out, and limit the hub's process group by the means of this system")
		return
	}
	if l.Memory != 0 && l.Memory < leastMemory {
		found.add(at.Child("memory"), "is less than any plugin needs", "allow at least 16MiB, or take the key out")
	}
	if l.CPU != 0 && !(l.CPU >= leastCPU && l.CPU <= 1e6) { // so that it is a number at all
		found.add(at.Child("cpu"), "is no share of a processor that can be enforced", "allow at least 0.05, or take the key out")
	}
	if l.OpenFiles != 0 && l.OpenFiles < leastOpenFiles {
		found.add(at.Child("open_files"), "is less than any plugin needs", "allow at least 32, or take the key out")
	}
}

// leastPart is more than the words that stand beside secrets have, as in Bearer.
const leastPart = 10

// system is where the hub runs.
const system = runtime.GOOS

// PluginSecrets returns the values of a plugin's command, env and config that
// Show hides, so that they can be hidden elsewhere: as a whole, and the parts of
// them that are separated by spaces or are a URL's password.
func (c *Config) PluginSecrets(name string) []string {
	i := slices.IndexFunc(c.Plugins, func(p Plugin) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	p := c.Plugins[i]
	at := schema.Path{"plugins", i}
	var found []string
	var walk func(value any, path schema.Path, hidden bool)
	walk = func(value any, path schema.Path, hidden bool) {
		word, isKey := path[len(path)-1].(string)
		hidden = hidden || isKey && inPlugin(path) && soundsSecret(word) || c.origin.isExpanded(path)
		switch value := value.(type) {
		case string:
			if u, err := url.Parse(value); err == nil && u.User != nil {
				if password, ok := u.User.Password(); ok {
					found = append(found, password)
				}
			}
			if hidden {
				found = append(found, value)
				for _, part := range strings.Fields(value) {
					if len(part) >= leastPart {
						found = append(found, part)
					}
				}
			}
		case []string:
			for i, v := range value {
				walk(v, path.Child(i), hidden)
			}
		case map[string]string:
			for k, v := range value {
				walk(v, path.Child(k), hidden)
			}
		case []any:
			for i, v := range value {
				walk(v, path.Child(i), hidden)
			}
		case map[string]any:
			for k, v := range value {
				walk(v, path.Child(k), hidden)
			}
		}
	}
	walk(p.Command, at.Child("command"), false)
	walk(p.Env, at.Child("env"), false)
	walk(p.Config, at.Child("config"), false)
	slices.Sort(found)
	return slices.Compact(found)
}
