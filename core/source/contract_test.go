package source_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/source"
)

func TestBothChannelsAreJournaledWithTheirEvidence(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))

	a := send(t, webhook(t, b.url, signingKey(), "k1", webhookBody))
	if a.code != http.StatusOK || a.Status != "accepted" || a.ID != "evt_1" || a.Position != 1 {
		t.Fatalf("webhook: %+v", a)
	}
	a = send(t, system(t, b.url, signingKey(), "k1", systemBody))
	if a.code != http.StatusOK || a.Status != "accepted" || !strings.HasPrefix(a.ID, "sys_") || a.Position != 2 {
		t.Fatalf("system webhook: %+v", a)
	}

	for i, want := range []struct {
		channel event.Channel
		body    string
	}{{event.ChannelWebhook, webhookBody}, {event.ChannelSystem, systemBody}} {
		ev := b.journal.all()[i]
		if ev.Source != "authvital" || ev.Channel != want.channel || string(ev.Evidence.Body) != want.body || ev.Evidence.KeyID != "k1" {
			t.Errorf("journaled %+v", ev)
		}
		if time.Since(ev.ReceivedAt) > time.Minute || ev.ReceivedAt.Location() != time.UTC {
			t.Errorf("received at %v", ev.ReceivedAt)
		}
		if (ev.Evidence.SignedTimestamp == "") != (want.channel == event.ChannelSystem) {
			t.Errorf("signed timestamp %q on %s", ev.Evidence.SignedTimestamp, want.channel)
		}
		// What is kept must let anybody verify the event again, later.
		sum := sha256.Sum256(ev.Evidence.SignedBytes())
		if err := rsa.VerifyPKCS1v15(&signingKey().PublicKey, crypto.SHA256, sum[:], ev.Evidence.Signature); err != nil {
			t.Errorf("the evidence of %s does not verify: %v", want.channel, err)
		}
	}
}

func TestDuplicateAndConflictAreAnsweredWith200(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))
	send(t, webhook(t, b.url, signingKey(), "k1", webhookBody))
	// The sender signs every attempt afresh: a second later by the header.
	later := strconv.FormatInt(time.Now().Unix()+1, 10)
	if a := send(t, webhookAt(t, b.url, signingKey(), "k1", webhookBody, later)); a.code != 200 || a.Status != "duplicate" || a.Position != 1 {
		t.Errorf("sent again: %+v", a)
	}
	other := strings.Replace(webhookBody, "ada@", "eve@", 1)
	if a := send(t, webhook(t, b.url, signingKey(), "k1", other)); a.code != 200 || a.Status != "conflict" || a.Position != 1 {
		t.Errorf("another body under the same id: %+v", a)
	}
}

