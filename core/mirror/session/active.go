package session

import (
	"strings"
	"time"

	entsql "entgo.io/ent/dialect/sql"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent/predicate"
)

// Active selects the sessions that are neither revoked nor expired at a moment,
// on either database: a comparison by ent alone would take the text of SQLite's
// times for the times.
func Active(d store.Dialect, at time.Time) predicate.IdentitySession {
	o := overOn(d)
	over := func(condition string) *entsql.Predicate {
		before, after, _ := strings.Cut(condition, "?")
		return entsql.P(func(b *entsql.Builder) {
			b.WriteString("COALESCE(" + before).Arg(o.at(at)).WriteString(after + ", false)")
		})
	}
	return func(s *entsql.Selector) {
		s.Where(entsql.Not(entsql.Or(over(o.expired), over(o.revoked))))
	}
}
