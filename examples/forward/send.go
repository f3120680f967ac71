package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/avhub/avhub/sdk/plugin"
)

// The channels by which AuthVital's webhooks come.
const (
	channelWebhook = "webhook"
	channelSystem  = "system"
)

// timeFormat is how the provider writes times.
const timeFormat = "2006-01-02T15:04:05.000Z"

// request is the webhook as AuthVital would send it now: the bytes of then, a
// signature of this moment.
func (f *forwarder) request(ctx context.Context, ev plugin.Event) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.cfg.URL, bytes.NewReader(ev.Body))
	if err != nil {
		return nil, plugin.Halt(fmt.Errorf("sending to the peer: %w", err))
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "avhub-forward")
	signed := ev.Body
	prefix := "X-Webhook-"
	if ev.Channel == channelWebhook {
		prefix = "X-AuthVital-"
		now := strconv.FormatInt(f.now().Unix(), 10)
		signed = append([]byte(now+"."), ev.Body...)
		h.Set("X-AuthVital-Timestamp", now)
		h.Set("X-AuthVital-Event-Id", ev.ID)
		h.Set("X-AuthVital-Event-Type", ev.Type)
	} else {
		h.Set("X-Webhook-Timestamp", ev.OccurredAt.UTC().Format(timeFormat))
		h.Set("X-Webhook-Event", ev.Type)
	}
	signature, err := f.key.sign(signed)
	if err != nil {
		return nil, plugin.Halt(err)
	}
	h.Set(prefix+"Signature", signature)
	h.Set(prefix+"Key-Id", f.key.id)
	return req, nil
}

// answer is what a hub says.
type answer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

// maxAnswer is how much of an answer is read, in bytes; reading to the end
// keeps the connection.
const maxAnswer = 16 << 10

// readAnswer reads what the peer said, which is nothing if it is no hub.
func readAnswer(resp *http.Response) (a answer) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || json.Unmarshal(text, &a) != nil {
		return answer{}
	}
	return a
}

// patience is how long a hub may refuse everything before that is no passing
// trouble any more: a key set that is cached, a proxy that is being set up. What
// refuses a signature without saying why is no hub, and gets none.
const patience = 10 * time.Minute

// judge makes a verdict of an answer. What is about the one event costs the
// event; what is about the peer waits; what is about the two of them stops the
// connector, after a while, and loses nothing.
func (f *forwarder) judge(resp *http.Response) error {
	said := readAnswer(resp)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		f.welcome()
		if said.Status == "conflict" {
			return plugin.Reject(errors.New("the peer holds another event under this id, and keeps it: the two mirrors may differ; compare the event in both hubs and ask the provider which is right"))
		}
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		verdict := plugin.HTTPVerdict(resp)
		return fmt.Errorf("%s: %w", f.told(resp, said), verdict)
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly || said.Reason == "unreadable_body":
		return errors.New(f.told(resp, said))
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge || code == http.StatusUnprocessableEntity:
		f.welcome()
		return plugin.Reject(errors.New(f.told(resp, said)))
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && said.Reason == "":
		return plugin.Halt(errors.New(f.told(resp, said)))
	default:
		err := errors.New(f.told(resp, said))
		if f.refused(f.now()) >= patience {
			return plugin.Halt(err)
		}
		return err
	}
}

// told is what the peer said, and what to do about it.
func (f *forwarder) told(resp *http.Response, said answer) string {
	text := fmt.Sprintf("the peer answered %d", resp.StatusCode)
	if said.Reason != "" {
		text += " " + clean(said.Reason)
	}
	if said.Error != "" {
		text += ": " + clean(said.Error)
	}
	switch code := resp.StatusCode; {
	case said.Reason == "stale_timestamp" || said.Reason == "future_timestamp":
		text += "; compare the clocks of the two machines"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		text += fmt.Sprintf("; the key set that the peer reads for this hub must hold the key %s", f.key.id)
	case code == http.StatusNotFound || code == http.StatusMethodNotAllowed:
		text += "; url must be the path of a source of the peer"
	case code >= 300 && code < 400:
		text += "; redirects are not followed, so set url to where it points"
	case code == http.StatusRequestEntityTooLarge:
		text += "; raise server.max_body at the peer"
	}
	return text
}

// clean keeps a stranger's words on one line, and few.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	if words := []rune(s); len(words) > 200 {
		return string(words[:200]) + "…"
	}
	return s
}

// refusals remember since when the peer has refused whatever it got.
type refusals struct {
	mu    sync.Mutex
	since time.Time
}

// refused notes a refusal and tells how long there have been only such.
func (r *refusals) refused(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = now
	}
	return now.Sub(r.since)
}

// welcome notes that the peer has accepted the signature of something.
func (r *refusals) welcome() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}
