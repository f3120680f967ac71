package fanout

import "cmp"

// SetConfigHash notes that another configuration was put in force. It may be
// called at any time. It reports false if the plugin has halted under the one
// before: Run ends then, and the plugin has to be started anew.
func (c *Consumer) SetConfigHash(hash string) bool {
	c.halting.Lock()
	defer c.halting.Unlock()
	if !c.over {
		c.hash = hash
	}
	return !c.over
}

func (c *Consumer) configHash() string {
	c.halting.Lock()
	defer c.halting.Unlock()
	return c.hash
}

// isHalted tells whether a halt ends the consumer. It does not if another
// configuration has been put in force in the meantime; after it has, none is.
func (c *Consumer) isHalted() bool {
	c.halting.Lock()
	defer c.halting.Unlock()
	if c.halted != "" && c.haltedHash != c.hash {
		c.halted = ""
	}
	c.over = c.halted != ""
	return c.over
}

// halt stops the plugin, unless another configuration has been put in force
// since the call.
func (c *Consumer) halt(b *batch, reason string) {
	if b.hash == c.configHash() {
		c.halted, c.haltedHash = cmp.Or(reason, "the plugin asked to be halted"), b.hash
	}
}
