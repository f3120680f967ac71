package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/rs/zerolog"
)

// plugged are the hub's plugins, which may come and go while it runs.
type plugged struct {
	owner   string // this hub, in leases
	metrics *fanout.Metrics
	leases  *fanout.Leases

	reloading sync.Mutex // one Reload at a time

	mu      sync.Mutex
	plugins map[string]*delivered
	ctx     context.Context // of Run; nil before
	working sync.WaitGroup
	steward
}

// delivered is a plugin as one configuration describes it, with the partitions
// that this hub works on. One that is started anew is another delivered.
type delivered struct {
	name    string
	cfg     config.Plugin // of its config, own is in force
	process *process
	start   fanout.Start // where it begins if it is new to the database
	// restarts counts operators' wishes to start its process anew.
	restarts *fanout.Restarts
	// company is what the consumers of its partitions know of each other.
	company *fanout.Company
	// divide: the number of partitions is the configuration's to say. Once it was
	// put in force, another hub with a newer configuration may change it.
	divide atomic.Bool

	mu      sync.Mutex
	own     json.RawMessage // its configuration in force
	hash    string          // of that
	secrets []string        // of its entry, to hide in what it prints
	closed  bool            // takes no partitions any more
	halted  bool
	parts   map[int]*part
	done    sync.WaitGroup // of parts
	again   again
	ails    time.Time // until then others that want it have precedence
	keyed   string    // the order by which its keys must be divided anew
}

// part is a partition that this hub works on.
type part struct {
	lease    *fanout.Lease
	consumer *fanout.Consumer // nil: it is about to start
	stop     context.CancelFunc
}

func (h *Hub) addPlugins() error {
	h.plugged.metrics = fanout.NewMetrics(h.metrics)
	h.plugins = map[string]*delivered{}
	for _, c := range h.cfg.Plugins {
		p, err := h.newPlugin(h.cfg, c)
		if err != nil {
			return err
		}
		h.plugins[c.Name] = p
	}
	h.metrics.MustRegister(plugin.NewMetrics(h.supervisors))
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
	if c.Attach != "" {
		h.log.Warn().Str("plugin", c.Name).Msg("this plugin is attached to and not started: it is not held against " + config.LockName + ", and calls to it have no deadline")
	}
	start, err := fanout.ParseStart(c.Start)
	if err != nil {
		return nil, fmt.Errorf("start of plugin %s: %w", c.Name, err)
	}
	d := &delivered{name: c.Name, cfg: c, own: own, hash: hash, start: start, secrets: cfg.PluginSecrets(c.Name), parts: map[int]*part{}}
	d.divide.Store(true)
	d.company = &fanout.Company{}
	d.restarts = &fanout.Restarts{Do: func(reason string) {
		d.recovered()
		if running := d.process.supervisor(); running != nil {
			running.Restart(reason)
		}
	}}
	d.process = &process{log: h.log.With().Str("plugin", c.Name).Logger(), make: func() *plugin.Supervisor {
		d.mu.Lock()
		own, secrets := d.own, d.secrets
		d.mu.Unlock()
		supervisor := plugin.New(Spec(c, own), plugin.Options{Log: h.log, Pin: plugin.Locker(cfg.LockFile(), c.Name)})
		supervisor.Hide(secrets...)
		return supervisor
	}}
	return d, nil
}

// partitions is into how many the configuration divides the plugin.
func (d *delivered) partitions() int { return max(d.cfg.Partitions, 1) }

func (h *Hub) newConsumer(d *delivered, lease *fanout.Lease, running *plugin.Supervisor) *fanout.Consumer {
	var patience time.Duration
	if d.cfg.Attach != "" {
		patience = plugin.Patience
	}
	return fanout.New(
		fanout.Config{
			Name: d.name, Partition: lease.Partition, Partitions: lease.Partitions, Events: d.cfg.Events, RetryFor: d.cfg.RetryFor,
			Park: d.cfg.OnDead == "park", ConfigHash: d.configHash(), CallTimeout: patience,
		},
		fanout.Deps{
			Store: h.store, Journal: h.journal, Mirror: h.mirror, Rows: h.mirror, Plugin: running, Restarts: d.restarts, Company: d.company, Lease: lease, Hub: h.owner,
			Log: h.log, Metrics: h.plugged.metrics, Observe: h.opts.OnDelivery,
		})
}

