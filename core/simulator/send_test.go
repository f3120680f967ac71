package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/simulator"
)

// recorder is a receiver that notes every request and answers as it is told.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	answer   func(n int, w http.ResponseWriter) // n: requests before this one
}

func record(t *testing.T, answer func(int, http.ResponseWriter)) (*recorder, *simulator.Simulator) {
	t.Helper()
	r := &recorder{answer: answer}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	sim, err := simulator.New(simulator.Options{Target: srv.URL + "/hook", Retry: []time.Duration{time.Millisecond, time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	return r, sim
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	n := len(r.requests)
	r.requests, r.bodies = append(r.requests, req), append(r.bodies, string(body))
	r.mu.Unlock()
	r.answer(n, w)
}

func (r *recorder) seen() ([]*http.Request, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests), slices.Clone(r.bodies)
}

func message(channel event.Channel) simulator.Message {
	return simulator.Message{Channel: channel, Type: "tenant.created", Data: map[string]any{"tenant_id": "ten_1"}, Time: time.UnixMilli(1_800_000_000_123)}
}

func TestTheWireLooksAsTheProviderWritesIt(t *testing.T) {
	t.Parallel()
	r, sim := record(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(200) })
	m := message(event.ChannelWebhook)
	m.ID, m.TenantID = "evt_7", "ten_1"
	if _, err := sim.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	d, err := sim.Send(t.Context(), message(event.ChannelSystem))
	if err != nil {
		t.Fatal(err)
	}

	requests, bodies := r.seen()
	const at = `"timestamp":"2027-01-15T08:00:00.123Z"`
	if want := `{"id":"evt_7","type":"tenant.created",` + at + `,"tenant_id":"ten_1","application_id":null,"data":{"tenant_id":"ten_1"}}`; bodies[0] != want {
		t.Errorf("webhook:\n%s, want\n%s", bodies[0], want)
	}
	if want := `{"event":"tenant.created",` + at + `,"data":{"tenant_id":"ten_1"}}`; bodies[1] != want {
		t.Errorf("system webhook:\n%s, want\n%s", bodies[1], want)
	}
	ev, err := event.DecodeSystem([]byte(bodies[1]))
	if err != nil || ev.ID != d.ID {
		t.Errorf("a receiver derives %v (%v), the simulator said %s", ev, err, d.ID)
	}

	web, sys := requests[0].Header, requests[1].Header
	if stamp, err := strconv.ParseInt(web.Get("X-AuthVital-Timestamp"), 10, 64); err != nil || time.Since(time.Unix(stamp, 0)).Abs() > time.Minute {
		t.Errorf("timestamp header %q", web.Get("X-AuthVital-Timestamp"))
	}
	for header, want := range map[string]string{
		"X-AuthVital-Event-Id": "evt_7", "X-AuthVital-Event-Type": "tenant.created", "Content-Type": "application/json",
		"X-Webhook-Signature": "", "X-Webhook-Event": "",
	} {
		if got := web.Get(header); got != want {
			t.Errorf("webhook: %s is %q, want %q", header, got, want)
		}
	}
	for header, want := range map[string]string{
		"X-Webhook-Timestamp": "2027-01-15T08:00:00.123Z", "X-Webhook-Event": "tenant.created", "X-AuthVital-Signature": "", "X-AuthVital-Event-Id": "",
	} {
		if got := sys.Get(header); got != want {
			t.Errorf("system webhook: %s is %q, want %q", header, got, want)
		}
	}
	if web.Get("X-AuthVital-Signature") == "" || web.Get("X-AuthVital-Key-Id") != sys.Get("X-Webhook-Key-Id") || sys.Get("X-Webhook-Signature") == "" {
		t.Error("a signature or key id is missing")
	}
}

func TestOnlyApplicationWebhooksAreRepeated(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		channel  event.Channel
		forge    simulator.Forge
		statuses []int
		attempts int
		status   int
	}{
		{"webhook, passing trouble", event.ChannelWebhook, "", []int{503, 429, 200}, 3, 200},
		{"webhook, lasting trouble", event.ChannelWebhook, "", []int{500, 500, 500, 200}, 3, 500},
		{"webhook, refused", event.ChannelWebhook, "", []int{401, 200}, 1, 401},
		{"webhook, forged", event.ChannelWebhook, simulator.BadSignature, []int{503, 200}, 1, 503},
		{"system webhook", event.ChannelSystem, "", []int{503, 200}, 1, 503},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r, sim := record(t, func(n int, w http.ResponseWriter) { w.WriteHeader(row.statuses[n]) })
			m := message(row.channel)
			m.Forge = row.forge
			d, err := sim.Send(t.Context(), m)
			requests, bodies := r.seen()
			if err != nil || d.Attempts != row.attempts || d.Status != row.status || len(requests) != row.attempts {
				t.Errorf("%+v, %v, %d requests", d, err, len(requests))
			}
			for _, body := range bodies {
				if body != bodies[0] {
					t.Error("an attempt changed the body")
				}
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	r, sim := record(t, func(_ int, w http.ResponseWriter) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	d, err := sim.Send(t.Context(), message(event.ChannelWebhook))
	if requests, _ := r.seen(); err != nil || d.Status != 307 || len(requests) != 1 {
		t.Errorf("%+v, %v, %d requests", d, err, len(requests))
	}
}

func TestAHubThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Parallel()
	r, sim := record(t, func(int, http.ResponseWriter) { panic(http.ErrAbortHandler) })
	d, err := sim.Send(t.Context(), message(event.ChannelWebhook))
	if requests, _ := r.seen(); err == nil || d.Attempts != 3 || len(requests) < 3 || !strings.Contains(err.Error(), "is the hub running?") {
		t.Errorf("%+v, %v", d, err)
	}
	lost, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lost.Send(t.Context(), message(event.ChannelWebhook)); err == nil || !strings.Contains(err.Error(), "no target") {
		t.Errorf("without a target: %v", err)
	}
	if _, err := lost.Send(t.Context(), message(event.ChannelPubSub)); err == nil {
		t.Error("Pub/Sub is no webhook")
	}
	for _, bad := range []string{"", "hub", "ftp://hub/", "http://", ":"} {
		if err := lost.SetTarget(bad); err == nil {
			t.Errorf("the target %q was taken", bad)
		}
	}
}

func TestTwoSystemWebhooksNeverLookTheSame(t *testing.T) {
	t.Parallel()
	_, sim := record(t, func(int, http.ResponseWriter) {})
	seen := map[string]bool{}
	for range 1000 {
		env, err := sim.Seal(simulator.Message{Channel: event.ChannelSystem, Type: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if seen[env.ID] {
			t.Fatal("the same change twice")
		}
		seen[env.ID] = true
		if !json.Valid(env.Body) {
			t.Fatal("not JSON")
		}
	}
}
