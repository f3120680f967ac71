package fanout

import (
	"testing"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// What the model has found: the shortest ways to faults that have been mended.
func TestLaw4_WaysThatOnceLedToAFault(t *testing.T) {
	plain := setting{partitions: 1, order: plugin.PerTenant}
	divided := setting{partitions: 2, order: plugin.PerTenant}
	parking := setting{partitions: 1, order: plugin.PerTenant, park: true}
	narrow := setting{partitions: 1, order: plugin.PerTenant, coalesce: true, tight: true}
	coalescing := setting{partitions: 1, order: plugin.PerTenant, coalesce: true}
	for name, c := range map[string]struct {
		setting
		ops []op
	}{
		// The cursor passed the event whose lane could not be stored.
		"a shutdown while verdicts cannot be committed": {plain, []op{
			{do: "append"},
			{do: "work"},
			{do: "fault", n: int(faultBegin)},
			{do: "answer", how: "retry"},
			{do: "stop"},
		}},
		// The lane's head passed the older events that the newest one stood for.
		"a coalesced lane is asked to come again": {coalescing, []op{
			{do: "append", m: 1},
			{do: "work"},
			{do: "answer", how: "retry"},
			{do: "clock", n: 2},
			{do: "work"},
			{do: "answer", how: "again"},
		}},
		"a coalesced lane is held": {coalescing, []op{
			{do: "append", m: 1},
			{do: "work"},
			{do: "answer", how: "retry"},
			{do: "clock", n: 2},
			{do: "work"},
			{do: "answer", how: "held"},
		}},
		"the call of a coalesced lane is cut": {coalescing, []op{
			{do: "append", m: 1},
			{do: "work"},
			{do: "answer", how: "retry"},
			{do: "clock", n: 2},
			{do: "work"},
			{do: "answer", how: "cut"},
		}},
		// After a crash, the rest of the key waited for what had been given up.
		"a crash after an operator has discarded a lane's head": {plain, []op{
			{do: "hold"},
			{do: "append", m: 1},
			{do: "work"},
			{do: "answer", how: "retry"},
			{do: "discard lane"},
			{do: "work"},
			{do: "work"},
			{do: "begin"},
		}},
		// Its rest was nobody's any more.
		"keys are divided anew when one partition has done its part of a replay": {divided, []op{
			{do: "replay"},
			{do: "work"},
			{do: "clock", n: 2},
			{do: "work"},
			{do: "work"},
			{do: "divide"},
		}},
		// It was attempted once more.
		"a lane is retried whose dead letter was discarded": {parking, []op{
			{do: "append"},
			{do: "work"},
			{do: "answer", how: "reject"},
			{do: "discard letter"},
			{do: "retry lanes"},
			{do: "turn"},
			{do: "work"},
		}},
		// The lane went on with a newer event.
		"a key that asked to come again gets a lane for its many events": {narrow, []op{
			{do: "append"},
			{do: "append"},
			{do: "burst", n: 1, m: 3},
			{do: "append", m: 1},
			{do: "turn"},
			{do: "answer", how: "again", all: true},
			{do: "work"},
			{do: "turn"},
		}},
		// The lane's head was the dead letter, which the newer one does not cover.
		"a crash between a dead letter and the cursor": {coalescing, []op{
			{do: "append", n: 1},
			{do: "work"},
			{do: "append"},
			{do: "work"},
			{do: "answer", n: 1, how: "reject"},
			{do: "start"},
			{do: "append"},
			{do: "work"},
			{do: "answer", how: "retry", all: true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onModel(t, func(t *testing.T, st *store.Store, j *journal.Journal) {
				w := newWorld(t, st, j, c.setting)
				defer w.end()
				w.begin()
				for _, o := range c.ops {
					w.do(o)
				}
				w.rest()
			})
		})
	}
}
