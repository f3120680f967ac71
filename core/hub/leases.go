package hub

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/rs/zerolog"
)

// The steward looks after this hub's leases: one goroutine renews them, another
// looks who is alive and who holds what, and takes and gives accordingly.

const (
	lookEvery = time.Second
	// leaseWithin bounds each question about leases, so that a database that does
	// not answer is asked again before they end.
	leaseWithin = 4 * time.Second
	renewAgain  = 500 * time.Millisecond
	sweepEvery  = 10 * time.Minute
	// refusedFor is how long this hub keeps a partition that it gave away and that
	// nobody took.
	refusedFor    = 10 * time.Second
	complainEvery = 30 * time.Second
)

type steward struct {
	looking chan struct{}            // holds a wish to look now
	hints   chan struct{}            // holds a wish to tell others of new events
	others  atomic.Bool              // other hubs are alive
	wanted  atomic.Pointer[[]string] // plugins that this hub would deliver to

	// Of the goroutine that looks alone.
	free     map[fanout.PartitionID]time.Time // since when nobody is seen to hold it
	given    *fanout.PartitionID
	giveFrom time.Time
	said     time.Time
}

// leaseName tells this hub from all others, for good; its beginning is for
// people.
func leaseName() string {
	return ownerName() + "/" + strings.ToLower(rand.Text()[:6])
}

// ownerName tells operators which process delivers.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// look has the leases looked at now.
func (h *Hub) look() {
	select {
	case h.looking <- struct{}{}:
	default:
	}
}

// ending tells whether Run's context has ended.
func (h *Hub) ending() bool {
	h.plugged.mu.Lock()
	defer h.plugged.mu.Unlock()
	return h.plugged.ctx == nil || h.plugged.ctx.Err() != nil
}

// present are the plugins, and the partitions that this hub works on.
func (h *Hub) present() (plugins []*delivered) {
	h.plugged.mu.Lock()
	defer h.plugged.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		plugins = append(plugins, h.plugins[name])
	}
	return plugins
}

// runPlugins lets this hub work on its share of all partitions until ctx ends.
// It returns when the last plugin has been drained and no lease is left.
func (h *Hub) runPlugins(ctx context.Context) {
	h.plugged.mu.Lock()
	h.plugged.ctx = ctx
	h.plugged.mu.Unlock()
	after, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	renewed, hinted := make(chan struct{}), make(chan struct{})
	go func() { defer close(hinted); h.exchangeHints(after) }()
	h.renew(nil)
	go func() { defer close(renewed); h.renewLeases(after) }()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(h.balance(ctx))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-h.looking:
		}
	}
	// Before the first lease is given back, so that others know whose share it is.
	h.wanted.Store(&[]string{})
	h.renew(nil)
	h.working.Wait()
	stop()
	<-renewed
	<-hinted
	leave, cancel := h.store.Bound(context.Background(), leaseWithin)
	defer cancel()
	if err := h.leases.Leave(leave); err != nil {
		h.log.Warn().Err(err).Msg("other hubs will believe for a moment that this one is alive")
	}
}

