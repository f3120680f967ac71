package hub

import (
	"maps"
	"slices"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/plugin"
)

// supervisors are those of the processes that there are now, by their plugin.
func (h *Hub) supervisors() map[string]*plugin.Supervisor {
	h.plugged.mu.Lock()
	defer h.plugged.mu.Unlock()
	out := make(map[string]*plugin.Supervisor, len(h.plugins))
	for name, p := range h.plugins {
		if running := p.process.supervisor(); running != nil {
			out[name] = running
		}
	}
	return out
}

// Spec is how a plugin of a configuration is started. own is its own
// configuration, as ConfigJSON returns it.
func Spec(c config.Plugin, own []byte) plugin.Spec {
	spec := plugin.Spec{Name: c.Name, Command: slices.Clone(c.Command), Env: maps.Clone(c.Env), Attach: c.Attach, Config: own}
	if c.Limits != nil {
		spec.Limits = plugin.Limits{Memory: int64(c.Limits.Memory), CPU: c.Limits.CPU, OpenFiles: c.Limits.OpenFiles}
	}
	return spec
}

// hide keeps secrets, which the process is about to be told, out of the log.
func (d *delivered) hide(running *plugin.Supervisor, secrets []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.secrets = secrets
	running.Hide(secrets...)
}

// sameLimits compares those of two configurations.
func sameLimits(a, b *config.Limits) bool {
	var zero config.Limits
	if a == nil {
		a = &zero
	}
	if b == nil {
		b = &zero
	}
	return *a == *b
}
