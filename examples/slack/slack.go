package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// slack is as much of Slack's Web API as is needed.
type slack struct {
	cfg    config
	client *http.Client
	now    func() time.Time

	mu     sync.Mutex
	pauses map[string]time.Time // until when Slack wants no more, by channel
}

const (
	// maxAnswer bounds what is read of an answer, in bytes; a page of history
	// has 200 messages.
	maxAnswer = 8 << 20
	// pause is how long Slack is left alone when it does not say.
	pause = 30 * time.Second
	// skew is how much earlier by Slack's clock than by ours a message may be.
	skew = 10 * time.Minute
	// maxPages bounds a search through a channel's history.
	maxPages = 50
	// metadataType marks our messages for Slack.
	metadataType = "avhub_event"
)

type metadata struct {
	Type    string `json:"event_type"`
	Payload struct {
		Mark string `json:"mark"`
		ID   string `json:"id"`
		Type string `json:"type"`
	} `json:"event_payload"`
}

// post posts a message, by the token or by the webhook.
func (s *slack) post(ctx context.Context, m message) error {
	if until := s.pausedUntil(m.channel); until > 0 {
		return sure(plugin.RetryAfter(until, errors.New("asking Slack: it wants no more messages for this channel at the moment")))
	}
	body := map[string]any{"text": m.text, "unfurl_links": false, "unfurl_media": false}
	address := s.cfg.WebhookURL
	if address == "" {
		// parse and link_names off: what looks like a mention is none.
		body["channel"], body["parse"], body["link_names"] = m.channel, "none", false
		address = s.method("chat.postMessage")
	}
	if m.mark != "" {
		var meta metadata
		meta.Type = metadataType
		meta.Payload.Mark, meta.Payload.ID, meta.Payload.Type = m.mark, m.event.ID, m.event.Type
		body["metadata"] = meta
	}
	text, err := json.Marshal(body)
	if err != nil {
		return plugin.Reject(fmt.Errorf("writing the message: %w", err))
	}
	return s.call(ctx, address, "application/json; charset=utf-8", text, m.channel, nil)
}

// find tells whether a message with the mark stands in the channel.
func (s *slack) find(ctx context.Context, channel, mark string, since time.Time) (bool, error) {
	cursor := ""
	for range maxPages {
		var page struct {
			Messages []struct {
				Metadata metadata `json:"metadata"`
			} `json:"messages"`
			HasMore bool `json:"has_more"`
			Next    struct {
				Cursor string `json:"next_cursor"`
			} `json:"response_metadata"`
		}
		form := url.Values{
			"channel": {channel}, "limit": {"200"}, "include_all_metadata": {"true"},
			"oldest": {strconv.FormatInt(since.Add(-skew).Unix(), 10)},
		}
		if cursor != "" {
			form.Set("cursor", cursor)
		}
		err := s.call(ctx, s.method("conversations.history"), "application/x-www-form-urlencoded", []byte(form.Encode()), channel, &page)
		if err != nil {
			return false, fmt.Errorf("looking whether the message was posted: %w", err)
		}
		for _, m := range page.Messages {
			if m.Metadata.Type == metadataType && m.Metadata.Payload.Mark == mark {
				return true, nil
			}
		}
		if cursor = page.Next.Cursor; cursor == "" || !page.HasMore {
			return false, nil
		}
	}
	return false, fmt.Errorf("looking whether the message was posted: it is not among the channel's newest %d messages; look for it, and discard or retry the event", maxPages*200)
}

// check asks who the token belongs to, and what it may do.
func (s *slack) check(ctx context.Context) error {
	req, err := s.request(ctx, s.method("auth.test"), "application/x-www-form-urlencoded", nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking Slack: %w", err)
	}
	defer resp.Body.Close()
	if err := s.verdict(resp, "", nil); err != nil {
		return err
	}
	header := resp.Header.Get("X-OAuth-Scopes")
	if header == "" {
		return nil // whatever answers in Slack's place does not tell
	}
	scopes := strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ' ' })
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(scopes, name) })
	}
	if !has("chat:write") {
		return errors.New("the token lacks the scope chat:write; add it to the app and install the app again")
	}
	if s.cfg.ExactlyOnce && !has("channels:history", "groups:history", "im:history", "mpim:history") {
		return errors.New("exactly_once needs the scope channels:history, or groups:history for private channels; add it to the app and install the app again")
	}
	return nil
}

func (s *slack) method(name string) string { return strings.TrimRight(s.cfg.APIURL, "/") + "/" + name }

func (s *slack) request(ctx context.Context, address, kind string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, plugin.Halt(fmt.Errorf("asking Slack: %w", err))
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", "avhub-slack")
	if s.cfg.WebhookURL == "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	return req, nil
}

// call makes a request and a verdict of the answer, which it reads into v.
func (s *slack) call(ctx context.Context, address, kind string, body []byte, channel string, v any) error {
	req, err := s.request(ctx, address, kind, body)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking Slack: %w", err)
	}
	defer resp.Body.Close()
	return s.verdict(resp, channel, v)
}

func (s *slack) pausedUntil(channel string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.pauses[channel].Sub(s.now())
	if until <= 0 {
		delete(s.pauses, channel)
	}
	return until
}

func (s *slack) pauseFor(channel string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses[channel] = s.now().Add(d)
}

// readAnswer reads an answer's body, within bounds.
func readAnswer(resp *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading Slack's answer: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, errors.New("reading Slack's answer: it is larger than 8 MiB")
	}
	return text, nil
}
