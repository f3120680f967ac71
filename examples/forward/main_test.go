package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestAnEventGoesOnAsTheBytesThatCameUnderASignatureThatTheKeySetProves(t *testing.T) {
	t.Parallel()
	cfg, peer, look := world(t)
	address := freeAddress(t)
	peer.keySet = "http://" + address + keySetPath
	cfg["listen"] = address
	h := serve(t)
	h.mustConfigure(t, cfg)
	var want []received
	for _, ev := range []*pluginpb.Event{webhook("evt_1"), system(), webhook("evt_1")} {
		if v := h.deliver(t, ev); v.GetKind() != pluginpb.Verdict_KIND_APPLIED {
			t.Fatal(v)
		}
		id := ""
		if ev.GetChannel() == "webhook" {
			id = ev.GetId()
		}
		want = append(want, received{ev.GetChannel(), id, ev.GetType(), "", string(ev.GetBody())})
	}
	got := look().([]received)
	for i := range got {
		if got[i].KeyID == "" {
			t.Error("a webhook names no key")
		}
		got[i].KeyID = ""
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the peer got\n%v\nwant\n%v", got, want)
	}
}

func TestOnlyChosenSourcesAreSentOnAndAnUndecidedOneStopsTheConnector(t *testing.T) {
	t.Parallel()
	cfg, _, look := world(t)
	h := serve(t)
	from := func(source string) pluginpb.Verdict_Kind {
		ev := webhook("evt_" + source)
		ev.Source = source
		return h.deliver(t, ev).GetKind()
	}
	h.mustConfigure(t, cfg)
	for source, want := range map[string]pluginpb.Verdict_Kind{
		"authvital": pluginpb.Verdict_KIND_APPLIED, "hub-b": pluginpb.Verdict_KIND_SKIPPED, "hub-c": pluginpb.Verdict_KIND_HALT,
	} {
		if got := from(source); got != want {
			t.Errorf("%s: %v", source, got)
		}
	}
	if got := look().([]received); len(got) != 1 || got[0].Event != "evt_authvital" {
		t.Errorf("the peer got %v", got)
	}
	cfg["sources"] = []string{"*"}
	h.mustConfigure(t, cfg)
	if a, b := from("hub-c"), from("hub-b"); a != pluginpb.Verdict_KIND_APPLIED || b != pluginpb.Verdict_KIND_SKIPPED {
		t.Errorf("with *: %v for hub-c, %v for hub-b", a, b)
	}
}

func TestWhatHasNoBytesOrNoWebhooksFormIsNotMadeUp(t *testing.T) {
	t.Parallel()
	cfg, _, look := world(t)
	h := serve(t)
	h.mustConfigure(t, cfg)
	for name, tc := range map[string]struct {
		channel, body string
		kind          pluginpb.Verdict_Kind
	}{
		"a hub that hands over no bytes": {"webhook", "", pluginpb.Verdict_KIND_HALT},
		"an event of the hub's own":      {"", "", pluginpb.Verdict_KIND_SKIPPED},
		"another channel":                {"pubsub", "{}", pluginpb.Verdict_KIND_REJECT},
	} {
		ev := webhook("evt_1")
		ev.Channel, ev.Body = tc.channel, []byte(tc.body)
		if v := h.deliver(t, ev); v.GetKind() != tc.kind || v.GetReason() == "" {
			t.Errorf("%s: %v", name, v)
		}
	}
	if got := look().([]received); len(got) != 0 {
		t.Errorf("the peer got %v", got)
	}
}

