package session

// AfterFind has fn called between the moments at which sessions are found and
// removed.
func AfterFind(o Options, fn func()) Options {
	o.afterFind = fn
	return o
}
