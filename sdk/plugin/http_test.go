package plugin

import (
	"net/http"
	"testing"
	"time"
)

func TestHTTPAnswersBecomeVerdicts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code  int
		after string
		kind  verdictKind
		wait  time.Duration
	}{
		{200, "", verdictApplied, 0},
		{204, "", verdictApplied, 0},
		{429, "7", verdictRetry, 7 * time.Second},
		{503, "0", verdictRetry, 0},
		{503, "-5", verdictRetry, 0},
		{503, "soon", verdictRetry, 0},
		{503, "9223372036854775807", verdictRetry, 24 * time.Hour},
		{429, "99999999999999999999999", verdictRetry, 0},
		{429, "Fri, 31 Dec 9999 23:59:59 GMT", verdictRetry, 24 * time.Hour},
		{429, "Thu, 01 Jan 1970 00:00:00 GMT", verdictRetry, 0},
		{500, "60", verdictRetry, 0},
		{408, "", verdictRetry, 0},
		{425, "", verdictRetry, 0},
		{401, "", verdictHalt, 0},
		{403, "", verdictHalt, 0},
		{400, "", verdictReject, 0},
		{302, "", verdictReject, 0},
		{404, "", verdictReject, 0},
		{999, "", verdictRetry, 0},
	} {
		kind, wait := outcome(HTTPVerdict(&http.Response{StatusCode: tc.code, Header: http.Header{"Retry-After": {tc.after}}}))
		if kind != tc.kind || wait != tc.wait {
			t.Errorf("%d, Retry-After %q: verdict %d after %s, want %d after %s", tc.code, tc.after, kind, wait, tc.kind, tc.wait)
		}
	}
}