func TestThePeersAnswerBecomesTheVerdict(t *testing.T) {
	t.Parallel()
	cfg, peer, _ := world(t)
	h := serve(t)
	h.mustConfigure(t, cfg)
	for _, tc := range []struct {
		status int
		body   string
		after  string
		kind   pluginpb.Verdict_Kind
		says   string
	}{
		{200, `{"status":"accepted"}`, "", pluginpb.Verdict_KIND_APPLIED, ""},
		{200, `{"status":"duplicate"}`, "", pluginpb.Verdict_KIND_APPLIED, ""},
		{204, ``, "", pluginpb.Verdict_KIND_APPLIED, ""},
		{200, `<html>`, "", pluginpb.Verdict_KIND_APPLIED, ""},
		{200, `{"status":"conflict"}`, "", pluginpb.Verdict_KIND_REJECT, "another event under this id"},
		{503, `{"error":"busy","reason":"too_busy"}`, "7", pluginpb.Verdict_KIND_RETRY, "503 too_busy: busy"},
		{429, ``, "7", pluginpb.Verdict_KIND_RETRY, "429"},
		{500, ``, "", pluginpb.Verdict_KIND_RETRY, "500"},
		{408, `{"reason":"slow_body"}`, "", pluginpb.Verdict_KIND_RETRY, "slow_body"},
		{400, `{"reason":"unreadable_body"}`, "", pluginpb.Verdict_KIND_RETRY, "unreadable_body"},
		{400, `{"error":"no id","reason":"invalid_envelope"}`, "", pluginpb.Verdict_KIND_REJECT, "invalid_envelope: no id"},
		{413, ``, "", pluginpb.Verdict_KIND_REJECT, "server.max_body"},
		{401, `{"reason":"unknown_key"}`, "", pluginpb.Verdict_KIND_RETRY, "unknown_key; the key set"},
		{401, `{"reason":"stale_timestamp"}`, "", pluginpb.Verdict_KIND_RETRY, "clocks"},
		{401, `login first`, "", pluginpb.Verdict_KIND_HALT, "the key set"},
		{403, ``, "", pluginpb.Verdict_KIND_HALT, "the key set"},
		{404, ``, "", pluginpb.Verdict_KIND_RETRY, "path of a source"},
		{308, ``, "", pluginpb.Verdict_KIND_RETRY, "redirects are not followed"},
		{401, "{\"reason\":\"r\",\"error\":\"evil\\nline\\u001b[2J" + strings.Repeat("x", 3000) + "\"}", "", pluginpb.Verdict_KIND_RETRY, "evil line [2J"},
	} {
		peer.mu.Lock()
		peer.answer = func(int) (int, string) { return tc.status, tc.body }
		peer.header = http.Header{"Retry-After": {tc.after}, "Location": {"/elsewhere"}}
		peer.mu.Unlock()
		v := h.deliver(t, webhook("evt_1"))
		if v.GetKind() != tc.kind || !strings.Contains(v.GetReason(), tc.says) || v.GetThrottled() != (tc.after != "") || len(v.GetReason()) > 700 {
			t.Errorf("%d %.60s: %v", tc.status, tc.body, v)
		}
	}
}

func TestAPeerThatRefusesEverythingForTenMinutesStopsTheConnector(t *testing.T) {
	t.Parallel()
	answer := http.StatusUnauthorized
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answer)
		_, _ = io.WriteString(w, `{"reason":"unknown_key"}`)
	}))
	defer server.Close()
	c, err := open(t.Context(), config{URL: server.URL, Sources: []string{"*"}, Key: sharedKey(), Timeout: time.Minute}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := c.(*forwarder)
	now := time.Now()
	f.now = func() time.Time { return now }
	halted := func(after time.Duration, status int) bool {
		now, answer = now.Add(after), status
		err := f.Deliver(t.Context(), plugin.Event{Channel: "webhook", Body: []byte("{}")}, nil)
		halt := plugin.Halt(nil)
		return err != nil && fmt.Sprintf("%T", err) == fmt.Sprintf("%T", halt)
	}
	for i, step := range []struct {
		after  time.Duration
		status int
		halts  bool
	}{
		{0, 401, false}, {9 * time.Minute, 404, false}, {time.Second, 200, false}, // it was passing trouble
		{0, 401, false}, {patience - 1, 401, false}, {1, 401, true},
	} {
		if got := halted(step.after, step.status); got != step.halts {
			t.Errorf("step %d: halted %v", i, got)
		}
	}
}

func TestANetworkFaultIsTriedAgainAndShowsNoKey(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hanging.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, address := range map[string]string{"refused": gone.URL, "slow": hanging.URL, "no such host": "http://peer.invalid"} {
		cfg, _, _ := world(t)
		cfg["url"], cfg["timeout"] = address, "100ms"
		h := serve(t)
		h.mustConfigure(t, cfg)
		v := h.deliver(t, webhook("evt_1"))
		if v.GetKind() != pluginpb.Verdict_KIND_RETRY || v.GetThrottled() {
			t.Errorf("%s: %v", name, v)
		}
		if strings.Contains(v.GetReason()+h.log.String(), "PRIVATE") {
			t.Errorf("%s: the key shows", name)
		}
	}
}

func TestABadConfigurationIsToldWithPlaceAndWayOutAndNotTheKey(t *testing.T) {
	t.Parallel()
	short, _ := newKey(t, 1024)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	h := serve(t)
	for _, tc := range []struct {
		key   string
		value any
		says  string
	}{
		{"url", "https://user:canary-password@x/y", "url: has a name"},
		{"url", "ftp://x", "url: "},
		{"url", "https://:80/", "url: is no address"},
		{"sources", []string{}, "sources: is empty"},
		{"sources", []string{"hub-b"}, "skip_sources[0]: says the opposite"},
		{"key", "canary-key", "key: cannot be used: it is not PEM"},
		{"key", pemOf("RSA PRIVATE KEY", []byte("canary-key")), "key: cannot be used: its content is damaged"},
		{"key", pemOf("PUBLIC KEY", nil), "key: cannot be used: it is PEM, but no private key"},
		{"key", pemOf("ENCRYPTED PRIVATE KEY", nil), "key: cannot be used: it is protected by a passphrase"},
		{"key", pemOf("PRIVATE KEY", der), "key: cannot be used: it is no RSA key"},
		{"key", short, "key: cannot be used: it has 1024 bits; it must have 2048 to 8192"},
		{"old_keys", []string{sharedKey(), "canary-key"}, "old_keys[1]: cannot be used: it is not PEM"},
		{"listen", "8090", "listen: is no address"},
	} {
		cfg, _, _ := world(t)
		cfg[tc.key] = tc.value
		for _, dry := range []bool{true, false} {
			wrong := h.configure(t, cfg, dry)
			if len(wrong) != 1 || !strings.Contains(wrong[0], tc.says) || strings.Contains(wrong[0], "canary") {
				t.Errorf("%s, dry %v: %q, want %q", tc.key, dry, wrong, tc.says)
			}
		}
	}
}

