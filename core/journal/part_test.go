package journal_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/internal/storetest"
)

// Every event is of one partition, whatever their number, and it is that of its
// key's slot.
func TestPartitionsShareOutTheJournal(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		const events = 60
		b := setup(t, url, projector{}, journal.Options{})
		for i := range events {
			if _, err := b.append(decoded(t, "s", body(fmt.Sprint("e", i), fmt.Sprint("t", i), `{}`))); err != nil {
				t.Fatal(err)
			}
		}
		for _, of := range []int{1, 2, 7, 64} {
			total := 0
			for index := range of {
				read, err := b.journal.Read(context.Background(), journal.Query{
					Limit: events, Part: &journal.Part{Lane: journal.TenantLane, Index: index, Of: of},
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, ev := range read {
					if journal.Slot(ev.TenantKey())%of != index {
						t.Errorf("%s is not of partition %d of %d", ev.TenantKey(), index, of)
					}
				}
				total += len(read)
			}
			if total != events {
				t.Errorf("%d partitions have %d events", of, total)
			}
		}
	})
}

// What another hub commits wakes those who wait here, and only one's own commits
// are told to others.
func TestANudgeWakesButIsNotACommit(t *testing.T) {
	t.Parallel()
	told := make(chan struct{}, 10)
	b := setup(t, storetest.SQLite(t), projector{}, journal.Options{Committed: func() { told <- struct{}{} }})
	wake := b.journal.Wake()
	b.journal.Nudge()
	select {
	case <-wake:
	case <-time.After(10 * time.Second):
		t.Error("a nudge woke nobody")
	}
	if len(told) > 0 {
		t.Error("a nudge was told as a commit")
	}
	if _, err := b.append(decoded(t, "s", body("e", "t", `{}`))); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Error("a commit was not told")
	}
}
