package access_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

const (
	benchPeople  = 100_000
	benchTenants = 1_000
)

// BenchmarkCheck asks about 100,000 people in 1,000 tenants. kept is a decision
// that is at hand, read one that comes from the database.
func BenchmarkCheck(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": pgtest.URL} {
		b.Run(name, func(b *testing.B) {
			st := storetest.Open(b, url(b))
			populate(b, st)
			for _, way := range []struct {
				name            string
				entries, people int
			}{{"kept", 10_000, 5_000}, {"read", -1, benchPeople}} {
				c := access.New(st, access.Options{Entries: way.entries})
				ask := func(b *testing.B, check func(ctx context.Context, i int) (access.Decision, error)) {
					ctx, cancel := context.WithCancel(b.Context())
					defer cancel()
					for i := range min(way.people, 5_000) { // what can be at hand is
						if _, err := check(ctx, i); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportAllocs()
					b.ResetTimer()
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if d, err := check(ctx, rand.IntN(way.people)); err != nil || !d.Allowed {
								b.Errorf("%+v %v", d, err)
								return
							}
						}
					})
				}
				b.Run(way.name+"/anywhere", func(b *testing.B) {
					ask(b, func(ctx context.Context, i int) (access.Decision, error) {
						return c.Check(ctx, fmt.Sprintf("usr_%d", i), app)
					})
				})
				b.Run(way.name+"/within", func(b *testing.B) {
					ask(b, func(ctx context.Context, i int) (access.Decision, error) {
						return c.CheckIn(ctx, fmt.Sprintf("usr_%d", i), app, fmt.Sprintf("tnt_%d", i%benchTenants))
					})
				})
			}
		})
	}
}

func populate(b *testing.B, st *store.Store) {
	b.Helper()
	now := store.Now()
	err := st.InTx(context.Background(), func(ctx context.Context) error {
		var people, members, accesses, tenants [][]any
		for i := range benchTenants {
			tenants = append(tenants, []any{fmt.Sprintf("tnt_%d", i), "N", fmt.Sprintf("slug-%d", i), "pro", "active", now, now, now})
		}
		for i := range benchPeople {
			sub, tenant := fmt.Sprintf("usr_%d", i), fmt.Sprintf("tnt_%d", i%benchTenants)
			people = append(people, []any{sub, true, true, now, now, now})
			members = append(members, []any{fmt.Sprintf("m_%d", i), sub, tenant, "active", now, now, now})
			accesses = append(accesses, []any{sub + "/" + app + "/" + tenant, sub, app, tenant, true, "admin", now, now, now})
		}
		db := st.SQL(ctx)
		for insert, rows := range map[string][][]any{
			`INSERT INTO av_organizations (tenant_id, name, slug, plan, status, created_at, updated_at, synced_at)`:                                  tenants,
			`INSERT INTO av_identities (sub, is_active, has_app_access, created_at, updated_at, synced_at)`:                                          people,
			`INSERT INTO av_memberships (membership_id, identity_id, organization_id, status, created_at, updated_at, synced_at)`:                    members,
			`INSERT INTO av_app_access (id, identity_id, application_id, organization_id, has_access, role_slug, created_at, updated_at, synced_at)`: accesses,
		} {
			if err := db.Insert(ctx, insert, rows, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
