package mirror_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
)

// nothing is a projector of a journal without a mirror.
type nothing struct{}

func (nothing) Apply(context.Context, []*event.Event) error { return nil }

// What it takes to build the mirror from nothing while events come, and to prove
// it: 5,000 tenants, 100,000 people in them with access to an application, 310,000
// events.
func BenchmarkRebuild(b *testing.B) {
	const tenants, people = 5_000, 100_000
	for database, open := range map[string]func(testing.TB) bench{"sqlite": onSQLite, "postgres": onPostgres} {
		b.Run(database, func(b *testing.B) {
			at := open(b)
			log := journal.New(at.Store, nothing{}, journal.Options{})
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			go log.Run(ctx)
			events := 0
			var waiting sync.WaitGroup
			room := make(chan struct{}, 1024)
			add := func(s said) {
				events++
				s.id, s.at = fmt.Sprintf("evt_%08d", events), time.Duration(events)*time.Millisecond
				ev := s.event(b)
				room <- struct{}{}
				waiting.Go(func() {
					if _, err := log.Append(ctx, ev); err != nil {
						b.Error(err)
					}
					<-room
				})
			}
			tnt := func(i int) string { return fmt.Sprintf("tnt_%05d", i%tenants) }
			for i := range tenants {
				add(said{typ: event.TypeTenantCreated, tenant: tnt(i), data: data{
					"tenant_id": tnt(i), "name": "Fjordline", "slug": tnt(i), "plan": "pro",
					"settings": data{"allow_signups": true, "require_mfa": false, "session_lifetime_minutes": 720},
				}})
			}
			for i := range people {
				sub := fmt.Sprintf("usr_%06d", i)
				add(said{typ: event.TypeSubjectCreated, tenant: tnt(i), app: "a1", data: data{
					"sub": sub, "email": sub + "@example.com", "given_name": "Ines", "family_name": "Haugen", "subject_type": "user",
				}})
				add(said{typ: event.TypeMemberJoined, tenant: tnt(i), app: "a1", data: data{
					"membership_id": "m_" + sub, "sub": sub, "tenant_roles": []string{"viewer"},
				}})
			}
			for i := range tenants {
				add(said{typ: event.TypeTenantUpdated, tenant: tnt(i), data: data{"tenant_id": tnt(i), "plan": "free", "changed_fields": []string{"plan"}}})
			}
			for i := range people {
				sub := fmt.Sprintf("usr_%06d", i)
				add(said{typ: event.TypeAppAccessGranted, tenant: tnt(i), app: "a1", data: data{
					"membership_id": "m_" + sub, "sub": sub, "role_id": "r1", "role_name": "Editor", "role_slug": "editor",
				}})
			}
			waiting.Wait()
			hub := journal.New(at.Store, at.Mirror, journal.Options{})
			go hub.Run(ctx)
			b.ResetTimer()
			for range b.N {
				stages := map[mirror.Stage]time.Duration{}
				var most uint64
				last, began := mirror.Stage(""), time.Now()
				progress := func(p mirror.Progress) {
					if p.Stage != last {
						if last != "" {
							stages[last] += time.Since(began)
						}
						last, began = p.Stage, time.Now()
						var memory runtime.MemStats
						runtime.ReadMemStats(&memory)
						most = max(most, memory.HeapInuse)
					}
				}
				waited, quiet := waits(ctx, b, hub)
				start := time.Now()
				done, err := at.Rebuild(ctx, log, mirror.RebuildOptions{Progress: progress})
				if err != nil {
					b.Fatal(err)
				}
				quiet()
				slices.Sort(*waited)
				b.Logf("meanwhile %d appends waited %v at the median, %v at the 99th percentile, %v at most", len(*waited),
					(*waited)[len(*waited)/2], (*waited)[len(*waited)*99/100], (*waited)[len(*waited)-1])
				b.Logf("rebuild: %d events, %d rows in %v: %v; heap %d MiB", done.Events, done.Changed(), time.Since(start), stages, most>>20)
				b.ReportMetric(float64(events)/stages[mirror.StageFold].Seconds(), "folded/s")
				b.ReportMetric(float64(done.Changed())/stages[mirror.StageWrite].Seconds(), "rows/s")
				start = time.Now()
				report, err := at.Verify(ctx, log, mirror.VerifyOptions{})
				if err != nil || !report.Clean() {
					b.Fatalf("%+v %v", report, err)
				}
				b.Logf("verify: %v", time.Since(start))
				b.ReportMetric(float64(events)/time.Since(start).Seconds(), "verified/s")
			}
		})
	}
}

// waits appends an event now and then, until it is told to be quiet, and collects
// how long each took.
func waits(ctx context.Context, b *testing.B, log *journal.Journal) (*[]time.Duration, func()) {
	var waited []time.Duration
	quiet, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-quiet:
				return
			case <-time.After(5 * time.Millisecond):
			}
			ev := said{
				typ: event.TypeSubjectUpdated, id: fmt.Sprintf("late_%p_%d", quiet, i), at: time.Hour, tenant: "tnt_00001",
				data: data{"sub": fmt.Sprintf("usr_%06d", i), "locale": "nb"},
			}.event(b)
			start := time.Now()
			if _, err := log.Append(ctx, ev); err != nil {
				b.Error(err)
				return
			}
			waited = append(waited, time.Since(start))
		}
	}()
	return &waited, func() { close(quiet); <-done }
}
