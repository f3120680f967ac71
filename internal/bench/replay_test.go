package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
)

const (
	replayRounds = 25     // more than elsewhere: few live events meet a commit of the replay
	dayEvents    = 20_000 // of a day, of which the replayed tenant has half
	tenantAgain  = "again"
)

// fillDay journals a day that has passed.
func (s *isolation) fillDay(day time.Time) {
	parallel(dayEvents, 256, func(i int) {
		tenant := tenantAgain
		if i%2 == 1 {
			tenant = fmt.Sprintf("other%d", i%50)
		}
		payload := fmt.Sprintf(`{"id":"day-%d","type":"test.happened","timestamp":"2026-01-02T03:04:05Z","tenant_id":%q,"data":{}}`, i, tenant)
		ev, err := event.DecodeWebhook([]byte(payload))
		if err != nil {
			s.b.Error(err)
			return
		}
		ev.Source, ev.ReceivedAt = "bench", day.Add(time.Hour)
		ev.Evidence = event.Evidence{KeyID: "k1", Signature: make([]byte, 256), SignedTimestamp: "1700000000", Body: []byte(payload)}
		if _, err := s.journal.Append(context.Background(), ev); err != nil {
			s.b.Error(err)
		}
	})
}

// replayed is a round beside a replay of the tenant's day, which goes on for all
// of the round.
func (s *isolation) replayed(day time.Time, rate int) []time.Duration {
	s.b.Helper()
	ctx := context.Background()
	r, err := fanout.StartReplay(ctx, s.store, s.journal, fanout.Replay{
		Plugin: "p", Tenant: tenantAgain, Since: day, Before: day.Add(24 * time.Hour), Rate: rate,
	})
	if err != nil {
		s.b.Fatal(err)
	}
	progress := func() fanout.Replay {
		now, err := fanout.FindReplay(ctx, s.store, r.ID)
		if err != nil {
			s.b.Fatal(err)
		}
		return now
	}
	for progress().Counts.Total() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	before := progress().Counts.Total()
	took := s.round(tenantFine)
	if now := progress(); now.State != fanout.ReplayRunning || now.Counts.Applied <= before {
		s.b.Fatalf("the replay did not go on for all of the round: %+v", now)
	}
	if _, err := fanout.CancelReplay(ctx, s.store, r.ID); err != nil {
		s.b.Fatal(err)
	}
	return took
}

// benchReplay measures what the replay of a tenant's day costs live events.
func benchReplay(b *testing.B, t *table) {
	s, end := newIsolation(b)
	defer end()
	day := store.Now().Add(-48 * time.Hour)
	s.fillDay(day)
	s.consume(s.ctx, "p", "plugin", 0, func(d fanout.Delivery) {
		if d.Verdict == "applied" {
			s.applied <- d.Event.ID
		}
	})
	s.round(tenantFine)
	var a, again, beside []time.Duration
	for range replayRounds {
		a = append(a, s.round(tenantFine)...)
		beside = append(beside, s.replayed(day, fanout.DefaultReplayRate)...)
		again = append(again, s.round(tenantFine)...)
	}
	compare(t, "latency beside a replay", a, again, beside)
}
