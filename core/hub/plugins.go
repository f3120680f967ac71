package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
)

// plugged are the hub's plugins, which may come and go while it runs.
type plugged struct {
	owner   string
	metrics *fanout.Metrics

	reloading sync.Mutex // one Reload at a time

	mu      sync.Mutex
	plugins map[string]*delivered
	ctx     context.Context // of Run; nil before
	working sync.WaitGroup
}

// delivered is a plugin with the consumer that serves it. It is run once; a
// plugin that is started anew is another one.
type delivered struct {
	name       string
	cfg        config.Plugin   // in force; with own, only Reload looks at it
	own        json.RawMessage // its configuration in force
	supervisor *plugin.Supervisor
	consumer   *fanout.Consumer

	stop  context.CancelFunc
	ended chan struct{} // closed when deliveries have ended
	end   error         // why they did; set before that
	done  chan struct{} // closed when the process has been drained, too
}

func (h *Hub) addPlugins() error {
	h.owner, h.plugged.metrics = ownerName(), fanout.NewMetrics(h.metrics)
	h.plugins = map[string]*delivered{}
	for _, c := range h.cfg.Plugins {
		p, err := h.newPlugin(h.cfg, c)
		if err != nil {
			return err
		}
		h.plugins[c.Name] = p
	}
	return nil
}

func (h *Hub) newPlugin(cfg *config.Config, c config.Plugin) (*delivered, error) {
	own, err := c.ConfigJSON()
	if err != nil {
		return nil, err
	}
	hash, err := configHash(c, own)
	if err != nil {
		return nil, err
	}
	var patience time.Duration
	if c.Attach != "" {
		patience = plugin.Patience
		h.log.Warn().Str("plugin", c.Name).Msg("this plugin is attached to and not started: it is not held against " + config.LockName + ", and calls to it have no deadline")
	}
	supervisor := plugin.New(plugin.Spec{Name: c.Name, Command: c.Command, Env: c.Env, Attach: c.Attach, Config: own},
		plugin.Options{Log: h.log, Pin: plugin.Locker(cfg.LockFile(), c.Name)})
	consumer := fanout.New(
		fanout.Config{Name: c.Name, Events: c.Events, RetryFor: c.RetryFor, ConfigHash: hash, CallTimeout: patience},
		fanout.Deps{
			Store: h.store, Journal: h.journal, Mirror: h.mirror, Plugin: supervisor, Hub: h.owner,
			Log: h.log, Metrics: h.plugged.metrics, Observe: h.opts.OnDelivery,
		})
	return &delivered{name: c.Name, cfg: c, own: own, supervisor: supervisor, consumer: consumer}, nil
}

// configHash is a fingerprint of everything that decides how a plugin behaves.
// It is stored, and says nothing about the secrets in it that could be guessed
// from it without knowing all of the rest.
func configHash(c config.Plugin, own json.RawMessage) (string, error) {
	text, err := json.Marshal([]any{c.Command, c.Env, own})
	if err != nil {
		return "", fmt.Errorf("fingerprint the configuration of plugin %s: %w", c.Name, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

func (h *Hub) countPlugins() int {
	h.plugged.mu.Lock()
	defer h.plugged.mu.Unlock()
	return len(h.plugins)
}

// startPlugins lets all plugins work until ctx ends.
func (h *Hub) startPlugins(ctx context.Context) {
	h.plugged.mu.Lock()
	defer h.plugged.mu.Unlock()
	h.plugged.ctx = ctx
	for _, p := range h.plugins {
		h.start(p)
	}
}

// start lets a plugin work. The caller holds the lock, and Run's context has not
// ended, so that nobody has waited for the last plugin yet.
func (h *Hub) start(p *delivered) {
	ctx, stop := context.WithCancel(h.plugged.ctx)
	p.stop, p.ended, p.done = stop, make(chan struct{}), make(chan struct{})
	h.working.Go(func() {
		defer close(p.done)
		defer stop()
		h.runPlugin(ctx, p)
	})
}

// waitForPlugins returns when the last plugin has ended.
func (h *Hub) waitForPlugins() {
	// After this, Reload starts nothing.
	h.plugged.mu.Lock()
	working := &h.working
	h.plugged.mu.Unlock()
	working.Wait()
}

// runPlugin runs a plugin's process and delivers to it until ctx ends, the
// plugin halts, or another hub takes over. The process is drained after the
// last delivery.
func (h *Hub) runPlugin(ctx context.Context, p *delivered) {
	log := h.log.With().Str("plugin", p.name).Logger()
	process, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.supervisor.Run(process); err != nil && process.Err() == nil {
			log.Error().Err(err).Msg("the plugin's supervisor ended")
		}
	})
	p.end = p.consumer.Run(ctx)
	close(p.ended)
	switch err := p.end; {
	case err == nil:
	case errors.Is(err, fanout.ErrHalted):
		log.Error().Err(err).Msg("the plugin has halted: it gets no events until its configuration changes and is read again, by SIGHUP or a restart")
	case errors.Is(err, fanout.ErrFenced):
		log.Warn().Msg("another hub delivers to this plugin now; this one goes on taking events in")
	default:
		log.Error().Err(err).Msg("deliveries ended")
	}
	stop()
	running.Wait()
}
