package source_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/source"
)

// FuzzNothingUnsignedGetsIn throws arbitrary headers and bodies at the handler.
// No input can be signed by accident, so none may get a 2xx or reach the
// journal, and none may end in a panic or as trouble of the hub's own.
func FuzzNothingUnsignedGetsIn(f *testing.F) {
	// The source holds one key and has stopped fetching, so that a run of the
	// target neither waits nor depends on another one.
	journal := &memory{}
	s, err := source.New(
		source.Config{Name: "authvital", Host: newProvider(f, jwkOf("k1", signingKey())).url, MaxAge: 300 * time.Second, MaxAhead: 60 * time.Second, MaxBody: 1 << 16},
		source.Deps{Journal: journal, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	s.ServeHTTP(httptest.NewRecorder(), system(f, "/", signingKey(), "k1", "not journaled"))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ended); err != nil || s.KeySet().Keys != 1 {
		f.Fatalf("%v, %+v", err, s.KeySet())
	}
	good := sign(signingKey(), "1800000000."+webhookBody)
	goodSystem := sign(signingKey(), systemBody)
	f.Add("POST", "application/json", "", good, "k1", "1800000000", "", "", webhookBody+" ")
	f.Add("POST", "application/json", "", "", "", "", goodSystem, "k1", systemBody+" ")
	f.Add("POST", "application/json", "gzip", good, "k1", "-1", "", "k1", "")
	f.Add("GET", "text/plain", "", "====", "", "99999999999999999999", good, "k1", "{}")
	f.Fuzz(func(t *testing.T, method, contentType, encoding, sig, kid, stamp, sysSig, sysKid, body string) {
		r := &http.Request{Method: method, Header: http.Header{}, ContentLength: int64(len(body))}
		r = r.WithContext(t.Context())
		r.Body = http.NoBody
		if body != "" {
			r = rebody(r, body)
		}
		for name, value := range map[string]string{
			"Content-Type": contentType, "Content-Encoding": encoding,
			"X-AuthVital-Signature": sig, "X-AuthVital-Key-Id": kid, "X-AuthVital-Timestamp": stamp,
			"X-Webhook-Signature": sysSig, "X-Webhook-Key-Id": sysKid,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if (sig == good && body == webhookBody) || (sysSig == goodSystem && body == systemBody) {
			return // put together again from the seeds
		}
		if w.Code < 400 || len(journal.all()) != 0 {
			t.Fatalf("got %d: %s", w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), string(source.ReasonInternal)) {
			t.Fatalf("met a bug: %s", w.Body)
		}
	})
}
