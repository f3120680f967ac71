package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	maxTries  = 8
	firstWait = 500 * time.Millisecond // ceiling of the first pause; doubles
	longWait  = 30 * time.Second       // ceiling of all pauses
	leastWait = 10 * time.Millisecond
	// maxAsked is the longest time that the provider may ask to be left alone for.
	maxAsked = 5 * time.Minute
)

// transient is trouble that passes with time.
type transient struct {
	err   error
	after time.Duration // what the provider asked for; zero: nothing
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// retry runs try until it succeeds, fails for good, or has failed often enough.
func (c *Client) retry(ctx context.Context, asked string, try func() error) error {
	for tries := 1; ; tries++ {
		err := try()
		var passing *transient
		if err == nil || !errors.As(err, &passing) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if passing.after > maxAsked {
			return &Unavailable{Asked: asked, Tries: tries, err: fmt.Errorf("%w; it asks to be left alone for %s", passing.err, passing.after)}
		}
		if tries == maxTries {
			return &Unavailable{Asked: asked, Tries: tries, err: passing.err}
		}
		pause := max(passing.after, backoff(tries))
		c.opts.Log.Warn().Err(passing.err).Int("attempt", tries).Stringer("retry_in", pause.Round(time.Millisecond)).Msg("the provider's API could not be read")
		if err := c.opts.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

// backoff is the pause after so many attempts: full jitter below a ceiling that
// doubles.
func backoff(tries int) time.Duration {
	return max(leastWait, rand.N(min(firstWait<<(tries-1), longWait)))
}

func wait(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter reads the header of that name, in seconds or as a date (RFC 9110,
// 10.2.3). Zero: there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), 365*24*3600)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