// renewLeases goes on until after ends: leases are needed until the plugins have
// been drained.
func (h *Hub) renewLeases(after context.Context) {
	var said, swept time.Time
	for {
		wait := h.leases.RenewEvery()
		if err := h.renew(&swept); err != nil {
			if wait = renewAgain; time.Since(said) >= complainEvery {
				said = time.Now()
				h.log.Error().Err(err).Msg("leases could not be renewed; trying again. Deliveries stop before they end")
			}
		}
		select {
		case <-after.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (h *Hub) renew(swept *time.Time) error {
	ctx, cancel := h.store.Bound(context.Background(), min(leaseWithin, h.leases.RenewEvery()))
	defer cancel()
	var held []*fanout.Lease
	for _, d := range h.present() {
		d.mu.Lock()
		for _, p := range d.parts {
			held = append(held, p.lease)
		}
		d.mu.Unlock()
	}
	var wanted []string
	if w := h.wanted.Load(); w != nil {
		wanted = *w
	}
	if err := h.leases.Renew(ctx, wanted, held); err != nil {
		return err
	}
	if swept != nil && time.Since(*swept) >= sweepEvery {
		*swept = time.Now()
		return h.leases.Sweep(ctx)
	}
	return nil
}

// balance looks once, takes and gives. It returns when to look again.
func (h *Hub) balance(ctx context.Context) time.Duration {
	bounded, cancel := h.store.Bound(context.WithoutCancel(ctx), leaseWithin)
	defer cancel()
	next, err := h.tryBalance(bounded)
	if err != nil && time.Since(h.said) >= complainEvery {
		h.said = time.Now()
		h.log.Error().Err(err).Msg("could not look after the leases of plugins; trying again")
	}
	return next
}

func (h *Hub) tryBalance(ctx context.Context) (time.Duration, error) {
	plugins := h.present()
	view, err := h.leases.View(ctx)
	if err != nil {
		return lookEvery, err
	}
	created := false
	for _, d := range plugins {
		if _, ok := view.Plugins[d.name]; !ok {
			created = true
			if err := h.leases.CreateAt(ctx, h.journal, d.name, d.partitions(), d.start); err != nil {
				return lookEvery, err
			}
		}
	}
	if created {
		if view, err = h.leases.View(ctx); err != nil {
			return lookEvery, err
		}
	}
	byName := map[string]*delivered{}
	wanted := []string{}
	for _, d := range plugins {
		ok, err := h.wants(ctx, d, view)
		if err != nil {
			return lookEvery, err
		}
		if ok {
			byName[d.name], wanted = d, append(wanted, d.name)
		}
	}
	h.note(view, wanted)
	take, give := view.Decide(wanted, h.freeFor)
	for _, id := range take {
		if err := h.take(ctx, byName[id.Plugin], id, view.Plugins[id.Plugin].Partitions); err != nil {
			return lookEvery, err
		}
	}
	for _, id := range give {
		h.give(byName[id.Plugin], id)
	}
	if left, any := view.Next(); any {
		return min(lookEvery, left+time.Millisecond), nil
	}
	return lookEvery, nil
}

// wants tells whether this hub works on a plugin's partitions now. Where they
// have to be divided anew it first ends its own work, and divides them as soon
// as nobody works on any.
func (h *Hub) wants(ctx context.Context, d *delivered, view fanout.View) (bool, error) {
	row := view.Plugins[d.name]
	d.mu.Lock()
	if d.keyed == row.KeyedBy {
		d.keyed = "" // so it is divided; a later version may want something else again
	}
	keyed, local, closed, retry, was := d.keyed, len(d.parts), d.closed, d.again.at, d.halted
	d.mu.Unlock()
	if closed {
		return false, nil
	}
	want := row.Partitions
	if d.divide.Load() {
		want = d.partitions()
	}
	switch {
	case want != row.Partitions, keyed != "" && keyed != row.KeyedBy:
		d.stopParts()
		if local > 0 || !view.FreeOf(d.name) {
			return false, nil
		}
		done, err := h.leases.Repartition(ctx, d.name, want, keyed)
		if err != nil || !done {
			return false, err
		}
		h.log.Info().Str("plugin", d.name).Int("partitions", want).Int("before", row.Partitions).Msg("the plugin's keys are divided anew")
		h.look()
		return false, nil
	}
	d.divide.Store(false)
	if d.ailing(view, time.Now()) {
		d.stopParts()
		return false, nil
	}
	halted := view.Halted(d.name, d.configHash())
	switch {
	case halted && !was: // before this process began, or at another hub
		d.halt(h.log.With().Str("plugin", d.name).Logger(), fanout.ErrHalted)
	case !halted && was && local == 0:
		d.mu.Lock()
		d.halted = false
		d.mu.Unlock()
	}
	return !halted && (!was || local == 0) && !time.Now().Before(retry), nil
}

// note keeps what is seen for the next look, and for the goroutine that renews.
func (h *Hub) note(view fanout.View, wanted []string) {
	if before := h.wanted.Load(); before == nil || !slices.Equal(*before, wanted) {
		h.wanted.Store(&wanted)
		_ = h.renew(nil) // else the next one tells it
	}
	h.others.Store(slices.ContainsFunc(view.Hubs, func(l fanout.LiveHub) bool { return l.ID != view.Me }))
	free := map[fanout.PartitionID]time.Time{}
	for _, p := range view.Held {
		if p.Owner != "" {
			if h.given != nil && *h.given == p.PartitionID && p.Owner != view.Me {
				h.given = nil // it was taken
			}
			continue
		}
		since, ok := h.free[p.PartitionID]
		if !ok {
			since = time.Now()
		}
		free[p.PartitionID] = since
	}
	h.free = free
}

func (h *Hub) freeFor(id fanout.PartitionID) time.Duration {
	since, ok := h.free[id]
	if !ok {
		return 0
	}
	return time.Since(since)
}

func (h *Hub) take(ctx context.Context, d *delivered, id fanout.PartitionID, partitions int) error {
	d.mu.Lock()
	_, working := d.parts[id.Partition]
	closed := d.closed
	d.mu.Unlock()
	if working || closed {
		return nil // it is about to be given back
	}
	lease, err := h.leases.Acquire(ctx, id, partitions)
	if err != nil || lease == nil {
		return err
	}
	if h.given != nil && *h.given == id {
		h.given, h.giveFrom = nil, time.Now().Add(refusedFor)
	}
	h.plugged.mu.Lock()
	parent := h.plugged.ctx
	h.plugged.mu.Unlock()
	work, stop := context.WithCancel(parent)
	p := &part{lease: lease, stop: stop}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		stop()
		go h.giveBack(h.log, lease)
		return nil
	}
	d.parts[id.Partition] = p
	d.done.Add(1)
	h.working.Go(func() {
		defer d.done.Done()
		defer stop()
		h.work(work, d, p)
	})
	return nil
}

// give ends work on a partition, so that another hub can take it.
func (h *Hub) give(d *delivered, id fanout.PartitionID) {
	if d == nil || h.given != nil || time.Now().Before(h.giveFrom) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.parts[id.Partition]
	if p == nil {
		return
	}
	h.given = &id
	h.log.Info().Str("plugin", id.Plugin).Int("partition", id.Partition).Msg("another hub has less to do; it may take these deliveries")
	p.stop()
}

// giveBack releases a lease and tells the others. What fails ends by itself.
func (h *Hub) giveBack(log zerolog.Logger, lease *fanout.Lease) {
	ctx, cancel := h.store.Bound(context.Background(), leaseWithin)
	defer cancel()
	if err := h.leases.Release(ctx, lease); err != nil {
		log.Warn().Err(err).Msg("a lease could not be given back; others can take it when its time is up")
		return
	}
	h.tell(ctx, hintLeases)
}