func (d *delivered) configHash() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hash
}

// reconfigured notes that another configuration is in force.
func (d *delivered) reconfigured(own json.RawMessage, hash string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own, d.hash = own, hash
	for _, p := range d.parts {
		if p.consumer != nil {
			p.consumer.SetConfigHash(hash)
		}
	}
}

// stopParts ends work on all partitions; it does not wait.
func (d *delivered) stopParts() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.parts {
		p.stop()
	}
}

// close ends work on all partitions, for good, and waits until the process has
// been drained.
func (d *delivered) close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stopParts()
	ended := make(chan struct{})
	go func() { d.done.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for it to be drained: %w", context.Cause(ctx))
	}
}

// hasHalted tells whether the plugin has halted with this configuration.
func (d *delivered) hasHalted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.halted
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

// work serves a partition until ctx ends, the plugin halts, or the lease is
// over; then it gives the lease back. The plugin's process is drained before
// that, after the last delivery.
func (h *Hub) work(ctx context.Context, d *delivered, p *part) {
	log := h.log.With().Str("plugin", d.name).Int("partition", p.lease.Partition).Logger()
	running := d.process.join()
	consumer := h.newConsumer(d, p.lease, running)
	d.mu.Lock()
	p.consumer = consumer
	consumer.SetConfigHash(d.hash)
	d.mu.Unlock()
	err := consumer.Run(ctx)
	switch {
	case err == nil:
	case errors.Is(err, fanout.ErrHalted):
		d.halt(log, err)
	case errors.Is(err, fanout.ErrFenced):
		log.Warn().Msg("the lease of these deliveries is over; another hub may have it, or this one takes it again")
	case errors.Is(err, fanout.ErrRedivide):
		log.Info().Msg(err.Error() + ", so its keys are divided anew")
	default:
		log.Error().Err(err).Msg("deliveries ended and will be started again")
	}
	d.mu.Lock()
	whole := d.closed || d.halted
	d.mu.Unlock()
	d.process.leave(whole || h.ending())
	h.giveBack(log, p.lease)
	d.mu.Lock()
	delete(d.parts, p.lease.Partition)
	d.again.after(err)
	if errors.Is(err, fanout.ErrRedivide) {
		d.keyed = consumer.KeyedBy()
	}
	d.mu.Unlock()
	h.look()
}

// halt stops all partitions of a plugin of which one has halted, and says so
// once.
func (d *delivered) halt(log zerolog.Logger, why error) {
	d.mu.Lock()
	already := d.halted
	d.halted = true
	d.mu.Unlock()
	d.stopParts()
	if !already {
		log.Error().Err(why).Msg("the plugin has halted: it gets no events until its configuration changes and is read again, by SIGHUP or a restart")
	}
}

// again is when a plugin whose deliveries ended is worked on again.
type again struct {
	failures int
	at       time.Time
}

// ailsFor is how long a plugin that crashed in a loop here is left to other hubs.
const ailsFor = 10 * time.Minute

// ailing tells whether the plugin is in quarantine on this hub, or was lately,
// and another hub would deliver to it: what makes it crash may be here alone.
func (d *delivered) ailing(view fanout.View, now time.Time) bool {
	others := slices.ContainsFunc(view.Hubs, func(h fanout.LiveHub) bool {
		return h.ID != view.Me && slices.Contains(h.Plugins, d.name)
	})
	running := d.process.supervisor()
	d.mu.Lock()
	defer d.mu.Unlock()
	if others && running != nil && running.Status().State == plugin.Quarantined && !now.Before(d.ails) {
		d.ails = now.Add(ailsFor)
		d.process.log.Warn().Msg("the plugin is in quarantine on this hub; other hubs take its deliveries over")
	}
	return others && now.Before(d.ails)
}

// recovered tells that an operator has it tried again.
func (d *delivered) recovered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ails = time.Time{}
}

const (
	againFirst = 250 * time.Millisecond
	againMax   = time.Minute
)

func (a *again) after(err error) {
	switch {
	case err == nil, errors.Is(err, fanout.ErrHalted), errors.Is(err, fanout.ErrRedivide):
		*a = again{}
		return
	case errors.Is(err, fanout.ErrFenced):
		a.failures = 0
	}
	a.at = time.Now().Add(min(againFirst<<min(a.failures, 10), againMax))
	a.failures++
}
