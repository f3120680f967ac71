package store

// ClockSQL is an expression for the database's own time, in Unix microseconds.
// On Postgres it is the one clock that all hubs share.
func (s *Store) ClockSQL() string {
	if s.dialect == Postgres {
		return `(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint`
	}
	return `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`
}
