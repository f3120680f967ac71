package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// token is what requests show. It is replaced before it expires.
type token struct {
	text  string
	until time.Time // not used from then on
}

const (
	// tokenAsked names the request in errors.
	tokenAsked = "a token at /oauth/token"
	// lifeUntold is believed of a token whose expires_in was not sent.
	lifeUntold = 5 * time.Minute
	maxToken   = 16 << 10 // bytes
	// tokenTimeout bounds the whole exchange, which is small.
	tokenTimeout = 30 * time.Second
)

// bearer returns a token that has not expired.
func (c *Client) bearer(ctx context.Context) (string, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.token.text != "" && time.Now().Before(c.token.until) {
		return c.token.text, nil
	}
	// Not retried here: who asks for a token is an attempt already.
	got, err := c.fetchToken(ctx)
	if err != nil {
		return "", err
	}
	c.token = got
	return got.text, nil
}

// forget makes the next request fetch a token, unless somebody did meanwhile.
func (c *Client) forget(text string) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.token.text == text {
		c.token = token{}
	}
}

func (c *Client) fetchToken(parent context.Context) (token, error) {
	ctx, cancel := context.WithTimeout(parent, tokenTimeout)
	defer cancel()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.opts.ClientID}, "client_secret": {c.opts.ClientSecret},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.BaseURL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, fmt.Errorf("ask for %s: %w", tokenAsked, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.send(parent, req, tokenAsked)
	if err != nil {
		return token{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return token{}, c.refusal(resp, tokenAsked, "")
	}
	if err := isJSON(resp, tokenAsked); err != nil {
		return token{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 2*maxToken))
	if err != nil {
		if parent.Err() != nil {
			return token{}, parent.Err()
		}
		return token{}, &transient{err: fmt.Errorf("read %s: the answer broke off", tokenAsked)}
	}
	return parseToken(body)
}

// parseToken reads the answer of a token endpoint. Nothing of it is in an error.
func parseToken(body []byte) (token, error) {
	unusable := func(reason string) (token, error) {
		return token{}, &Unusable{Asked: tokenAsked, Reason: reason}
	}
	var is struct {
		Token   string       `json:"access_token"`
		Type    string       `json:"token_type"`
		Expires *json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &is); err != nil {
		return unusable("the answer is no JSON object with an access_token")
	}
	switch {
	case is.Token == "":
		return unusable("the answer has no access_token")
	case len(is.Token) > maxToken:
		return unusable("its access_token is too long")
	case strings.ContainsFunc(is.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return unusable("its access_token cannot stand in a header")
	case is.Type != "" && !strings.EqualFold(is.Type, "bearer"):
		return unusable("its token_type is not Bearer")
	}
	life := lifeUntold
	if is.Expires != nil {
		seconds, err := is.Expires.Float64()
		if err != nil || seconds <= 0 {
			return unusable("its expires_in is no number of seconds")
		}
		life = time.Duration(min(seconds, 24*3600) * float64(time.Second))
	}
	// Early enough that it does not expire on its way.
	return token{is.Token, time.Now().Add(life - min(life/5, time.Minute))}, nil
}
