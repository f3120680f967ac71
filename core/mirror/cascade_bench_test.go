package mirror_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// The end of a tenant with very many members, in one transaction that is bounded as
// the journal bounds its own. It takes minutes to prepare: -benchtime 1x.
func BenchmarkDeleteTenant(b *testing.B) {
	const members, group = 400_000, 2000
	for database, open := range map[string]func(testing.TB) bench{"sqlite": onSQLite, "postgres": onPostgres} {
		b.Run(database, func(b *testing.B) {
			m := open(b)
			for round := range b.N {
				b.StopTimer()
				tenant := fmt.Sprintf("tnt_%d", round)
				at := time.Duration(2*round) * time.Millisecond
				for from := 0; from < members; from += group {
					events := make([]*event.Event, group)
					for i := range events {
						n := from + i
						events[i] = said{
							typ: event.TypeMemberJoined, id: fmt.Sprintf("e%d-%d", round, n), at: at, tenant: tenant,
							data: map[string]any{
								"membership_id": fmt.Sprintf("mbr_%d_%d", round, n), "sub": fmt.Sprintf("usr_%d_%d", round, n),
								"tenant_roles": []string{"member"}, "joined_at": "2026-01-01T00:00:00.000Z",
							},
						}.event(b)
					}
					m.apply(b, events...)
				}
				end := said{
					typ: event.TypeTenantDeleted, id: fmt.Sprintf("end-%d", round), at: at + time.Millisecond, tenant: tenant,
					data: map[string]any{"tenant_id": tenant},
				}.event(b)
				b.StartTimer()
				bounded, cancel := m.Bound(context.Background(), store.Patience)
				if err := m.InTx(bounded, func(ctx context.Context) error { return m.Apply(ctx, []*event.Event{end}) }); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
		})
	}
}
