package source

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// tally collects refusals between two reports. Requests that nothing vouches
// for must not write log lines of their own: whoever can reach the port could
// fill the disk. So there is one line a minute, made of our own words and
// numbers.
type tally struct {
	mu     sync.Mutex
	counts map[Reason]uint64
}

func (t *tally) add(r Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[Reason]uint64)
	}
	t.counts[r]++
}

// report logs what was refused since the last report, if anything was.
func (t *tally) report(log zerolog.Logger) {
	t.mu.Lock()
	counts := t.counts
	t.counts = nil
	t.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	var total uint64
	reasons := zerolog.Dict()
	for _, r := range slices.Sorted(maps.Keys(counts)) {
		reasons.Uint64(string(r), counts[r])
		total += counts[r]
	}
	log.Warn().Uint64("requests", total).Dict("reasons", reasons).Msg("requests refused in the last minute")
}

// throttle lets a log line through at once and then at most one in ten seconds.
type throttle struct{ last atomic.Int64 } // Unix seconds; 0: never

func (t *throttle) pass() bool {
	now, last := time.Now().Unix(), t.last.Load()
	return now-last >= 10 && t.last.CompareAndSwap(last, now)
}
