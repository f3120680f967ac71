// Package fanout hands the journal's events to plugins: to each its own, in
// order within a key, and so that nothing is lost and no committed verdict is
// ever asked for again.
//
// A Consumer serves one partition of a plugin; most plugins have just one. Its
// cursor says how far the partition has come: everything at or below it is settled, or belongs to a lane. A lane is one key
// whose first unsettled event failed; it is tried again by a schedule of its
// own, while the other keys go on. An event that cannot succeed becomes a dead
// letter, and its key goes on.
//
// One goroutine owns all of a consumer's memory, reads the journal, and commits
// verdicts; only the calls to the plugin run beside it. No transaction is open
// while a plugin is called.
package fanout

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Plugin is a running plugin as deliveries need it.
type Plugin interface {
	// WaitReady blocks until the plugin takes deliveries, or ctx ends.
	WaitReady(ctx context.Context) error
	// Info is what the plugin says of itself; false before it ever ran.
	Info() (plugin.Info, bool)
	// Deliver applies a batch, and is done with it at the end of ctx. plugin.ErrNotRunning and plugin.ErrStopped mean
	// that it was not attempted, any other error that its fate is unknown.
	Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error)
	// Status tells what the plugin is doing, and why it is not running.
	Status() plugin.Status
}

// Journal is what fan-out reads.
type Journal interface {
	Read(ctx context.Context, q journal.Query) ([]*event.Event, error)
	Seeker
	Wake() <-chan struct{}
}

// Mirror is where the entities that travel with an event come from.
type Mirror interface {
	Refs(ev *event.Event) []mirror.Ref
	Entities(ctx context.Context, refs []mirror.Ref) (map[mirror.Ref]json.RawMessage, error)
	// Count adds to organizations what belongs to them.
	Count(ctx context.Context, entities map[mirror.Ref]json.RawMessage) error
}

// Config of one consumer.
type Config struct {
	Name string
	// Partition is the one, of Partitions, that the consumer serves: the keys
	// whose Slot % Partitions is Partition. Zero values mean the only one.
	Partition, Partitions int
	// Start is where a plugin begins that is new to the database; it is looked at
	// once. The zero value is the beginning.
	Start Start
	// Events are patterns of the types to deliver; empty: what the plugin asks
	// for.
	Events []string
	// RetryFor is how long a failing event is tried before it becomes a dead
	// letter.
	RetryFor time.Duration
	// Park keeps a key waiting behind an event that was given up, until an operator
	// retries or discards its dead letter; otherwise the key goes on.
	Park bool
	// ConfigHash identifies the plugin's configuration: a plugin that halted
	// stays halted until it changes.
	ConfigHash string
	// CallTimeout ends a call to the plugin; 0: the default of 12 s.
	CallTimeout time.Duration
}

// Deps are what a consumer works with.
type Deps struct {
	Store   *store.Store
	Journal Journal
	Mirror  Mirror
	Rows    Rows // of which snapshots are made; nil: none can be
	Plugin  Plugin
	// Lease is the right to work on the partition. nil: the consumer takes the
	// partition from whoever has it, for good, as Hub.
	Lease   *Lease
	Hub     string // names this process as the owner of cursors
	Log     zerolog.Logger
	Metrics *Metrics
	// Company is shared by the consumers whose Plugin is one process; nil: it is this
	// consumer's alone.
	Company *Company
	// Restarts is told of wishes to start the process anew; nil: they are left to
	// others.
	Restarts *Restarts
	// Observe, if set, is told of every committed verdict. It must not block.
	Observe func(Delivery)
	// Now is the clock; nil: the system's.
	Now func() time.Time
	// Backoff replaces the wait after a number of failed attempts, and before a
	// probe, by its number; nil: 1 s to 1 h, exponential with full jitter, and
	// 1 s to 1 min.
	Backoff func(attempts int) time.Duration
}

// Delivery is one committed verdict.
type Delivery struct {
	Plugin  string
	Event   *event.Event
	Verdict string // applied, skipped, again, retry, dead, parked, discarded
	Reason  string
	Took    time.Duration // of the call that the event was in
	Replay  bool          // somebody asked for the event to be sent again
}

// ErrFenced: the lease is over, or the cursor has another epoch. Another hub may
// have taken over, or an operator wants the cursor to be read anew.
var ErrFenced = errors.New("the lease of the partition is over")

// ErrRedivide: the plugin wants another order than the one by which its keys are
// divided into partitions; Leases.Repartition divides them anew.
var ErrRedivide = errors.New("the plugin's order has changed")

// ErrHalted: the plugin asked to be stopped until its configuration changes.
var ErrHalted = errors.New("the plugin has halted")