// TestEveryRefusal is the table of answers. Each row takes a good delivery and
// spoils one thing.
func TestEveryRefusal(t *testing.T) {
	t.Parallel()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey()), jwkOf("long", longKey())))
	now := time.Now().Unix()
	at := func(seconds int64) func(*testing.T, *http.Request) *http.Request {
		return func(t *testing.T, _ *http.Request) *http.Request {
			return webhookAt(t, b.url, signingKey(), "k1", webhookBody, strconv.FormatInt(seconds, 10))
		}
	}
	stamp := func(text string) func(*testing.T, *http.Request) *http.Request {
		return func(t *testing.T, _ *http.Request) *http.Request {
			return webhookAt(t, b.url, signingKey(), "k1", webhookBody, text)
		}
	}
	header := func(name string, values ...string) func(*testing.T, *http.Request) *http.Request {
		return func(_ *testing.T, r *http.Request) *http.Request {
			r.Header.Del(name)
			for _, v := range values {
				r.Header.Add(name, v)
			}
			return r
		}
	}
	signature := func(sig []byte) func(*testing.T, *http.Request) *http.Request {
		return header("X-AuthVital-Signature", base64.StdEncoding.EncodeToString(sig))
	}
	signed := func(body string) func(*testing.T, *http.Request) *http.Request {
		return func(t *testing.T, _ *http.Request) *http.Request { return webhook(t, b.url, signingKey(), "k1", body) }
	}
	// The same bytes, signed in every way but the right one.
	stampNow := strconv.FormatInt(now, 10)
	input := []byte(stampNow + "." + webhookBody)
	sum := sha256.Sum256(input)
	sum512 := sha512.Sum512(input)
	pss, err := rsa.SignPSS(rand.Reader, signingKey(), crypto.SHA256, sum[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	rs512, err := rsa.SignPKCS1v15(nil, signingKey(), crypto.SHA512, sum512[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&signingKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write(input)
	good, err := base64.StdEncoding.DecodeString(sign(signingKey(), string(input)))
	if err != nil {
		t.Fatal(err)
	}
	goodText := base64.StdEncoding.EncodeToString(good)

	for _, row := range []struct {
		name   string
		spoil  func(*testing.T, *http.Request) *http.Request
		code   int
		reason source.Reason
	}{
		{"GET", func(_ *testing.T, r *http.Request) *http.Request { r.Method = "GET"; return r }, 405, source.ReasonMethod},
		{"PUT", func(_ *testing.T, r *http.Request) *http.Request { r.Method = "PUT"; return r }, 405, source.ReasonMethod},
		{"no content type", header("Content-Type"), 415, source.ReasonMediaType},
		{"two content types", header("Content-Type", "application/json", "text/plain"), 415, source.ReasonMediaType},
		{"a form", header("Content-Type", "application/x-www-form-urlencoded"), 415, source.ReasonMediaType},
		{"json only in name", header("Content-Type", "application/jsonp"), 415, source.ReasonMediaType},
		{"malformed content type", header("Content-Type", "application/json; charset"), 415, source.ReasonMediaType},
		{"UTF-16", header("Content-Type", "application/json; charset=utf-16"), 415, source.ReasonMediaType},
		{"gzip", header("Content-Encoding", "gzip"), 415, source.ReasonEncoding},
		{"identity, then br", header("Content-Encoding", "identity", "br"), 415, source.ReasonEncoding},
		{"oversized, said before", signed(strings.Replace(webhookBody, "Ada", strings.Repeat("A", maxBody), 1) + strings.Repeat(" ", maxBody)), 413, source.ReasonTooLarge},
		{"oversized by one byte", signed(webhookBody + strings.Repeat(" ", maxBody-len(webhookBody)+1)), 413, source.ReasonTooLarge},
		{"oversized, chunked", func(t *testing.T, _ *http.Request) *http.Request {
			r := webhook(t, b.url, signingKey(), "k1", webhookBody+strings.Repeat(" ", maxBody))
			r.ContentLength, r.GetBody = -1, nil
			r.Body = io.NopCloser(io.MultiReader(r.Body))
			return r
		}, 413, source.ReasonTooLarge},

		{"no signature", header("X-AuthVital-Signature"), 401, source.ReasonNoSignature},
		{"empty signature", header("X-AuthVital-Signature", ""), 401, source.ReasonNoSignature},
		{"both channels", header("X-Webhook-Signature", goodText), 401, source.ReasonAmbiguous},
		{"both channels, one empty", header("X-Webhook-Signature", ""), 401, source.ReasonAmbiguous},
		{"signature twice", header("X-AuthVital-Signature", goodText, goodText), 401, source.ReasonAmbiguous},
		{"key id twice", header("X-AuthVital-Key-Id", "k1", "k1"), 401, source.ReasonAmbiguous},
		{"timestamp twice", header("X-AuthVital-Timestamp", stampNow, stampNow), 401, source.ReasonAmbiguous},
		{"no key id", header("X-AuthVital-Key-Id"), 401, source.ReasonNoKeyID},
		{"empty key id", header("X-AuthVital-Key-Id", ""), 401, source.ReasonNoKeyID},
		{"the other channel's key id", func(_ *testing.T, r *http.Request) *http.Request {
			r.Header.Set("X-Webhook-Key-Id", r.Header.Get("X-AuthVital-Key-Id"))
			r.Header.Del("X-AuthVital-Key-Id")
			return r
		}, 401, source.ReasonNoKeyID},
		{"endless key id", header("X-AuthVital-Key-Id", strings.Repeat("k", 513)), 401, source.ReasonUnknownKey},
		{"unknown key id", header("X-AuthVital-Key-Id", "k2"), 401, source.ReasonUnknownKey},
		{"key id in another case", header("X-AuthVital-Key-Id", "K1"), 401, source.ReasonUnknownKey},

		{"not base64", header("X-AuthVital-Signature", "!"+goodText[1:]), 401, source.ReasonMalformed},
		{"base64url", header("X-AuthVital-Signature", base64.URLEncoding.EncodeToString(append([]byte{0xff, 0xff, 0xff}, good[3:]...))), 401, source.ReasonMalformed},
		{"base64 without padding", header("X-AuthVital-Signature", strings.TrimRight(goodText, "=")), 401, source.ReasonMalformed},
		{"base64 with stray bits", header("X-AuthVital-Signature", strayBits(goodText)), 401, source.ReasonMalformed},
		{"two signatures in one header", header("X-AuthVital-Signature", goodText+", "+goodText), 401, source.ReasonMalformed},
		{"one byte short", signature(good[:255]), 401, source.ReasonMalformed},
		{"one byte long", signature(append([]byte{0}, good...)), 401, source.ReasonMalformed},
		{"the length of another key", header("X-AuthVital-Key-Id", "long"), 401, source.ReasonMalformed},
		{"HMAC with the public key", signature(mac.Sum(nil)), 401, source.ReasonMalformed},
		{"HMAC as long as the modulus", signature(append(make([]byte, 224), mac.Sum(nil)...)), 401, source.ReasonBadSignature},
		{"PSS", func(t *testing.T, _ *http.Request) *http.Request {
			r := stamp(stampNow)(t, nil)
			return signature(pss)(t, r)
		}, 401, source.ReasonBadSignature},
		{"SHA-512", func(t *testing.T, _ *http.Request) *http.Request {
			r := stamp(stampNow)(t, nil)
			return signature(rs512)(t, r)
		}, 401, source.ReasonBadSignature},
		{"all zeros", signature(make([]byte, 256)), 401, source.ReasonBadSignature},
		{"another key of the same length", func(t *testing.T, _ *http.Request) *http.Request {
			return webhook(t, b.url, otherKey(), "k1", webhookBody)
		}, 401, source.ReasonBadSignature},
		{"the body without its timestamp", header("X-AuthVital-Signature", sign(signingKey(), webhookBody)), 401, source.ReasonBadSignature},
		{"another timestamp than signed", header("X-AuthVital-Timestamp", strconv.FormatInt(now-1, 10)), 401, source.ReasonBadSignature},
		{"a leading zero more than signed", header("X-AuthVital-Timestamp", "0"+stampNow[1:]), 401, source.ReasonStale},
		{"members in another order", func(t *testing.T, r *http.Request) *http.Request {
			return rebody(r, `{"type":"subject.created","id":"evt_1",`+webhookBody[len(`{"id":"evt_1","type":"subject.created",`):])
		}, 401, source.ReasonBadSignature},
		{"one space more", func(t *testing.T, r *http.Request) *http.Request { return rebody(r, webhookBody+" ") }, 401, source.ReasonBadSignature},
		{"a shorter body", func(t *testing.T, r *http.Request) *http.Request { return rebody(r, webhookBody[:len(webhookBody)-1]) }, 401, source.ReasonBadSignature},
		{"an empty body", func(t *testing.T, r *http.Request) *http.Request { return rebody(r, "") }, 401, source.ReasonBadSignature},
		{"signed as a system webhook", func(t *testing.T, r *http.Request) *http.Request {
			s := system(t, b.url, signingKey(), "k1", webhookBody)
			r.Header.Set("X-AuthVital-Signature", s.Header.Get("X-Webhook-Signature"))
			return r
		}, 401, source.ReasonBadSignature},

		{"no timestamp", header("X-AuthVital-Timestamp"), 401, source.ReasonBadTimestamp},
		{"empty timestamp", stamp(""), 401, source.ReasonBadTimestamp},
		{"ISO timestamp", stamp("2026-03-01T10:00:00.123Z"), 401, source.ReasonBadTimestamp},
		{"milliseconds", stamp(stampNow + "000"), 401, source.ReasonBadTimestamp},
		{"a sign", stamp("+" + stampNow), 401, source.ReasonBadTimestamp},
		{"a negative one", stamp("-1"), 401, source.ReasonBadTimestamp},
		{"a fraction", stamp(stampNow + ".5"), 401, source.ReasonBadTimestamp},
		{"hexadecimal", stamp("0x65e1a2b0"), 401, source.ReasonBadTimestamp},
		{"digits of another script", stamp("١٧٠٠٠٠٠٠٠٠"), 401, source.ReasonBadTimestamp},
		{"an overflowing one", stamp("99999999999999999999999"), 401, source.ReasonBadTimestamp},
		{"stale", at(now - 310), 401, source.ReasonStale},
		{"from 1970", stamp("0"), 401, source.ReasonStale},
		{"future", at(now + 90), 401, source.ReasonFuture},
		{"far future", stamp("99999999999"), 401, source.ReasonFuture},

		{"verified, but no JSON", signed("hello"), 400, source.ReasonInvalidEnvelope},
		{"verified, but empty", signed(""), 400, source.ReasonInvalidEnvelope},
		{"verified, but not UTF-8", signed("{\"id\":\"\xff\"}"), 400, source.ReasonInvalidEnvelope},
		{"verified, but without an id", signed(strings.Replace(webhookBody, `"id":"evt_1",`, "", 1)), 400, source.ReasonInvalidEnvelope},
		{"verified, but an array", signed("[" + webhookBody + "]"), 400, source.ReasonInvalidEnvelope},
		{"verified, but two objects", signed(webhookBody + webhookBody), 400, source.ReasonInvalidEnvelope},
		{"a system body on the webhook channel", signed(systemBody), 400, source.ReasonInvalidEnvelope},
		{"a recorded webhook, sent as a system webhook", func(t *testing.T, _ *http.Request) *http.Request {
			// Its signature holds: a system webhook signs the raw body alone.
			return system(t, b.url, signingKey(), "k1", stampNow+"."+webhookBody)
		}, 400, source.ReasonInvalidEnvelope},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := row.spoil(t, webhook(t, b.url, signingKey(), "k1", webhookBody))
			a := send(t, r)
			a.want(t, row.code, row.reason)
			if (a.header.Get("Allow") == "POST") != (row.code == 405) {
				t.Errorf("Allow: %q with %d", a.header.Get("Allow"), a.code)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(b.journal.all()); n != 0 {
			t.Errorf("%d refused requests reached the journal", n)
		}
	})
}

// strayBits sets bits of the last base64 digit that decode to nothing.
func strayBits(s string) string {
	body := strings.TrimRight(s, "=")
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := strings.IndexByte(digits, body[len(body)-1])
	return body[:len(body)-1] + string(digits[last|1]) + s[len(body):]
}

func rebody(r *http.Request, body string) *http.Request {
	r.Body = io.NopCloser(strings.NewReader(body))
	r.ContentLength, r.GetBody = int64(len(body)), nil
	return r
}

func TestWhatIsAccepted(t *testing.T) {
	t.Parallel()
	fixed := time.Unix(1_800_000_000, 900_000_000)
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(_ *source.Config, d *source.Deps, _ *http.Server) {
		d.Now = func() time.Time { return fixed }
	})
	at := func(seconds int64) *http.Request {
		return webhookAt(t, b.url, signingKey(), "k1", webhookBody, strconv.FormatInt(seconds, 10))
	}
	set := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	for name, r := range map[string]*http.Request{
		"the oldest timestamp":          at(1_800_000_000 - 300),
		"the newest timestamp":          at(1_800_000_000 + 60),
		"a leading zero that is signed": webhookAt(t, b.url, signingKey(), "k1", webhookBody, "01800000000"),
		"charset":                       set(at(1_800_000_000), "Content-Type", `Application/JSON; charset="UTF-8"`),
		"a +json type":                  set(at(1_800_000_000), "Content-Type", "application/cloudevents+json"),
		"identity encoding":             set(at(1_800_000_000), "Content-Encoding", "identity"),
		"the largest body":              webhookAt(t, b.url, signingKey(), "k1", webhookBody+strings.Repeat(" ", maxBody-len(webhookBody)), "1800000000"),
		"a lying event id":              set(at(1_800_000_000), "X-AuthVital-Event-Id", "evt_other"),
		"a lying algorithm":             set(at(1_800_000_000), "X-AuthVital-Algorithm", "none"),
		"the other channel's key id":    set(at(1_800_000_000), "X-Webhook-Key-Id", "other"),
		"a system timestamp of 1999":    set(system(t, b.url, signingKey(), "k1", systemBody), "X-Webhook-Timestamp", "1999-01-01T00:00:00Z"),
		"an old system event":           system(t, b.url, signingKey(), "k1", strings.Replace(systemBody, "2026-03-01", "2025-03-01", 1)),
		"a stray timestamp on system":   set(system(t, b.url, signingKey(), "k1", systemBody), "X-AuthVital-Timestamp", "1"),
		"an unknown type":               webhookAt(t, b.url, signingKey(), "k1", strings.Replace(webhookBody, "subject.created", "galaxy.formed", 1), "1800000000"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := send(t, r); a.code != http.StatusOK {
				t.Errorf("got %d: %s", a.code, a.raw)
			}
		})
	}
	// One second beyond either end is out.
	send(t, at(1_800_000_000-301)).want(t, 401, source.ReasonStale)
	send(t, at(1_800_000_000+61)).want(t, 401, source.ReasonFuture)
}

func TestHeadersThatContradictTheBodyAreCounted(t *testing.T) {
	t.Parallel()
	metrics, gather := counters(t)
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(_ *source.Config, d *source.Deps, _ *http.Server) { d.Metrics = metrics })
	r := webhook(t, b.url, signingKey(), "k1", webhookBody)
	r.Header.Set("X-AuthVital-Event-Id", "evt_other")
	r.Header.Set("X-AuthVital-Event-Type", "subject.deleted")
	send(t, r)
	r = system(t, b.url, signingKey(), "k1", systemBody)
	r.Header.Set("X-Webhook-Event", "tenant.deleted")
	send(t, r)
	send(t, system(t, b.url, signingKey(), "k1", systemBody))

	for series, want := range map[string]float64{
		`avhub_source_header_mismatches_total{header="id",source="authvital"}`:                     1,
		`avhub_source_header_mismatches_total{header="type",source="authvital"}`:                   2,
		`avhub_source_requests_total{outcome="accepted",reason="",source="authvital"}`:             2,
		`avhub_source_requests_total{outcome="duplicate",reason="",source="authvital"}`:            1,
		`avhub_source_key_set_refreshes_total{result="ok",source="authvital"}`:                     1,
		`avhub_source_keys{source="authvital"}`:                                                    1,
		`avhub_source_requests_total{outcome="refused",reason="bad_signature",source="authvital"}`: 0,
	} {
		if got := gather()[series]; got != want {
			t.Errorf("%s = %v, want %v", series, got, want)
		}
	}
	for _, ev := range b.journal.all() {
		if ev.ID == "evt_other" || ev.Type == "subject.deleted" || ev.Type == "tenant.deleted" {
			t.Errorf("a header was believed: %+v", ev)
		}
	}
}
