package access

// AfterRead has fn called between the moment at which a decision was read from
// the database and that at which it is kept.
func (c *Checker) AfterRead(fn func()) { c.afterRead = fn }

// Kept is how many decisions and tenants are kept.
func (c *Checker) Kept() (decisions, tenants int) { return c.decisions.len(), c.tenants.len() }
