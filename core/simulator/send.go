package simulator

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/event"
)

// timeFormat is ISO 8601 with milliseconds in UTC, as the provider writes it.
const timeFormat = "2006-01-02T15:04:05.000Z"

// maxResponse is how much of an answer is kept, in bytes.
const maxResponse = 64 << 10

// Forge is a way in which a delivery is spoiled, to see it refused.
type Forge string

// The forgeries. The receiver must answer every one of them with 401.
const (
	Honest       Forge = ""
	BadSignature Forge = "bad_signature" // a bit of the signature is flipped
	WrongKey     Forge = "wrong_key"     // signed by another of the provider's keys than is named
	UnknownKey   Forge = "unknown_key"   // names a key that was never published
	Tampered     Forge = "tampered"      // the body is changed after it was signed
	Stale        Forge = "stale"         // signed an hour ago; application webhooks only
	Future       Forge = "future"        // signed an hour ahead; application webhooks only
)

// errForgery is the caller's mistake in asking for a forgery.
var errForgery = errors.New("forging a delivery")

// Message is an event to send.
type Message struct {
	// Channel is event.ChannelWebhook or event.ChannelSystem.
	Channel event.Channel
	// ID of an application webhook; empty: a new one is made. System webhooks
	// have none.
	ID   string
	Type string
	// Time is the envelope's; zero: now. Every message gets a millisecond of its
	// own, as a system webhook has nothing else to be told apart by.
	Time time.Time
	// TenantID and ApplicationID of an application webhook's envelope; empty: null.
	TenantID      string
	ApplicationID string
	Data          map[string]any
	Forge         Forge
}

// Envelope is a message as it goes over the wire, but for the signature, which
// every attempt makes afresh. To send a duplicate, deliver an envelope again;
// to send a late event, deliver it after a newer one.
type Envelope struct {
	Channel event.Channel
	ID      string // of a system webhook: what a receiver derives from the body
	Type    string
	Body    []byte
	time    string
}

// Delivery is how an envelope fared.
type Delivery struct {
	ID       string
	Type     string
	Channel  event.Channel
	Attempts int
	Status   int    // of the last answer; 0 if there was none
	Response []byte // the last answer's body, up to 64 KiB
}

// Send seals and delivers a message.
func (s *Simulator) Send(ctx context.Context, m Message) (Delivery, error) {
	env, err := s.Seal(m)
	if err != nil {
		return Delivery{}, err
	}
	return s.Deliver(ctx, env, m.Forge)
}

// Seal writes a message's envelope.
func (s *Simulator) Seal(m Message) (Envelope, error) {
	if m.Time.IsZero() {
		m.Time = s.tick()
	}
	if m.Data == nil {
		m.Data = map[string]any{}
	}
	env := Envelope{Channel: m.Channel, ID: m.ID, Type: m.Type, time: m.Time.UTC().Format(timeFormat)}
	var v any
	switch m.Channel {
	case event.ChannelWebhook:
		if env.ID == "" {
			env.ID = "evt_" + rand.Text()
		}
		v = struct {
			ID            string         `json:"id"`
			Type          string         `json:"type"`
			Timestamp     string         `json:"timestamp"`
			TenantID      *string        `json:"tenant_id"`
			ApplicationID *string        `json:"application_id"`
			Data          map[string]any `json:"data"`
		}{env.ID, m.Type, env.time, orNull(m.TenantID), orNull(m.ApplicationID), m.Data}
	case event.ChannelSystem:
		v = struct {
			Event     string         `json:"event"`
			Timestamp string         `json:"timestamp"`
			Data      map[string]any `json:"data"`
		}{m.Type, env.time, m.Data}
	default:
		return env, fmt.Errorf("writing an envelope: there is no webhook channel %q; use %q or %q", m.Channel, event.ChannelWebhook, event.ChannelSystem)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return env, fmt.Errorf("writing an envelope: %w", err)
	}
	env.Body = body
	if m.Channel == event.ChannelSystem {
		sum := sha256.Sum256(body)
		env.ID = "sys_" + hex.EncodeToString(sum[:])
	}
	return env, nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Deliver signs and posts an envelope. Application webhooks are repeated, signed
// afresh, after a network error, 429 or 5xx as Options.Retry says; system
// webhooks and forgeries are sent once. Any answer is a success; the error tells
// that there was none.
func (s *Simulator) Deliver(ctx context.Context, env Envelope, forge Forge) (Delivery, error) {
	d := Delivery{ID: env.ID, Type: env.Type, Channel: env.Channel}
	target := s.target.Load()
	if target == nil || *target == "" {
		return d, errors.New("delivering an event: the simulator has no target; give it the URL of a hub's webhook path")
	}
	retries := s.opts.Retry
	if env.Channel != event.ChannelWebhook || forge != Honest {
		retries = nil
	}
	for {
		d.Attempts++
		err := s.attempt(ctx, *target, env, forge, &d)
		again := err != nil || d.Status == http.StatusTooManyRequests || d.Status >= 500
		if !again || len(retries) == 0 || ctx.Err() != nil {
			return d, err
		}
		timer := time.NewTimer(retries[0])
		retries = retries[1:]
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return d, err
		}
	}
}