func TestCheckFindsOutWhetherThePeerTakesTheKey(t *testing.T) {
	t.Parallel()
	cfg, peer, look := world(t)
	h := serve(t)
	h.mustConfigure(t, cfg)
	for _, tc := range []struct {
		status int
		body   string
		says   string
	}{
		{400, `{"error":"a field is missing","reason":"invalid_envelope"}`, ""},
		{204, ``, ""},
		{401, `{"reason":"unknown_key"}`, "must hold the key"},
		{404, ``, "path of a source"},
		{503, `{"reason":"key_set_unavailable"}`, "key_set_unavailable"},
	} {
		peer.mu.Lock()
		peer.answer = func(int) (int, string) { return tc.status, tc.body }
		peer.mu.Unlock()
		resp, err := h.Check(t.Context(), &pluginpb.CheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(resp.GetDiagnostics())
		if (tc.says == "") != (len(resp.GetDiagnostics()) == 0) || !strings.Contains(got, tc.says) {
			t.Errorf("%d: %s", tc.status, got)
		}
	}
	if got := look().([]received); len(got) != 0 {
		t.Errorf("checking sent %v", got)
	}
}

func TestTheKeySetKeepsOldKeysAndSurvivesANewConfiguration(t *testing.T) {
	t.Parallel()
	cfg, _, _ := world(t)
	address := freeAddress(t)
	file := filepath.Join(t.TempDir(), "jwks.json")
	cfg["listen"], cfg["key_set_file"] = address, file
	h := serve(t)
	h.mustConfigure(t, cfg)
	url := "http://" + address + keySetPath
	before := fetchKeys(t, url)
	if len(before) != 1 {
		t.Fatalf("the key set has %d keys", len(before))
	}
	next, key := newKey(t, 2048)
	cfg["old_keys"], cfg["key"] = []string{cfg["key"].(string)}, next
	h.mustConfigure(t, cfg) // on the address that is in use
	after := fetchKeys(t, url)
	for kid, want := range before {
		if after[kid] == nil || !after[kid].Equal(want) || len(after) != 2 {
			t.Errorf("after the rotation the key set has %v", after)
		}
	}
	found := false
	for _, k := range after {
		found = found || k.Equal(&key.PublicKey)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(parseSet(t, text)) != 2 || !found {
		t.Errorf("the file has %s, the new key is served: %v", text, found)
	}
	for path, want := range map[string]int{"/": 404, keySetPath + "/": 404, "/etc/passwd": 404} {
		if resp, err := http.Get("http://" + address + path); err != nil || resp.StatusCode != want {
			t.Errorf("%s: %v, %v", path, resp, err)
		}
	}
	if resp, err := http.Post(url, "text/plain", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", resp, err)
	}
	// An address that something else holds is refused, and what was in force stays.
	cfg["listen"] = strings.TrimPrefix(cfg["url"].(string), "http://")
	cfg["listen"] = cfg["listen"].(string)[:strings.IndexByte(cfg["listen"].(string), '/')]
	if wrong := h.configure(t, cfg, false); len(wrong) != 1 || !strings.Contains(wrong[0], "only one needs listen") {
		t.Errorf("an address in use: %q", wrong)
	}
	if len(fetchKeys(t, url)) != 2 {
		t.Error("the key set is gone")
	}
	if _, err := h.Drain(context.Background(), &pluginpb.DrainRequest{TimeoutMs: 1000}); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get(url); err == nil {
		t.Errorf("after the drain the key set is still served: %d", resp.StatusCode)
	}
}

func TestAKeyHasTheSameIDInEveryForm(t *testing.T) {
	t.Parallel()
	text, key := newKey(t, 2048)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	want := publicJWK(&key.PublicKey).Kid
	for _, form := range []string{text, pemOf("PRIVATE KEY", pkcs8), pemOf("PUBLIC KEY", pkix), pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey))} {
		public, err := parsePublic(form)
		if err != nil || publicJWK(public).Kid != want {
			t.Errorf("%.30s: %v", form, err)
		}
	}
}

// The example of RFC 7638, section 3.1.
func TestAKeysIDIsItsThumbprint(t *testing.T) {
	t.Parallel()
	n, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		t.Fatal(err)
	}
	if got := publicJWK(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}).Kid; got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Error(got)
	}
}
