package source_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/rs/zerolog"

	"github.com/avhub/avhub/core/listen"
	"github.com/avhub/avhub/core/source"
)

// TestLaw9_WhatIsNotVerifiedLeavesNoTrace sends requests that carry one word in
// every place a sender controls, over the hub's own listener, and then looks for
// the word in the log at its most talkative, in the metrics, in the journal and
// in the answers.
func TestLaw9_WhatIsNotVerifiedLeavesNoTrace(t *testing.T) {
	t.Parallel()
	const canary = "CaNaRy7f3a"
	p := newProvider(t, jwkOf("k1", signingKey()))
	log, journal := &lockedBuffer{}, &memory{}
	logger := zerolog.New(log).Level(zerolog.TraceLevel)
	reg := prometheus.NewRegistry()
	metrics, err := source.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.New(
		source.Config{Name: "authvital", Host: p.url, MaxAge: 300 * time.Second, MaxAhead: 60 * time.Second, MaxBody: maxBody},
		source.Deps{Journal: journal, Log: logger, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	server, err := listen.Open(t.Context(), listen.Options{Addr: "127.0.0.1:0", MaxConnections: 64, Handler: src, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = src.Run(ctx) })
	running.Go(func() {
		if err := server.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	url := "http://" + server.Addr().String() + "/" + canary + "?q=" + canary
	spoiled := strings.ReplaceAll(webhookBody, "evt_1", canary)

	requests := 0
	var answers strings.Builder
	deliver := func(r *http.Request, code int) {
		t.Helper()
		requests++
		a := send(t, r)
		fmt.Fprintln(&answers, a.header, a.raw)
		if a.code != code {
			t.Errorf("got %d %s, want %d", a.code, a.raw, code)
		}
	}
	set := func(r *http.Request, header, value string) *http.Request {
		r.Header.Set(header, value)
		return r
	}
	fresh := func() *http.Request {
		r := webhook(t, url, otherKey(), "k1", spoiled) // signed by a stranger
		for _, h := range []string{"User-Agent", "X-Request-Id", "X-Forwarded-For", "X-AuthVital-Event-Id", "X-AuthVital-Event-Type", "Cookie", "Authorization"} {
			r.Header.Set(h, canary)
		}
		return r
	}
	deliver(fresh(), 401)
	deliver(set(fresh(), "X-AuthVital-Key-Id", canary), 401)
	deliver(set(fresh(), "X-AuthVital-Timestamp", canary), 401)
	deliver(set(fresh(), "X-AuthVital-Signature", canary), 401)
	deliver(set(fresh(), "X-AuthVital-Signature", base64.StdEncoding.EncodeToString([]byte(strings.Repeat(canary, 26)[:256]))), 401)
	deliver(set(fresh(), "X-Webhook-Signature", canary), 401)
	deliver(set(fresh(), "Content-Type", "text/"+canary), 415)
	deliver(set(fresh(), "Content-Type", "application/json; charset="+canary), 415)
	deliver(set(fresh(), "Content-Encoding", canary), 415)
	deliver(rebody(fresh(), strings.Repeat(canary, 1000)), 413)
	deliver(webhookAt(t, url, otherKey(), "k1", spoiled, "17"), 401)
	method := fresh()
	method.Method = canary
	deliver(method, 405)
	// A system webhook verifies the raw body alone, so this one is decoded; its
	// bytes are still none that the provider meant.
	recorded := webhook(t, url, signingKey(), "k1", spoiled)
	stamp := recorded.Header.Get("X-AuthVital-Timestamp")
	deliver(system(t, url, signingKey(), "k1", stamp+"."+spoiled), 400)
	// While the provider is down.
	p.breakWith(func(w http.ResponseWriter, r *http.Request) { http.Error(w, canary, 500) })
	deliver(set(fresh(), "X-AuthVital-Key-Id", canary), 503)
	deliver(set(fresh(), "X-AuthVital-Key-Id", canary), 503)
	// What net/http itself turns away.
	for _, raw := range []string{
		canary + "\r\n\r\n",
		"POST /" + canary + " HTTP/1.1\r\n" + canary + "\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + canary + "\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat(canary, 10_000) + "\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, raw) // the server may hang up before the end
		// The answer may be lost when the server hangs up on bytes unread.
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			body, _ := io.ReadAll(resp.Body)
			fmt.Fprintln(&answers, resp.Header, string(body))
		}
		conn.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	stop() // writes the summary
	running.Wait()

	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var scraped strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&scraped, f); err != nil {
			t.Fatal(err)
		}
	}
	for place, text := range map[string]string{"the log": log.String(), "the metrics": scraped.String(), "an answer": answers.String()} {
		for _, word := range []string{canary, strings.ToLower(canary), base64.StdEncoding.EncodeToString([]byte(canary))[:12], stamp + "."} {
			if strings.Contains(text, word) {
				t.Errorf("%s holds %q:\n%s", place, word, text)
			}
		}
	}
	if n := len(journal.all()); n != 0 {
		t.Errorf("%d events were journaled", n)
	}
	// They were counted, and one line sums them up.
	if want := `"requests":` + strconv.Itoa(requests); !strings.Contains(log.String(), want) || strings.Count(log.String(), "requests refused") != 1 {
		t.Errorf("no single summary with %s in %s", want, log)
	}
	if want := `avhub_source_requests_total{outcome="refused",reason="bad_signature",source="authvital"} 2`; !strings.Contains(scraped.String(), want) {
		t.Errorf("want %s in\n%s", want, scraped.String())
	}
}