func (s *Simulator) attempt(ctx context.Context, target string, env Envelope, forge Forge, d *Delivery) error {
	d.Status, d.Response = 0, nil
	req, err := s.request(ctx, target, env, forge)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return fmt.Errorf("delivering an event to %s: %w; is the hub running?", req.URL.Redacted(), err)
	}
	defer resp.Body.Close()
	d.Status = resp.StatusCode
	if d.Response, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse)); err != nil {
		return fmt.Errorf("reading the answer to an event: %w", err)
	}
	s.opts.Log.Debug().Str("id", env.ID).Str("type", env.Type).Str("forged", string(forge)).Int("status", d.Status).Msg("event delivered")
	return nil
}

// request signs an envelope as its channel does, or spoils it.
func (s *Simulator) request(ctx context.Context, target string, env Envelope, forge Forge) (*http.Request, error) {
	key, now, body := s.keys.current(), s.opts.Now(), env.Body
	signer := key
	switch forge {
	case Honest, BadSignature, Tampered:
	case WrongKey:
		signer = s.keys.login
	case UnknownKey:
		key.kid = "sim-unpublished-" + rand.Text()
	case Stale, Future:
		if env.Channel != event.ChannelWebhook {
			return nil, fmt.Errorf("%w: a system webhook signs no timestamp, so it cannot be %s; use %s", errForgery, forge, BadSignature)
		}
		now = now.Add(map[Forge]time.Duration{Stale: -time.Hour, Future: time.Hour}[forge])
	default:
		return nil, fmt.Errorf("%w: there is no forgery %q; choose %s, %s, %s, %s, %s or %s", errForgery, forge,
			BadSignature, WrongKey, UnknownKey, Tampered, Stale, Future)
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	signed := body
	if env.Channel == event.ChannelWebhook {
		signed = append([]byte(stamp+"."), body...)
	}
	signature, err := signer.sign(signed)
	if err != nil {
		return nil, err
	}
	switch forge {
	case BadSignature:
		raw, err := base64.StdEncoding.DecodeString(signature)
		if err != nil {
			return nil, fmt.Errorf("forging a signature: %w", err)
		}
		raw[len(raw)-1] ^= 1
		signature = base64.StdEncoding.EncodeToString(raw)
	case Tampered:
		body = append(bytes.Clone(body), ' ')
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("delivering an event: %w", err)
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "avhub-simulator")
	if env.Channel == event.ChannelSystem {
		h.Set("X-Webhook-Signature", signature)
		h.Set("X-Webhook-Key-Id", key.kid)
		h.Set("X-Webhook-Timestamp", env.time)
		h.Set("X-Webhook-Event", env.Type)
		return req, nil
	}
	h.Set("X-AuthVital-Signature", signature)
	h.Set("X-AuthVital-Key-Id", key.kid)
	h.Set("X-AuthVital-Timestamp", stamp)
	h.Set("X-AuthVital-Event-Id", env.ID)
	h.Set("X-AuthVital-Event-Type", env.Type)
	return req, nil
}
