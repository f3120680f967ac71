package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/plugin"
	"github.com/rs/zerolog"
)

// reconfigureWithin is how long a plugin may take over a new configuration; the
// call itself has a shorter limit.
const reconfigureWithin = time.Minute

// Reload puts the plugins of another configuration in force, while Run works. A
// changed config is given to the running process; when the plugin rejects it,
// the old one stays. A plugin whose command, environment, types, limits, retries or
// lock changed is drained and started anew, by itself. New ones are started, and
// those that are gone are drained. One that has halted is tried again when its
// configuration changed. Everything else of the configuration stays as it is
// until the hub is restarted.
//
// A configuration that is not valid changes nothing. What was done is logged;
// the error tells what was not.
func (h *Hub) Reload(ctx context.Context, cfg *config.Config) error {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	if err := errors.Join(cfg.Validate(), cfg.CheckFiles()); err != nil {
		return err
	}
	lock, err := readLock(cfg)
	if err != nil {
		return err
	}
	h.plugged.mu.Lock()
	running := h.plugged.ctx != nil && h.plugged.ctx.Err() == nil
	present := maps.Clone(h.plugins)
	h.plugged.mu.Unlock()
	if !running {
		return errors.New("reading the configuration again: the hub does not run")
	}
	if names := restartNeeded(h.cfg, cfg); len(names) > 0 {
		h.log.Warn().Strs("sections", names).Msg("what changed in these sections counts only after a restart of the hub")
	}

	// Draining one takes its time, which the others need not wait for.
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	each := func(name string, do func(zerolog.Logger) error) {
		wg.Go(func() {
			if err := do(h.log.With().Str("plugin", name).Logger()); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("plugin %s: %w", name, err))
			}
		})
	}
	for _, c := range cfg.Plugins {
		p := present[c.Name]
		delete(present, c.Name)
		each(c.Name, func(log zerolog.Logger) error { return h.reloadPlugin(ctx, log, p, cfg, c, lock) })
	}
	for name, p := range present {
		each(name, func(log zerolog.Logger) error {
			log.Info().Msg("the plugin is no longer in the configuration and is drained")
			return h.replace(ctx, p, nil)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readLock returns the lock file's content, nil if there is none.
func readLock(cfg *config.Config) (*plugin.Lock, error) {
	if cfg.LockFile() == "" {
		return nil, nil
	}
	lock, err := plugin.ReadLock(cfg.LockFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return lock, err
}

// reloadPlugin brings one plugin, which may not be there yet, to what c says.
func (h *Hub) reloadPlugin(ctx context.Context, log zerolog.Logger, p *delivered, cfg *config.Config, c config.Plugin, lock *plugin.Lock) error {
	next, err := h.newPlugin(cfg, c)
	if err != nil {
		return err
	}
	if p == nil {
		log.Info().Msg("the plugin is new in the configuration and is started")
		return h.replace(ctx, nil, next)
	}
	why := p.differs(next, lock)
	if !slices.Contains(why, "partitions") {
		next.divide.Store(p.divide.Load())
	}
	running := p.process.supervisor()
	switch {
	case len(why) == 0 && p.hasHalted():
		log.Info().Msg("the plugin has halted and nothing of its configuration changed, so it is not tried again")
		return nil
	case p.hasHalted():
		log.Info().Strs("changed", why).Msg("the plugin was not running and is tried again")
		return h.replace(ctx, p, next)
	case len(why) == 0:
		p.recovered()
		if running != nil {
			running.Resume() // what kept it from running may be gone
		}
		return nil
	case running == nil:
		log.Info().Strs("changed", why).Msg("the plugin's new configuration counts when this hub delivers to it")
		return h.replace(ctx, p, next)
	case slices.Equal(why, []string{"config"}):
		p.hide(running, next.secrets)
		return h.reconfigure(ctx, log, p, next, running)
	default:
		log.Info().Strs("changed", why).Msg("the plugin is drained and started anew")
		return h.replace(ctx, p, next)
	}
}

// differs names the keys in which next is another plugin.
func (d *delivered) differs(next *delivered, lock *plugin.Lock) (keys []string) {
	a, b := d.cfg, next.cfg
	if !slices.Equal(a.Command, b.Command) {
		keys = append(keys, "command")
	}
	if !maps.Equal(a.Env, b.Env) {
		keys = append(keys, "env")
	}
	if !slices.Equal(a.Events, b.Events) {
		keys = append(keys, "events")
	}
	if a.RetryFor != b.RetryFor {
		keys = append(keys, "retry_for")
	}
	if !sameLimits(a.Limits, b.Limits) {
		keys = append(keys, "limits")
	}
	if a.OnDead != b.OnDead {
		keys = append(keys, "on_dead")
	}
	if a.Attach != b.Attach {
		keys = append(keys, "attach")
	}
	if d.partitions() != next.partitions() {
		keys = append(keys, "partitions")
	}
	if running := d.process.supervisor(); b.Attach == "" && running != nil && running.Status().State == plugin.Running &&
		!samePin(running.Pin(), lock, d.name) {
		keys = append(keys, config.LockName)
	}
	if string(d.own) != string(next.own) {
		keys = append(keys, "config")
	}
	return keys
}

func samePin(is *plugin.Pin, lock *plugin.Lock, name string) bool {
	if lock == nil || is == nil {
		return lock == nil && is == nil
	}
	want, err := lock.Pin(name)
	return err == nil && want.SHA256 == is.SHA256 && want.Version == is.Version
}

// reconfigure gives a plugin its new configuration without starting it anew.
func (h *Hub) reconfigure(ctx context.Context, log zerolog.Logger, p, next *delivered, running *plugin.Supervisor) error {
	ctx, cancel := context.WithTimeout(ctx, reconfigureWithin)
	defer cancel()
	diags, err := running.Reconfigure(ctx, next.own)
	if err != nil {
		return fmt.Errorf("the old configuration stays in force: %w", err)
	}
	if len(diags) > 0 {
		var lines []string
		for _, d := range diags {
			lines = append(lines, d.String())
		}
		return fmt.Errorf("it rejects its new configuration, so the old one stays in force: %s", strings.Join(lines, "; "))
	}
	if p.hasHalted() { // in the meantime, with the old one
		return h.replace(ctx, p, next)
	}
	p.reconfigured(next.own, next.hash)
	log.Info().Msg("the plugin has its new configuration")
	return nil
}

// replace ends one plugin, if there is one, and starts another in its place, if
// there is one.
func (h *Hub) replace(ctx context.Context, old, next *delivered) error {
	if old != nil {
		if err := old.close(ctx); err != nil {
			return err
		}
	}
	defer h.look()
	h.plugged.mu.Lock()
	defer h.plugged.mu.Unlock()
	if next == nil {
		delete(h.plugins, old.name)
		return nil
	}
	h.plugins[next.name] = next
	if h.plugged.ctx.Err() != nil {
		return errors.New("the hub is ending, so it is not started")
	}
	return nil
}

// restartNeeded names the sections that differ and are not read again.
func restartNeeded(a, b *config.Config) (names []string) {
	for _, section := range []struct {
		name string
		a, b any
	}{
		{"server", a.Server, b.Server}, {"admin", a.Admin, b.Admin}, {"storage", a.Storage, b.Storage},
		{"journal", a.Journal, b.Journal}, {"log", a.Log, b.Log}, {"sources", a.Sources, b.Sources}, {"mirror", a.Mirror, b.Mirror},
		{"features", a.Features, b.Features},
	} {
		if !reflect.DeepEqual(section.a, section.b) {
			names = append(names, section.name)
		}
	}
	return names
}
