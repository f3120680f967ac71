package mirror_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

// What a committed group of 64 events costs: people who are known already (the
// daily case), tenants, and people who are new. Time is per event.
func BenchmarkApply(b *testing.B) {
	const group = 64
	kinds := map[string]func(i, round int) said{
		"person updated": func(i, round int) said {
			return said{
				typ: event.TypeSubjectUpdated, id: fmt.Sprintf("e%d-%d", round, i), at: time.Duration(round) * time.Millisecond, tenant: "t1",
				data: map[string]any{
					"sub": fmt.Sprintf("usr_%d", i), "email": fmt.Sprintf("p%d-%d@example.com", i, round), "given_name": "Ines",
					"family_name": "Haugen", "preferred_username": "ines", "name": "Ines Haugen", "locale": "nb-NO", "zoneinfo": "Europe/Oslo",
					"groups": []string{"crew"}, "changed_fields": []string{"email"},
				},
			}
		},
		"person created": func(i, round int) said {
			return said{
				typ: event.TypeSubjectCreated, id: fmt.Sprintf("e%d-%d", round, i), at: time.Duration(round) * time.Millisecond, tenant: "t1",
				data: map[string]any{
					"sub": fmt.Sprintf("usr_%d_%d", i, round), "email": fmt.Sprintf("p%d-%d@example.com", i, round),
					"given_name": "Ines", "family_name": "Haugen", "subject_type": "user",
				},
			}
		},
		"tenant updated": func(i, round int) said {
			return said{
				typ: event.TypeTenantUpdated, id: fmt.Sprintf("e%d-%d", round, i), at: time.Duration(round) * time.Millisecond,
				data: map[string]any{
					"tenant_id": fmt.Sprintf("tnt_%d", i), "name": "Fjordline", "slug": "fjordline", "plan": []string{"pro", "free"}[round%2],
					"settings": map[string]any{
						"allow_signups": true, "require_mfa": round%2 == 0, "allowed_email_domains": []string{"fjordline.example"},
						"session_lifetime_minutes": 720, "password_policy": "strict",
					},
					"changed_fields": []string{"plan", "settings.require_mfa"},
				},
			}
		},
	}
	stays := func(round int) time.Duration { return time.Duration(round) * time.Millisecond }
	kinds["member's role changed"] = func(i, round int) said {
		return said{
			typ: event.TypeMemberRoleChanged, id: fmt.Sprintf("e%d-%d", round, i), at: stays(round), tenant: fmt.Sprintf("tnt_%d", i%10),
			data: map[string]any{
				"membership_id": fmt.Sprintf("mbr_%d", i), "sub": fmt.Sprintf("usr_%d", i), "email": fmt.Sprintf("p%d@example.com", i),
				"tenant_roles": []string{[]string{"member", "admin"}[round%2]}, "previous_roles": []string{"member"},
			},
		}
	}
	kinds["access granted"] = func(i, round int) said {
		return said{
			typ: event.TypeAppAccessGranted, id: fmt.Sprintf("e%d-%d", round, i), at: stays(round), tenant: fmt.Sprintf("tnt_%d", i%10), app: "app_1",
			data: map[string]any{
				"membership_id": fmt.Sprintf("mbr_%d", i), "sub": fmt.Sprintf("usr_%d", i), "email": fmt.Sprintf("p%d@example.com", i),
				"role_id": "r1", "role_name": "Editor", "role_slug": []string{"editor", "viewer"}[round%2],
			},
		}
	}
	kinds["license changed"] = func(i, round int) said {
		return said{
			typ: event.TypeLicenseChanged, id: fmt.Sprintf("e%d-%d", round, i), at: stays(round), tenant: fmt.Sprintf("tnt_%d", i%10), app: "app_1",
			data: map[string]any{
				"assignment_id": fmt.Sprintf("las_%d", i), "sub": fmt.Sprintf("usr_%d", i), "license_type_id": "lt1", "license_type_name": []string{"Crew", "Lead"}[round%2],
			},
		}
	}
	// Everybody and every tenant is known, with rows of their usual size.
	settle := func(b *testing.B, m bench) {
		var events []*event.Event
		for i := range group {
			events = append(events, kinds["person updated"](i, -2).event(b), kinds["tenant updated"](i, -2).event(b))
		}
		m.apply(b, events...)
	}
	for name, kind := range kinds {
		for database, open := range map[string]func(testing.TB) bench{"sqlite": onSQLite, "postgres": onPostgres} {
			b.Run(name+"/"+database, func(b *testing.B) {
				m := open(b)
				round := 0
				next := func() []*event.Event {
					round++
					events := make([]*event.Event, group)
					for i := range events {
						events[i] = kind(i, round).event(b)
					}
					return events
				}
				settle(b, m)
				m.apply(b, next()...)
				m.apply(b, next()...)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					b.StopTimer()
					events := next()
					b.StartTimer()
					m.apply(b, events...)
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*group), "µs/event")
			})
		}
	}
	// The same group without the mirror: what the transaction costs by itself.
	b.Run("nothing/sqlite", func(b *testing.B) {
		m := onSQLite(b)
		for range b.N {
			err := m.InTx(context.Background(), func(ctx context.Context) error {
				_, err := m.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES ('x', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1`)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*group), "µs/event")
	})
}

// What counting costs for the organizations of a batch, by the people that these
// have together.
func BenchmarkCount(b *testing.B) {
	for database, open := range map[string]func(testing.TB) bench{"sqlite": onSQLite, "postgres": onPostgres} {
		for _, size := range []struct{ tenants, people int }{{100, 20}, {1, 10_000}} {
			b.Run(fmt.Sprintf("%d tenants of %d/%s", size.tenants, size.people, database), func(b *testing.B) {
				m := open(b)
				var refs []mirror.Ref
				for i := range size.tenants {
					tenant := fmt.Sprintf("t%d", i)
					refs = append(refs, mirror.Ref{Kind: event.KindOrganization, ID: tenant})
					events := []*event.Event{about(1, event.TypeTenantCreated, tenant, data{"tenant_id": tenant}).event(b)}
					for k := range size.people {
						sub := fmt.Sprintf("%s-%d", tenant, k)
						events = append(events,
							about(1, event.TypeMemberJoined, tenant, data{"membership_id": sub, "sub": sub}).event(b),
							about(1, event.TypeLicenseAssigned, tenant, data{"assignment_id": sub, "sub": sub, "license_type_id": "lt"}).in("a1").event(b))
					}
					m.apply(b, events...)
				}
				for b.Loop() {
					found, err := m.Entities(context.Background(), refs)
					if err == nil {
						err = m.Count(context.Background(), found)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
