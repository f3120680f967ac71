package plugin

import (
	"math/rand/v2"
	"time"
)

// backoff makes pauses between starts: full jitter, so that plugins that fell
// together do not start together, below a ceiling that doubles from base to max.
type backoff struct {
	base, max time.Duration
	tries     int
}

// minPause keeps full jitter from drawing no pause at all.
const minPause = 10 * time.Millisecond

func (b *backoff) next() time.Duration {
	ceiling := b.base << b.tries
	if ceiling < b.max {
		b.tries++ // only up to max, so the shift cannot overflow
	} else {
		ceiling = b.max
	}
	return max(minPause, rand.N(ceiling))
}

func (b *backoff) reset() { b.tries = 0 }
