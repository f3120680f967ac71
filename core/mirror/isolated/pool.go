package isolated

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// pool keeps the databases that are open, and closes the one that was used
// longest ago when another one is needed.
type pool struct {
	most int
	open func(ctx context.Context, tenant, place string) (*database, error)

	mu      sync.Mutex
	entries map[string]*entry
	clock   int64         // grows with each use
	freed   chan struct{} // closed and replaced when an entry may have become idle
	closed  bool
}

// entry is an open database, or one that is being opened or closed.
type entry struct {
	ready   chan struct{} // closed once db or err is set
	db      *database
	err     error
	pins    int
	used    int64
	closing bool
}

// roomTime is how long somebody waits for one of the open databases to become
// idle.
const roomTime = 5 * time.Second

// closers databases are closed at a time to make room.
const closers = 4

var (
	errInUse  = errors.New("it is in use")
	errNoRoom = errors.New("as many databases as may be open are in use; raise mirror.tenants.max_open, or release them sooner")
	errClosed = errors.New("the hub is shutting down")
)

func newPool(most int, open func(ctx context.Context, tenant, place string) (*database, error)) *pool {
	return &pool{most: most, open: open, entries: map[string]*entry{}, freed: make(chan struct{})}
}

// acquire returns a tenant's database, opened if it is not, which stays open
// until release is called.
func (p *pool) acquire(ctx context.Context, tenant, place string) (*database, func(), error) {
	timer := time.NewTimer(roomTime)
	defer timer.Stop()
	for {
		e, mine, freed, err := p.enter(tenant)
		switch {
		case err != nil:
			return nil, nil, err
		case e == nil:
			select {
			case <-freed:
			case <-timer.C:
				return nil, nil, errNoRoom
			case <-ctx.Done():
				return nil, nil, fmt.Errorf("wait for a database: %w", ctx.Err())
			}
			continue
		case mine:
			e.db, e.err = p.open(ctx, tenant, place)
			if e.err != nil {
				p.remove(tenant)
			}
			close(e.ready)
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			p.release(e)
			return nil, nil, fmt.Errorf("wait for a database: %w", ctx.Err())
		}
		if e.err != nil {
			return nil, nil, e.err
		}
		return e.db, sync.OnceFunc(func() { p.release(e) }), nil
	}
}

// enter pins the tenant's entry. mine: it is new, and whoever got it opens the
// database. Without one, the caller waits for freed.
func (p *pool) enter(tenant string) (e *entry, mine bool, freed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, nil, errClosed
	}
	p.clock++
	if e := p.entries[tenant]; e != nil {
		if e.closing {
			return nil, false, p.freed, nil
		}
		e.pins++
		e.used = p.clock
		return e, false, nil, nil
	}
	if len(p.entries) >= p.most {
		p.evict()
		return nil, false, p.freed, nil
	}
	e = &entry{ready: make(chan struct{}), pins: 1, used: p.clock}
	p.entries[tenant] = e
	return e, true, nil, nil
}

// evict has the idle database closed that was used longest ago. Closing writes
// to disk, so nobody waits for it with the lock.
func (p *pool) evict() {
	var oldest string
	closing := 0
	for tenant, e := range p.entries {
		if e.closing {
			if closing++; closing == closers {
				return // room is being made
			}
			continue
		}
		if e.pins == 0 && (oldest == "" || e.used < p.entries[oldest].used) {
			oldest = tenant
		}
	}
	if oldest == "" {
		return
	}
	e := p.entries[oldest]
	e.closing = true
	go func() {
		_ = e.db.store.Close() // everything in it is committed
		p.remove(oldest)
	}()
}

func (p *pool) remove(tenant string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.entries, tenant)
	p.signal()
}

func (p *pool) release(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.pins--
	p.signal()
}

func (p *pool) signal() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// discard closes a tenant's database, for good or to open it anew, and runs done
// before anybody can open it again. It fails with errInUse if somebody has it.
func (p *pool) discard(tenant string, done func() error) error {
	p.mu.Lock()
	e := p.entries[tenant]
	switch {
	case p.closed:
		p.mu.Unlock()
		return errClosed
	case e != nil && (e.pins > 0 || e.closing):
		p.mu.Unlock()
		return errInUse
	case e == nil:
		e = &entry{ready: make(chan struct{})}
		p.entries[tenant] = e
	}
	e.closing = true
	p.mu.Unlock()
	var err error
	if e.db != nil {
		err = e.db.store.Close()
	}
	if err == nil {
		err = done()
	}
	p.remove(tenant)
	return err
}

// has tells whether a tenant's database is open.
func (p *pool) has(tenant string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[tenant]
	return e != nil && !e.closing
}

// size is the number of databases that are open.
func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries)
}

// close closes everything, and waits for what is just being closed.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	var errs []error
	for tenant, e := range p.entries {
		if e.closing {
			continue
		}
		e.closing = true
		p.mu.Unlock()
		<-e.ready
		if e.db != nil {
			errs = append(errs, e.db.store.Close())
		}
		p.mu.Lock()
		delete(p.entries, tenant)
	}
	for len(p.entries) > 0 {
		freed := p.freed
		p.mu.Unlock()
		<-freed
		p.mu.Lock()
	}
	p.mu.Unlock()
	return errors.Join(errs...)
}
