package fanout

import (
	"math/rand/v2"
	"time"
)

const (
	retryFirst = time.Second
	retryMax   = time.Hour
	// throttleMin keeps a connector that is told to come back "now" from
	// spinning, throttleMax bounds what the outside world may ask for.
	throttleMin = 100 * time.Millisecond
	throttleMax = 24 * time.Hour
)

// backoff returns how long to wait after the given number of failed attempts
// (1 after the first): exponential from 1 s to 1 h with full jitter, so that
// keys that failed together do not come back together. random yields values in
// [0, 1).
func backoff(attempts int, random func() float64) time.Duration {
	ceiling := retryMax
	// 2^12 s is over an hour; a larger shift would overflow one day.
	if attempts <= 12 {
		ceiling = min(retryFirst<<max(attempts-1, 0), retryMax)
	}
	return time.Duration(random() * float64(ceiling))
}

// throttle bounds the wait that the outside world asked for.
func throttle(asked time.Duration) time.Duration {
	return min(max(asked, throttleMin), throttleMax)
}

func jitter() float64 { return rand.Float64() }
