package plugin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// HTTPVerdict is what the status of an HTTP answer means for an event: 2xx is
// applied; 429 and 503 wait as long as Retry-After asks, at most a day; 408, 425
// and every other 5xx are tried again; 401 and 403 halt the connector, as its
// key is no longer good; everything else, a redirect too, rejects the event. It
// does not read or close the body. RFC 9110 §10.2.3 and §15.
func HTTPVerdict(resp *http.Response) error {
	code := resp.StatusCode
	err := fmt.Errorf("the server answered %d %s", code, http.StatusText(code))
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return RetryAfter(retryAfter(resp.Header.Get("Retry-After"), time.Now()), err)
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly:
		return err
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return Halt(err)
	default:
		return Reject(err)
	}
}

// retryAfter reads seconds or a date; 0 if it is neither, or over.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, min(at.Sub(now), maxRetryAfter))
	}
	return 0
}