const (
	// callTimeout ends a call; the plugin's side answers a little before that
	// with what it has.
	callTimeout = 12 * time.Second
	// finishTimeout is how long calls in flight may take once the hub stops. What
	// they do later is not known, so their events are delivered again.
	finishTimeout = 4 * time.Second
	// stateLimit is what a plugin may remember for one key.
	stateLimit = 64 << 10
	// maxAgain bounds how often in a row an event may ask to be called again.
	maxAgain = 100
	// readsAtOnce reads of the journal happen before calls that came back are
	// looked at.
	readsAtOnce = 4

	pollEvery   = 500 * time.Millisecond // other hubs and operators' commands
	flushEvery  = 200 * time.Millisecond // the cursor, when nothing else is written
	beatEvery   = 10 * time.Second       // a sign of life in the cursor, when nothing else is written
	countEvery  = 5 * time.Second        // lanes and dead letters, for metrics
	downEvery   = 50 * time.Millisecond  // look whether the plugin is back
	heldWait    = 100 * time.Millisecond // after a batch that the plugin did not attempt
	historyKept = 20
	textLimit   = 4 << 10 // of a stored error
)

// limits bound what a consumer holds and hands out at once. They are fields, not
// constants, so that a test can reach every one of them with a few events.
type limits struct {
	// A batch holds at most so much; the plugin's side takes 4 MiB and more.
	batchEvents, batchBytes int
	// maxEvent is the largest event that is handed to a plugin, with its changes
	// and entities; a larger one becomes a dead letter.
	maxEvent int
	// requestBytes bounds a call with its events, entities and states; both sides
	// of the protocol take 16 MiB.
	requestBytes int
	// batchesInFlight calls run at once on the main stream, lanesInFlight beside it.
	batchesInFlight, lanesInFlight int
	// lettersInFlight of the latter may be with dead letters that are delivered
	// again; the others are left to lanes.
	lettersInFlight int
	// lanesAtWork are taken up at once, in a call, or between two of them;
	// idleLanes wait to go back to the main stream.
	lanesAtWork, idleLanes int
	// The window is what is read ahead of the cursor, so much at a time.
	windowEvents, windowBytes int
	readEvents, readBytes     int
	// flushEvents beyond the stored cursor are not left unstored for longer.
	flushEvents int64
}

func usualLimits() limits {
	return limits{
		batchEvents: 256, batchBytes: 1 << 20,
		maxEvent: 1 << 20, requestBytes: 4 << 20,
		batchesInFlight: 4, lanesInFlight: 8, lettersInFlight: 4, lanesAtWork: 16, idleLanes: 48,
		windowEvents: 2048, windowBytes: 16 << 20,
		readEvents: 512, readBytes: 4 << 20,
		flushEvents: 500,
	}
}

// Metrics of all consumers.
type Metrics struct {
	verdicts *prometheus.CounterVec
	lag      *prometheus.GaugeVec
	lanes    *prometheus.GaugeVec
	dead     *prometheus.GaugeVec
	breaker  *prometheus.GaugeVec
	latency  *prometheus.HistogramVec
}

// NewMetrics registers the consumers' metrics; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avhub_delivery_verdicts_total", Help: "Committed verdicts.",
		}, []string{"plugin", "verdict"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_delivery_lag_events", Help: "Events in the journal beyond the partition's cursor.",
		}, []string{"plugin", "partition"}),
		lanes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_delivery_blocked_lanes", Help: "Keys that wait for another attempt or an operator, or catch up beside the main stream.",
		}, []string{"plugin", "partition"}),
		dead: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_delivery_dead_letters", Help: "Events that were given up, until an operator decides.",
		}, []string{"plugin"}),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_delivery_breaker", Help: "1 while most tenants fail, so that the plugin only gets events to probe; 0 otherwise.",
		}, []string{"plugin", "partition"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "avhub_delivery_seconds", Help: "From the receipt of an event to its committed verdict.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 14),
		}, []string{"plugin"}),
	}
	if reg != nil {
		reg.MustRegister(m.verdicts, m.lag, m.lanes, m.dead, m.breaker, m.latency)
	}
	return m
}

// forget removes what is only known to the hub that works on a partition.
func (m *Metrics) forget(cfg Config) {
	part := strconv.Itoa(cfg.Partition)
	m.lag.DeleteLabelValues(cfg.Name, part)
	m.lanes.DeleteLabelValues(cfg.Name, part)
	m.breaker.DeleteLabelValues(cfg.Name, part)
	if cfg.Partition == 0 {
		m.dead.DeleteLabelValues(cfg.Name)
	}
}
