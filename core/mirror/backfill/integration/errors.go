package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// Refused is an answer that says no, and would say so again.
type Refused struct {
	Asked   string // what was asked for
	Status  int    // of HTTP
	Message string // the API's own words, fit for a screen; may be empty
	// Credentials says that it is the client's credentials that are refused, so
	// that nothing else will be answered either.
	Credentials bool
	hint        string
}

// Error says what was asked, what the API answered, and what to do.
func (r *Refused) Error() string {
	s := fmt.Sprintf("ask for %s: the provider answered %d", r.Asked, r.Status)
	if r.Message != "" {
		s += ": " + r.Message
	}
	if r.hint != "" {
		s += ". " + r.hint
	}
	return s
}

// Unavailable says that the provider could not be reached, or could not answer,
// however often it was tried.
type Unavailable struct {
	Asked string
	Tries int
	err   error
}

// Error tells of the last attempt.
func (u *Unavailable) Error() string {
	return fmt.Sprintf("%s (tried %d times)", u.err, u.Tries)
}

// Unwrap returns what the last attempt failed with.
func (u *Unavailable) Unwrap() error { return u.err }

// Unusable is a successful answer that is not what the API promises.
type Unusable struct {
	Asked, Reason string
}

// Error says what is wrong with the answer.
func (u *Unusable) Error() string { return "read " + u.Asked + ": " + u.Reason }

// refusal makes an error of an answer that is not a success, and closes its body.
// shown is the token that the request showed.
func (c *Client) refusal(resp *http.Response, asked, shown string) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrBody)) // what there is of it
	r := &Refused{Asked: asked, Status: resp.StatusCode, Message: c.message(body, shown)}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return &transient{err: r, after: retryAfter(resp.Header, time.Now())}
	case code >= 300 && code < 400:
		r.hint = "It redirects, which is not followed, as the credentials would travel along. Set the source's api.url to where the API is"
	case code < 300:
		r.hint = "Only 200 has members"
	case asked == tokenAsked:
		r.Credentials = true
		r.hint = "Are the source's api.client_id and api.client_secret right?"
	case code == http.StatusUnauthorized:
		r.Credentials = true
		r.hint = "It refuses even a new token. Is api.client_id a machine of this provider that may read members?"
	case code == http.StatusForbidden:
		r.hint = "Allow the machine of api.client_id to read members"
	}
	return r
}

// message returns the API's own words from the body of an error, without
// anything secret that it may repeat.
func (c *Client) message(body []byte, shown string) string {
	var is struct {
		Message     any    `json:"message"`
		Description string `json:"error_description"`
		Error       any    `json:"error"`
	}
	if json.Unmarshal(body, &is) != nil {
		return ""
	}
	text := words(is.Message)
	if text == "" {
		text = is.Description
	}
	if text == "" {
		text = words(is.Error)
	}
	for _, secret := range []string{c.opts.ClientSecret, shown} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return legible(text)
}

// words makes text of a message, which some servers send as a list.
func words(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var all []string
		for _, part := range v {
			if s, ok := part.(string); ok {
				all = append(all, s)
			}
		}
		return strings.Join(all, "; ")
	}
	return ""
}

const maxMessage = 300 // characters

// legible makes foreign text fit for one line of a log.
func legible(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.TrimRight(text, ". \n") {
		if n++; n > maxMessage {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}
