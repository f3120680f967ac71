package fanout

import "sync"

// Company is what the consumers of one plugin's process share: its partitions on
// a hub die together. When one of them looks for the event that kills the
// process, the others make no calls; and a death proves nothing about an event if
// another call was under way at any time. The zero value is ready.
type Company struct {
	mu      sync.Mutex
	flying  int   // calls
	begun   int64 // calls, ever
	prover  *Consumer
	changed chan struct{}
}

// begin counts a call. quiet, asked when it has ended, tells whether it was the
// only one all the time.
func (c *Company) begin() (quiet func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying++
	c.begun++
	only, number := c.flying == 1, c.begun
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return only && c.begun == number
	}
}

// end counts a call that has ended.
func (c *Company) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flying--; c.flying == 0 && c.prover != nil {
		c.wake()
	}
}

// claim asks for the process alone: others start nothing from then on, until
// yield. It reports true once nothing is under way.
func (c *Company) claim(by *Consumer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prover == nil {
		c.prover = by
	}
	return c.prover == by && c.flying == 0
}

// yield ends a claim.
func (c *Company) yield(by *Consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prover == by {
		c.prover = nil
		c.wake()
	}
}

// claimed tells whether another consumer wants the process alone.
func (c *Company) claimed(by *Consumer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.prover != nil && c.prover != by
}

func (c *Company) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// wakes is closed when a consumer that could not go on may look again.
func (c *Company) wakes() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}
