package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// kind is what an error of Slack's is about.
type kind int

const (
	aboutMessage kind = iota // this message or its channel: the event is given up
	aboutSlack               // Slack itself: later
	aboutApp                 // the token or the app: nothing can be posted
)

// meanings are Slack's error codes, and what a person can do. An unknown code
// is about the message: that is seen, and holds up nothing.
var meanings = map[string]struct {
	kind kind
	text string
}{
	"ratelimited":         {aboutSlack, "Slack wants fewer messages"},
	"rate_limited":        {aboutSlack, "Slack wants fewer messages"},
	"fatal_error":         {aboutSlack, "Slack has a problem of its own"},
	"internal_error":      {aboutSlack, "Slack has a problem of its own"},
	"service_unavailable": {aboutSlack, "Slack has a problem of its own"},
	"request_timeout":     {aboutSlack, "Slack did not get the whole request"},
	"rollup_error":        {aboutSlack, "Slack has a problem of its own"},

	"invalid_auth":           {aboutApp, "Slack does not know the token; set token to the one that the app's page shows"},
	"not_authed":             {aboutApp, "Slack saw no token; set token"},
	"token_revoked":          {aboutApp, "the token was revoked; install the app again and set token"},
	"token_expired":          {aboutApp, "the token has expired; install the app again and set token"},
	"account_inactive":       {aboutApp, "the token's account is closed; install the app again and set token"},
	"missing_scope":          {aboutApp, "the token lacks a scope; add it to the app and install the app again"},
	"no_permission":          {aboutApp, "the app may not do this; look at its scopes"},
	"not_allowed_token_type": {aboutApp, "this kind of token cannot post; use the app's bot token, xoxb-…"},
	"org_login_required":     {aboutApp, "the workspace is being moved"},
	"access_denied":          {aboutApp, "the workspace does not let the app in"},
	"invalid_token":          {aboutApp, "the incoming webhook is no longer valid; make a new one"},
	"no_service":             {aboutApp, "the incoming webhook was removed; make a new one"},
	"no_service_id":          {aboutApp, "the incoming webhook was removed; make a new one"},
	"no_team":                {aboutApp, "the incoming webhook's workspace is gone"},
	"team_disabled":          {aboutApp, "the incoming webhook's workspace is closed"},
	"action_prohibited":      {aboutApp, "an admin of the workspace forbids this incoming webhook"},
	"unknown_method":         {aboutApp, "this is not Slack's Web API; look at api_url"},

	"channel_not_found":       {aboutMessage, "there is no such channel, or it is private and the app is not in it; correct channel, or invite the app"},
	"not_in_channel":          {aboutMessage, "the app is not in the channel; invite it there"},
	"is_archived":             {aboutMessage, "the channel is archived; choose another one"},
	"channel_is_archived":     {aboutMessage, "the channel is archived; choose another one"},
	"msg_too_long":            {aboutMessage, "the message is too long for Slack; shorten the template"},
	"no_text":                 {aboutMessage, "the message has no text; look at the template"},
	"restricted_action":       {aboutMessage, "the workspace's settings do not let the app post there"},
	"duplicate_channel_found": {aboutMessage, "several channels have this name; give the channel's id"},
}

// answered is an error of Slack's in so many words: it has seen the request,
// and has posted nothing.
type answered struct{ error }

func (e answered) Unwrap() error { return e.error }

func sure(err error) error { return answered{err} }

// notPosted tells whether an error proves that nothing was posted.
func notPosted(err error) bool {
	_, ok := errors.AsType[answered](err)
	return ok
}

// rejected is an answer that ends the event.
type rejected struct{ error }

func (e rejected) Unwrap() error { return e.error }

func refusedForGood(err error) bool {
	_, ok := errors.AsType[rejected](err)
	return ok
}

// verdict reads an answer: of the Web API into v, or a webhook's one word.
func (s *slack) verdict(resp *http.Response, channel string, v any) error {
	text, err := readAnswer(resp)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		return s.later(resp, channel, errors.New("asking Slack: it wants fewer messages"))
	}
	if resp.StatusCode >= 500 {
		return plugin.HTTPVerdict(resp) // whether it was posted is not known
	}
	code := ""
	if s.cfg.WebhookURL != "" {
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		code = word(string(text))
	} else {
		var said struct {
			OK     *bool  `json:"ok"`
			Error  string `json:"error"`
			Needed string `json:"needed"`
		}
		if err := json.Unmarshal(text, &said); err != nil || said.OK == nil {
			if verdict := plugin.HTTPVerdict(resp); verdict != nil {
				return verdict
			}
			return errors.New("what answered is not Slack's Web API: there is no JSON with ok in it; look at api_url")
		}
		if *said.OK {
			if v == nil {
				return nil
			}
			if err := json.Unmarshal(text, v); err != nil {
				return errors.New("reading Slack's answer: it does not have the form that it should have")
			}
			return nil
		}
		code = word(said.Error)
		if said.Needed != "" {
			code += " (" + word(said.Needed) + ")"
		}
	}
	return s.refusal(resp, channel, code)
}

// refusal makes a verdict of Slack's word for what is wrong.
func (s *slack) refusal(resp *http.Response, channel, code string) error {
	name, _, _ := strings.Cut(code, " ")
	meaning, known := meanings[name]
	err := fmt.Errorf("asking Slack: it answered %s", code)
	if known {
		err = fmt.Errorf("%w: %s", err, meaning.text)
	}
	// A webhook has one channel: when that is gone, nothing can be posted.
	gone := s.cfg.WebhookURL != "" && resp.StatusCode != http.StatusBadRequest
	switch {
	case meaning.kind == aboutSlack && known:
		if strings.HasPrefix(name, "rate") {
			return s.later(resp, channel, err)
		}
		return err
	case meaning.kind == aboutApp || gone:
		return sure(plugin.Halt(err))
	default:
		if channel != "" {
			err = fmt.Errorf("posting to %s: %w", channel, err)
		}
		return rejected{plugin.Reject(err)}
	}
}

// later leaves a channel alone for as long as Slack asks.
func (s *slack) later(resp *http.Response, channel string, err error) error {
	wait := pause
	if seconds, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && seconds > 0 {
		wait = min(time.Duration(seconds)*time.Second, 24*time.Hour)
	}
	s.pauseFor(channel, wait)
	return sure(plugin.RetryAfter(wait, err))
}

var noWord = regexp.MustCompile(`[^a-zA-Z0-9_:,.-]+`)

// word keeps a stranger's error code a code.
func word(s string) string {
	if s = noWord.ReplaceAllString(s, "_"); len(s) > 80 {
		s = s[:80]
	}
	if s == "" {
		return "an error without a name"
	}
	return s
}
